"""Earlier trials of a search: as Optuna's samplers ask for them, and as columns of numbers. Imports Optuna."""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Mapping
from typing import Any, ClassVar

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

Numbers = np.ndarray[Any, np.dtype[np.int64]]


class ToldTrial(FrozenTrial):
    """A trial whose attributes are looked up, not computed: samplers read those of all trials at each proposal."""

    constraints: ClassVar[dict[str, float]] = {}
    """None."""


class Columns:
    """Parameters and results of earlier trials as arrays: what a sampler models is taken from all at once.

    Args:
        domains: path of every parameter -> its domain.
    """

    def __init__(self, domains: Mapping[str, BaseDistribution]) -> None:
        self._domains = domains
        self._at = {path: column for column, path in enumerate(domains)}
        self._count = 0
        self._params = np.empty((16, len(domains)))
        """As Optuna's models have them; NaN where a trial lacks the parameter."""
        self._ended = np.empty(16)
        """The first objective; NaN where a trial has none."""
        self._running = np.empty(16, dtype=bool)

    def add(self, params: Mapping[str, Any]) -> None:
        """The next trial, which runs."""
        if self._count == len(self._ended):
            self._params, self._ended, self._running = (
                np.concatenate([held, np.empty_like(held)]) for held in (self._params, self._ended, self._running)
            )
        row = [
            domain.to_internal_repr(params[path]) if path in params else np.nan
            for path, domain in self._domains.items()
        ]
        self._params[self._count], self._ended[self._count], self._running[self._count] = row, np.nan, True
        self._count += 1

    def tell(self, number: int, value: float | None) -> None:
        """How a trial has ended; None where it failed."""
        self._ended[number], self._running[number] = np.nan if value is None else value, False

    def split(self, share: Callable[[int], int]) -> tuple[Numbers, Numbers]:
        """Numbers of the best trials, and of the others with those that run; each upwards, and failed ones in neither.

        Args:
            share: how many are the best, of so many complete ones: those of the largest values, of equals the earlier.
        """
        ended = self._ended[: self._count]
        complete = np.flatnonzero(~np.isnan(ended))
        order = np.argsort(-ended[complete], kind="stable")
        best = complete[order[: share(len(complete))]]
        others = self._running[: self._count] | ~np.isnan(ended)
        others[best] = False
        return np.sort(best), np.flatnonzero(others)

    def of(self, numbers: Numbers, paths: Mapping[str, Any]) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
        """Path -> values, of those among the trials that have all of the parameters."""
        rows = self._params[numbers][:, np.array([self._at[path] for path in paths], dtype=np.int64)]
        having = rows[~np.isnan(rows).any(axis=1)]
        return {path: having[:, column] for column, path in enumerate(paths)}


class EarlierTrials(InMemoryStorage):
    """A storage that shows trials made elsewhere. They are shared, so nobody may change them."""

    def __init__(self, domains: Mapping[str, BaseDistribution]) -> None:
        super().__init__()
        self.trials: list[FrozenTrial] = []
        self.columns = Columns(domains)
        """The same trials."""

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The trials in number order, the one that is asked for not among them."""
        found = [trial for trial in self.trials if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Of the trial that is asked for: what a sampler notes for other processes, of which there are none."""

    def add(self, trial: FrozenTrial) -> None:
        """The next one, which runs."""
        self.trials.append(trial)
        self.columns.add(trial.params)

    def end(self, number: int, values: tuple[float, ...]) -> None:
        """Ends a trial that ran: complete with values, or failed without any."""
        trial = self.trials[number]
        trial.state = TrialState.COMPLETE if values else TrialState.FAIL
        if values:
            trial.values = list(values)
        self.columns.tell(number, values[0] if values else None)
