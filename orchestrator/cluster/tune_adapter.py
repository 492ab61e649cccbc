"""The two classes through which Tune sees a sweep: a searcher that hands out trials, a trainable that runs one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from ray.tune import Trainable
from ray.tune.search import Searcher

from orchestrator.cluster.execute import NextTrial, OnEvent, Request, run_request
from orchestrator.cluster.sharing import Shared
from orchestrator.cluster.tune_failure import failure_cause


class TrialFeeder(Searcher):  # type: ignore[misc]  # ray is untyped
    """Asks the sweep for the next trial, and tells it what trials say. Keeps nothing that the store has."""

    def __init__(self, next_trial: NextTrial, on_event: OnEvent) -> None:
        super().__init__(metric="iteration", mode="max")  # Tune wants some metric; it steers nothing
        self._next_trial = next_trial
        self._on_event = on_event
        self._numbers: dict[str, int] = {}
        self._trials: dict[str, Any] = {}
        self.error: Exception | None = None
        """What a callback raised first, if one did; nothing is handed out any more."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial as a Tune config."""
        if self.error is not None:
            return str(Searcher.FINISHED)
        try:
            with self._keeping_errors():
                request = self._next_trial()
        except StopIteration:
            return str(Searcher.FINISHED)
        if request is None:
            return None
        self._numbers[trial_id] = request.number
        return {"request": json.dumps(asdict(request))}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Passes an event on."""
        if "event" in result:
            with self._keeping_errors():
                self._on_event(self._numbers[trial_id], json.loads(result["event"]))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Says that the trial has ended."""
        number, trial = self._numbers[trial_id], self._trials.pop(trial_id, None)
        with self._keeping_errors():
            if error:
                self._on_event(number, {"kind": "lost", "cause": failure_cause(trial.error_file if trial else None)})
            self._on_event(number, {"kind": "ended"})
        del self._numbers[trial_id]

    def folder_name(self, trial: Any) -> str:
        """How Tune is to call the trial's folder. No other hook shows us its object, which knows where errors are."""
        self._trials[trial.trial_id] = trial
        return str(trial.trial_id)

    @contextmanager
    def _keeping_errors(self) -> Iterator[None]:
        """Keeps what the sweep raises: Tune makes a text of it."""
        try:
            yield
        except StopIteration:
            raise
        except Exception as error:
            self.error = self.error or error
            raise

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


class TrialRunner(Trainable):  # type: ignore[misc]  # ray is untyped
    """Runs trials one after the other in one process. A step runs to the trial's next event."""

    def setup(self, config: dict[str, Any], shared: Shared = MappingProxyType({})) -> None:
        """Begins a trial."""
        self._shared = shared
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begins another trial in the same process."""
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """The trial's next event; after the last one, ``done``."""
        event = next(self._events, None)
        return {"done": True} if event is None else {"event": json.dumps(event), "done": False}  # Tune flattens dicts

    def _begin(self, config: dict[str, Any]) -> None:
        request = json.loads(config["request"])
        request["configs"] = tuple(request["configs"])
        self._events = run_request(Request(**request), self._shared)
