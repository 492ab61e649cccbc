"""The classes through which Tune sees a sweep: a searcher that hands out trials, a scheduler that keeps their order, a
trainable that runs one."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from ray.tune import Trainable
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from orchestrator.cluster.execute import NextTrial, OnEvent, Request, run_request
from orchestrator.cluster.sharing import Shared
from orchestrator.cluster.tune_failure import worker_failure
from orchestrator.cluster.watch import check_cluster, end_with_raylet
from orchestrator.failure import Failure


class CallbackFailed(BaseException):
    """Ends Tune's loop where the sweep raised. No Exception: Tune catches those here and there, and would go on."""


class WorkerSpent(Exception):
    """Ends a worker whose trial has failed: what is left in it, of memory or of a device, is nobody's to guess."""


class TrialFeeder(Searcher):  # type: ignore[misc]  # ray is untyped
    """Asks the sweep for the next trial, and tells it what trials say. Keeps nothing that the store has."""

    def __init__(self, next_trial: NextTrial, on_event: OnEvent, capacity: Callable[[], int] | None = None) -> None:
        super().__init__(metric="iteration", mode="max")  # Tune wants some metric; it steers nothing
        self._next_trial = next_trial
        self._on_event = on_event
        self._capacity = capacity
        self._requests: dict[str, Request] = {}
        self._trials: dict[str, Any] = {}
        self._deadlines: dict[str, float] = {}
        self._recorded: set[str] = set()
        """Trials whose failure their worker has recorded."""
        self.error: Exception | None = None
        """What a callback raised, if one did."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial as a Tune config."""
        if self._capacity is not None and len(self._requests) >= self._room(self._capacity):
            return None
        try:
            with self._keeping_errors():
                request = self._next_trial()
        except StopIteration:
            return str(Searcher.FINISHED)
        if request is None:
            return None
        self._requests[trial_id] = request
        return {"request": json.dumps(asdict(request))}

    def _room(self, capacity: Callable[[], int]) -> int:
        with self._keeping_errors():
            return max(1, capacity())
        raise AssertionError

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Passes an event on."""
        if "event" not in result:
            return
        event, request = json.loads(result["event"]), self._requests[trial_id]
        if event["kind"] == "began":
            assert request.timeout_s is not None
            self._deadlines[trial_id] = time.monotonic() + request.timeout_s  # the worker's own begins after this
            return
        if event["kind"] in ("failed", "lost"):
            self._recorded.add(trial_id)
        with self._keeping_errors():
            self._on_event(request.number, event)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Says that the trial has ended."""
        number = self._requests[trial_id].number
        with self._keeping_errors():
            if error and trial_id not in self._recorded:
                check_cluster()  # its end is no failure of the trial
                self._on_event(number, self._lost(trial_id).event("lost"))
            self._on_event(number, {"kind": "ended"})
        del self._requests[trial_id]
        self._trials.pop(trial_id, None)
        self._deadlines.pop(trial_id, None)
        self._recorded.discard(trial_id)

    def _lost(self, trial_id: str) -> Failure:
        """Why a worker went away without a word."""
        if time.monotonic() >= self._deadlines.get(trial_id, math.inf):
            return Failure("timeout", f"took longer than {self._requests[trial_id].timeout_s:g} s (--trial-timeout)")
        trial = self._trials.get(trial_id)
        return worker_failure(trial.error_file if trial else None)

    def folder_name(self, trial: Any) -> str:
        """How Tune is to call the trial's folder. No other hook shows us its object, which knows where errors are."""
        self._trials[trial.trial_id] = trial
        return str(trial.trial_id)

    @contextmanager
    def _keeping_errors(self) -> Iterator[None]:
        """Keeps what the sweep raises, and ends Tune's loop."""
        try:
            yield
        except StopIteration:
            raise
        except Exception as error:
            self.error = error
            raise CallbackFailed from error

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher into snapshots that are never read."""
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> TrialFeeder:
        """Itself: Tune copies what holds ``folder_name``."""
        return self

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: proposals and results are in the home."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class FirstCome(FIFOScheduler):  # type: ignore[misc]
    """First come, first served, as Tune's own scheduler. That one looks through all trials of a run at each step."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[Trial, None] = {}

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """It waits from now on."""
        self._waiting[trial] = None

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The first that waits. One that no longer does is forgotten, since none is placed twice."""
        for trial in list(self._waiting):
            if trial.status == Trial.PENDING:
                return trial
            del self._waiting[trial]
        return None


class TrialRunner(Trainable):  # type: ignore[misc]  # ray is untyped
    """Runs trials one after the other in one process. A step runs to the trial's next event."""

    _events: Iterator[dict[str, Any]]
    _spent: bool
    """Whether the trial has failed in a way after which this process is not to run another."""

    def setup(self, config: dict[str, Any], shared: Shared = MappingProxyType({})) -> None:
        """Begins a trial."""
        end_with_raylet()
        self._shared = shared
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begins another trial in the same process."""
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """The trial's next event; after the last one, ``done``.

        Raises:
            WorkerSpent: the trial has failed, but for one that diverged; Tune then ends this process.
        """
        event = next(self._events, None)
        if event is None:
            if self._spent:
                raise WorkerSpent
            return {"done": True}
        self._spent = event["kind"] in ("failed", "lost") and event["failure"] != "diverged"
        return {"event": json.dumps(event), "done": False}  # Tune flattens dicts

    def _begin(self, config: dict[str, Any]) -> None:
        request = json.loads(config["request"])
        request["configs"] = tuple(request["configs"])
        if request["cutoffs"] is not None:
            request["cutoffs"] = tuple((rung, value) for rung, value in request["cutoffs"])
        self._spent = False
        self._events = run_request(Request(**request), self._shared)
