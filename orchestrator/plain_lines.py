"""The display of a running sweep where there is no terminal: lines for logs and pipes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self, TextIO

from orchestrator.status import SweepStatus, TrialLine
from orchestrator.status_text import clock, counts, failure, left, printable, progress, rates, resources, result, short

_LINE_EVERY_S = 5.0
_QUIET_S = 60.0
_ENDED = ("completed", "pruned", "failed")


class PlainLines:
    """One line an event (started, validated, ended), without control characters. For logs and pipes.

    Validations are shown at most every ``every_s`` seconds; starts, ends and failures always, except that trials which
    were done at the start share one line. Where nothing was written for ``quiet_s`` seconds, a line says how things
    stand: logs that stay silent look dead, to people and to CI.
    """

    def __init__(
        self,
        stream: TextIO,
        every_s: float = _LINE_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
        quiet_s: float = _QUIET_S,
    ) -> None:
        self._stream, self._every_s, self._clock, self._quiet_s = stream, every_s, clock, quiet_s
        self._before: dict[int, TrialLine] | None = None
        self._quiet_until = float("-inf")
        self._turns: dict[int, int] = {}
        """Of the trials that run: when each was shown last, in order."""
        self._compared = (0, 0)
        self._latest: SweepStatus | None = None
        self._lock = threading.Lock()
        self._written = clock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._break_silence, name="plain-lines", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def update(self, status: SweepStatus) -> None:
        """Writes a line for whatever is new since the last status."""
        with self._lock:
            self._latest = status
            self._write_news(status)

    def _write_news(self, status: SweepStatus) -> None:
        if self._before is None:
            note = f", {status.ended} of them done already" if status.ended else ""
            self._line(f"{status.name}: {status.planned} trials{note}")
            self._before = {trial.number: trial for trial in status.trials if trial.state in _ENDED}
        if (status.compared, status.to_compare) != self._compared:
            self._compared = status.compared, status.to_compare
            self._line(counts(status))
        moved: list[TrialLine] = []
        for trial in status.trials:
            if trial.state == "planned":
                continue
            before = self._before.get(trial.number)
            if before is None or before.state != trial.state:
                self._changed(trial, before, status)
            elif trial.state == "running" and trial.validation_accuracy is not None:
                if (trial.iteration, trial.validation_accuracy) != (before.iteration, before.validation_accuracy):
                    moved.append(trial)
                continue  # remembered when it is shown
            self._before[trial.number] = trial
        if moved and self._clock() >= self._quiet_until:
            self._quiet_until = self._clock() + self._every_s
            trial = min(moved, key=lambda one: self._turns.get(one.number, 0))  # each in its turn
            self._turns[trial.number] = max(self._turns.values(), default=0) + 1
            self._before[trial.number] = trial
            self._line(f"trial {trial.name}: {progress(trial)}  [{counts(status)}{left(status)}]")

    def _changed(self, trial: TrialLine, before: TrialLine | None, status: SweepStatus) -> None:
        if trial.state == "running":
            again = "started" if before is None else "started again"
            self._line(f"trial {trial.name} {again}: {short(trial.label)}")
        elif trial.state == "failed":
            self._line(failure(trial))
        else:
            done = f"{status.ended}/{status.planned}{left(status)}"
            self._line(f"{result(trial, trial.state)}, {clock(trial.seconds)}  [{done}]")

    def _break_silence(self) -> None:
        while not self._over.wait(min(self._quiet_s, 1.0)):
            with self._lock:
                if self._latest is not None and self._clock() - self._written >= self._quiet_s:
                    taken = resources(self._latest.resources)
                    self._line("; ".join(filter(None, [counts(self._latest), rates(self._latest), taken])))

    def _line(self, text: str) -> None:
        self._written = self._clock()
        with suppress(OSError, ValueError):  # whoever read them is gone; the sweep goes on
            print(printable(text), file=self._stream, flush=True)
