"""Searches that can be asked, one interface for all: ours through the product's own code, Optuna and Ray Tune directly.

A contestant is asked for values, hears every validation and may stop the trial there, and is told how it ended.
"""

from __future__ import annotations

import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import yaml

from orchestrator.early_stopping import decide
from orchestrator.search.domains import distribution
from orchestrator.search.proposals import Outcome
from orchestrator.search.searcher import Searcher
from orchestrator.spec import SearchSpec, SweepSpec
from orchestrator.spec_file import load_spec
from searches.table import Table, table_trial

GRACE = 3
OBJECTIVE = "validation_accuracy"


class Contestant(ABC):
    """A search of one seed."""

    @abstractmethod
    def ask(self) -> dict[str, float] | None:
        """Values of the next trial, by config path; None where it has to wait for a result."""

    @abstractmethod
    def stops(self, number: int, curve: list[tuple[int, float]]) -> bool:
        """Whether trial ``number`` ends at the last validation of its curve."""

    @abstractmethod
    def tell(self, number: int, curve: list[tuple[int, float]], pruned: bool) -> None:
        """How trial ``number`` ended."""


def our_sweep(table: Table, sampler: str, seed: int, trials: int, reduction: int | None) -> SweepSpec:
    """The search as a sweep file asks for it; with early stopping where there is a reduction."""
    search: dict[str, Any] = {"seed": seed, "sampler": sampler, "trials": trials, "space": table.space()}
    if reduction is not None:
        search["early_stopping"] = {"name": "asha", "grace_iterations": GRACE, "reduction": reduction}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "search.yaml"
        path.write_text(yaml.safe_dump({"trial": table_trial(), "search": search}, sort_keys=False))
        return load_spec(path)


class Ours(Contestant):
    """MetaSweep's searcher, as a sweep drives it: results are told in number order, within a window."""

    def __init__(self, table: Table, sampler: str, seed: int, trials: int, reduction: int | None, window: int) -> None:
        spec = our_sweep(table, sampler, seed, trials, reduction)
        assert spec.search is not None
        self._searcher = Searcher(spec.search, spec.trial, window)
        self._cutoffs: list[Any] = []
        self._iterations = spec.trial.training.iterations

    def ask(self) -> dict[str, float] | None:
        """The next proposal, once what it is told is known."""
        if not self._searcher.ready:
            return None
        proposal = self._searcher.propose()
        self._searcher.add(proposal)
        self._cutoffs.append(proposal.cutoffs)
        return proposal.values

    def stops(self, number: int, curve: list[tuple[int, float]]) -> bool:
        """By the cut-offs that the proposal came with."""
        return decide(curve, self._cutoffs[number], self._iterations).state == "pruned"

    def tell(self, number: int, curve: list[tuple[int, float]], pruned: bool) -> None:
        """The best validation, and the curve that later cut-offs follow from."""
        best = max(value for _, value in curve)
        self._searcher.end(Outcome(number, "pruned" if pruned else "complete", (best,), tuple(curve)))


def optuna_sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """Optuna's sampler of that name, as it comes."""
    samplers: Mapping[str, Any] = {
        "tpe": optuna.samplers.TPESampler,
        "random": optuna.samplers.RandomSampler,
        "gp": optuna.samplers.GPSampler,
        "nsga2": optuna.samplers.NSGAIISampler,
        "qmc": optuna.samplers.QMCSampler,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made: optuna.samplers.BaseSampler = samplers[name](seed=seed)
    return made


class Optuna(Contestant):
    """A study in memory by ask and tell; early stopping by its own successive halving at the same rungs."""

    def __init__(self, search: SearchSpec, sampler: str, seed: int, reduction: int | None) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
        if reduction is not None:
            pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=GRACE, reduction_factor=reduction)
        self._study = optuna.create_study(direction="maximize", sampler=optuna_sampler(sampler, seed), pruner=pruner)
        self._domains = {path: distribution(parameter) for path, parameter in search.space.items()}
        self._trials: list[optuna.Trial] = []

    def ask(self) -> dict[str, float]:
        """``study.ask``."""
        trial = self._study.ask(self._domains)
        self._trials.append(trial)
        return trial.params

    def stops(self, number: int, curve: list[tuple[int, float]]) -> bool:
        """``trial.should_prune``, of the best validation so far."""
        if isinstance(self._study.pruner, optuna.pruners.NopPruner):
            return False
        self._trials[number].report(max(value for _, value in curve), curve[-1][0])
        return self._trials[number].should_prune()

    def tell(self, number: int, curve: list[tuple[int, float]], pruned: bool) -> None:
        """``study.tell``; a pruned trial has the values that were reported."""
        if pruned:
            self._study.tell(self._trials[number], state=optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(self._trials[number], max(value for _, value in curve))


class RayTune(Contestant):
    """Ray Tune's ``OptunaSearch`` as it comes, without a cluster."""

    def __init__(self, search: SearchSpec, seed: int) -> None:
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        space = {path: distribution(parameter) for path, parameter in search.space.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._search = OptunaSearch(space, metric=OBJECTIVE, mode="max", seed=seed)
        self._asked = 0

    def ask(self) -> dict[str, float]:
        """``suggest``."""
        values: dict[str, float] = self._search.suggest(str(self._asked))
        self._asked += 1
        return values

    def stops(self, number: int, curve: list[tuple[int, float]]) -> bool:
        """Never: under Tune a scheduler would, which needs a cluster."""
        return False

    def tell(self, number: int, curve: list[tuple[int, float]], pruned: bool) -> None:
        """``on_trial_complete``."""
        self._search.on_trial_complete(str(number), {OBJECTIVE: max(value for _, value in curve)})
