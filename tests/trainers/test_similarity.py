"""CCA, CKA and distances against other formulas for them, and what a score must not depend on."""

from __future__ import annotations

from collections.abc import Callable

import hoggorm
import numpy as np
import pytest
import scipy.linalg
import torch

from trainers.similarity import Representation, cca, euclidean_distance, flatten, linear_cka, relative_distance

Score = Callable[[object, object], float]
SCORES: list[Score] = [cca, linear_cka]


def normal(seed: int, points: int, neurons: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(points, neurons))


def correlated(seed: int, points: int, neurons: int, others: int) -> tuple[np.ndarray, np.ndarray]:
    """Two representations that have a part in common, of other sizes and other scales."""
    x = normal(seed, points, neurons)
    y = x @ normal(seed + 1, neurons, others) + 2 * normal(seed + 2, points, others) * np.arange(1, others + 1)
    return x + 3, y - 5


def canonical_correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Hotelling's: square roots of the eigenvalues of Sxx⁻¹ Sxy Syy⁻¹ Syx."""
    joint = np.cov(x, y, rowvar=False)
    p = x.shape[1]
    xx, xy, yx, yy = joint[:p, :p], joint[:p, p:], joint[p:, :p], joint[p:, p:]
    squares = np.linalg.eigvals(np.linalg.solve(xx, xy) @ np.linalg.solve(yy, yx)).real
    return np.sqrt(np.sort(squares)[::-1][: min(x.shape[1], y.shape[1])].clip(0))


def cka_by_hsic(x: np.ndarray, y: np.ndarray) -> float:
    """HSIC(K, L) / √(HSIC(K, K) HSIC(L, L)), HSIC(K, L) = tr(K H L H): Gretton et al. 2005."""
    n = len(x)
    h = np.eye(n) - 1 / n
    k, other = x @ x.T, y @ y.T

    def hsic(one: np.ndarray, two: np.ndarray) -> float:
        return float(np.trace(one @ h @ two @ h))

    return hsic(k, other) / np.sqrt(hsic(k, k) * hsic(other, other))


@pytest.mark.parametrize("sizes", [(40, 3, 3), (40, 5, 2), (200, 8, 12)])
def test_cca_is_hotellings_and_the_cosine_of_principal_angles(sizes: tuple[int, int, int]) -> None:
    x, y = correlated(3, *sizes)
    expected = canonical_correlations(x, y).mean()
    assert 0.05 < expected < 0.999
    assert cca(x, y) == pytest.approx(expected, abs=1e-9)
    angles = scipy.linalg.subspace_angles(x - x.mean(0), y - y.mean(0))
    assert cca(x, y) == pytest.approx(np.cos(angles).mean(), abs=1e-12)


@pytest.mark.parametrize("sizes", [(40, 3, 3), (200, 8, 12), (9, 20, 30), (9, 4, 30), (30, 4, 30)])
def test_cka_is_that_of_hsic_in_either_form(sizes: tuple[int, int, int]) -> None:
    x, y = correlated(7, *sizes)
    expected = cka_by_hsic(x, y)
    assert 0.01 < expected < 0.999
    assert linear_cka(x, y) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("score", SCORES)
def test_what_is_the_same_scores_one(score: Score) -> None:
    x = normal(1, 60, 7)
    rotation = scipy.linalg.qr(normal(2, 7, 7))[0]
    for other in (x, 4.5 * x, x @ rotation, x[:, ::-1].copy(), x + np.arange(7)):
        assert score(x, other) == pytest.approx(1, abs=1e-12)
        assert score(x, other) <= 1


def test_cca_sees_no_linear_map_and_cka_does() -> None:
    x = normal(1, 60, 7)
    mapped = x @ normal(2, 7, 7)
    assert cca(x, mapped) == pytest.approx(1, abs=1e-10)
    assert linear_cka(x, mapped) < 0.95


@pytest.mark.parametrize("score", SCORES)
def test_symmetric(score: Score) -> None:
    x, y = correlated(5, 50, 4, 9)
    assert score(x, y) == pytest.approx(score(y, x), abs=1e-12)


@pytest.mark.parametrize("score", SCORES)
def test_tensors_of_float32_are_calculated_in_float64(score: Score) -> None:
    x, y = (one.astype(np.float32) for one in correlated(5, 50, 4, 9))
    tensors = torch.from_numpy(x).requires_grad_(), torch.from_numpy(y)
    assert score(*tensors) == score(x.astype(np.float64), y.astype(np.float64))


def test_independent_representations_score_what_chance_gives() -> None:
    """CCA of p and q independent normal neurons: its squared correlations sum to pq / (n − 1) on average."""
    points, p, q = 60, 4, 6
    pairs = [(normal(2 * seed, points, p), normal(2 * seed + 1, points, q)) for seed in range(300)]
    squares = np.mean([(canonical_correlations(x, y) ** 2).sum() for x, y in pairs])
    assert squares == pytest.approx(p * q / (points - 1), rel=0.05)
    # the mean of the correlations themselves, by a simulation of its own: angles between random subspaces of R^(n-1)
    spaces = [(normal(5000 + seed, points - 1, p), normal(9000 + seed, points - 1, q)) for seed in range(300)]
    angles = [scipy.linalg.subspace_angles(*pair) for pair in spaces]
    assert np.mean([cca(x, y) for x, y in pairs]) == pytest.approx(np.cos(angles).mean(), rel=0.03)
    # with m = n − 1: E‖YᵀX‖² = m p q, and E‖XᵀX‖² = m p (m + p + 1); a mean of ratios lies a little above that
    m = points - 1
    chance = m * p * q / np.sqrt(m * p * (m + p + 1) * m * q * (m + q + 1))
    assert np.mean([linear_cka(x, y) for x, y in pairs]) == pytest.approx(chance, rel=0.08)


def test_neurons_that_say_nothing_new_do_not_count() -> None:
    x, y = correlated(3, 80, 4, 4)
    expected = cca(x, y)
    dead = np.column_stack([x, np.zeros(80), np.full(80, 0.1), x @ [1, 2, 3, 4]])
    assert cca(dead, y) == pytest.approx(expected, abs=1e-12)
    rounded = torch.from_numpy(dead).float()  # the sum of the others is no longer exact
    assert cca(rounded, y) == pytest.approx(expected, abs=1e-6)
    # without a tolerance they would
    q = np.linalg.qr(dead - dead.mean(0))[0], np.linalg.qr(y - y.mean(0))[0]
    assert abs(np.linalg.svd(q[0].T @ q[1])[1].mean() - expected) > 0.01


@pytest.mark.parametrize("score", SCORES)
def test_what_does_not_vary_has_nothing_in_common(score: Score) -> None:
    x = normal(1, 20, 3)
    for still in (np.zeros((20, 2)), np.full((20, 2), 0.1)):
        assert score(x, still) == score(still, x) == score(still, still) == 0


def test_cca_needs_more_points_than_neurons() -> None:
    enough = normal(1, 6, 5), normal(2, 6, 5)
    assert cca(*enough) == pytest.approx(1)  # two subspaces of dimension 5 in R^5 are one
    with pytest.raises(ValueError, match="got 5 points and 6 neurons"):
        cca(normal(1, 5, 2), normal(2, 5, 6))
    with pytest.raises(ValueError, match="got 5 points and 5 neurons"):
        cca(normal(1, 5, 5), normal(2, 5, 2))


@pytest.mark.parametrize("score", SCORES)
def test_bad_activations_are_refused(score: Score) -> None:
    with pytest.raises(ValueError, match="same points, got 9 and 8"):
        score(normal(1, 9, 2), normal(2, 8, 2))
    with pytest.raises(ValueError, match="finite"):
        score(normal(1, 9, 2), np.full((9, 2), np.nan))
    with pytest.raises(ValueError, match=r"matrix \[points, neurons\], got shape \(9,\)"):
        score(normal(1, 9, 2), np.zeros(9))


@pytest.mark.parametrize("sizes", [(40, 3, 3), (200, 8, 12), (9, 20, 30), (30, 4, 40)])
def test_linear_cka_is_the_rv_coefficient_of_another_library(sizes: tuple[int, int, int]) -> None:
    """RV of Robert and Escoufier (1976) is defined as linear CKA is, on centred matrices."""
    x, y = correlated(5, *sizes)
    expected = hoggorm.RVcoeff([x - x.mean(0), y - y.mean(0)])[0, 1]
    assert 0.05 < expected < 0.999
    assert linear_cka(x, y) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("score", SCORES)
def test_what_is_prepared_once_has_the_same_scores(score: Score) -> None:
    x, y = correlated(7, 60, 6, 4)
    z = normal(8, 60, 5)
    prepared = Representation(x)
    assert [score(prepared, other) for other in (y, z)] == [score(x, other) for other in (y, z)]
    assert score(y, prepared) == score(y, x)


def test_flattenings() -> None:
    maps = torch.arange(2 * 3 * 4 * 5).view(2, 3, 4, 5)
    by_channel = flatten(maps, "channels")
    assert by_channel.shape == (40, 3)
    assert by_channel[1 * 20 + 2 * 5 + 4].tolist() == maps[1, :, 2, 4].tolist()
    by_image = flatten(maps, "images")
    assert by_image.shape == (2, 60)
    assert by_image[1].tolist() == maps[1].flatten().tolist()
    logits = torch.zeros(6, 5)
    assert flatten(logits, "channels").shape == flatten(logits, "images").shape == (6, 5)


def test_distances_by_hand() -> None:
    before = {"weight": torch.tensor([[3.0, 4.0]]), "bias": torch.tensor([0.0])}
    after = {"weight": torch.tensor([[4.0, 6.0]]), "bias": torch.tensor([2.0])}
    assert euclidean_distance(before, after) == 3
    assert relative_distance(before, after) == pytest.approx(3 / 5)
    still = {"weight": torch.zeros(2)}
    assert relative_distance(still, still) == euclidean_distance(before, before) == 0


def test_distances_do_not_depend_on_the_order_of_the_parameters() -> None:
    """Down to the last bit: a safetensors file gives them in an order that differs from run to run."""
    generator = torch.Generator().manual_seed(3)
    before = {str(name): torch.randn(50, generator=generator) for name in range(6)}
    after = {name: value + torch.randn(50, generator=generator) for name, value in before.items()}
    found = set()
    for seed in range(30):
        names = np.random.default_rng(seed).permutation(list(before)).tolist()
        its = {name: before[name] for name in names}
        found.add((euclidean_distance(its, after), relative_distance(its, after)))
    assert len(found) == 1
