"""Derivatives of adapted policies against autograd, one task at a time, finite differences, and algebra."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from trainers.rl.config import RLConfig
from trainers.rl.inner_loop import Experience, InnerLoop, InnerStep, adapt, is_own
from trainers.rl.policy import LOG_STD, MIN_LOG_STD, init
from trainers.rl.trpo import OuterObjective

TASKS = 3
SIZES = 3, 2  # of observations and actions

CASES = [
    {"name": "maml"},
    {"name": "maml", "inner_steps": 3},
    {"name": "maml", "inner_steps": 2, "adapt_std": True},
    {"name": "maml", "inner_steps": 2, "frozen_layers": 1, "adapt_std": True},
    {"name": "maml", "inner_steps": 2, "frozen_layers": ("hidden2",)},
    {"name": "maml", "inner_steps": 2, "first_order": True, "adapt_std": True},
    {"name": "maml", "frozen_layers": ("hidden1", "hidden2", "head")},
    {"name": "anil"},
    {"name": "anil", "inner_steps": 3, "adapt_std": True},
    {"name": "anil", "inner_steps": 2, "first_order": True},
    {"name": "boil", "inner_steps": 2, "adapt_std": True},
]


def config_of(case: Mapping[str, Any]) -> RLConfig:
    algorithm = {name: value for name, value in case.items() if name != "adapt_std"}
    policy = {"hidden": (5, 4), "adapt_std": case.get("adapt_std", False)}
    return RLConfig.model_validate({"policy": policy, "algorithm": {"inner_lr": (0.1, 0.2, 0.3), **algorithm}})


def some_experience(rng: np.random.Generator, steps: int = 7) -> Experience:
    """Of three tasks; one step in four is after the end of an episode."""
    alive = (rng.random((TASKS, steps)) < 0.75).astype(float)
    alive[:, 0] = 1
    weights = alive / alive.sum(1, keepdims=True)
    shapes = [(TASKS, steps, SIZES[0]), (TASKS, steps, SIZES[1]), (TASKS, steps)]
    return Experience(*(torch.from_numpy(rng.normal(size=shape)) for shape in shapes), torch.from_numpy(weights))


def setting(case: Mapping[str, Any]) -> tuple[InnerLoop, dict[str, Tensor], list[Experience], Experience]:
    """In float64, biases and log-std off zero so that no term vanishes."""
    rng = np.random.default_rng(5)
    config = config_of(case)
    loop = InnerLoop.of_training(config)
    params = init(config.policy, *SIZES, 3)
    moved = {name: value.double() + torch.from_numpy(rng.normal(0, 0.2, value.shape)) for name, value in params.items()}
    return loop, moved, [some_experience(rng) for _ in range(loop.steps)], some_experience(rng)


def distribution(loop: InnerLoop, params: Mapping[str, Tensor], observations: Tensor) -> Normal:
    x = observations
    for layer in loop.layers:
        x = x @ params[f"{layer}.weight"].T + params[f"{layer}.bias"]
        x = x if layer == "head" else x.relu()
    return Normal(x, params[LOG_STD].clamp(min=MIN_LOG_STD).exp())


def adapted_alone(
    loop: InnerLoop, params: Mapping[str, Tensor], inner: Sequence[Experience], task: int
) -> dict[str, Tensor]:
    """The definition, by autograd."""
    adapted = dict(params)
    for its in inner:
        log_density = distribution(loop, adapted, its.observations[task]).log_prob(its.actions[task]).sum(1)
        loss = -(log_density * its.advantages[task] * its.weights[task]).sum()
        gradients = torch.autograd.grad(loss, [adapted[name] for name in loop.rates], create_graph=True)
        for (name, rate), gradient in zip(loop.rates.items(), gradients, strict=True):
            adapted[name] = adapted[name] - rate * (gradient if loop.second_order else gradient.detach())
    return adapted


def surrogate_and_kl(
    loop: InnerLoop,
    params: Mapping[str, Tensor],
    old: Mapping[str, Tensor],
    inner: Sequence[Experience],
    outer: Experience,
) -> tuple[Tensor, Tensor]:
    """The definition: mean over tasks, one after the other."""
    surrogate = kl = torch.zeros((), dtype=torch.float64)
    for task in range(TASKS):
        new = distribution(loop, adapted_alone(loop, params, inner, task), outer.observations[task])
        before = distribution(loop, adapted_alone(loop, old, inner, task), outer.observations[task])
        before = Normal(before.loc.detach(), before.scale.detach())
        actions, weights = outer.actions[task], outer.weights[task]
        ratio = (new.log_prob(actions) - before.log_prob(actions)).sum(1).exp()
        surrogate = surrogate - (ratio * outer.advantages[task] * weights).sum() / TASKS
        kl = kl + (kl_divergence(before, new).sum(1) * weights).sum() / TASKS
    return surrogate, kl


def as_vector(values: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([value.flatten() for value in values.values()])


def learnable(params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone().requires_grad_() for name, value in params.items()}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_adapted_parameters_are_those_of_each_task_alone(case: dict[str, Any]) -> None:
    loop, params, inner, _ = setting(case)
    _, adapted = adapt(loop, params, inner)
    for task in range(TASKS):
        for name, expected in adapted_alone(loop, learnable(params), inner, task).items():
            assert is_own(name, adapted[name]) == (loop.steps > 0 and name in loop.rates)
            found = adapted[name][task] if is_own(name, adapted[name]) else adapted[name]
            torch.testing.assert_close(found, expected.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradient_and_fisher_product_are_those_of_autograd(case: dict[str, Any]) -> None:
    loop, params, inner, outer = setting(case)
    objective = OuterObjective(loop, params, inner, outer)
    names, start = list(params), as_vector(params)

    def kl_of(vector: Tensor) -> Tensor:
        return surrogate_and_kl(loop, objective.named(vector), learnable(params), inner, outer)[1]

    leaves = learnable(params)
    surrogate, kl = surrogate_and_kl(loop, leaves, learnable(params), inner, outer)
    expected = torch.autograd.grad(surrogate, list(leaves.values()), allow_unused=True, materialize_grads=True)
    torch.testing.assert_close(objective.gradient(), as_vector(dict(zip(names, expected, strict=True))))
    assert objective.compared(params) == (pytest.approx(surrogate.item(), abs=1e-14), pytest.approx(0, abs=1e-14))
    assert kl.item() == pytest.approx(0, abs=1e-14)
    hessian = torch.autograd.functional.hessian(kl_of, start.clone().requires_grad_())
    products = torch.stack([objective.fisher_product(unit) for unit in torch.eye(len(start), dtype=torch.float64)])
    torch.testing.assert_close(products, hessian, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", [case for case in CASES if not case.get("first_order")], ids=str)
def test_gradient_is_that_of_finite_differences(case: dict[str, Any]) -> None:
    loop, params, inner, outer = setting(case)
    objective = OuterObjective(loop, params, inner, outer)
    gradient, start, epsilon = objective.gradient(), as_vector(params), 1e-6
    rng = np.random.default_rng(7)
    for _ in range(3):
        direction = torch.from_numpy(rng.normal(size=len(start)))
        there, back = (objective.compared(objective.named(start + sign * epsilon * direction))[0] for sign in (1, -1))
        assert (gradient @ direction).item() == pytest.approx((there - back) / (2 * epsilon), rel=1e-6)


def test_surrogate_and_kl_elsewhere_are_those_of_the_definition() -> None:
    loop, params, inner, outer = setting({"name": "maml", "inner_steps": 2, "adapt_std": True})
    other = {name: value + 0.05 * value.flatten().cumsum(0).sin().view_as(value) for name, value in params.items()}
    found = OuterObjective(loop, params, inner, outer).compared(other)
    expected = surrogate_and_kl(loop, learnable(other), learnable(params), inner, outer)
    assert found == tuple(pytest.approx(value.item(), rel=1e-10) for value in expected)


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_bandit_whose_expected_return_is_known(steps: int, second_order: bool) -> None:
    """One step, observation 1, reward −(a − c)² with a goal c of each task, policy N(w, e^2s) without hidden layers.

    Its expected return is J(w, s) = −(w − c)² − e^2s, with the gradient −2(w − c), −2e^2s. Actions are the nodes of
    Gauss-Hermite quadrature, whose weights stand where otherwise all steps count the same: so means over trajectories
    are expectations. On what was sampled under (w₀, s₀) a step leads from (w, s) to

        w + α Σ p (a − w) e^−2s r,    s + α Σ p ((a − w)² e^−2s − 1) r,

    from (w₀, s₀) itself to (w₀, s₀) + α ∇J. The meta-gradient is then that of J at the end of such steps.
    """
    rate, goals, start = 0.05, (0.3, -0.8), np.array([0.1, -0.4])
    points, masses = np.polynomial.hermite_e.hermegauss(6)
    masses = masses / masses.sum()

    def played(policies: Sequence[np.ndarray]) -> tuple[Experience, list[Any]]:
        actions = np.stack([w + math.exp(s) * points for w, s in policies])
        rewards = -((actions - np.array(goals)[:, None]) ** 2)
        ones, weights = np.ones((*actions.shape, 1)), np.broadcast_to(masses, actions.shape).copy()
        experience = Experience(*map(torch.from_numpy, (ones, actions[..., None], rewards, weights)))
        return experience, list(zip(actions, rewards, strict=True))

    def moved(policy: np.ndarray, actions: np.ndarray, rewards: np.ndarray) -> np.ndarray:
        (w, s), off = policy, actions - policy[0]
        scores = off * math.exp(-2 * s), off**2 * math.exp(-2 * s) - 1
        return np.array([w, s]) + rate * np.array([(masses * score * rewards).sum() for score in scores])

    def expected_return(policy: np.ndarray, goal: float) -> float:
        return -((policy[0] - goal) ** 2) - math.exp(2 * policy[1])

    inner, seen, policies = [], [], [start, start]
    for _ in range(steps):
        experience, pairs = played(policies)
        inner.append(experience)
        seen.append(pairs)
        slopes = [[-2 * (w - goal), -2 * math.exp(2 * s)] for (w, s), goal in zip(policies, goals, strict=True)]
        followed = np.array(policies) + rate * np.array(slopes)
        policies = [moved(policy, *pair) for policy, pair in zip(policies, pairs, strict=True)]
        np.testing.assert_allclose(policies, followed, rtol=1e-12)
    outer, _ = played(policies)

    def total(meta: np.ndarray) -> float:
        """Mean over tasks of J where the steps lead; past them if first order."""
        ends = []
        for task in range(2):
            end = meta
            for pairs in seen:
                end = moved(end, *pairs[task])
            ends.append(end if second_order else policies[task] + meta - start)
        return float(np.mean([expected_return(end, goal) for end, goal in zip(ends, goals, strict=True)]))

    rates = {"head.bias": rate, LOG_STD: rate, "head.weight": 1e-300}
    loop = InnerLoop(("head",), ("head",), rates, steps, second_order)
    params = {
        "head.weight": torch.zeros(1, 1),
        "head.bias": torch.tensor([start[0]]),
        LOG_STD: torch.tensor([start[1]]),
    }
    objective = OuterObjective(loop, {name: value.double() for name, value in params.items()}, inner, outer)
    _, by_bias, by_std = objective.gradient().tolist()
    shifts = np.eye(2) * 1e-5
    expected = [-(total(start + shift) - total(start - shift)) / 2e-5 for shift in shifts]
    assert (by_bias, by_std) == tuple(pytest.approx(value, rel=1e-7) for value in expected)


def test_a_standard_deviation_at_its_minimum_stays() -> None:
    loop, params, inner, outer = setting({"name": "maml", "adapt_std": True})
    params[LOG_STD] = torch.tensor([MIN_LOG_STD - 1, 0.1], dtype=torch.float64)
    close = [  # actions near the mean, so that the narrow density is not 0
        Experience(its.observations, its.actions * 0 + 1e-7, its.advantages, its.weights) for its in (*inner, outer)
    ]
    objective = OuterObjective(loop, params, close[:1], close[1])
    assert objective.named(objective.gradient())[LOG_STD][0] == 0
    assert InnerStep.at(loop, params, close[0]).result()[LOG_STD][:, 0].tolist() == [MIN_LOG_STD - 1] * TASKS
