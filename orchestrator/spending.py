"""What a run of a sweep uses, as it goes, held against the sweep's budget and kept on record."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from orchestrator.budget import Budget, Used, spent
from orchestrator.record import SweepRecord
from orchestrator.rows import Row

EVERY_S = 10.0
"""How often what was used is put on record while trials run: what a killed run loses of it at most."""


class Spending:
    """The account of one run, on top of those of earlier runs.

    Its time begins with its first trial, so that a cluster that starts up, or a run with nothing to do, uses nothing.
    """

    def __init__(
        self,
        record: SweepRecord,
        run_id: str,
        budget: Budget | None,
        gpus: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``gpus``: of one trial. ``clock``: in seconds; never goes back."""
        self._record, self._run_id, self._budget, self._gpus, self._clock = record, run_id, budget, gpus, clock
        self._before = record.used
        self._lock, self._putting = threading.Lock(), threading.Lock()
        self._began: float | None = None
        self._running: dict[str, float] = {}
        """Training key -> when an attempt at it began."""
        self._gpu_seconds = 0.0
        self._begun: set[tuple[str, str]] = set()
        self._closed = False

    @property
    def used(self) -> Used:
        """By all runs, up to now."""
        return self._before + self._own()

    def may_begin(self, rows: Iterable[Row] = ()) -> bool:
        """Whether a trial may be handed to the cluster; without ``rows``, any that is new.

        Once the budget is spent, those that had begun and were interrupted still may, and no other.
        """
        if self._budget is not None and not self._closed and spent(self._budget, self.used):
            self._closed = True
            self.put()  # so that it stays spent, whatever happens next
        return not self._closed or any(row.state == "planned" and _keys(row) in self._before.begun for row in rows)

    def begin(self, rows: Iterable[Row]) -> None:
        """A trial is handed to the cluster. It is on record before it can do anything."""
        rows, now = tuple(rows), self._clock()
        with self._lock:
            self._began = now if self._began is None else self._began
            self._begun |= {_keys(row) for row in rows}
            self._running[rows[0].keys.training] = now
        self.put()

    def end(self, training_key: str) -> None:
        """Its attempt has ended, however it did."""
        with self._lock:
            self._gpu_seconds += (self._clock() - self._running.pop(training_key)) * self._gpus

    def put(self) -> None:
        """Puts what this run has used on record, if it has begun anything."""
        if self._began is not None:
            with self._putting:  # else an older account could come last
                self._record.put_used(self._run_id, self._own())

    @contextmanager
    def kept(self, every_s: float = EVERY_S) -> Iterator[None]:
        """Keeps the record up to date meanwhile, and at the end."""
        over = threading.Event()

        def keep() -> None:
            while not over.wait(every_s):
                with suppress(OSError):  # a full disk is said by what met it first
                    self.put()

        thread = threading.Thread(target=keep, name="spending", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            with suppress(OSError):
                self.put()

    def _own(self) -> Used:
        with self._lock:
            now = self._clock()
            seconds = 0.0 if self._began is None else now - self._began
            running = sum(now - began for began in self._running.values())
            return Used(seconds, self._gpu_seconds + running * self._gpus, frozenset(self._begun))


def _keys(row: Row) -> tuple[str, str]:
    return row.keys.training, row.keys.evaluation
