"""What a run of a sweep uses, as it goes, held against the sweep's budget and kept on record."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress

from orchestrator.budget import Budget, Used
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
        gpus: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``gpus``: of one trial, where that is known already. ``clock``: in seconds; never goes back."""
        self._record, self._run_id, self._budget, self._clock = record, run_id, budget, clock
        self.gpus = gpus
        """Of one trial; stays as it is once one has begun."""
        before = record.used if budget is not None else Used()
        self._earlier = Used(before.seconds, before.gpu_seconds)
        self._lock, self._putting = threading.Lock(), threading.Lock()
        self._began: float | None = None
        self._running: dict[str, float] = {}
        """Training key -> when an attempt at it began."""
        self._gpu_seconds = 0.0
        self._begun = set(before.begun)
        """By all runs; without a budget by this one."""
        self._trials = {training for training, _ in self._begun}
        self._closed = False

    @property
    def used(self) -> Used:
        """By all runs, up to now; without a budget by this one."""
        return self._earlier + self._time() + Used(begun=frozenset(self._begun))

    def may_begin(self, rows: Iterable[Row] = ()) -> bool:
        """Whether a trial may be handed to the cluster; without ``rows``, any that is new.

        Once the budget is spent, those that had begun and were interrupted still may, and those that failed where
        ``may_try_again``; no other.
        """
        if not self._closed and self._spent():
            self._closed = True
            self.put()  # so that it stays spent, whatever happens next
        if not self._closed:
            return True
        begun = [row for row in rows if _keys(row) in self._begun]
        return any(row.state == "planned" or (row.state == "failed" and self.may_try_again()) for row in begun)

    def may_try_again(self) -> bool:
        """Whether a trial that has begun and failed may be attempted again: that takes time, but is no new trial."""
        return not self._spent(but="trials")

    def left_s(self, running: int) -> float:
        """Seconds until no other trial begins, if so many go on running; infinite where nothing limits them."""
        limits = self._budget.limits if self._budget is not None else {}
        used, gpus = self._earlier + self._time(), running * self.gpus
        by_clock = 3600 * limits.get("hours", math.inf) - used.seconds
        by_gpus = (3600 * limits.get("gpu_hours", math.inf) - used.gpu_seconds) / gpus if gpus else math.inf
        return max(min(by_clock, by_gpus), 0.0)

    def at_most(self, seen: Collection[str]) -> float:
        """How many trials there can be, if the budget allows no more; infinite where it does not limit them.

        ``seen``: keys of the trainings of those that are done or running. To them come those that an earlier run had
        begun, and what is left of ``budget.trials``, none once any limit is reached.
        """
        limit = self._budget.trials if self._budget is not None else None
        left = 0 if self._closed else math.inf if limit is None else max(limit - len(self._trials), 0)
        return len(seen) + len(self._trials.difference(seen)) + left

    def begin(self, rows: Iterable[Row]) -> None:
        """A trial is handed to the cluster. It is on record before it can do anything."""
        now, trial = self._clock(), frozenset(map(_keys, rows))
        ((training, _), *_) = trial
        if not trial <= self._begun:
            self._record.put_begun(trial)
        with self._lock:
            self._began = now if self._began is None else self._began
            self._begun |= trial
            self._trials.add(training)
            self._running[training] = now

    def end(self, training_key: str) -> None:
        """Its attempt has ended, however it did."""
        with self._lock:
            self._gpu_seconds += (self._clock() - self._running.pop(training_key)) * self.gpus

    def put(self) -> None:
        """Puts the time that this run has used on record, if it has begun anything."""
        if self._began is not None:
            with self._putting:  # else an older account could come last
                self._record.put_used(self._run_id, self._time())

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

    def _spent(self, but: str = "") -> bool:
        """Whether a limit is reached, but for one of this name."""
        amounts = (self._earlier + self._time()).amounts | {"trials": len(self._trials)}
        limits = self._budget.limits if self._budget is not None else {}
        return any(amounts[name] >= limit for name, limit in limits.items() if name != but)

    def _time(self) -> Used:
        """That of this run."""
        with self._lock:
            now = self._clock()
            seconds = 0.0 if self._began is None else now - self._began
            running = sum(now - began for began in self._running.values())
            return Used(seconds, self._gpu_seconds + running * self.gpus)


def _keys(row: Row) -> tuple[str, str]:
    return row.keys.training, row.keys.evaluation
