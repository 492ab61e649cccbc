"""Trials along a parameter: bins, medians with intervals, maps of two."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.insight.axis import position
from orchestrator.insight.bins import PER_BIN, bins, cell_means, median_interval, part_count, part_ends
from orchestrator.search.domains import value_at
from orchestrator.space import Parameter

RANGES = [Parameter(uniform=(2.0, 5.0)), Parameter(loguniform=(1e-4, 1e-1))]


def test_positions_are_the_inverse_of_the_samplers_own() -> None:
    for parameter in RANGES:
        for share in (0.0, 0.25, 0.999):
            assert position(parameter, value_at(parameter, share)) == pytest.approx(share)
    steps = Parameter(int=(3, 6))
    assert [position(steps, value) for value in (3, 4, 5, 6)] == [0.125, 0.375, 0.625, 0.875]
    layers = Parameter(choice=(0, ("conv1", "head")))
    assert [position(layers, value) for value in layers.domain] == [0.25, 0.75]
    assert position(Parameter(uniform=(2.0, 2.0)), 2.0) == 0.5


def test_a_level_is_a_bin_and_absent_ones_are_left_out() -> None:
    found = bins(Parameter(choice=("a", "b", "c")), ["c", "a", "c"], [0.25, 0.5, 0.75])
    assert [(one.first, one.trials, one.median, one.best) for one in found] == [("a", 1, 0.5, 0.5), ("c", 2, 0.5, 0.75)]
    whole = bins(Parameter(int=(1, 8)), [8, 1, 1], [0.1, 0.2, 0.3])
    assert [(one.first, one.last, one.trials) for one in whole] == [(1, 1, 2), (8, 8, 1)]
    assert bins(RANGES[0], [], []) == []


def test_bins_of_a_range_hold_equally_many_neighbours() -> None:
    generator = np.random.default_rng(0)
    values = (10 ** generator.uniform(-4, -1, 40)).tolist()
    accuracies = generator.random(40).tolist()
    found = bins(RANGES[1], values, accuracies)
    assert [one.trials for one in found] == [8] * 5
    ordered = sorted(zip(values, accuracies, strict=True))
    for index, one in enumerate(found):
        its = ordered[8 * index : 8 * index + 8]
        assert (one.first, one.last) == (its[0][0], its[-1][0])
        assert one.median == pytest.approx(np.median([value for _, value in its]))
    (few,) = bins(RANGES[1], values[: PER_BIN + 3], accuracies[: PER_BIN + 3])
    assert few.trials == PER_BIN + 3
    assert sum(one.trials for one in bins(RANGES[0], [3.0] * 30 + [4.0], [0.5] * 31)) == 31


def test_the_median_lies_in_its_interval_as_often_as_said() -> None:
    """By simulation: of a skewed distribution with median 1 - 0.5 ** (1 / 3)."""
    assert median_interval([1, 2, 3, 4, 5]) is None
    assert median_interval([1, 2, 3, 4, 5, 6]) == (1, 6)  # 2 / 2^6 = 3.1 % of samples miss
    assert median_interval(list(range(1, 26))) == (8, 18)  # the book's, of 25
    median, hits = 1 - 0.5 ** (1 / 3), 0
    samples = np.sort(np.random.default_rng(1).random((2000, 3, 12)).min(1), axis=1)
    for sample in samples.tolist():
        low, high = median_interval(sample) or (1, 0)
        hits += low <= median <= high
    assert 0.95 <= hits / 2000 <= 0.975


def test_a_map_has_the_mean_of_each_cell() -> None:
    across, up = Parameter(loguniform=(0.01, 1.0)), Parameter(int=(0, 4))
    pairs = [(0.01, 0), (0.02, 0), (1.0, 4), (0.2, 4)]
    found = cell_means(across, up, pairs, [0.2, 0.4, 0.6, 0.8])
    assert (part_count(across, 4), part_count(up, 4)) == (2, 5)
    assert [(one.column, one.row, one.trials) for one in found] == [(0, 0, 2), (1, 4, 2)]
    assert [one.mean for one in found] == pytest.approx([0.3, 0.7])
    assert part_ends(across, 2) == pytest.approx([0.01, 0.1, 1.0])
    assert part_ends(Parameter(int=(1, 20)), 2) == [0.5, 10.5, 20.5]
    assert part_count(across, 500) == 6
