"""The display of a running sweep, on stderr: a table that stays in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.status import SweepStatus, TrialLine

_FINISHED_ROWS, _FAILED_ROWS = 4, 2  # the last of each stay on the screen
_OTHER_LINES = 6  # of the table: sweep, bar, best, header, "… more", and the cursor's
_LINE_EVERY_S = 5.0
_SHORT = 160
_STYLES = {"running": "cyan", "completed": "green", "pruned": "yellow", "failed": "red"}
_ENDED = ("completed", "pruned", "failed")


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


class LiveTable:
    """A table that is drawn in place: running trials by number, then the last few that ended, newest last.

    Rows never exceed the terminal's height, nor lines its width. What others write to ``sys.stderr`` meanwhile appears
    above the table; stdout is left alone.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._entered = False
        self._updated = time.monotonic()
        self._status: SweepStatus | None = None
        self._ended: dict[int, None] = {}
        """Numbers in the order in which they were seen to have ended."""
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
        for trial in status.trials:
            if trial.state == "running":
                self._ended.pop(trial.number, None)
            elif trial.state in _ENDED:
                self._ended.setdefault(trial.number)
        self._status, self._updated = status, time.monotonic()
        if (
            self._entered and not self._live.is_started
        ):  # not before: a dataset may be built first, with a bar of its own
            self._live.start()

    def _render(self) -> Group:
        if self._status is None:
            return Group(Text("starting …"))
        status = _later(self._status, time.monotonic() - self._updated)
        parts: list[RenderableType] = [Text(_counts(status), no_wrap=True, overflow="ellipsis"), _bar(status)]
        if status.best is not None:
            parts.append(Text(f"best: {_result(status.best)}", no_wrap=True, overflow="ellipsis"))
        rows, hidden = self._rows(status)
        if rows:
            parts.append(_table(rows))
        if hidden:
            parts.append(Text(f"… and {hidden} more running", style="dim"))
        return Group(*parts)

    def _rows(self, status: SweepStatus) -> tuple[list[TrialLine], int]:
        """The trials to show, and how many running ones are left out."""
        trials = {trial.number: trial for trial in status.trials}
        running = sorted((trial for trial in status.trials if trial.state == "running"), key=lambda trial: trial.number)
        ended = [trials[number] for number in list(self._ended) if number in trials]
        failed = [trial for trial in ended if trial.state == "failed"][-_FAILED_ROWS:]
        kept = {trial.number for trial in (*ended[-_FINISHED_ROWS:], *failed)}
        finished = [trial for trial in ended if trial.number in kept]
        room = max(self._console.height - _OTHER_LINES, 3)
        finished = finished[max(len(finished) - max(room - len(running), 1), 0) :]
        shown = running[: room - len(finished)]
        return shown + finished, len(running) - len(shown)


def _later(status: SweepStatus, seconds: float) -> SweepStatus:
    """The same status so many seconds after it was said: clocks go on between events."""
    trials = tuple(
        replace(trial, seconds=trial.seconds + seconds) if trial.state == "running" else trial
        for trial in status.trials
    )
    left_s = None if status.left_s is None else max(status.left_s - int(seconds), 0.0)
    return replace(status, trials=trials, elapsed_s=status.elapsed_s + seconds, left_s=left_s)


def _bar(status: SweepStatus) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True)
    times = f"{_percent(_ended(status), status.planned)}  {_clock(status.elapsed_s)}{_left(status)}"
    grid.add_row(ProgressBar(total=max(status.planned, 1), completed=_ended(status)), Text(times))
    return grid


def _table(rows: list[TrialLine]) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("iteration", justify="right", no_wrap=True)
    table.add_column("validation", justify="right", no_wrap=True)
    table.add_column("test", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("", ratio=1, no_wrap=True, overflow="ellipsis")
    for trial in rows:
        cells = (str(trial.number), trial.state, f"{trial.iteration}/{trial.iterations}")
        figures = (_accuracy(trial.validation_accuracy), _accuracy(trial.test_accuracy), _clock(trial.seconds))
        note = _short(trial.error or trial.label)
        # Text, not str: a "[0, 1]" in a parameter or an error is not markup.
        table.add_row(*map(Text, cells[:1]), Text(cells[1], style=_STYLES[trial.state]), cells[2], *figures, Text(note))
    return table


class PlainLines:
    """One line an event (started, validated, ended), without control characters. For logs and pipes.

    Validations are shown at most every ``every_s`` seconds; starts, ends and failures always, except that trials which
    the store held at the start share one line.
    """

    def __init__(
        self, stream: TextIO, every_s: float = _LINE_EVERY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream, self._every_s, self._clock = stream, every_s, clock
        self._before: dict[int, TrialLine] | None = None
        self._quiet_until = float("-inf")
        self._compared = (0, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, status: SweepStatus) -> None:
        """Writes a line for whatever is new since the last status."""
        if self._before is None:
            stored = {trial.number: trial for trial in status.trials if trial.state in _ENDED}
            note = f", {len(stored)} of them in the store" if stored else ""
            self._line(f"{status.name}: {status.planned} trials{note}")
            self._before = stored
        if (status.compared, status.to_compare) != self._compared:
            self._compared = status.compared, status.to_compare
            self._line(_counts(status))
        for trial in status.trials:
            if trial.state not in _STYLES:
                continue  # planned
            before = self._before.get(trial.number)
            if before is None or before.state != trial.state:
                self._changed(trial, before, status)
            elif trial.state == "running" and trial.validation_accuracy is not None and trial != before:
                if (trial.iteration, trial.validation_accuracy) == (before.iteration, before.validation_accuracy):
                    continue
                if self._clock() < self._quiet_until:
                    continue  # not remembered, so that it is shown when its time has come
                self._quiet_until = self._clock() + self._every_s
                self._line(f"trial {trial.number}: {_progress(trial)}  [{_counts(status)}{_left(status)}]")
            self._before[trial.number] = trial

    def _changed(self, trial: TrialLine, before: TrialLine | None, status: SweepStatus) -> None:
        if trial.state == "running":
            again = "started" if before is None else "started again"
            self._line(f"trial {trial.number} {again}: {_short(trial.label)}")
        elif trial.state == "failed":
            self._line(
                f"trial {trial.number} failed after {_clock(trial.seconds)}: {_short(trial.error or 'no reason')}"
            )
        else:
            counts = f"{_ended(status)}/{status.planned}{_left(status)}"
            self._line(f"{_result(trial, trial.state)}, {_clock(trial.seconds)}  [{counts}]")

    def _line(self, text: str) -> None:
        with suppress(OSError, ValueError):  # whoever read them is gone; the sweep goes on
            print(_printable(text), file=self._stream, flush=True)


def _counts(status: SweepStatus) -> str:
    counts = {"running": status.running, "failed": status.failed, "pruned": status.pruned, "cached": status.cached}
    more = "".join(f", {count} {word}" for word, count in counts.items() if count)
    pairs = f", {status.compared}/{status.to_compare} pairs of trainings compared" if status.to_compare else ""
    return f"{status.name}: {_ended(status)}/{status.planned} trials done{more}{pairs}"


def _ended(status: SweepStatus) -> int:
    return status.completed + status.pruned + status.failed


def _result(trial: TrialLine, state: str = "") -> str:
    test = "" if trial.test_accuracy is None else f", test {_accuracy(trial.test_accuracy)} %"
    label = f" ({_short(trial.label)})" if trial.label else ""
    place = f" at {trial.iteration}/{trial.iterations}" if state == "pruned" else ""
    validation = _accuracy(trial.validation_accuracy)
    return f"trial {trial.number}{state and ' '}{state}{place}: validation {validation} %{test}{label}"


def _progress(trial: TrialLine) -> str:
    return f"iteration {trial.iteration}/{trial.iterations}, validation {_accuracy(trial.validation_accuracy)} %"


def _left(status: SweepStatus) -> str:
    return "" if status.left_s is None else f", about {_clock(status.left_s)} left"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part // max(whole, 1)} %"


def _accuracy(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.1f}"


def _clock(seconds: float) -> str:
    whole = max(int(seconds), 0)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def _short(text: str) -> str:
    line = _printable(next(iter(text.strip().splitlines()), ""))
    return line if len(line) <= _SHORT else line[: _SHORT - 1] + "…"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
