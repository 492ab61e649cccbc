"""Estimates with 95 % intervals, from the accuracies of test episodes under several training seeds.

A *cell* is a matrix [seeds, episodes]: row s is one training, column e one test episode, the same for all rows. Seeds
and episodes are crossed random factors, y_se = μ + a_s + b_e + r_se, and an interval says where μ is, for other seeds
*and* other episodes of the same dataset. ``orchestrator.verdicts`` puts into words what an interval says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
LEAST_SEEDS = 3
"""With fewer trainings their spread is hardly known: what is said about trainings gets no verdict."""

Unit = Literal["%", "points", "", "×", "return"]
"""How an estimate is shown: a fraction as per cent, a difference of fractions in points, a score as it is, the
logarithm of a ratio as that ratio; a return, or a difference of returns, as it is."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """Where the uncertainty of an estimate comes from: variances of means, in the estimate's unit squared.

    ``seeds`` is the variance of the mean of the seed means, ``episodes`` that of the mean of the episode means. Both
    hold the residual, what a seed and an episode do together; ``residual`` is what their sum has once too often.
    A factor with one level has variance 0 and 0 degrees of freedom: it is not in the interval.
    """

    seeds: float
    seeds_df: float
    residual: float
    episodes: float
    episodes_df: float

    def half_width(self, confidence: float) -> float:
        """Half of the interval's width; infinite where there is neither a second seed nor a second episode.

        h² = t_s² seeds + t_e² (episodes − residual). Each variance has the t quantile of its own degrees of freedom, as
        in Banerjee's intervals (1960), which cover at least what they promise. One quantile for all, with
        Satterthwaite's degrees of freedom, is narrower and covers too little where most of the variance is that of a
        few seeds (``docs/statistics.md``). Where the sample would have the seeds narrow the interval, they count as 0.
        """
        if not self.seeds_df and not self.episodes_df:
            return math.inf
        p = (1 + confidence) / 2
        t_seeds = t_quantile(p, self.seeds_df) if self.seeds_df else 0.0
        t_episodes = t_quantile(p, self.episodes_df) if self.episodes_df else 0.0
        of_seeds = t_seeds**2 * self.seeds - t_episodes**2 * self.residual
        return math.sqrt(max(0.0, of_seeds) + t_episodes**2 * self.episodes)


@dataclass(frozen=True)
class Estimate:
    """A value with the interval that holds the true one in 95 of 100 such experiments.

    ``seed_std`` is the sample standard deviation over seeds (divided by seeds − 1); None for one seed, or where the
    trainings of two cells are not the same. With several ``comparisons`` it is *all* of their intervals together that
    hold in 95 of 100 experiments. ``no_verdict`` says why the estimate supports no verdict; empty where it does.
    Values are as the input has them: fractions, shown as per cent or points.
    """

    value: float
    low: float
    high: float
    seed_std: float | None
    seeds: int
    episodes: int
    comparisons: int
    unit: Unit
    spread: Spread
    no_verdict: str = ""


def estimate_cell(accuracies: ArrayLike, unit: Unit = "%", comparisons: int = 1) -> Estimate:
    """Mean of a cell [seeds, episodes] over both, with an interval over both.

    One seed: over episodes only, for this one training. One episode: over seeds only. ``comparisons``: how many means
    are judged together, as in ``estimate_difference``.

    Raises ``ValueError`` for what is no matrix of finite numbers, and for percentages where fractions are asked.
    """
    _check_comparisons(comparisons)
    cell = _matrix(accuracies, "accuracies")
    if unit == "%" and (cell.min() < 0 or cell.max() > 1):
        raise ValueError(f"accuracies: must be fractions in [0, 1], got {cell.min():g} to {cell.max():g}")
    reason = _too_few_seeds(len(cell)) or _too_few_episodes(cell.shape[1])
    return _estimate(cell.mean(), _spread_of(cell), cell.mean(1), cell.shape, unit, comparisons, reason)


def estimate_scores(scores: ArrayLike, unit: Unit = "") -> Estimate:
    """Mean of one number a seed, [seeds], with Student's t interval over seeds.

    Raises ``ValueError`` for what is no list of finite numbers.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"scores: must be a list, one number a seed, got shape {values.shape}")
    scores_by_seed = _matrix(values[:, None], "scores")
    spread = _spread_of(scores_by_seed)
    return _estimate(values.mean(), spread, values, scores_by_seed.shape, unit, 1, _too_few_seeds(len(values)))


def estimate_difference(
    cell: ArrayLike,
    baseline: ArrayLike,
    *,
    same_trainings: bool,
    same_episodes: bool,
    comparisons: int,
    unit: Unit = "points",
) -> Estimate:
    """Mean of ``cell`` − mean of ``baseline``, both [seeds, episodes], with an interval over seeds and episodes.

    ``same_trainings``: row s of both is one training, tested in two ways (a test factor), so seeds are paired.
    Otherwise (a training factor) the trainings are taken as independent, though those of one seed begin alike: what
    they have in common could only narrow the interval, and a few seeds can't tell how much it is. With fewer than
    ``LEAST_SEEDS`` a training factor gets no verdict.

    ``same_episodes``: column e of both is one episode. Otherwise (other ways, another dataset) they are unpaired.

    ``comparisons``: how many differences are judged together, as all cells of a table with their baseline. Each
    interval has confidence 1 − 0.05 / comparisons (Bonferroni), so that all hold at once in 95 of 100 experiments.

    Raises ``ValueError`` where shapes contradict the pairing, or for what is no matrix of finite numbers.
    """
    _check_comparisons(comparisons)
    a, b = _matrix(cell, "cell"), _matrix(baseline, "baseline")
    for axis, (paired, what) in enumerate([(same_trainings, "seeds"), (same_episodes, "episodes")]):
        if paired and a.shape[axis] != b.shape[axis]:
            raise ValueError(f"cell, baseline: paired {what} must be as many, got {a.shape[axis]} and {b.shape[axis]}")
    seeds, episodes = min(len(a), len(b)), min(a.shape[1], b.shape[1])
    by_seed = a.mean(1) - b.mean(1) if same_trainings else None
    if same_trainings and same_episodes:
        spread = _spread_of(a - b)
    else:
        of_a, of_b = _spread_of(a), _spread_of(b)
        of_seeds = _mean_variance(by_seed) if by_seed is not None else _sum((of_a.seeds, len(a)), (of_b.seeds, len(b)))
        of_episodes = (
            _mean_variance(a.mean(0) - b.mean(0))
            if same_episodes
            else _sum((of_a.episodes, a.shape[1]), (of_b.episodes, b.shape[1]))
        )
        spread = Spread(*of_seeds, of_a.residual + of_b.residual, *of_episodes)
    reason = ("" if same_trainings else _too_few_seeds(seeds)) or _too_few_episodes(episodes)
    return _estimate(a.mean() - b.mean(), spread, by_seed, (seeds, episodes), unit, comparisons, reason)


def seed_pseudo_values(scores: ArrayLike, seeds: Sequence[tuple[int, int]]) -> Matrix:
    """Turns scores of *pairs* of trainings into a cell [seeds, episodes], for ``estimate_cell``.

    Pairs that share a seed are not independent, so the seeds are what counts: row s is what leaving seed s out changes,
    n mean − (n − 1) mean without s (Tukey's jackknife; of a mean over pairs it is that of a U-statistic, Arvesen 1969).
    The rows' mean is that of all pairs, and their variance over n estimates its variance. Where no pair is left without
    a seed (two seeds, one pair) the scores are averaged into one row: an interval over episodes only.

    Args:
        scores: [pairs, episodes].
        seeds: of each pair, different ones.

    Raises ``ValueError`` for what is no matrix of finite numbers, one row a pair.
    """
    matrix = _matrix(scores, "scores")
    if len(matrix) != len(seeds):
        raise ValueError(f"scores: must have a row for each of {len(seeds)} pairs, got {len(matrix)}")
    names = sorted({seed for pair in seeds for seed in pair})
    without = [[seed not in pair for pair in seeds] for seed in names]
    if not all(map(any, without)):
        return np.asarray(matrix.mean(0, keepdims=True))
    count, mean = len(names), matrix.mean(0)
    return np.stack([count * mean - (count - 1) * matrix[rest].mean(0) for rest in without])


def estimate_ratio(numerator: ArrayLike, denominator: ArrayLike, *, comparisons: int) -> Estimate:
    """Logarithm of the ratio of two geometric means, each over one positive number a seed, [seeds]; by Student's t.

    The seeds of the two are independent (Welch's degrees of freedom), and there may be more of one. Logarithms, since a
    ratio is as far above 1 as its inverse is below. ``comparisons`` as in ``estimate_difference``.

    Raises ``ValueError`` for what is no list of positive finite numbers.
    """
    logs = []
    for values, name in ((numerator, "numerator"), (denominator, "denominator")):
        numbers = np.asarray(values, dtype=np.float64)
        if numbers.ndim != 1 or not ((numbers > 0) & np.isfinite(numbers)).all():
            raise ValueError(f"{name}: must be a list of positive numbers, one a seed, got {values!r}")
        logs.append(np.log(numbers)[:, None])
    a, b = logs
    found = estimate_difference(a, b, same_trainings=False, same_episodes=False, comparisons=comparisons, unit="×")
    return replace(found, no_verdict=_too_few_seeds(min(len(a), len(b))))


@lru_cache(maxsize=4096)
def t_quantile(p: float, df: float) -> float:
    """The p quantile of Student's t, 0.5 ≤ p < 1, for df ≥ 1; relative error below 1e-6 up to p = 0.9995.

    With t = √df tan θ the density is cos^(df−1) θ, smooth on [0, θ], so Gauss-Legendre integrates it. The integral is
    concave in θ: Newton's steps from 0 rise to the solution and never pass it.
    """
    half_beta = math.sqrt(math.pi) * math.exp(math.lgamma(df / 2) - math.lgamma((df + 1) / 2)) / 2
    area = (2 * p - 1) * half_beta
    nodes, weights = _legendre()
    theta = 0.0
    for _ in range(100):
        reached = theta / 2 * float(weights @ np.cos(theta / 2 * (nodes + 1)) ** (df - 1))
        step = (area - reached) / math.cos(theta) ** (df - 1)
        theta += step
        if abs(step) <= 1e-12 * theta:
            break
    return math.sqrt(df) * math.tan(theta)


@lru_cache(maxsize=1)
def _legendre() -> tuple[Matrix, Matrix]:
    nodes, weights = np.polynomial.legendre.leggauss(200)
    return nodes, weights


def _check_comparisons(comparisons: int) -> None:
    if comparisons < 1:
        raise ValueError(f"comparisons: must be at least 1, got {comparisons}")


def _matrix(values: ArrayLike, name: str) -> Matrix:
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"{name}: must be a matrix [seeds, episodes], got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name}: must be finite, got {int((~np.isfinite(matrix)).sum())} values that are not")
    return matrix


def _spread_of(matrix: Matrix) -> Spread:
    """From the mean squares of a two-way layout [S, E], each over S E: MS_seeds, MS_residual, MS_episodes."""
    S, E = matrix.shape
    by_seed, by_episode = matrix.mean(1), matrix.mean(0)
    residual = 0.0
    if S > 1 and E > 1:
        rest = matrix - by_seed[:, None] - by_episode + matrix.mean()
        residual = float(np.square(rest).sum()) / ((S - 1) * (E - 1) * S * E)
    return Spread(*_mean_variance(by_seed), residual, *_mean_variance(by_episode))


def _mean_variance(values: Matrix) -> tuple[float, float]:
    """Variance of the mean of independent values, and its degrees of freedom; (0, 0) for one value."""
    count = len(values)
    return (float(values.var(ddof=1)) / count, count - 1) if count > 1 else (0.0, 0.0)


def _sum(one: tuple[float, int], other: tuple[float, int]) -> tuple[float, float]:
    """Variance of the sum of two independent means of so many values, and Welch's degrees of freedom.

    (0, 0) where one of them is of a single value: then the variance of the sum is not known.
    """
    (v, n), (w, m) = one, other
    if n < 2 or m < 2:
        return 0.0, 0.0
    if v + w == 0:
        return 0.0, n + m - 2
    return v + w, (v + w) ** 2 / (v**2 / (n - 1) + w**2 / (m - 1))


def _too_few_seeds(seeds: int) -> str:
    if seeds >= LEAST_SEEDS:
        return ""
    return f"{seeds} seed{'s' if seeds > 1 else ''}, where a verdict on trainings needs {LEAST_SEEDS}"


def _too_few_episodes(episodes: int) -> str:
    return "one episode, where a verdict needs several" if episodes == 1 else ""


def _estimate(
    value: float,
    spread: Spread,
    by_seed: Matrix | None,
    shape: tuple[int, ...],
    unit: Unit,
    comparisons: int,
    no_verdict: str,
) -> Estimate:
    half = spread.half_width(1 - (1 - CONFIDENCE) / comparisons)
    std = float(by_seed.std(ddof=1)) if by_seed is not None and len(by_seed) > 1 else None
    value = float(value)
    seeds, episodes = shape
    return Estimate(value, value - half, value + half, std, seeds, episodes, comparisons, unit, spread, no_verdict)
