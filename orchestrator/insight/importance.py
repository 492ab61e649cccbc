"""Which parameters of a search the accuracy depends on: shares of its variance over the space, with intervals.

A forest of extremely randomised trees (Geurts, Ernst and Wehenkel 2006) is fitted to the trials and taken apart by
functional ANOVA (Hutter, Hoos and Leyton-Brown 2014). So a searcher's preference for good regions does not count: every
value has the weight that the space gives it. It is done here, since Optuna's own evaluator of that name has no pairs,
leaves parameters with a condition out, and takes a logarithmic range as a linear one; its PED-ANOVA is about being
among the best tenth, which is four of forty trials, and not about variance.

A parameter with a condition counts where it acts: elsewhere the accuracy does not depend on it. There it has no value,
so every tree draws one at random, from the whole of its axis, and finds nothing in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.insight.axis import level_of, position
from orchestrator.insight.fanova import RANGE, Array, Effects, columns, tree_effects
from orchestrator.space import Space

LEAST_TRIALS = 20
"""With fewer no share is told."""
LEAST_SKILL = 0.1
"""A forest that explains less of the variance of trials that it has not seen says nothing of parameters."""
RESAMPLES = 200
TREES = 100
"""Of the forest behind the values."""
TREES_RESAMPLED = 4
"""Of the forest of each resample: what its few trees add to the spread only widens the intervals."""
CONFIDENCE = 0.95
SEED = 0


@dataclass(frozen=True)
class Share:
    """A fraction of the variance, with its percentile interval over resamples of the trials.

    Widened to hold the value where resampling, which repeats trials, moves all of it away.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Importance:
    """Shares of the variance of the accuracy over the space, as a forest predicts it."""

    trials: int
    skill: float
    """Share of the variance among trials that the forest explains without having seen them (R²)."""
    alone: Mapping[str, Share]
    """By config path: first-order effects."""
    involved: Mapping[str, Share]
    """By config path: total effects, alone and together with others. They add up to more than 1 where parameters
    interact."""
    pairs: Mapping[tuple[str, str], Share]
    """What two parameters do together beyond what each does alone, in the order of the space."""
    idle_alone: Share
    idle_involved: Share
    """Of one more parameter, random and unknown to the trials: what a parameter without any effect gets."""


@dataclass(frozen=True)
class Untold:
    """Why no importance is told."""

    trials: int
    reason: str


def importance(
    space: Space, points: Sequence[Mapping[str, Any]], accuracies: Sequence[float], resamples: int = RESAMPLES
) -> Importance | Untold:
    """The importance of every parameter of the space, and of every pair. The same for the same trials.

    The intervals are over trials: what other trials of the same search would have given. They know nothing of what a
    forest smooths away; with few trials it sees too little of interactions.

    Args:
        space: of the search.
        points: of each trial config path -> value, of the parameters that act in it.
        accuracies: of the same trials.
        resamples: how often trials are drawn again, with replacement.
    """
    values = np.asarray(accuracies, dtype=np.float64)
    count = len(values)
    if count < LEAST_TRIALS:
        return Untold(count, f"cannot be told yet ({count} of at least {LEAST_TRIALS} trials)")
    if not np.ptp(values):
        return Untold(count, f"cannot be told ({count} trials, all with the same accuracy)")
    forest = _Forest(space, points, values)
    estimate = forest.shares(np.ones(count), TREES)[0]
    drawn, predicted, times = [], np.zeros(count), np.zeros(count)
    for _ in range(resamples):
        counts = np.bincount(forest.generator.integers(0, count, count), minlength=count)
        shares, predictions = forest.shares(counts, TREES_RESAMPLED)
        drawn.append(shares)
        predicted += np.where(counts == 0, predictions, 0.0)
        times += counts == 0
    seen = times > 0
    errors = values[seen] - predicted[seen] / times[seen]
    skill = 1 - float((errors**2).mean() / values.var())
    if skill < LEAST_SKILL:
        explained = f"{100 * max(skill, 0):.0f} % of the variance of those left out"
        return Untold(count, f"cannot be told yet (what {count} trials tell explains {explained})")
    low, high = np.quantile(np.stack(drawn), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    told = [
        Share(float(value), float(min(value, a)), float(max(value, b)))
        for value, a, b in zip(estimate, low, high, strict=True)
    ]
    size = len(space) + 1
    *alone, idle_alone = told[:size]
    *involved, idle_involved = told[size : 2 * size]
    return Importance(
        trials=count,
        skill=skill,
        alone=dict(zip(space, alone, strict=True)),
        involved=dict(zip(space, involved, strict=True)),
        pairs=dict(zip(combinations(space, 2), told[2 * size :], strict=True)),
        idle_alone=idle_alone,
        idle_involved=idle_involved,
    )


class _Forest:
    """Trials as columns, and what forests of them say. The idle parameter is the last axis."""

    def __init__(self, space: Space, points: Sequence[Mapping[str, Any]], values: Array) -> None:
        self.generator = np.random.default_rng(SEED)
        self._values = values
        self._axes = [len(one.domain) if one.kind == "choice" else RANGE for one in space.values()] + [RANGE]
        self._points = np.zeros((len(points), columns(self._axes)), dtype=np.float32)
        self._absent: list[tuple[int, int, NDArray[np.intp]]] = [
            (self._points.shape[1] - 1, RANGE, np.arange(len(points)))
        ]
        column = 0
        for (path, parameter), levels in zip(space.items(), self._axes, strict=False):
            for row, point in enumerate(points):
                if path in point and levels:
                    self._points[row, column + level_of(parameter, point[path])] = 1
                elif path in point:
                    self._points[row, column] = position(parameter, point[path])
            absent = np.flatnonzero([path not in point for point in points])
            if len(absent):
                self._absent.append((column, levels, absent))
            column += levels or 1

    def shares(self, counts: NDArray[Any], trees: int) -> tuple[Array, Array]:
        """Shares alone, involved and of pairs, one after the other, and what is predicted of every trial.

        Variances are added over trees before they are divided, so that a tree that found little says little.

        Args:
            counts: how often each trial is in the sample.
            trees: of the forest.
        """
        from sklearn import config_context
        from sklearn.tree import ExtraTreeRegressor

        inside = counts > 0
        weights = counts[inside].astype(np.float64)
        # Leaves of one or two trials fit noise; more than a hundred leaves tell no more, and cost.
        least = max(3, len(counts) // 100)
        predicted, effects = np.zeros(len(counts)), []
        for _ in range(trees):
            points = self._completed()
            seed = int(self.generator.integers(2**31))
            tree = ExtraTreeRegressor(min_samples_leaf=least, max_features=None, random_state=seed)
            with config_context(skip_parameter_validation=True):  # a sixth of what so small a tree takes
                tree.fit(points[inside], self._values[inside, None], sample_weight=weights, check_input=False)
            effects.append(tree_effects(tree, self._axes))
            predicted += tree.tree_.predict(points)[:, 0] / trees
        return _as_shares(effects, len(self._axes)), predicted

    def _completed(self) -> NDArray[np.float32]:
        """The points, with random values where a parameter does not act."""
        points = self._points.copy()
        for column, levels, rows in self._absent:
            if levels:
                points[rows, column + self.generator.integers(0, levels, len(rows))] = 1
            else:
                points[rows, column] = self.generator.random(len(rows))
        return points


def _as_shares(effects: Sequence[Effects], size: int) -> Array:
    total = sum(one.total for one in effects) or 1.0
    first, second = np.triu_indices(size - 1, 1)  # without the idle one
    summed = [sum(getattr(one, name) for one in effects) for name in ("alone", "involved", "pairs")]
    shares = np.concatenate([summed[0], summed[1], summed[2][first, second]]) / total
    return np.maximum(shares, 0.0)  # of what is 0, rounding leaves a little, of either sign
