"""The original files of a dataset, in a folder or a zip: seen the same way, read where they lie, never unpacked."""

from __future__ import annotations

import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from trainers.errors import DatasetError

LARGEST_FILE = 64 << 20
"""Bytes, as declared: anything larger is no image of a dataset, and not worth the memory."""
DEEPEST = 32
"""Folders in folders; deeper, a link leads in a circle."""
WAY_OUT = "mend that, or give --source an intact copy"

# What zipfile is known to raise on damaged, encrypted or foreign input.
_READING_ERRORS = (OSError, EOFError, ValueError, LookupError, RuntimeError, zipfile.BadZipFile, zlib.error)


class Source:
    """A folder or a zip of files. Pickles as its path: another process opens it anew, once.

    Hidden files and folders (``.DS_Store``, ``__MACOSX``) are passed over.
    """

    def __init__(self, path: Path) -> None:
        """Raises DatasetError where there is neither a folder nor a file."""
        if not os.path.exists(path):
            raise DatasetError(f"{path}: no such file or folder; --source takes a folder or a zip")
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (self.path,)

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """Bytes of every file, by its name relative to the source, with slashes; in the order of the names.

        Raises:
            DatasetError: the zip is truncated or no zip; a name in it would lead outside; a file declares more than
                ``LARGEST_FILE`` bytes; two have the same name; a folder can't be read.
        """
        sizes: dict[str, int] = {}
        for name, size in self._files():
            if size > LARGEST_FILE:
                raise DatasetError(f"{self.place(name)} is of {size} bytes, too large for an image; {WAY_OUT}")
            if name in sizes:
                raise DatasetError(f"{self.path} holds {name!r} twice; {WAY_OUT}")
            sizes[name] = size
        return dict(sorted(sizes.items()))

    @cached_property
    def empty_folders(self) -> tuple[str, ...]:
        """Names of the folders that hold nothing."""
        if self._archive is None:
            return tuple(sorted(name for name, inside in self._walk() if not inside))
        folders = {entry.filename.rstrip("/") for entry in self._archive.infolist() if entry.is_dir()}
        above = {str(parent) for name in (*self.sizes, *folders) for parent in PurePosixPath(name).parents}
        return tuple(sorted(name for name in folders - above if not _hidden(name)))

    def place(self, name: str) -> str:
        """Where a file lies, for messages."""
        return f"{self.path}/{name}"

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            DatasetError: it is damaged, encrypted or can't be read.
        """
        try:
            return (self.path / name).read_bytes() if self._archive is None else self._archive.read(name)
        except _READING_ERRORS as error:
            raise DatasetError(f"{self.place(name)} can't be read ({one_line(error)}); {WAY_OUT}") from error

    def read_text(self, name: str) -> str:
        """A small text file; UTF-8, with or without byte order mark."""
        return as_text(self.read(name), self.place(name))

    @cached_property
    def _archive(self) -> zipfile.ZipFile | None:
        if self.path.is_dir():
            return None
        try:
            archive = zipfile.ZipFile(self.path)
        except _READING_ERRORS as error:
            reason = f"is no readable zip, or cut short ({one_line(error)})"
            raise DatasetError(f"{self.path} {reason}; {WAY_OUT}") from error
        for entry in archive.infolist():
            name = PurePosixPath(entry.filename.replace("\\", "/"))
            if name.is_absolute() or ".." in name.parts or re.match("[A-Za-z]:", entry.filename):
                raise DatasetError(f"{self.path} holds the unsafe name {entry.filename!r}; {WAY_OUT}")
        return archive

    def _files(self) -> Iterator[tuple[str, int]]:
        """(name, bytes) of every file that is not hidden."""
        if self._archive is None:
            for _, inside in self._walk():
                for entry in inside:
                    if entry.is_file():
                        yield Path(entry.path).relative_to(self.path).as_posix(), entry.stat().st_size
                    elif not entry.is_dir():
                        raise DatasetError(f"{entry.path} is neither file nor folder, or a link to nothing; {WAY_OUT}")
        else:
            for info in self._archive.infolist():
                if not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16) and not _hidden(info.filename):
                    yield info.filename, info.file_size

    def _walk(self) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
        """(name, what it holds) of every folder that is not hidden; links to folders are followed."""
        waiting = [self.path]
        while waiting:
            folder = waiting.pop()
            name = folder.relative_to(self.path)
            if len(name.parts) > DEEPEST:
                raise DatasetError(f"{folder}: deeper than {DEEPEST} folders; does a link lead in a circle?")
            try:
                inside = [entry for entry in os.scandir(folder) if not _hidden(entry.name)]
            except OSError as error:
                raise DatasetError(f"{folder} can't be read ({one_line(error)}); {WAY_OUT}") from error
            yield name.as_posix(), inside
            waiting += [folder / entry.name for entry in inside if entry.is_dir()]


@lru_cache(maxsize=4)
def _opened(path: Path) -> Source:
    """The source in a worker: a zip's table of contents is parsed once a process, not once a job."""
    return Source(path)


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def as_text(data: bytes, place: str) -> str:
    """UTF-8, with or without byte order mark; raises DatasetError for anything else."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{place} is no UTF-8 text ({one_line(error)}); {WAY_OUT}") from error


def one_line(error: Exception) -> str:
    """The reason that an exception of a library gives, short enough for a message."""
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return " ".join(reason.split())[:120] or type(error).__name__
