"""Which trainings confirm a search: its best configs again, under seeds that chose none of them.

A pure function of the spec and of what the trials came to. The best of many trials looks better than it is, since luck
has chosen it, too (the winner's curse); what it comes to under fresh seeds does not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from orchestrator.config_paths import with_values
from orchestrator.spec import SearchSpec, SweepSpec
from orchestrator.trial_numbers import repeat_number
from trainers.canonical import training_key
from trainers.problems import Config


@dataclass(frozen=True)
class Confirmation:
    """One training that confirms a trial, with the trial's own test."""

    number: int
    confirms: int
    """Number of the proposal."""
    config: Config
    """The proposal's, but for the seed."""


def confirmations(spec: SweepSpec, completed: Iterable[tuple[int, Config, float]]) -> list[Confirmation]:
    """All that confirms a search, best trial first, in the order of the seeds.

    Args:
        spec: of the search.
        completed: (number, config, validation accuracy) of completed trials. Of equals the first counts as the better.
    """
    confirm = spec.search.confirm if spec.search else None
    if confirm is None:
        return []
    chosen: dict[Any, tuple[int, Config]] = {}
    for number, config, _ in sorted(completed, key=lambda one: (-one[2], one[0])):
        # Trials that differ in seed or test alone are one config; the head decides what is validated.
        fresh = with_values(config, {"training.seed": spec.fresh_seed})
        chosen.setdefault((training_key(fresh, config.source), config.algorithm_entry.head), (number, config))
    return [again for trial in list(chosen.values())[: confirm.top] for again in confirmations_of(spec, *trial)]


def confirmations_of(spec: SweepSpec, number: int, config: Config) -> list[Confirmation]:
    """What confirms one trial, if it is among the best, in the order of the seeds."""
    seeds = spec.search.confirm.seeds if spec.search and spec.search.confirm else 0
    return [
        Confirmation(repeat_number(number, 1 + k), number, with_values(config, {"training.seed": spec.fresh_seed + k}))
        for k in range(seeds)
    ]


def most_confirmations(search: SearchSpec) -> int:
    """How many there can be, before the trials are known: fewer where trials fail, or are the same."""
    return search.confirm.top * search.confirm.seeds if search.confirm else 0
