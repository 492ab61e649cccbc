"""Early stopping as data: the cut-offs of a trial follow from earlier curves, and its own curve and they decide.

Pure, and no state decides: cut-offs are made when a trial is proposed, stored with its proposal, and travel with it.
``decide`` is the same for a curve that grows, one that is taken up again, and one that the store has whole.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from trainers.config import Frozen, PositiveInt
from trainers.problems import Training

Curve = Sequence[tuple[int, float]]
"""(iteration, validation accuracy) of every validation, oldest first: by the head that the trial predicts with. Of
another problem than few-shot learning its score."""

Cutoffs = tuple[tuple[int, float], ...]
"""(rung, value): who has not reached the value when that many iterations are done is pruned. By rung, upwards."""


class EarlyStopping(Frozen):
    """How trials of a search are stopped before their end."""

    name: Literal["asha"]
    """Name in ``EARLY_STOPPERS``."""
    grace_iterations: PositiveInt
    """The first rung: no trial is stopped before it. A multiple of ``training.validate_every``, less than
    ``training.iterations``, whatever the space makes of both."""
    reduction: int = Field(2, ge=2, le=1_000)
    """η: each rung is so many times the one before, and about one in η goes on from it. With 3 less is trained, and the
    trial that would have become the best is pruned more often (docs/search.md)."""
    metric: Literal["validation_accuracy", "validation_return"] = "validation_accuracy"
    """What is compared; to be named where a search has several objectives."""

    def problem(self, iterations: Sequence[Any], validate_every: Sequence[Any]) -> str | None:
        """What is wrong with ``grace_iterations`` for trials that have these values of ``training``, if anything is.

        It is refused rather than rounded: so, given all values that trials can have, a rung is a validation of each of
        them, and means the same to all.
        """
        grace = self.grace_iterations
        uneven = next((every for every in validate_every if grace % every), None)
        if uneven is not None:
            return f"must be a multiple of training.validate_every = {uneven}, got {grace}: trials stop at validations"
        if grace >= min(iterations):
            return (
                f"must be less than training.iterations = {min(iterations)}, got {grace}; lower it, or leave "
                "early_stopping out"
            )
        return None


@dataclass(frozen=True)
class Decision:
    """What becomes of a trial, as far as its curve goes."""

    state: Literal["running", "pruned", "complete"]
    iteration: int
    """The rung that it was pruned at; else the last validation, 0 before the first."""


def decide(curve: Curve, cutoffs: Cutoffs, iterations: int) -> Decision:
    """Whether a trial goes on, from its curve alone; what lies behind the rung that it is pruned at plays no part.

    It is pruned at the first rung that the curve has reached, and that its best validation up to there, if any is a
    number, lies below the cut-off of. Ties go on.

    Args:
        curve: of the trial's training, however far that is; perhaps further than this trial is to go.
        cutoffs: of the trial.
        iterations: that complete it.
    """
    reached = curve[-1][0] if curve else 0
    for rung, value in cutoffs:
        if rung <= reached and rung < iterations and not best_until(curve, rung) >= value:
            return Decision("pruned", rung)
    return Decision("complete" if reached >= iterations else "running", reached)


def best_until(curve: Curve, rung: int) -> float:
    """The best value among validations up to a rung; -inf where none of them is a number."""
    return max((value for iteration, value in curve if iteration <= rung and not math.isnan(value)), default=-math.inf)


def rungs(stopping: EarlyStopping, training: Training) -> Iterator[int]:
    """``grace_iterations`` · η^k below the end of a training, upwards.

    Each at a validation: rounded up to a multiple of ``validate_every``, should it be none.
    """
    exact, before = stopping.grace_iterations, 0
    while True:
        rung = -(-exact // training.validate_every) * training.validate_every
        if rung >= training.iterations:
            return
        if rung > before:
            yield rung
        exact, before = exact * stopping.reduction, rung


class Standings:
    """How far earlier trials had come at each rung: a view of their curves, to which later ones are added.

    A rung is looked up in each curve once, however many cut-offs are made.

    Args:
        curves: of the earlier trials, each to where the trial was pruned, if it was; of failed ones none.
    """

    def __init__(self, curves: Iterable[Curve] = ()) -> None:
        self._curves = list(curves)
        self._found: dict[int, tuple[int, list[float]]] = {}
        """Rung -> how many of the curves were looked at, and what was found there."""

    def add(self, curve: Curve) -> None:
        """One more."""
        self._curves.append(curve)

    def at(self, rung: int) -> Sequence[float]:
        """The best validation up to the rung of every trial that reached it with any, upwards."""
        seen, values = self._found.get(rung, (0, []))
        for curve in self._curves[seen:]:
            best = best_until(curve, rung) if curve and curve[-1][0] >= rung else -math.inf
            if best > -math.inf:
                insort(values, best)
        self._found[rung] = len(self._curves), values
        return values


def asha_cutoffs(stopping: EarlyStopping, training: Training, standings: Standings) -> Cutoffs:
    """ASHA (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", Algorithm 2), its stopping form.

    There trials wait at a rung until they are among the best 1/η of those there. Here none waits: one that reaches a
    rung must equal the worst of the best ⌊m/η⌋ among the m earlier trials that reached it, each by its best validation
    up to there. With m < η there is no cut-off, and all go on. Trials count as far as their curves go, which end where
    a trial was pruned; failed ones count nowhere.

    Rungs are iterations, whatever the length of a training: if the space varies ``training.iterations``, trials are
    compared after equally many, and longer ones have more rungs.

    Args:
        stopping: the settings.
        training: of the trial that is to be stopped.
        standings: of the earlier trials.
    """
    found = []
    for rung in rungs(stopping, training):
        values = standings.at(rung)
        kept = len(values) // stopping.reduction
        if kept:
            found.append((rung, values[-kept]))
    return tuple(found)


EARLY_STOPPERS: dict[str, Callable[[EarlyStopping, Training, Standings], Cutoffs]] = {"asha": asha_cutoffs}
"""Name in ``search.early_stopping`` -> what makes the cut-offs of a trial from the settings, its training, and the
curves that its proposal was told; ``EarlyStopping.name`` lists the names too."""


def cutoffs(stopping: EarlyStopping, training: Training, standings: Standings) -> Cutoffs:
    """The cut-offs of a trial, by the early stopper that its search names."""
    return EARLY_STOPPERS[stopping.name](stopping, training, standings)
