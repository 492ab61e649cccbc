"""The objects of a home, a folder or bucket: small, and each put whole in one operation."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pyarrow import fs
from pydantic import BaseModel

from orchestrator.errors import HomeError
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

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""What a disk without hard links says: exFAT, some network and FUSE mounts."""

_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)
"""What a network or FUSE mount says that flushes files only."""


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


def _printable(line: str) -> str:
    """Without commands for a terminal, which names in a foreign home may hold."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in line)


class Home:
    """Objects by path below one root, on any filesystem that ``pyarrow.fs`` knows.

    A put is atomic: readers see the old object, or the new one, never a part. On local disks a put is a temporary
    file, fsync and rename; on object stores it is what their put does.

    A damaged record counts as absent, and is said once. Only a home that is ``mending`` changes anything then.
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
        full = self._full(path)

        def read() -> bytes:
            with self._fs.open_input_stream(full) as stream:
                data: bytes = stream.read()
                return data

        try:
            return self._ask(read)
        except (FileNotFoundError, NotADirectoryError):
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
        full = self._full(path)

        def read() -> bytes:
            with self._fs.open_input_stream(full) as stream:
                length = int.from_bytes(stream.read(8), "little")
                if length > MAX_HEADER_BYTES:
                    raise ValueError(f"a header of {length} bytes")
                header: bytes = stream.read(length)
                return header

        try:
            return json.loads(self._ask(read))
        except (FileNotFoundError, NotADirectoryError):
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
        line = _printable(f"{self.url}/{path}: damaged ({one_line(reason)}); passed over, as if it were not there")
        if line not in self._told:
            self._told.add(line)
            self._tell(line)

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
        self._tell(_printable(f"{self.url}/{path}: damaged ({one_line(reason)}); set aside as {aside}, and made again"))

    def put(self, path: str, data: bytes) -> None:
        """Puts an object, over what is there."""
        if self.local is None:
            self._ask(lambda: self._write_object(path, data), len(data))
            return
        temporary = self._write_temporary(path, data)
        try:
            os.replace(temporary, self._full(path))
        except BaseException:
            _discard(temporary)
            raise
        _sync_folder(temporary.parent)

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
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if self.exists(path):
                return False
            os.replace(temporary, self._full(path))
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(temporary.parent)
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
        return sorted(info.base_name for info in self._infos(selector) if not info.base_name.startswith("."))

    def files(self, path: str, recursive: bool = True) -> list[StoredFile]:
        """All objects below a folder, by path; temporary files too. Directly below it only, if not ``recursive``."""
        selector = fs.FileSelector(self._full(path).rstrip("/"), allow_not_found=True, recursive=recursive)
        return sorted(
            StoredFile(info.path[len(self._root) + 1 :], info.size, info.mtime_ns / 1e9)
            for info in self._infos(selector)
            if info.type == fs.FileType.File
        )

    def prune(self, path: str) -> None:
        """Removes a folder and those above it as far as they are empty; on local disks, elsewhere folders are names."""
        if self.local is not None:
            with suppress(OSError):  # not empty, or gone
                for folder in (self.local / path, *(self.local / path).parents):
                    if folder == self.local:
                        break
                    folder.rmdir()

    def _infos(self, asked: str | fs.FileSelector) -> Any:
        return self._ask(lambda: self._fs.get_file_info(asked))

    def _ask(self, request: Callable[[], Answer], sent_bytes: int = 0) -> Answer:
        """Of the filesystem. Raises OSError where an object store gives no answer."""
        return request() if self._patience is None else self._patience.ask(request, sent_bytes)

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
        temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}"
        try:
            with temporary.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        except BaseException as error:
            _discard(temporary)
            if isinstance(error, OSError):  # a disk that is full does not say where, others name the temporary file
                raise OSError(error.errno, error.strerror, str(target)) from error
            raise
        return temporary


def _discard(temporary: Path) -> None:
    with suppress(OSError):  # a disk that has become read-only says so even of a file that is not there
        temporary.unlink()


def one_line(reason: str) -> str:
    """Of a reason what fits into a message."""
    return " ".join(reason.split())[:200]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)
