"""The trust-region step: what it may never do, on many random meta-batches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trainers.rl.config import PolicyTrainingConfig, RLConfig
from trainers.rl.inner_loop import Experience, InnerLoop
from trainers.rl.policy import init
from trainers.rl.trpo import OuterObjective, conjugate_gradient, outer_step


def random_objective(seed: int, scale: float = 1.0) -> tuple[OuterObjective, dict[str, torch.Tensor]]:
    """Of three tasks of eleven steps; float32."""
    rng = np.random.default_rng(seed)
    algorithm = {"name": ("maml", "anil")[seed % 2], "inner_steps": 1 + seed % 3}
    config = RLConfig.model_validate({"policy": {"hidden": [6], "adapt_std": seed % 5 == 0}, "algorithm": algorithm})
    loop, params = InnerLoop.of_training(config), init(config.policy, 3, 2, seed)

    def some() -> Experience:
        arrays = (rng.normal(size=(3, 11, 3)), rng.normal(size=(3, 11, 2)), scale * rng.normal(size=(3, 11)))
        return Experience(*(torch.from_numpy(array).float() for array in arrays), torch.full((3, 11), 1 / 11))

    return OuterObjective(loop, params, [some() for _ in range(loop.steps)], some()), params


@pytest.mark.parametrize("max_kl", [0.01, 1.0])
def test_no_step_breaks_the_bound_or_makes_it_worse(max_kl: float) -> None:
    config = PolicyTrainingConfig(max_kl=max_kl)
    accepted = []
    for seed in range(60):
        objective, params = random_objective(seed)
        before, _ = objective.compared(params)
        done = outer_step(objective, params, config)
        surrogate, kl = objective.compared(done.params)
        assert (surrogate, kl if done.params is not params else 0.0) == (done.surrogate, done.kl)
        assert kl <= max_kl
        assert surrogate < before or done.params is params
        accepted.append(done.kl)
    assert np.median(accepted) > max_kl / 4  # and it does go


def test_where_no_length_is_good_the_policy_stays() -> None:
    objective, params = random_objective(1, scale=0.0)
    done = outer_step(objective, params, PolicyTrainingConfig())
    assert done.params is params
    assert (done.surrogate, done.kl) == (0.0, 0.0)


def test_what_is_not_a_number_is_said() -> None:
    objective, params = random_objective(2, scale=math.inf)
    assert math.isnan(outer_step(objective, params, PolicyTrainingConfig()).surrogate)


def test_conjugate_gradient_solves() -> None:
    rng = np.random.default_rng(3)
    root = torch.from_numpy(rng.normal(size=(12, 12)))
    matrix, target = root @ root.T + torch.eye(12, dtype=torch.float64), torch.from_numpy(rng.normal(size=12))
    x, residual = conjugate_gradient(lambda vector: matrix @ vector, target, 12)
    torch.testing.assert_close(x, torch.linalg.solve(matrix, target), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(residual, target - matrix @ x, rtol=0, atol=1e-10)
