"""Ends a process that takes too long, whatever it hangs in."""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager

STDERR = 2


@contextmanager
def deadline(timeout_s: float | None) -> Iterator[None]:
    """Ends this process at once, with its stacks on stderr, unless it leaves the block in time. None: no limit.

    A timer of the C library's threads watches, not one of Python's: those stand still where a call never lets go of the
    interpreter, and a signal waits for it to return. One block at a time.
    """
    if timeout_s is None:
        yield
        return
    faulthandler.dump_traceback_later(timeout_s, exit=True, file=STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
