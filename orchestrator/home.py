"""The home: a folder or bucket of small objects, each put whole in one operation."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pyarrow import fs
from pydantic import BaseModel

from orchestrator.errors import AbsentHome, HomeError, SilentHome
from orchestrator.record_shapes import shaped
from orchestrator.seal import open_json, seal_json
from orchestrator.url_secrets import holds_secrets

Record = TypeVar("Record")
Tell = Callable[[str], None]
"""Gets a line that a user should see."""

SCHEMA = 1
"""Version of the layout. A home of another version is refused."""

PATIENCE_S = 4.0
"""How long a user waits for an object store that may not be there at all."""

DAMAGED = "damaged"
"""Folder of the home for records that were set aside, each under the path that it had."""

MAX_HEADER_BYTES = 100_000_000
"""Of a safetensors file, by its format."""

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""What a disk without hard links says: exFAT, some network and FUSE mounts."""


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
        self, filesystem: fs.FileSystem, root: str, url: str, tell: Tell = _log_once, mends: bool = False
    ) -> None:
        self._fs = filesystem
        self._root = root.rstrip("/")
        self.url = url
        """What the user called it; opens the same home in another process."""
        self._tell, self._mends = tell, mends
        self._told: set[str] = set()

    def mending(self, tell: Tell) -> Home:
        """This home for who makes again what is lacking: a damaged record is set aside, and ``tell`` gets a line."""
        return Home(self._fs, self._root, self.url, tell, mends=True)

    @property
    def local(self) -> Path | None:
        """The folder, where the home is on a local disk."""
        return Path(self._root) if isinstance(self._fs, fs.LocalFileSystem) else None

    @property
    def id(self) -> str:
        """Tells this home from others, wherever it is moved."""
        return str(open_json(self.read("home.json") or b"")["id"])

    def read(self, path: str) -> bytes | None:
        """The object, or None where there is none."""
        try:
            with self._fs.open_input_stream(self._full(path)) as stream:
                data: bytes = stream.read()
                return data
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read_record(self, path: str, parse: Callable[[bytes], Record]) -> Record | None:
        """What ``parse`` makes of an object; None where there is none, or a damaged one.

        Args:
            path: of the object.
            parse: raises ValueError, TypeError or KeyError where the object is damaged.
        """
        data = self.read(path)
        if data is None:
            return None
        try:
            return parse(data)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            if not self._mends:
                self.pass_over(path, str(error))
            elif self.read(path) == data:  # else somebody has made it again meanwhile
                self.set_aside(path, str(error))
            return None

    def read_json(self, path: str, shape: type[BaseModel] | None = None) -> Any:
        """The object as JSON; None where there is none, or a damaged one, or one of another shape."""
        return self.read_record(path, lambda data: shaped(open_json(data), shape))

    def read_json_header(self, path: str) -> Any:
        """The JSON header of a safetensors object, without the tensors behind it; None where there is no object.

        Raises:
            ValueError: it is damaged.
        """
        try:
            with self._fs.open_input_stream(self._full(path)) as stream:
                length = int.from_bytes(stream.read(8), "little")
                if length > MAX_HEADER_BYTES:
                    raise ValueError(f"a header of {length} bytes")
                return json.loads(stream.read(length))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except RecursionError as error:
            raise ValueError(str(error)) from error

    def pass_over(self, path: str, reason: str) -> None:
        """Says, once, that a damaged object counts as absent."""
        line = _printable(f"{self.url}/{path}: damaged ({_one_line(reason)}); passed over, as if it were not there")
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
        self._tell(
            _printable(f"{self.url}/{path}: damaged ({_one_line(reason)}); set aside as {aside}, and made again")
        )

    def put(self, path: str, data: bytes) -> None:
        """Puts an object, over what is there."""
        if self.local is None:
            # In a thread, where no Ctrl-C can raise between opening and writing: what is left open is closed by Arrow,
            # and so put, with nothing in it.
            with ThreadPoolExecutor(1) as pool:
                pool.submit(self._write_object, path, data).result()
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
            self._fs.delete_file(self._full(path))

    def put_json(self, path: str, record: Mapping[str, Any]) -> None:
        """Puts a JSON record, sealed, over what is there."""
        self.put(path, seal_json(record))

    def exists(self, path: str) -> bool:
        """Whether there is such an object."""
        return bool(self._fs.get_file_info(self._full(path)).type == fs.FileType.File)

    def names(self, path: str) -> list[str]:
        """Names of the objects and folders directly below a folder, sorted; temporary files left out."""
        selector = fs.FileSelector(self._full(path), allow_not_found=True)
        return sorted(info.base_name for info in self._fs.get_file_info(selector) if not info.base_name.startswith("."))

    def files(self, path: str, recursive: bool = True) -> list[StoredFile]:
        """All objects below a folder, by path; temporary files too. Directly below it only, if not ``recursive``."""
        selector = fs.FileSelector(self._full(path).rstrip("/"), allow_not_found=True, recursive=recursive)
        return sorted(
            StoredFile(info.path[len(self._root) + 1 :], info.size, info.mtime_ns / 1e9)
            for info in self._fs.get_file_info(selector)
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

    def _full(self, path: str) -> str:
        if ".." in path.split("/"):
            raise HomeError(f"{self.url}/{path}: leads out of the home; nothing of a home does")
        return f"{self._root}/{path}"

    def _write_object(self, path: str, data: bytes) -> None:
        with self._fs.open_output_stream(self._full(path)) as stream:
            stream.write(data)

    def _write_temporary(self, path: str, data: bytes) -> Path:
        target = Path(self._full(path))
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


def _one_line(reason: str) -> str:
    return " ".join(reason.split())[:200]


def open_home(url: str, create: bool = True, patience_s: float = PATIENCE_S) -> Home:
    """The home at a path or URL.

    Args:
        url: a folder, or a URL of ``pyarrow.fs`` (``s3://bucket/path``).
        create: make it where there is none.
        patience_s: how long an object store may take.

    Raises:
        HomeError: there is none (and ``create`` is False), it can't be written, its object store does not answer, or
            its layout is of another version.
    """
    if "://" not in url:
        return _open(url, create)
    opened: list[Home | Exception] = []

    def ask() -> None:
        try:
            opened.append(_open(url, create))
        except Exception as error:
            opened.append(error)

    # A thread, since no setting bounds it for all stores: S3 tries for 6 s where the name is unknown and for ever where
    # a server is mute, Google's for 15 minutes.
    thread = threading.Thread(target=ask, name="home", daemon=True)
    thread.start()
    thread.join(patience_s)
    if not opened:
        way_out = "check the network, the name of the bucket and your credentials"
        raise SilentHome(f"--home {url}: no answer within {patience_s:g} s; {way_out}")
    if isinstance(opened[0], Exception):
        raise opened[0]
    return opened[0]


def _open(url: str, create: bool) -> Home:
    filesystem, root = _filesystem(url)
    home = Home(filesystem, root, url)
    try:
        record = _read_identity(home)
        if record is None:
            if not create:
                raise AbsentHome(f"--home {url}: no home there; `orchestrate sweep` makes one, or name another")
            home.put_first("home.json", seal_json({"schema": SCHEMA, "id": uuid.uuid4().hex}))
            record = _read_identity(home)
        elif create:
            _check_writable(home)
    except (OSError, ValueError) as error:  # ValueError: what pyarrow calls a path that no filesystem of its has
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise HomeError(f"--home {url}: can't be used ({reason}); name a folder that you can write") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA or not isinstance(record.get("id"), str):
        found = record.get("schema") if isinstance(record, dict) else record
        raise HomeError(
            f"--home {url}: home.json says schema {found!r}, this version reads {SCHEMA}; use the version that made it"
        )
    return home


def _read_identity(home: Home) -> Any:
    """What home.json says; None where there is none. Nothing could make it again, so damage ends everything here."""
    data = home.read("home.json")
    try:
        return None if data is None else open_json(data)
    except ValueError as error:
        raise HomeError(
            f"--home {home.url}: home.json is damaged ({_one_line(str(error))}); put a copy back, or remove it to have "
            "another made: results stay, MLflow takes the sweeps for new ones"
        ) from error


def open_folder(path: str | Path) -> Home:
    """A local folder that is no home, so that objects can be put there as into one; made with the first of them."""
    return Home(fs.LocalFileSystem(), str(Path(path).expanduser().absolute()), str(path))


def existing_home(url: str) -> Home | None:
    """The home, or None where there is none yet and one can be made. Writes nothing.

    Raises:
        HomeError: as ``open_home``; what can be seen of a folder that can't be made, too.
    """
    try:
        return open_home(url, create=False)
    except AbsentHome:
        filesystem, root = _filesystem(url)
        if isinstance(filesystem, fs.LocalFileSystem):
            above = next(folder for folder in (Path(root), *Path(root).parents) if folder.exists())
            if not above.is_dir() or not os.access(above, os.W_OK):
                what = "can't be written" if above.is_dir() else "is not a folder"
                raise HomeError(f"--home {url}: {above} {what}; name a folder that you can write") from None
        return None


def _filesystem(url: str) -> tuple[fs.FileSystem, str]:
    if "://" not in url:
        if not url:
            raise HomeError("--home: empty; name a folder or a URL")
        try:
            return fs.LocalFileSystem(), str(Path(url).expanduser().absolute())
        except RuntimeError as error:
            raise HomeError(f"--home {url}: {str(error).rstrip('.')}; name a folder that you can write") from error
    if "@" in url or holds_secrets(url):
        raise HomeError("--home: a URL with credentials would end up in records and logs; give them by environment")
    try:
        filesystem, root = fs.FileSystem.from_uri(url)
    except (ValueError, OSError) as error:
        raise HomeError(
            f"--home {url}: {str(error).splitlines()[0]}; name a folder, or a URL such as s3://bucket/path"
        ) from error
    return filesystem, root


def _check_writable(home: Home) -> None:
    if home.local is not None:
        probe = home.local / f".probe-{uuid.uuid4().hex}"
        probe.touch()
        probe.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
