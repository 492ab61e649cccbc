"""The study that a sampler is asked on: earlier proposals as Optuna's trials, none of them copied.

Imported when something is proposed: it imports Optuna. Samplers are driven by their interface alone, so that a proposal
costs what its sampler takes: no trial is copied, checked or looked through again.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import optuna
from optuna.trial import TrialState

from orchestrator.search.domains import distribution, encoded
from orchestrator.search.proposals import Outcome
from orchestrator.search.samplers import EVOLVING, GENERATION, GROUPING, SAMPLERS, Generations
from orchestrator.search.told_trials import EarlierTrials, ToldTrial
from orchestrator.spec import SearchSpec

NAME = "search"
LONG_AGO = datetime(2000, 1, 1)
"""Trials have times, which no sampler looks at."""


class ToldStudy:
    """What the samplers of a search know: its earlier proposals, and the outcomes that they are told."""

    def __init__(self, search: SearchSpec) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._search = search
        self._domains = {path: distribution(parameter) for path, parameter in search.space.items()}
        self._choices = {
            path: {encoded(parameter, value): value for value in parameter.domain}
            for path, parameter in search.space.items()
            if parameter.kind == "choice"
        }
        self._generations = Generations()
        self._newest = 0
        """Generation whose parents were chosen last."""
        self._together: dict[frozenset[str], None] = {}
        """Sets of parameters that some complete trial has, each once: few, for they follow from the conditions."""
        self._earlier = EarlierTrials(self._domains)
        directions = [one.direction for one in search.objective]
        optuna.create_study(storage=self._earlier, study_name=NAME, directions=directions)

    def __len__(self) -> int:
        """How many proposals were added."""
        return len(self._earlier.trials)

    def add(self, values: Mapping[str, Any]) -> None:
        """The next proposal. It runs until its outcome is told."""
        generation = self._generation()
        params = {path: encoded(self._search.space[path], value) for path, value in values.items()}
        self._earlier.add(self._trial(len(self), params, generation))
        self._generations.add()

    def tell(self, outcome: Outcome) -> None:
        """Ends a proposal that was added; told in number order. Telling it again changes nothing.

        One that was pruned is complete, with the best value that it came to: Optuna's own state of that name would rank
        it below any other.
        """
        trial = self._earlier.trials[outcome.number]
        if trial.state != TrialState.RUNNING:
            return
        self._generations.tell(bool(outcome.values))
        self._earlier.end(outcome.number, outcome.values)
        if outcome.values:
            self._together.setdefault(frozenset(trial.params))

    def ask(self, number: int, fixed: Mapping[str, Any]) -> dict[str, Any]:
        """Values of proposal ``number``, in the order of the space, each only where the ones before make it active.

        Args:
            number: as many as were added, where the sampler learns.
            fixed: path -> value of the base config.
        """
        sampler = self._sampler(number)
        study = self._study(sampler)
        trial = self._trial(number, {}, self._generation())
        sampler.before_trial(study, trial)
        drawn: dict[str, Any] = {}
        for group in self._groups():
            drawn |= sampler.sample_relative(study, trial, {path: self._domains[path] for path in group})
        start = self._search.start[number] if number < len(self._search.start) else {}
        values: dict[str, Any] = {}
        for path, parameter in self._search.space.items():
            if not parameter.active(values, fixed):
                continue
            if path in start or self._domains[path].single():
                value = encoded(parameter, start.get(path, parameter.domain[0]))
            elif path in drawn:
                value = drawn[path]
            else:
                value = sampler.sample_independent(study, trial, path, self._domains[path])
            values[path] = self._choices[path][value] if path in self._choices else value
        return values

    def _generation(self) -> int:
        """Of the next proposal. Its parents are chosen with the first of them, from what that one was told."""
        generation = self._generations.next()
        if generation > self._newest and self._search.sampler in EVOLVING:
            sampler = self._sampler(len(self))
            sampler.get_parent_population(self._study(sampler), generation)
        self._newest = generation
        return generation

    def _sampler(self, number: int) -> Any:
        with warnings.catch_warnings():  # parts of Optuna are marked experimental; what they do is tested here
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return SAMPLERS[self._search.sampler](self._search, number)

    def _study(self, sampler: Any) -> optuna.Study:
        """A fresh one: it holds nothing but the earlier trials and the parents of each generation."""
        return optuna.load_study(study_name=NAME, storage=self._earlier, sampler=sampler)

    def _groups(self) -> list[list[str]]:
        """Parameters that are modelled jointly, each group on the trials that have it.

        Those that occur together, for samplers that can do with several groups; of all others one, of the parameters
        that every complete trial has. None has a parameter with but one value.
        """
        groups: dict[tuple[bool, ...], list[str]] = {}
        for path, domain in self._domains.items():
            where = tuple(path in together for together in self._together)
            if not domain.single() and (any(where) if self._search.sampler in GROUPING else where and all(where)):
                groups.setdefault(where, []).append(path)
        return [sorted(group) for group in groups.values()]

    def _trial(self, number: int, params: dict[str, Any], generation: int) -> ToldTrial:
        return ToldTrial(
            number=number,
            trial_id=number,
            state=TrialState.RUNNING,
            value=None,
            params=params,
            distributions={path: self._domains[path] for path in params},
            system_attrs={GENERATION: generation},
            user_attrs={},
            intermediate_values={},
            datetime_start=LONG_AGO,
            datetime_complete=None,
        )
