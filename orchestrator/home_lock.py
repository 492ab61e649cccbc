"""Who uses a local home: many at once that run trials, or one that removes what nothing refers to.

A ``flock`` on ``home.json``, which frees itself when its process dies. On object stores nobody can tell.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.errors import HomeError, InputError
from orchestrator.home_objects import Home

PATIENCE_S = 60.0
"""How long whoever runs trials waits for ``orchestrate clean``, which takes seconds."""


@contextmanager
def in_use(home: Home) -> Iterator[None]:
    """Held by whatever runs trials in the home, as soon as it looks up what is recorded.

    Raises:
        InputError: ``orchestrate clean`` did not end within ``PATIENCE_S``.
    """
    with _opened(home) as descriptor:
        deadline = time.monotonic() + PATIENCE_S
        while descriptor is not None and not _taken(descriptor, fcntl.LOCK_SH):
            if time.monotonic() > deadline:
                raise InputError(f"--home {home.url}: `orchestrate clean` works there; give the same command after it")
            time.sleep(0.05)
        yield


@contextmanager
def alone(home: Home) -> Iterator[bool]:
    """Whether nothing runs trials in the home, nor begins to until the block ends. False where nobody can tell."""
    with _opened(home) as descriptor:
        yield descriptor is not None and _taken(descriptor, fcntl.LOCK_EX)


@contextmanager
def _opened(home: Home) -> Iterator[int | None]:
    if home.local is None:
        yield None
        return
    try:
        descriptor = os.open(home.local / "home.json", os.O_RDWR)  # network disks lock nothing that is read-only
    except OSError as error:
        raise HomeError(f"{error.filename}: can't be written ({error.strerror}); name another with --home") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _taken(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
