"""The objects of a home, a folder or bucket: small, and each put whole in one operation."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from pyarrow import fs
from pydantic import BaseModel

from orchestrator.errors import HomeError
from orchestrator.local_disk import NO_LINKS, NoFile, discard, open_file, sync_folder, write_temporary
from orchestrator.patience import Answer, Patience
from orchestrator.record_shapes import shaped
from orchestrator.seal import open_json, seal_json

Record = TypeVar("Record")
Tell = Callable[[str], None]
"""Gets a line that a user should see."""

IDENTITY = "home.json"
"""Says of which version a home is, and tells it from others."""

DAMAGED = "damaged"
"""Folder of the home for records that were set aside, each under the path that it had."""

MAX_HEADER_BYTES = 100_000_000
"""Of a safetensors file, by its format."""

_NO_FILE = "it is no file"


class StoredFile(NamedTuple):
    """An object as a listing shows it."""

    path: str
    """Below the home's root."""
    size_bytes: int
    modified_s: float
    """Since 1970."""


@cache
def _log_once(line: str) -> None:
    """Once a process, on stderr unless the program says otherwise."""
    logging.getLogger("metasweep").warning(line)


def printable(line: str) -> str:
    """With what a terminal would obey escaped: names and texts in a foreign home may hold it."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in line)


class Home:
    """Objects by path below one root, on any filesystem that ``pyarrow.fs`` knows.

    A put is atomic: readers see the old object, or the new one, never a part. On local disks a put is a temporary
    file, fsync and rename; on object stores it is what their put does.

    A damaged record counts as absent, and is said once. Only a home that is ``mending`` changes anything then. On a
    local disk so does what lies in its place and is no file.
    """

    def __init__(
        self,
        filesystem: fs.FileSystem,
        root: str,
        url: str,
        tell: Tell = _log_once,
        mends: bool = False,
        patience: Patience | None = None,
    ) -> None:
        self._fs = filesystem
        self._patience = None if isinstance(filesystem, fs.LocalFileSystem) else patience or Patience(url)
        self._root = root.rstrip("/")
        self.url = url
        """What the user called it; opens the same home in another process."""
        self._tell, self._mends = tell, mends
        self._told: set[str] = set()
        self.identified = False
        """Whether its identity was read. Where that is gone later on, a disk was unmounted, say, nothing is put."""

    def mending(self, tell: Tell) -> Home:
        """This home for who makes again what is lacking: a damaged record is set aside, and ``tell`` gets a line."""
        home = Home(self._fs, self._root, self.url, tell, mends=True, patience=self._patience)
        home.identified = self.identified
        return home

    @property
    def local(self) -> Path | None:
        """The folder, where the home is on a local disk."""
        return Path(self._root) if isinstance(self._fs, fs.LocalFileSystem) else None

    @property
    def id(self) -> str:
        """Tells this home from others, wherever it is moved."""
        return str(open_json(self.read(IDENTITY) or b"")["id"])

    def read(self, path: str) -> bytes | None:
        """The object, or None where there is none."""

        def read() -> bytes:
            with self._opened(path) as stream:
                return stream.read()

        try:
            return self._ask(read)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except NoFile:
            self._give_up_place(path)
            return None

    def read_record(self, path: str, parse: Callable[[bytes], Record]) -> Record | None:
        """What ``parse`` makes of an object; None where there is none, or a damaged one.

        Args:
            path: of the object.
            parse: raises ValueError, TypeError or KeyError where the object is damaged.
        """
        data = self.read(path)
        while data is not None:
            try:
                return parse(data)
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                again = self.read(path)
                if again == data:
                    self.give_up(path, data, str(error))
                    return None
                data = again  # Arrow asks S3 for the size first: what is put over it meanwhile comes cut or padded
        return None

    def read_json(self, path: str, shape: type[BaseModel] | None = None) -> Any:
        """The object as JSON; None where there is none, or a damaged one, or one of another shape."""
        return self.read_record(path, lambda data: shaped(open_json(data), shape))

    def read_json_header(self, path: str) -> Any:
        """The JSON header of a safetensors object, without the tensors behind it; None where there is no object.

        Raises:
            ValueError: it is damaged.
        """

        def read() -> bytes:
            with self._opened(path) as stream:
                length = int.from_bytes(stream.read(8), "little")
                if length > MAX_HEADER_BYTES:
                    raise ValueError(f"a header of {length} bytes")
                return stream.read(length)

        try:
            return json.loads(self._ask(read))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except NoFile:
            self._give_up_place(path)
            return None
        except RecursionError as error:
            raise ValueError(str(error)) from error

    def give_up(self, path: str, data: bytes, reason: str) -> None:
        """Takes an object whose content is damaged for absent: sets it aside, or, for who only reads, says so."""
        if not self._mends:
            self.pass_over(path, reason)
        elif self.read(path) == data:  # else somebody has made it again meanwhile
            self.set_aside(path, reason)

    def pass_over(self, path: str, reason: str) -> None:
        """Says, once, that a damaged object counts as absent."""
        self._tell_once(f"{self.url}/{path}: damaged ({one_line(reason)}); passed over, as if it were not there")

    def set_aside(self, path: str, reason: str) -> None:
        """Moves an object out of the way, below ``DAMAGED``, where nothing is ever overwritten; says so.

        A kill in between leaves it in both places, and the next call ends what this one began.
        """
        data = self.read(path)
        if data is None:
            return
        aside = f"{DAMAGED}/{path}"
        if not self.put_first(aside, data) and self.read(aside) != data:
            aside += f".{hashlib.sha256(data).hexdigest()[:16]}"
            self.put(aside, data)
        self.remove(path)
        self._tell_set_aside(path, aside, reason)

    def obstructed(self, path: str) -> bool:
        """Whether in the place of an object lies what is no file: a folder, a named pipe, a link to nothing."""
        if self.local is None:  # there, nothing else can be
            return False
        full = self._full(path)
        return os.path.lexists(full) and not os.path.isfile(full)

    def clear(self, path: str) -> str:
        """Moves what is no file out of the place of an object, as ``set_aside`` but silently; says where to."""
        aside = f"{DAMAGED}/{path}"
        if os.path.lexists(self._full(aside)):
            aside += f".{uuid.uuid4().hex[:16]}"
        Path(self._full(aside)).parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another process was faster
            os.rename(self._full(path), self._full(aside))
        return aside

    def put(self, path: str, data: bytes) -> None:
        """Puts an object, over what is there."""
        if self.local is None:
            self._ask(lambda: self._write_object(path, data), len(data))
            return
        temporary = self._write_temporary(path, data)
        try:
            try:
                os.replace(temporary, self._full(path))
            except IsADirectoryError:
                self._tell_set_aside(path, self.clear(path), _NO_FILE)
                os.replace(temporary, self._full(path))
        except BaseException:
            discard(temporary)
            raise
        sync_folder(temporary.parent)

    def put_first(self, path: str, data: bytes) -> bool:
        """Puts an object unless there is one; says whether it did. Where nothing has links, the check comes before."""
        if self.local is None:
            if self.exists(path):
                return False
            self.put(path, data)
            return True
        temporary = self._write_temporary(path, data)
        try:
            os.link(temporary, self._full(path))
        except FileExistsError:
            if not self.obstructed(path):
                return False
            self._tell_set_aside(path, self.clear(path), _NO_FILE)
            return self.put_first(path, data)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            if self.exists(path):
                return False
            os.replace(temporary, self._full(path))
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(temporary.parent)
        return True

    def remove(self, path: str) -> None:
        """Removes an object, where there is one."""
        with suppress(FileNotFoundError):
            self._ask(lambda: self._fs.delete_file(self._full(path)))

    def put_json(self, path: str, record: Mapping[str, Any]) -> None:
        """Puts a JSON record, sealed, over what is there."""
        self.put(path, seal_json(record))

    def exists(self, path: str) -> bool:
        """Whether there is such an object."""
        return bool(self._infos(self._full(path)).type == fs.FileType.File)

    def names(self, path: str) -> list[str]:
        """Names of the objects and folders directly below a folder, sorted; temporary files left out."""
        selector = fs.FileSelector(self._full(path), allow_not_found=True)
        names = (found.rpartition("/")[2] for found, _ in self._listed(path, selector))
        return sorted(name for name in names if not name.startswith("."))

    def files(self, path: str, recursive: bool = True) -> list[StoredFile]:
        """All objects below a folder, by path; temporary files too. Directly below it only, if not ``recursive``."""
        selector = fs.FileSelector(self._full(path).rstrip("/"), allow_not_found=True, recursive=recursive)
        return sorted(
            StoredFile(found[len(self._root) + 1 :], info.size or 0, info.mtime_ns / 1e9)
            for found, info in self._listed(path, selector)
            if info.type in (fs.FileType.File, fs.FileType.Unknown)  # unknown: a named pipe, which can be removed too
        )

    def prune(self, path: str) -> None:
        """Removes a folder and those above it as far as they are empty; on local disks, elsewhere folders are names."""
        if self.local is not None:
            with suppress(OSError):  # not empty, or gone
                for folder in (self.local / path, *(self.local / path).parents):
                    if folder == self.local:
                        break
                    folder.rmdir()

    def _listed(self, path: str, selector: fs.FileSelector) -> Iterator[tuple[str, fs.FileInfo]]:
        """(path, what is known of it) of all below a folder. Names that are no text are none of ours."""
        for info in self._infos(selector):
            try:
                yield info.path, info
            except UnicodeDecodeError:
                self._tell_once(f"{self.url}/{path}: a name in it is not UTF-8; passed over, as if it were not there")

    def _infos(self, asked: str | fs.FileSelector) -> Any:
        return self._ask(lambda: self._fs.get_file_info(asked))

    def _ask(self, request: Callable[[], Answer], sent_bytes: int = 0) -> Answer:
        """Of the filesystem. Raises OSError where an object store gives no answer."""
        return request() if self._patience is None else self._patience.ask(request, sent_bytes)

    def _opened(self, path: str) -> IO[bytes]:
        """An object to be read. On a local disk only a file is one: of a named pipe a reader may wait for ever."""
        full = self._full(path)
        if self.local is None:
            stream: IO[bytes] = self._fs.open_input_stream(full)
            return stream
        return open_file(full)

    def _give_up_place(self, path: str) -> None:
        """``give_up`` of what is no file."""
        if not self._mends:
            self.pass_over(path, _NO_FILE)
        elif self.obstructed(path):  # else somebody has cleared it meanwhile
            self._tell_set_aside(path, self.clear(path), _NO_FILE)

    def _tell_set_aside(self, path: str, aside: str, reason: str) -> None:
        self._tell(printable(f"{self.url}/{path}: damaged ({one_line(reason)}); set aside as {aside}, and made again"))

    def _tell_once(self, line: str) -> None:
        line = printable(line)
        if line not in self._told:
            self._told.add(line)
            self._tell(line)

    def _full(self, path: str) -> str:
        if ".." in path.split("/"):
            raise HomeError(f"{self.url}/{path}: leads out of the home; nothing of a home does")
        return f"{self._root}/{path}"

    def _write_object(self, path: str, data: bytes) -> None:
        with self._fs.open_output_stream(self._full(path)) as stream:
            stream.write(data)

    def _write_temporary(self, path: str, data: bytes) -> Path:
        target = Path(self._full(path))
        if not target.parent.is_dir():
            if self.identified and not self.exists(IDENTITY):  # else records would go to a disk that is not the home's
                raise FileNotFoundError(errno.ENOENT, "is not there any more", self.url)
            target.parent.mkdir(parents=True, exist_ok=True)
        return write_temporary(target, data)


def one_line(reason: str) -> str:
    """Of a reason what fits into a message."""
    return " ".join(reason.split())[:200]
