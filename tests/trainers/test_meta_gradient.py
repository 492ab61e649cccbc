"""Meta-gradients against finite differences, against algebra, and against the definition of first order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trainers.config import TrialConfig
from trainers.episodes import Episode
from trainers.inner_loop import InnerLoop, adapt
from trainers.meta_step import MetaGradient, meta_gradient, meta_gradient_by_autograd
from trainers.network import Network, layer_of
from trainers.tasks import Task, Tasks, as_tasks

EPSILON = 1e-6  # small enough that no ReLU or maximum changes sides


def small_config(**algorithm: Any) -> TrialConfig:
    pooling = algorithm.pop("pooling", "max")
    return TrialConfig.model_validate(
        {
            "episodes": {"ways": 3, "shots": 2, "queries": 2},
            "backbone": {"width": 2, "pooling": pooling},
            "algorithm": {"inner_lr": 0.3, **algorithm},
        }
    )


METHODS = {"closed form": meta_gradient, "autograd": meta_gradient_by_autograd}


def gradient_of(method: str, network: Any, config: TrialConfig, params: Any, tasks: Any) -> MetaGradient:
    return METHODS[method](network, params, tasks, InnerLoop.of_training(config))


def float64_setting(config: TrialConfig, channels: int = 1) -> tuple[Network, dict[str, Tensor], Tasks]:
    rng = np.random.default_rng(5)
    network = Network(config, (18, 17, channels))
    params = {name: value.double() for name, value in network.init(3).items()}
    # γ of both signs and β off zero, so that no term vanishes by its starting value
    for name, value in params.items():
        if name.endswith(("gamma", "beta", "bias")):
            params[name] = value + torch.from_numpy(rng.normal(0, 0.7, value.shape))
    shape = (config.episodes.ways, 2, 18, 17, channels)
    episodes = [
        Episode(rng.integers(0, 256, shape, dtype=np.uint8), rng.integers(0, 256, shape, dtype=np.uint8))
        for _ in range(2)
    ]
    return network, params, as_tasks(episodes, params["head.bias"])


CASES = [
    {"name": "maml", "inner_steps": 1},
    {"name": "maml", "inner_steps": 3},
    {"name": "maml", "inner_steps": 2, "pooling": "stride"},
    {"name": "maml", "inner_steps": 2, "frozen_layers": 2},
    {"name": "maml", "inner_steps": 2, "frozen_layers": ("conv2", "head")},
    {"name": "maml", "inner_steps": 1, "frozen_layers": ("conv1", "conv2", "conv3", "conv4", "head")},
    {"name": "anil", "inner_steps": 3},
    {"name": "anil", "inner_steps": 1, "pooling": "stride"},
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_second_order_is_the_derivative_of_the_query_loss(case: dict[str, Any], channels: int, method: str) -> None:
    config = small_config(**case)
    network, params, tasks = float64_setting(config, channels)
    found = gradient_of(method, network, config, params, tasks).gradient
    generator = torch.Generator().manual_seed(1)
    for layer in network.layers:  # one random direction in each layer
        direction = {
            name: torch.randn(value.shape, generator=generator, dtype=torch.float64)
            for name, value in params.items()
            if layer_of(name) == layer
        }
        losses = [
            gradient_of(
                method,
                network,
                config,
                params | {name: params[name] + sign * EPSILON * step for name, step in direction.items()},
                tasks,
            ).loss
            for sign in (1, -1)
        ]
        slope = (losses[0] - losses[1]) / (2 * EPSILON)
        along = sum((found[name] * step).sum().item() for name, step in direction.items())
        assert along == pytest.approx(slope, rel=2e-6, abs=2e-9), layer


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_first_order_is_the_query_gradient_at_the_adapted_parameters(case: dict[str, Any], method: str) -> None:
    config = small_config(first_order=True, **case)
    network, params, tasks = float64_setting(config)
    found = gradient_of(method, network, config, params, tasks[:1]).gradient
    task = next(iter(tasks))
    theta = {name: value.clone() for name, value in params.items()}
    for _ in range(config.algorithm.inner_steps):
        leaves = {name: value.clone().requires_grad_() for name, value in theta.items()}
        F.cross_entropy(network.forward(leaves, task.support), task.support_labels).backward()
        for name, leaf in leaves.items():
            if layer_of(name) in config.adapted_layers:
                assert leaf.grad is not None
                theta[name] = theta[name] - config.algorithm.inner_lr * leaf.grad
    leaves = {name: value.clone().requires_grad_() for name, value in theta.items()}
    F.cross_entropy(network.forward(leaves, task.query), task.query_labels).backward()
    for name, leaf in leaves.items():
        torch.testing.assert_close(found[name], leaf.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_orders_differ_where_something_adapts(method: str) -> None:
    second = small_config(name="anil", inner_steps=2)
    network, params, tasks = float64_setting(second)
    one = gradient_of(method, network, second, params, tasks).gradient["conv4.weight"]
    first = small_config(name="anil", inner_steps=2, first_order=True)
    other = gradient_of(method, network, first, params, tasks)
    assert not torch.allclose(one, other.gradient["conv4.weight"], rtol=1e-3)


class SoftmaxRegression:
    """A network that is only a head, so that its meta-gradient can be written down."""

    layers = ("head",)
    ways = 3

    def forward(self, params: dict[str, Tensor], x: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        return F.linear(x, params["head.weight"], params["head.bias"]) if stop != 0 else x


def test_softmax_regression_by_hand() -> None:
    """One inner step on softmax regression: ∇ = (I − α H) g(θ′), H the Hessian of the support loss.

    With p = softmax(W x̃), x̃ = (x, 1), the gradient of the mean cross-entropy is mean (p − y) x̃ᵀ, and its Hessian
    mean (diag p − p pᵀ) ⊗ x̃ x̃ᵀ.
    """
    rng = np.random.default_rng(2)
    ways, size, alpha = 3, 4, 0.9
    theta = rng.normal(size=(ways, size + 1))
    support, query = rng.normal(size=(6, size)), rng.normal(size=(9, size))
    support_labels, query_labels = np.arange(ways).repeat(2), np.arange(ways).repeat(3)

    def gradient_and_hessian(weights: Any, x: Any, labels: Any) -> tuple[Any, Any]:
        extended = np.hstack([x, np.ones((len(x), 1))])
        scores = np.exp(extended @ weights.T)
        p = scores / scores.sum(1, keepdims=True)
        gradient = (p - np.eye(ways)[labels]).T @ extended / len(x)
        hessian = sum(
            np.kron(np.diag(pi) - np.outer(pi, pi), np.outer(xi, xi)) for pi, xi in zip(p, extended, strict=True)
        )
        return gradient, hessian / len(x)

    inner, hessian = gradient_and_hessian(theta, support, support_labels)
    outer, _ = gradient_and_hessian(theta - alpha * inner, query, query_labels)
    expected = ((np.eye(ways * (size + 1)) - alpha * hessian) @ outer.ravel()).reshape(theta.shape)

    params = {"head.weight": torch.from_numpy(theta[:, :size]), "head.bias": torch.from_numpy(theta[:, size])}
    tensors = (support, support_labels, query, query_labels)
    task = Task(*(torch.from_numpy(np.ascontiguousarray(array)) for array in tensors))
    config = TrialConfig.model_validate({"algorithm": {"name": "anil", "inner_lr": alpha, "inner_steps": 1}})
    found = gradient_of("autograd", SoftmaxRegression(), config, params, [task]).gradient
    np.testing.assert_allclose(found["head.weight"].numpy(), expected[:, :size], rtol=1e-12)
    np.testing.assert_allclose(found["head.bias"].numpy(), expected[:, size], rtol=1e-12)


def test_adapt_moves_only_the_chosen_layers() -> None:
    config = small_config()
    network, params, tasks = float64_setting(config)
    for layers in (("conv2", "head"), ("head",), ("conv1",), ()):
        leaves = {name: value.requires_grad_(layer_of(name) in layers) for name, value in params.items()}
        task = next(iter(tasks))
        loop = InnerLoop(layers, dict.fromkeys(network.layers, 0.1), steps=2, second_order=False)
        adapted = adapt(network, leaves, task.support, task.support_labels, loop)
        moved = {layer_of(name) for name in params if not torch.equal(adapted[name], params[name])}
        assert moved == set(layers)


@pytest.mark.parametrize("method", METHODS)
def test_meta_gradient_is_the_mean_over_tasks(method: str) -> None:
    config = small_config(inner_steps=2)
    network, params, tasks = float64_setting(config)
    both = gradient_of(method, network, config, params, tasks)
    singles = [gradient_of(method, network, config, params, tasks[i : i + 1]) for i in range(2)]
    assert both.loss == pytest.approx(np.mean([single.loss for single in singles]))
    for name in params:
        torch.testing.assert_close(both.gradient[name], (singles[0].gradient[name] + singles[1].gradient[name]) / 2)
