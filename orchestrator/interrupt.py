"""Ctrl-C and SIGTERM as one thing: KeyboardInterrupt, once; a second signal ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

EXIT_CODE = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _first(_number: int, _frame: FrameType | None) -> None:
    for number in SIGNALS:
        signal.signal(number, _second)
    _say(b"\nstopping\n")  # it takes seconds, and a second signal would not let it end
    raise KeyboardInterrupt


def _second(_number: int, _frame: FrameType | None) -> None:
    show_cursor = b"\x1b[?25h" if os.isatty(2) else b""  # a live table has hidden it
    _say(show_cursor + b"\ninterrupted at once; what was recorded is kept\n")
    for end in _left_behind:
        with suppress(Exception):  # it may be half ended
            end()
    os._exit(EXIT_CODE)


_left_behind: list[Callable[[], None]] = []
"""End what would stay for a while if this process ended at once."""


@contextmanager
def ended_with_us(end: Callable[[], None]) -> Iterator[None]:
    """Has a second signal inside call ``end``, too."""
    _left_behind.append(end)
    try:
        yield
    finally:
        _left_behind.remove(end)


def _say(text: bytes) -> None:
    """To stderr, past every buffer; a terminal that is gone must not keep the process from ending."""
    with suppress(OSError):
        os.write(2, text)


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGINT and SIGTERM raise KeyboardInterrupt inside.

    Outside the main thread, where Python takes no signals, it changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _first) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Puts the handlers back that a library replaces inside; one of its that exits becomes KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    except SystemExit as error:
        before = dict.fromkeys(SIGNALS, _second)
        raise KeyboardInterrupt from error
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is not _second:
                signal.signal(number, handler)
