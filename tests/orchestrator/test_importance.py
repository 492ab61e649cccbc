"""Importance: shares of a variance against algebra on a full grid, and what may be said of few or useless trials."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeRegressor

from orchestrator.insight.fanova import RANGE, tree_effects
from orchestrator.insight.importance import LEAST_TRIALS, Importance, Untold, importance
from orchestrator.space import Parameter, Space

Points = list[dict[str, Any]]
SPACE: Space = {
    "algorithm.name": Parameter(choice=("maml", "anil", "boil")),
    "algorithm.inner_lr": Parameter(loguniform=(0.01, 1.0)),
    "algorithm.inner_steps": Parameter(int=(1, 4)),
    "algorithm.frozen_layers": Parameter(int=(0, 3), when={"algorithm.name": "maml"}),
    "training.clip": Parameter(uniform=(1.0, 9.0)),
}


def drawn(count: int, seed: int = 0) -> Points:
    """Points as the space weights them."""
    generator = np.random.default_rng(seed)
    points = []
    for _ in range(count):
        point = {
            "algorithm.name": ("maml", "anil", "boil")[generator.integers(3)],
            "algorithm.inner_lr": float(10 ** generator.uniform(-2, 0)),
            "algorithm.inner_steps": int(generator.integers(1, 5)),
            "training.clip": float(generator.uniform(1, 9)),
        }
        if point["algorithm.name"] == "maml":
            point["algorithm.frozen_layers"] = int(generator.integers(0, 4))
        points.append(point)
    return points


def test_effects_of_a_tree_are_those_of_what_it_predicts_on_a_grid_of_its_own_thresholds() -> None:
    """Two ranges and three levels. The tree is constant in each cell of that grid, so sums over it are exact."""
    generator = np.random.default_rng(1)
    points = np.hstack([generator.random((60, 2)), np.eye(3)[generator.integers(0, 3, 60)]]).astype(np.float32)
    tree = DecisionTreeRegressor(random_state=0).fit(points, generator.random(60))
    found = tree_effects(tree, (RANGE, RANGE, 3))
    cuts = [np.unique([0, 1, *tree.tree_.threshold[tree.tree_.feature == axis]]) for axis in (0, 1)]
    middles = [(ends[1:] + ends[:-1]) / 2 for ends in cuts]
    grid = np.array(list(itertools.product(*middles, range(3))))
    f = tree.predict(np.hstack([grid[:, :2], np.eye(3)[grid[:, 2].astype(int)]]).astype(np.float32))
    f = f.reshape(len(middles[0]), len(middles[1]), 3)
    w = [np.diff(cuts[0]), np.diff(cuts[1]), np.full(3, 1 / 3)]

    def variance(kept: str) -> float:
        """Var E[f | kept axes], by sums alone."""
        mean = np.einsum(f"abc,{','.join(one for one in 'abc' if one not in kept)}->{kept}", f, *_without(kept, w))
        over = np.einsum(f"{','.join(kept)}->{kept}", *(w["abc".index(one)] for one in kept))
        return float((over * mean**2).sum() - (over * mean).sum() ** 2)

    alone = [variance("a"), variance("b"), variance("c")]
    total = float(np.einsum("abc,a,b,c->", f**2, *w) - np.einsum("abc,a,b,c->", f, *w) ** 2)
    assert found.total == pytest.approx(total)
    np.testing.assert_allclose(found.alone, alone)
    np.testing.assert_allclose(found.involved, [total - variance("bc"), total - variance("ac"), total - variance("ab")])
    for (one, other), kept in {(0, 1): "ab", (0, 2): "ac", (1, 2): "bc"}.items():
        assert found.pairs[one, other] == pytest.approx(variance(kept) - alone[one] - alone[other])
        assert found.pairs[other, one] == pytest.approx(found.pairs[one, other])


def _without(kept: str, weights: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    return [weight for one, weight in zip("abc", weights, strict=True) if one not in kept]


def shares_on_a_grid(f: Callable[[Mapping[str, Any]], float]) -> dict[Any, float]:
    """First-order, pair (beyond each) and total shares by algebra: a full grid, a conditional parameter idle where it
    does not act."""
    values = {
        "algorithm.name": ["maml", "anil", "boil"],
        "algorithm.inner_lr": [float(x) for x in 10 ** (-2 + 2 * (np.arange(20) + 0.5) / 20)],
        "algorithm.inner_steps": [1, 2, 3, 4],
        "algorithm.frozen_layers": [0, 1, 2, 3],
    }
    paths = list(values)
    table = np.array([f(dict(zip(paths, point, strict=True))) for point in itertools.product(*values.values())])
    table = table.reshape([len(its) for its in values.values()])
    total = table.var()

    def closed(kept: set[str]) -> float:
        return float(table.mean(tuple(k for k, path in enumerate(paths) if path not in kept)).var() / total)

    found: dict[Any, float] = {path: closed({path}) for path in paths}
    for one, other in itertools.combinations(paths, 2):
        found[one, other] = closed({one, other}) - found[one] - found[other]
    return found | {("all", path): 1 - closed(set(paths) - {path}) for path in paths}


def accuracy(point: Mapping[str, Any]) -> float:
    """Additive in steps; frozen layers act under maml; the rate is a step that matters less for boil; clip: nothing."""
    name, rate = point["algorithm.name"], point["algorithm.inner_lr"]
    step = (0.1 if name == "boil" else 0.3) * (rate > 0.1)
    frozen = 0.06 * point["algorithm.frozen_layers"] if name == "maml" else 0.0
    return 0.4 + step + 0.03 * point["algorithm.inner_steps"] - frozen


def test_shares_are_those_of_the_function_behind_the_trials() -> None:
    points, exact = drawn(400), shares_on_a_grid(accuracy)
    told = importance(SPACE, points, [accuracy(point) for point in points], resamples=40)
    assert isinstance(told, Importance)
    assert told.trials == 400
    assert told.skill > 0.9
    for path in list(SPACE)[:4]:
        assert told.alone[path].value == pytest.approx(exact[path], abs=0.04)
        assert told.involved[path].value == pytest.approx(exact["all", path], abs=0.06)
    for pair in (("algorithm.name", "algorithm.inner_lr"), ("algorithm.name", "algorithm.frozen_layers")):
        assert exact[pair] > 0.04  # the function has both interactions, and no other
        assert told.pairs[pair].value == pytest.approx(exact[pair], abs=0.04)
    others = [share.value for pair, share in told.pairs.items() if exact.get(pair, 0.0) < 1e-9]
    assert len(others) == 8
    assert max(others) < 0.01
    assert told.involved["training.clip"].value < 0.02
    assert told.idle_involved.value < 0.02


def test_intervals_hold_the_values_and_shrink_with_trials() -> None:
    widths = []
    for count in (40, 200):
        points = drawn(count, seed=2)
        noise = 0.05 * np.random.default_rng(3).normal(size=count)
        told = importance(SPACE, points, [accuracy(p) + e for p, e in zip(points, noise, strict=True)], resamples=60)
        assert isinstance(told, Importance)
        shares = [*told.alone.values(), *told.involved.values(), *told.pairs.values(), told.idle_alone]
        assert all(0 <= one.low <= one.value <= one.high <= 1 for one in shares)
        strongest = told.alone["algorithm.inner_lr"]
        widths.append(strongest.high - strongest.low)
    assert widths[1] < 0.7 * widths[0]


def test_what_a_sampler_prefers_has_no_more_weight() -> None:
    """Four of five trials at one end of the rate: its share is nearly that of the whole space all the same."""
    points = drawn(400, seed=4)
    for index, point in enumerate(points):
        if index % 5:
            point["algorithm.inner_lr"] = float(10 ** np.random.default_rng(index).uniform(-0.5, 0))
    told = importance(SPACE, points, [accuracy(point) for point in points], resamples=1)
    assert isinstance(told, Importance)
    exact = shares_on_a_grid(accuracy)["algorithm.inner_lr"]
    high = [float(point["algorithm.inner_lr"] > 0.1) for point in points]
    among_trials = np.corrcoef(high, list(map(accuracy, points)))[0, 1] ** 2
    assert abs(told.alone["algorithm.inner_lr"].value - exact) < 0.15
    assert exact - among_trials > 0.3


def test_the_same_trials_tell_the_same() -> None:
    points = drawn(60)
    values = [accuracy(point) for point in points]
    told = importance(SPACE, points, values, resamples=1)
    assert told == importance(SPACE, points, values, resamples=1)
    assert isinstance(told, Importance)  # of one resample the percentiles are one number, seldom the value
    assert all(one.low <= one.value <= one.high for one in (*told.alone.values(), *told.pairs.values()))


def test_nothing_is_told_of_too_few_equal_or_random_trials() -> None:
    points = drawn(60)
    few = importance(SPACE, points[: LEAST_TRIALS - 1], [accuracy(point) for point in points[: LEAST_TRIALS - 1]])
    assert few == Untold(LEAST_TRIALS - 1, f"cannot be told yet ({LEAST_TRIALS - 1} of at least {LEAST_TRIALS} trials)")
    equal = importance(SPACE, points, [0.5] * 60)
    assert isinstance(equal, Untold)
    assert "same accuracy" in equal.reason
    random = importance(SPACE, points, np.random.default_rng(0).random(60).tolist(), resamples=40)
    assert isinstance(random, Untold)
    assert "of the variance of those left out" in random.reason
