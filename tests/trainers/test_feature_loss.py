"""Losses without an inner loop: their gradients against autograd written out here, and against finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trainers.closed_form import meta
from trainers.config import TrialConfig
from trainers.episodes import Episode
from trainers.inner_loop import InnerLoop
from trainers.meta_step import count_flops, learning_of, meta_gradient, meta_gradient_by_autograd
from trainers.network import Network, layer_of
from trainers.tasks import Tasks, as_batch, as_tasks

WAYS, SHOTS, QUERIES, CLASSES, TASKS = 3, 2, 4, 7, 3
SIZE = (18, 17, 3)
REGIMES = ("nil_training", "multitask", "multiclass")
METHODS = {"closed form": meta_gradient, "autograd": meta_gradient_by_autograd}
Params = dict[str, Tensor]
EPSILON = 1e-7  # small enough that no ReLU or maximum changes sides


def config(name: str, pooling: str = "max") -> TrialConfig:
    return TrialConfig.model_validate(
        {
            "episodes": {"ways": WAYS, "shots": SHOTS, "queries": QUERIES},
            "backbone": {"width": 4, "pooling": pooling},
            "algorithm": {"name": name},
        }
    )


def setting(name: str, pooling: str = "max") -> tuple[Network, Params, Tasks]:
    """A network in float64 with γ of both signs and β off zero, and what one iteration learns from, of noise."""
    rng = np.random.default_rng(5)
    network = Network(config(name, pooling), SIZE)
    params = {key: value.double() for key, value in network.init(3, CLASSES).items()}
    for key, value in params.items():
        if key.endswith(("gamma", "beta", "bias")):
            params[key] = value + torch.from_numpy(rng.normal(0, 0.7, value.shape))
    if name != "multiclass":
        del params["classes.weight"], params["classes.bias"]

    def noise(*shape: int) -> Any:
        return rng.integers(0, 256, (*shape, *SIZE), dtype=np.uint8)

    if name == "multiclass":
        return network, params, as_batch(noise(11), rng.integers(0, CLASSES, 11), params["head.bias"])
    drawn = [Episode(noise(WAYS, SHOTS), noise(WAYS, QUERIES)) for _ in range(TASKS)]
    return network, params, as_tasks(drawn, params["head.bias"])


def body(params: Params, images: Tensor, pooling: str) -> Tensor:
    """Conv4 as its docstring reads: images of one batch-norm group -> features."""
    x = images
    for layer in ("conv1", "conv2", "conv3", "conv4"):
        x = F.conv2d(x, params[f"{layer}.weight"], stride=2 if pooling == "stride" else 1, padding=1)
        mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
        gamma, beta = (params[f"{layer}.{name}"].view(1, -1, 1, 1) for name in ("gamma", "beta"))
        x = F.relu(gamma * (x - mean) / (variance + 1e-5).sqrt() + beta)
        if pooling == "max":
            x = F.max_pool2d(x, 2)
    return x.flatten(1) if pooling == "max" else x.mean((2, 3))


def plain_loss(name: str, params: Params, tasks: Tasks, pooling: str) -> tuple[Tensor, float]:
    """(loss, share of correct answers) of an iteration, one query image at a time."""
    losses, correct = [], []
    for task in tasks:
        query = body(params, task.query, pooling)
        support = body(params, task.support, pooling) if name == "nil_training" else None
        for features, label in zip(query, task.query_labels.tolist(), strict=True):
            if support is None:
                layer = "classes" if name == "multiclass" else "head"
                scores = (params[f"{layer}.weight"] @ features + params[f"{layer}.bias"]).softmax(0)
            else:
                cosines = [features @ other / (features.norm() * other.norm()) for other in support]
                weights = torch.stack(cosines).exp()
                by_class = [weights[task.support_labels == way].sum() for way in range(WAYS)]
                scores = torch.stack(by_class) / weights.sum()
            losses.append(-scores[label].log())
            correct.append(int(scores.argmax()) == label)
    return torch.stack(losses).mean(), float(np.mean(correct))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pooling", ["max", "stride"])
@pytest.mark.parametrize("name", REGIMES)
def test_gradient_is_that_of_the_loss_as_it_reads(name: str, pooling: str, method: str) -> None:
    network, params, tasks = setting(name, pooling)
    found = METHODS[method](network, params, tasks, learning_of(config(name, pooling)))
    leaves = {key: value.clone().requires_grad_() for key, value in params.items()}
    loss, correct = plain_loss(name, leaves, tasks, pooling)
    loss.backward()
    assert found.loss == pytest.approx(loss.item(), rel=1e-10)
    assert found.accuracy == pytest.approx(correct)
    assert found.gradient.keys() == params.keys()
    for key, leaf in leaves.items():
        expected = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        torch.testing.assert_close(found.gradient[key], expected, rtol=1e-8, atol=1e-11, msg=key)


@pytest.mark.parametrize("name", REGIMES)
def test_gradient_is_the_slope_of_the_loss(name: str) -> None:
    network, params, tasks = setting(name)
    learning = learning_of(config(name))
    found = meta_gradient(network, params, tasks, learning).gradient
    generator = torch.Generator().manual_seed(1)
    for layer in dict.fromkeys(map(layer_of, params)):
        direction = {
            key: torch.randn(value.shape, generator=generator, dtype=torch.float64)
            for key, value in params.items()
            if layer_of(key) == layer
        }
        steps = [{key: params[key] + sign * EPSILON * step for key, step in direction.items()} for sign in (1, -1)]
        high, low = (meta_gradient(network, params | moved, tasks, learning).loss for moved in steps)
        along = sum((found[key] * step).sum().item() for key, step in direction.items())
        assert along == pytest.approx((high - low) / (2 * EPSILON), rel=1e-5, abs=1e-8), layer


@pytest.mark.parametrize("name", ["nil_training", "multitask"])
def test_chunks_do_not_change_the_gradient(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, params, tasks = setting(name)
    learning = learning_of(config(name))
    together = meta_gradient(network, params, tasks, learning)
    monkeypatch.setattr(meta, "FLOATS_A_CHUNK", 1)
    one_by_one = meta_gradient(network, params, tasks, learning)
    assert one_by_one.loss == pytest.approx(together.loss, rel=1e-12)
    assert one_by_one.accuracy == together.accuracy
    for key, value in together.gradient.items():
        torch.testing.assert_close(one_by_one.gradient[key], value, rtol=1e-9, atol=1e-12)


def test_multitask_is_maml_without_inner_loop() -> None:
    network, params, tasks = setting("multitask")
    nothing_adapts = InnerLoop((), dict.fromkeys(network.layers, 0.4), 0, second_order=True)
    found = meta_gradient(network, params, tasks, learning_of(config("multitask")))
    expected = meta_gradient(network, params, tasks, nothing_adapts)
    assert (found.loss, found.accuracy) == (pytest.approx(expected.loss, rel=1e-12), expected.accuracy)
    for key, value in expected.gradient.items():
        torch.testing.assert_close(found.gradient[key], value, rtol=1e-9, atol=1e-12)


def test_only_nil_training_looks_at_the_support_set() -> None:
    for name in REGIMES[:2]:
        network, params, tasks = setting(name)
        others = Tasks(tasks.support_pixels.flip(1), *tasks.tensors[1:], tasks.dtype)  # other images behind the labels
        one, other = (meta_gradient(network, params, its, learning_of(config(name))).loss for its in (tasks, others))
        assert (one != other) == (name == "nil_training")


@pytest.mark.parametrize("name", REGIMES)
def test_operations_are_counted(name: str) -> None:
    network, params, tasks = setting(name)
    learning = learning_of(config(name))
    one = count_flops(network, params, tasks[:1], learning)
    assert count_flops(network, params, tasks, learning) == one * len(tasks) > 0


@pytest.mark.parametrize("name", REGIMES)
def test_a_body_without_closed_form_learns_by_autograd_and_says_so(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    network, params, tasks = setting(name)
    learning = learning_of(config(name))
    fast = meta_gradient(network, params, tasks, learning)
    monkeypatch.setattr(Network, "blocks", None)
    network.name = f"unknown to the closed form, {name}"  # it is said once a name
    slow = meta_gradient(network, params, tasks, learning)
    assert "no closed form" in caplog.text
    for key, value in slow.gradient.items():
        torch.testing.assert_close(fast.gradient[key], value, rtol=1e-8, atol=1e-11)
