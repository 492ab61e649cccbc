"""Accuracy along one parameter, or two: trials in bins, with medians and their intervals, or means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator.insight.axis import position
from orchestrator.space import Parameter

MOST_BINS = 8
"""Of a range; whole numbers up to so many are a bin each."""
PER_BIN = 8
"""Trials of a bin of a range, at least, unless there are fewer: six make an interval."""
MOST_CELLS = 6
"""Equal parts of a range where two parameters make a map."""
PER_CELL = 6
"""Trials that would come on each cell of a map of two ranges, were they spread evenly."""
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Bin:
    """Trials with neighbouring values of a parameter."""

    first: Any
    """Least value of them."""
    last: Any
    """Largest; the same as ``first`` for a choice."""
    trials: int
    median: float
    interval: tuple[float, float] | None
    """95 % interval of the median; None where the trials are too few for one."""
    best: float


def has_levels(parameter: Parameter) -> bool:
    """Whether each of its values stands for itself: choices, and few whole numbers."""
    if parameter.kind == "choice":
        return True
    low, high = parameter.domain
    return parameter.kind == "int" and bool(high - low < MOST_BINS)


def levels_of(parameter: Parameter) -> tuple[Any, ...]:
    """The values of a parameter that has levels."""
    if parameter.kind == "choice":
        return parameter.domain
    low, high = parameter.domain
    return tuple(range(low, high + 1))


def bins(parameter: Parameter, values: Sequence[Any], accuracies: Sequence[float]) -> list[Bin]:
    """The trials along the axis of a parameter: a bin a level, or bins of about equally many trials.

    Equal values are in one bin, so there may be fewer; bins without trials are left out.

    Args:
        parameter: where it acts.
        values: of the parameter, one a trial; no trial, no bin.
        accuracies: of the same trials.
    """
    if not len(values):
        return []
    places = np.array([position(parameter, value) for value in values])
    if has_levels(parameter):
        groups = np.unique(places, return_inverse=True)[1]
    else:
        count = min(MOST_BINS, max(1, len(values) // PER_BIN))
        ends = np.quantile(places, np.arange(1, count) / count, method="inverted_cdf")
        groups = np.searchsorted(ends, places)
    found = []
    for group in np.unique(groups):
        members = sorted(np.flatnonzero(groups == group).tolist(), key=places.tolist().__getitem__)
        its = sorted(accuracies[index] for index in members)
        first, last = values[members[0]], values[members[-1]]
        found.append(Bin(first, last, len(its), float(np.median(its)), median_interval(its), its[-1]))
    return found


def median_interval(ordered: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of a median from its sample in order: two of its values, whatever the distribution.

    The values number k and n + 1 - k, with the largest k for which at most 2.5 % of samples have fewer than k values on
    one side of the median: binomial with one half. None for fewer than six values: no two of them are far enough.
    """
    count = len(ordered)
    below, ways = 0, 0
    while True:
        ways += math.comb(count, below)
        if ways > (1 - CONFIDENCE) / 2 * 2**count:
            break
        below += 1
    return (ordered[below - 1], ordered[count - below]) if below else None


@dataclass(frozen=True)
class CellMean:
    """The trials in one cell of a map."""

    column: int
    row: int
    trials: int
    mean: float


def part_count(parameter: Parameter, trials: int) -> int:
    """Into how many equal parts a map divides the axis of a parameter: its levels, or up to ``MOST_CELLS``."""
    if has_levels(parameter):
        return len(levels_of(parameter))
    return min(MOST_CELLS, max(2, round(math.sqrt(trials / PER_CELL))))


def cell_means(
    across: Parameter, up: Parameter, pairs: Sequence[tuple[Any, Any]], accuracies: Sequence[float]
) -> list[CellMean]:
    """Mean accuracy in each cell of a map of two parameters; cells without trials are left out.

    Args:
        across: parameter of the columns, in ``part_count`` parts.
        up: of the rows.
        pairs: their values, one pair a trial.
        accuracies: of the same trials.
    """
    columns, rows = part_count(across, len(pairs)), part_count(up, len(pairs))
    grouped: dict[tuple[int, int], list[float]] = {}
    for (a, b), accuracy in zip(pairs, accuracies, strict=True):
        place = min(int(position(across, a) * columns), columns - 1), min(int(position(up, b) * rows), rows - 1)
        grouped.setdefault(place, []).append(accuracy)
    return [CellMean(*place, len(its), sum(its) / len(its)) for place, its in sorted(grouped.items())]


def part_ends(parameter: Parameter, count: int) -> list[float]:
    """Values at the ``count`` + 1 ends of the equal parts of a range."""
    low, high = map(float, parameter.domain)
    if parameter.kind == "loguniform":
        return [float(value) for value in np.geomspace(low, high, count + 1)]
    if parameter.kind == "int":
        low, high = low - 0.5, high + 0.5
    return [float(value) for value in np.linspace(low, high, count + 1)]
