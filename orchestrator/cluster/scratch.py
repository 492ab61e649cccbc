"""The folder that Tune wants for its snapshots, which nobody reads."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "metasweep-tune-"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder, removed at the end; those that killed drivers left behind are removed first.

    Each driver holds a lock on its own. A lock ends with its process however that ends, and unlike a pid it never
    becomes another's.
    """
    for stale in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        _remove_unlocked(stale)
    folder, lock = _locked_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked_folder() -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        try:
            lock = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder, lock
        os.close(lock)  # a driver that started at the same time took it for stale before it was locked


def _remove_unlocked(folder: Path) -> None:
    try:
        lock = os.open(folder, os.O_RDONLY)
    except OSError:  # another user's, or just gone
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # its driver lives
        pass
    finally:
        os.close(lock)
