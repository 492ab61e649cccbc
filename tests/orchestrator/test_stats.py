"""Estimates and intervals against scipy, against mean squares by naive loops, and by simulation with known truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from orchestrator.stats import (
    Estimate,
    estimate_cell,
    estimate_difference,
    estimate_ratio,
    estimate_scores,
    t_quantile,
)

Array = NDArray[np.float64]


def crossed(
    rng: np.random.Generator, seeds: int, episodes: int, seed_std: float, episode_std: float, residual_std: float
) -> Array:
    """One cell with mean 0, as the model has it."""
    of_seeds = rng.normal(0, seed_std, (seeds, 1))
    of_episodes = rng.normal(0, episode_std, (1, episodes))
    return np.asarray(of_seeds + of_episodes + rng.normal(0, residual_std, (seeds, episodes)))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def half(estimate: Estimate) -> float:
    return (estimate.high - estimate.low) / 2


def difference(a: Any, b: Any, trainings: bool = True, episodes: bool = True, comparisons: int = 1) -> Estimate:
    return estimate_difference(a, b, same_trainings=trainings, same_episodes=episodes, comparisons=comparisons)


@pytest.mark.parametrize("df", [1, 1.3, 2, 2.5, 3, 4.7, 10, 99, 599, 1e4, 1e6])
@pytest.mark.parametrize("p", [0.5, 0.9, 0.975, 0.9975, 0.9995])
def test_t_quantile_is_scipys(p: float, df: float) -> None:
    assert t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=1e-6, abs=1e-12)


def naive_mean_squares(y: Array) -> tuple[float, float, float]:
    """Mean squares of seeds, of episodes and of the residual, in a two-way layout with one value a place."""
    S, E = y.shape
    mean = sum(y[s, e] for s in range(S) for e in range(E)) / (S * E)
    seed = [sum(y[s]) / E for s in range(S)]
    episode = [sum(y[:, e]) / S for e in range(E)]
    rest = sum((y[s, e] - seed[s] - episode[e] + mean) ** 2 for s in range(S) for e in range(E))
    return (
        E * sum((one - mean) ** 2 for one in seed) / (S - 1),
        S * sum((one - mean) ** 2 for one in episode) / (E - 1),
        rest / ((S - 1) * (E - 1)),
    )


def test_cell_against_mean_squares(rng: np.random.Generator) -> None:
    S, E = 4, 30
    y = 0.6 + crossed(rng, S, E, 0.03, 0.05, 0.05)
    of_seeds, of_episodes, residual = (square / (S * E) for square in naive_mean_squares(y))
    cell = estimate_cell(y)
    t_seeds, t_episodes = stats.t.ppf(0.975, S - 1), stats.t.ppf(0.975, E - 1)
    expected = math.sqrt(t_seeds**2 * of_seeds + t_episodes**2 * (of_episodes - residual))
    assert half(cell) == pytest.approx(expected, rel=1e-9)
    assert cell.value == pytest.approx(y.mean())
    assert cell.seed_std == pytest.approx(np.std(y.mean(1), ddof=1))
    assert (cell.seeds, cell.episodes, cell.no_verdict) == (S, E, "")
    # the variance of the grand mean, unbiased: (MS_seeds + MS_episodes − MS_residual) / (S E)
    assert cell.spread.seeds + cell.spread.episodes - cell.spread.residual == pytest.approx(
        of_seeds + of_episodes - residual
    )


def test_seeds_never_narrow_an_interval(rng: np.random.Generator) -> None:
    y = 0.6 + crossed(rng, 3, 50, 0, 0.05, 0.05)
    y -= y.mean(1, keepdims=True) - y.mean()  # seeds alike to the last bit: their variance estimate is below 0
    by_episode = y.mean(0)
    low, high = stats.t.interval(0.95, len(by_episode) - 1, loc=by_episode.mean(), scale=stats.sem(by_episode))
    assert half(estimate_cell(y)) == pytest.approx((high - low) / 2)


def test_one_factor_is_students_t(rng: np.random.Generator) -> None:
    values, others = rng.random(5), rng.random(5)
    interval = stats.ttest_1samp(values, 0).confidence_interval()
    for estimate in (
        estimate_scores(values),
        estimate_cell(values[:, None]),
        estimate_cell(values[None]),
    ):
        assert (estimate.low, estimate.high) == pytest.approx(tuple(interval))
    paired = tuple(stats.ttest_rel(values, others).confidence_interval())
    for a, b in ((values[:, None], others[:, None]), (values[None], others[None])):
        assert (difference(a, b).low, difference(a, b).high) == pytest.approx(paired)


@pytest.mark.parametrize("size", [4, 7])
def test_unpaired_factor_is_welchs_t(rng: np.random.Generator, size: int) -> None:
    values, others = rng.random(5), 3 * rng.random(size)
    welch = tuple(stats.ttest_ind(values, others, equal_var=False).confidence_interval())
    by_seed = difference(values[:, None], others[:, None], trainings=False)
    by_episode = difference(values[None], others[None], episodes=False)
    assert (by_seed.low, by_seed.high) == pytest.approx(welch)
    assert (by_episode.low, by_episode.high) == pytest.approx(welch)


def test_trainings_of_one_training_factor_are_independent(rng: np.random.Generator) -> None:
    a, b = (0.6 + crossed(rng, 4, 40, 0.03, 0.05, 0.05) for _ in range(2))
    squares_a, squares_b = naive_mean_squares(a), naive_mean_squares(b)
    of_seeds = [squares_a[0] / 160, squares_b[0] / 160]
    df = sum(of_seeds) ** 2 / (of_seeds[0] ** 2 / 3 + of_seeds[1] ** 2 / 3)
    of_episodes = np.var(a.mean(0) - b.mean(0), ddof=1) / 40
    residual = (squares_a[2] + squares_b[2]) / 160
    t_seeds, t_episodes = stats.t.ppf(0.975, df), stats.t.ppf(0.975, 39)
    expected = math.sqrt(t_seeds**2 * sum(of_seeds) + t_episodes**2 * (of_episodes - residual))
    estimate = difference(a, b, trainings=False)
    assert half(estimate) == pytest.approx(expected, rel=1e-9)
    assert estimate.seed_std is None


def test_other_episodes_of_the_same_trainings(rng: np.random.Generator) -> None:
    a, b = 0.6 + crossed(rng, 4, 40, 0.03, 0.05, 0.05), 0.5 + crossed(rng, 4, 25, 0.03, 0.05, 0.05)
    estimate = difference(a, b, episodes=False)
    of_seeds = np.var(a.mean(1) - b.mean(1), ddof=1) / 4
    variances = [np.var(y.mean(0), ddof=1) / y.shape[1] for y in (a, b)]
    df = sum(variances) ** 2 / (variances[0] ** 2 / 39 + variances[1] ** 2 / 24)
    residual = naive_mean_squares(a)[2] / a.size + naive_mean_squares(b)[2] / b.size
    t_seeds, t_episodes = stats.t.ppf(0.975, 3), stats.t.ppf(0.975, df)
    expected = math.sqrt(max(0, t_seeds**2 * of_seeds - t_episodes**2 * residual) + t_episodes**2 * sum(variances))
    assert half(estimate) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("comparisons", [1, 4, 20])
def test_several_comparisons_are_bonferronis(rng: np.random.Generator, comparisons: int) -> None:
    a, b = rng.random((1, 60)), rng.random((1, 60))
    interval = stats.ttest_rel(a[0], b[0]).confidence_interval(1 - 0.05 / comparisons)
    estimate = difference(a, b, comparisons=comparisons)
    assert (estimate.low, estimate.high) == pytest.approx(tuple(interval))


@pytest.mark.parametrize("trainings", [True, False])
@pytest.mark.parametrize("episodes", [True, False])
def test_order_shift_and_sign_do_not_matter(rng: np.random.Generator, trainings: bool, episodes: bool) -> None:
    a, b = (0.5 + crossed(rng, 3, 40, 0.01, 0.05, 0.05) for _ in range(2))
    seeds, columns = rng.permutation(3), rng.permutation(40)
    estimate = difference(a, b, trainings, episodes)
    bounds = estimate.value, estimate.low, estimate.high
    mixed = difference(a[seeds][:, columns], b[seeds][:, columns], trainings, episodes)
    assert (mixed.value, mixed.low, mixed.high) == pytest.approx(bounds)
    shifted = difference(a + 0.3, b + 0.3, trainings, episodes)
    assert (shifted.value, shifted.low, shifted.high) == pytest.approx(bounds)
    swapped = difference(b, a, trainings, episodes)
    assert (-swapped.value, -swapped.high, -swapped.low) == pytest.approx(bounds)


def test_pairing_narrows_what_is_shared(rng: np.random.Generator) -> None:
    shared = crossed(rng, 4, 200, 0.01, 0.1, 0)
    a, b = (0.5 + shared + rng.normal(0, 0.02, shared.shape) for _ in range(2))
    assert half(difference(a, b)) < half(difference(a, b, trainings=False)) / 2
    assert half(difference(a, b, trainings=False)) < half(difference(a, b, trainings=False, episodes=False)) / 1.1


def test_one_of_a_kind_is_not_in_the_interval(rng: np.random.Generator) -> None:
    one_seed = estimate_cell(rng.random((1, 50)))
    assert (one_seed.spread.seeds_df, one_seed.seed_std) == (0, None)
    assert one_seed.no_verdict == "1 seed, where a verdict on trainings needs 3"
    single = estimate_cell([[0.5]])
    assert (single.value, single.low, single.high) == (0.5, -math.inf, math.inf)
    for a, b in ((1, 4), (4, 1)):
        uneven = difference(rng.random((a, 50)), rng.random((b, 50)), trainings=False)
        assert (uneven.seeds, uneven.spread.seeds, uneven.spread.seeds_df) == (1, 0, 0)
        assert half(uneven) > 0


def test_a_training_factor_needs_three_seeds(rng: np.random.Generator) -> None:
    a, b = rng.random((3, 50)), rng.random((2, 50))
    assert difference(a, b, trainings=False).no_verdict == "2 seeds, where a verdict on trainings needs 3"
    assert difference(a, a[::-1], trainings=False).no_verdict == ""
    assert difference(a[:1], b[:1]).no_verdict == ""
    assert difference(a[:, :1], a[:, 1:2]).no_verdict == "one episode, where a verdict needs several"
    assert estimate_scores([0.5, 0.6]).no_verdict != ""


def test_constant_cells_have_no_width() -> None:
    flat = np.full((3, 10), 0.25)
    for estimate in (
        estimate_cell(flat),
        *(difference(flat, flat, t, e) for t in (True, False) for e in (True, False)),
    ):
        assert half(estimate) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: estimate_cell([[0.5, math.nan]]), "accuracies: must be finite, got 1 values that are not"),
        (lambda: estimate_cell([0.5, 0.6]), r"accuracies: must be a matrix \[seeds, episodes\], got shape \(2,\)"),
        (lambda: estimate_cell(np.zeros((3, 0))), "got shape"),
        (lambda: estimate_cell([[46.9]]), r"accuracies: must be fractions in \[0, 1\], got 46.9 to 46.9"),
        (lambda: estimate_scores([[1.0]]), "scores: must be a list, one number a seed"),
        (lambda: estimate_scores([math.inf]), "scores: must be finite"),
        (lambda: estimate_scores([]), "scores: must be"),
        (lambda: difference(np.zeros((3, 4)), np.zeros((2, 4))), "paired seeds must be as many, got 3 and 2"),
        (lambda: difference(np.zeros((3, 4)), np.zeros((3, 5))), "paired episodes must be as many, got 4 and 5"),
        (lambda: difference([[0.0]], [[0.0]], comparisons=0), "comparisons: must be at least 1, got 0"),
        (lambda: difference([[0.0]], [[math.nan]]), "baseline: must be finite"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def coverage(estimate: Callable[[], Estimate], repeats: int = 4000) -> float:
    """Share of intervals with 0 in them."""
    hits = 0
    for _ in range(repeats):
        one = estimate()
        hits += one.low <= 0 <= one.high
    return hits / repeats


# In points: std of seeds, of episodes and of the residual. The standard error of a coverage is 0.35 %.
@pytest.mark.parametrize(
    ("seeds", "episodes", "stds"),
    [
        (3, 600, (0.5, 7.5, 6.0)),
        (5, 100, (0.3, 7.5, 6.0)),
        (3, 1000, (0.7, 5.0, 5.0)),  # seeds are most of the variance: one Satterthwaite quantile has 92.6 % here
        (3, 300, (0.0, 8.0, 6.0)),
    ],
)
def test_coverage_of_a_cell(
    rng: np.random.Generator, seeds: int, episodes: int, stds: tuple[float, float, float]
) -> None:
    found = coverage(lambda: estimate_cell(crossed(rng, seeds, episodes, *stds), unit=""))
    assert 0.94 < found < 0.99


def test_coverage_of_paired_seeds(rng: np.random.Generator) -> None:
    def experiment() -> Estimate:
        shared = crossed(rng, 3, 300, 0.5, 7.5, 5)
        return difference(shared + crossed(rng, 3, 300, 0.2, 2, 4), shared)

    assert 0.94 < coverage(experiment) < 0.995


def test_coverage_of_other_trainings_on_the_same_episodes(rng: np.random.Generator) -> None:
    def experiment() -> Estimate:
        shared = rng.normal(0, 7.5, 300)
        return difference(*(shared + crossed(rng, 3, 300, 0.5, 3, 5) for _ in range(2)), trainings=False)

    assert 0.94 < coverage(experiment) < 0.985


def test_coverage_of_other_trainings_on_other_episodes(rng: np.random.Generator) -> None:
    def experiment() -> Estimate:
        return difference(
            crossed(rng, 3, 300, 0.5, 7.5, 5), crossed(rng, 5, 150, 1, 5, 5), trainings=False, episodes=False
        )

    assert 0.94 < coverage(experiment) < 0.985


def test_simultaneous_intervals_hold_at_once(rng: np.random.Generator) -> None:
    repeats, hits = 1500, 0
    for _ in range(repeats):
        shared = rng.normal(0, 7.5, 200)
        baseline, *others = (shared + crossed(rng, 5, 200, 0.5, 3, 5) for _ in range(5))
        intervals = [difference(cell, baseline, trainings=False, comparisons=4) for cell in others]
        hits += all(one.low <= 0 <= one.high for one in intervals)
    assert 0.94 < hits / repeats < 0.995


def test_a_ratio_is_a_difference_of_logarithms_as_welch_has_it() -> None:
    slow, fast = np.array([40.0, 44.0, 41.0, 46.0]), np.array([10.0, 11.5, 10.5])
    found = estimate_ratio(slow, fast, comparisons=4)
    ours = stats.ttest_ind(np.log(slow), np.log(fast), equal_var=False)
    theirs = ours.confidence_interval(1 - 0.05 / 4)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    assert math.exp(found.value) == pytest.approx(stats.gmean(slow) / stats.gmean(fast))
    assert (found.unit, found.comparisons, found.seeds, found.no_verdict) == ("×", 4, 3, "")
    inverse = estimate_ratio(fast, slow, comparisons=4)
    assert (inverse.value, inverse.low, inverse.high) == pytest.approx((-found.value, -found.high, -found.low))


def test_a_ratio_of_few_seeds_has_no_verdict() -> None:
    assert estimate_ratio([2.0, 3.0], [1.0, 1.0, 1.5], comparisons=1).no_verdict.startswith("2 seeds")
    assert math.isinf(estimate_ratio([2.0], [1.0], comparisons=1).low)


@pytest.mark.parametrize("bad", [[1.0, 0.0], [1.0, -1.0], [[1.0]], [1.0, math.nan], [1.0, math.inf]])
def test_a_ratio_is_of_positive_numbers(bad: list) -> None:
    with pytest.raises(ValueError, match=r"denominator: must"):
        estimate_ratio([1.0, 2.0], bad, comparisons=1)
