"""The Pareto front, against its definition read out loud."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from orchestrator.objectives import Direction
from orchestrator.pareto import pareto_front

BOTH: tuple[Direction, Direction] = ("maximize", "minimize")


def by_definition(values: Sequence[Sequence[float]], directions: Sequence[Direction]) -> list[int]:
    def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
        gains = [(a - b) if way == "maximize" else (b - a) for a, b, way in zip(one, other, directions, strict=True)]
        return min(gains) >= 0 and max(gains) > 0

    return [n for n, point in enumerate(values) if not any(dominates(other, point) for other in values)]


@pytest.mark.parametrize("directions", [("maximize",), BOTH, ("minimize", "maximize", "minimize")])
@pytest.mark.parametrize("levels", [2, 5, 10**6])  # few levels: many ties
def test_it_is_what_the_definition_says(directions: tuple[Direction, ...], levels: int) -> None:
    generator = np.random.default_rng(levels)
    for count in (1, 2, 7, 60):
        for _ in range(20):
            values = generator.integers(0, levels, (count, len(directions))).tolist()
            assert pareto_front(values, directions) == by_definition(values, directions)


def test_ties_are_all_in_and_the_order_is_that_of_the_points() -> None:
    assert pareto_front([(0.5, 3.0), (0.9, 9.0), (0.5, 3.0), (0.4, 3.0), (0.9, 8.0), (0.1, 1.0)], BOTH) == [0, 2, 4, 5]
    assert pareto_front([], BOTH) == []


def test_one_objective_is_its_best() -> None:
    assert pareto_front([(0.2,), (0.7,), (0.7,), (0.1,)], ["maximize"]) == [1, 2]


def test_ten_thousand_points_that_are_all_on_it() -> None:
    values = [(number / 10_000, float(number)) for number in range(10_000)]
    assert pareto_front(values, BOTH) == list(range(10_000))
