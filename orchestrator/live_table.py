"""The display of a running sweep on a terminal: a table that is drawn in place."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.live_rows import Rows
from orchestrator.status import SweepStatus, TrialLine
from orchestrator.status_text import clock, counts, failure, left, percent, rates, resources, result, score, short

_OTHER_LINES = 8
"""Of the display: sweep, bar, best, rates, header, below the rows "… more" and the last failure, and the cursor's."""
_STYLES = {"running": "cyan", "completed": "green", "pruned": "yellow", "failed": "red"}
_COLUMNS = ("trial", "state", "iteration", "val %", "test %", "time")
_RETURNS = ("trial", "state", "iteration", "return", "test", "time")
_WIDTHS = {"state": len("completed"), "time": len("1:23:45")}
"""From the start; what is wider makes its column wider, for good."""


class LiveTable:
    """Counts, speed and a row a trial. Rows and columns stay where they are: see ``Rows``; columns only grow.

    Rows never exceed the terminal's height, nor lines its width. What others write to ``sys.stderr`` meanwhile appears
    above the table; stdout is left alone.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._entered = False
        self._updated = time.monotonic()
        self._status: SweepStatus | None = None
        self._rows = Rows()
        self._widths = dict(_WIDTHS)
        self._live = Live(
            get_renderable=self._render, console=console, refresh_per_second=4, redirect_stdout=False, transient=False
        )

    def __enter__(self) -> Self:
        self._entered = True
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError, ValueError):  # the terminal is gone
            self._live.stop()

    def update(self, status: SweepStatus) -> None:
        """Shows this status from the next refresh on (four a second)."""
        with self._lock:
            self._rows.update(status.trials)
            self._status, self._updated = status, time.monotonic()
        if (
            self._entered and not self._live.is_started
        ):  # not before: a dataset may be built first, with a bar of its own
            self._live.start()

    def _render(self) -> Group:
        with self._lock:  # drawn by a thread of its own
            return self._drawn()

    def _drawn(self) -> Group:
        if self._status is None:
            return Group(Text("starting …"))
        status = self._status.later(time.monotonic() - self._updated)
        best = "best: –" if status.best is None else f"best: {result(status.best)}"
        speed = "; ".join(filter(None, [rates(status), resources(status.resources)]))
        parts: list[RenderableType] = [_line(counts(status)), self._bar(status), _line(best), _line(speed, "dim")]
        rows, hidden = self._rows.within(max(self._console.height - _OTHER_LINES, 3))
        if rows:
            parts.append(self._table(rows))
        if hidden:
            parts.append(_line(f"… and {hidden} more running", "dim"))
        failed = [trial for trial in status.trials if trial.state == "failed"]
        if failed:
            others = f" ({status.failed - 1} more failed)" if status.failed > 1 else ""
            parts.append(_line(f"{failure(failed[-1])}{others}", "red"))
        return Group(*parts)

    def _bar(self, status: SweepStatus) -> Table:
        grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
        grid.add_column(ratio=1)
        times = f"{percent(status.ended, status.planned)}  {clock(status.elapsed_s)}{left(status)}"
        grid.add_column(no_wrap=True, min_width=self._width("times", times))
        grid.add_row(ProgressBar(total=max(status.planned, 1), completed=status.ended), Text(times))
        return grid

    def _table(self, trials: list[TrialLine]) -> Table:
        table = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style="dim")
        rows = [_cells(trial) for trial in trials]
        returns = any(trial.unit == "return" for trial in trials)
        for position, column in enumerate(_RETURNS if returns else _COLUMNS):
            width = self._width(column, column, *(cells[position] for cells in rows))
            table.add_column(column, justify="left" if column == "state" else "right", no_wrap=True, min_width=width)
        table.add_column("", ratio=1, no_wrap=True, overflow="ellipsis")
        for trial, cells in zip(trials, rows, strict=True):
            # Text, not str: a "[0, 1]" in a parameter or an error is not markup.
            name, state, *figures = map(Text, cells)
            state.stylize(_STYLES[trial.state])
            table.add_row(name, state, *figures, Text(short(trial.error or trial.label)))
        return table

    def _width(self, column: str, *texts: str) -> int:
        """The widest that it ever was."""
        self._widths[column] = max(self._widths.get(column, 0), *map(len, texts))
        return self._widths[column]


def _cells(trial: TrialLine) -> tuple[str, ...]:
    return (
        trial.name,
        trial.state,
        f"{trial.iteration}/{trial.iterations}",
        score(trial.validation_accuracy, trial.unit),
        score(trial.test_accuracy, trial.unit),
        clock(trial.seconds),
    )


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
