"""A terminal of a given size, as a person would see it: what is written to it is drawn by an emulator."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

import pyte
from processes import wait_for


class Terminal:
    """A pseudo-terminal. ``stream`` writes to it; ``lines`` is what its screen shows."""

    def __init__(self, columns: int, rows: int) -> None:
        self._ours, self.theirs = pty.openpty()
        self.screen = pyte.HistoryScreen(columns, rows, history=1000)
        self._emulator = pyte.ByteStream(self.screen)
        self._lock = threading.Lock()
        self.received = b""
        self._marks = 0
        self.resize(columns, rows)
        self.stream = os.fdopen(os.dup(self.theirs), "w", encoding="utf-8")
        self._reader = threading.Thread(target=self._read, daemon=True)

    def resize(self, columns: int, rows: int) -> None:
        """As when a window is dragged."""
        with self._lock:
            fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            self.screen.resize(rows, columns)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stream.close()
        os.close(self.theirs)
        self._reader.join(10)
        os.close(self._ours)

    def wait_drawn(self) -> None:
        """Returns once the screen shows all that was written before."""
        self._marks += 1
        self.stream.write(f"\x1b]2;mark {self._marks}\x07")  # a title, which a screen does not show
        self.stream.flush()
        wait_for(lambda: self.screen.title == f"mark {self._marks}", "it was not drawn")

    @property
    def lines(self) -> list[str]:
        """The screen, without blanks at the ends of lines and without empty lines at its end."""
        with self._lock:
            return "\n".join(line.rstrip() for line in self.screen.display).rstrip().split("\n")

    @property
    def scrolled(self) -> int:
        """Lines that have left the screen at its top."""
        with self._lock:
            return len(self.screen.history.top)

    def _read(self) -> None:
        with suppress(OSError):  # the other end is closed
            while data := os.read(self._ours, 65536):
                with self._lock:
                    self.received += data
                    self._emulator.feed(data)
