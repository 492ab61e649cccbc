"""Shows a running sweep: a table that stays in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console

from orchestrator.live_table import LiveTable
from orchestrator.plain_lines import PlainLines
from orchestrator.status import SweepStatus


class Display(Protocol):
    """Shows a sweep between ``with`` and its end. ``update`` takes the latest status and returns at once."""

    def __enter__(self) -> Self:
        """Starts to show."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaves the last state on the screen."""
        ...

    def update(self, status: SweepStatus) -> None:
        """Shows this status from now on."""
        ...


def open_display(stream: TextIO, quiet: bool) -> Display:
    """Nothing where quiet, a table where the stream is a terminal that can move its cursor, else plain lines."""
    if quiet:
        return Silence()
    terminal = stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    return LiveTable(Console(file=stream)) if terminal else PlainLines(stream)


class Silence:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, status: SweepStatus) -> None:
        """Does nothing."""
