"""Files of a home on a local disk: whole and flushed before they get their names; what is no file is not read."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from contextlib import suppress
from pathlib import Path
from typing import IO

NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""What a disk without hard links says: exFAT, some network and FUSE mounts."""

_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)
"""What a network or FUSE mount says that flushes files only."""


class NoFile(Exception):
    """In the place of an object lies a folder, a named pipe or the like."""


def open_file(path: str) -> IO[bytes]:
    """A file to be read.

    Raises:
        NoFile: it is something else; of a named pipe a reader might wait for ever.
        OSError: there is none, or it can't be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # else opening a pipe waits for a writer
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise NoFile from error
        raise
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return open(descriptor, "rb")
    os.close(descriptor)
    raise NoFile


def write_temporary(target: Path, data: bytes) -> Path:
    """A new file beside ``target``, whose folder is there, with the data on the disk; to be given its name.

    Raises:
        OSError: names ``target``; nothing is left.
    """
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}"
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException as error:
        discard(temporary)
        if isinstance(error, OSError):  # a disk that is full does not say where, others name the temporary file
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise
    return temporary


def discard(temporary: Path) -> None:
    """Removes it, if that can be done."""
    with suppress(OSError):  # a disk that has become read-only says so even of a file that is not there
        temporary.unlink()


def sync_folder(folder: Path) -> None:
    """Puts on the disk what names the folder holds, where its filesystem does that."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)
