"""The meta-step as a CUDA graph: what a capture needs of it, on any machine; the replay, where there is a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from trainers.captured_step import MetaStep
from trainers.config import TrialConfig
from trainers.episodes import Episode
from trainers.meta_step import Learning, learning_of, meta_gradient, meta_sums
from trainers.network import Network
from trainers.tasks import Tasks, as_batch, as_tasks

CLASSES = 6

CONFIGS: dict[str, dict[str, Any]] = {
    "maml": {},
    "anil": {"algorithm": {"name": "anil"}},
    "strided": {"backbone": {"width": 4, "pooling": "stride"}},
    "conv2 frozen, first order": {"algorithm": {"frozen_layers": ["conv2"], "first_order": True}},
    "more steps than are kept": {"algorithm": {"inner_steps": 7}},
    "nil_training": {"algorithm": {"name": "nil_training"}},
    "multitask": {"algorithm": {"name": "multitask"}},
    "multiclass": {"algorithm": {"name": "multiclass"}},
}


def case(name: str) -> tuple[Network, Learning]:
    settings = {"episodes": {"ways": 3}, "backbone": {"width": 4}, "algorithm": {"inner_steps": 2}} | CONFIGS[name]
    config = TrialConfig.model_validate(settings)
    return Network(config, (20, 20, 3)), learning_of(config)


def batch(name: str, like: torch.Tensor, seed: int, tasks: int = 4) -> Tasks:
    rng = np.random.default_rng(seed)
    if name == "multiclass":  # labels too differ from batch to batch
        return as_batch(rng.integers(0, 256, (9, 20, 20, 3), dtype=np.uint8), rng.integers(0, CLASSES, 9), like)
    images = [rng.integers(0, 256, (3, 2, 20, 20, 3), dtype=np.uint8) for _ in range(2 * tasks)]
    return as_tasks([Episode(*pair) for pair in zip(images[::2], images[1::2], strict=True)], like)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_step_reads_nothing_back_and_makes_nothing_elsewhere(name: str) -> None:
    """On the device ``meta``, which has no values: reading one raises, and so does a tensor of another device."""
    network, learning = case(name)
    on_cpu = network.init(0, CLASSES if name == "multiclass" else None)
    sizes = meta_sums(network, on_cpu, batch(name, on_cpu["head.bias"], 1), learning)
    params = {key: value.to("meta") for key, value in on_cpu.items()}
    tasks = batch(name, on_cpu["head.bias"], 1)
    tensors = [value.to("meta") for value in tasks.tensors]
    sums = meta_sums(network, params, Tasks(*tensors, tasks.dtype), learning)
    assert {key: (value.shape, value.device.type) for key, value in sums.gradient.items()} == {
        key: (value.shape, "meta") for key, value in sizes.gradient.items()
    }
    with pytest.raises(RuntimeError, match="meta"):  # so the device does notice
        sums.result()


@pytest.mark.parametrize("name", ["maml", "multiclass"])
def test_on_a_cpu_a_step_is_the_meta_gradient_of_the_parameters_as_they_are_now(name: str) -> None:
    network, learning = case(name)
    params = network.init(0, CLASSES if name == "multiclass" else None)
    step = MetaStep(network, params, learning)
    for seed in (1, 2):
        tasks = batch(name, params["head.bias"], seed)
        found, expected = step(tasks), meta_gradient(network, params, tasks, learning)
        assert (found.loss, found.accuracy) == (expected.loss, expected.accuracy)
        assert all(torch.equal(found.gradient[key], value) for key, value in expected.gradient.items())
        for value in params.values():
            value.mul_(0.9)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", CONFIGS)
def test_a_replayed_graph_is_the_step(name: str, caplog: pytest.LogCaptureFixture) -> None:
    network, learning = case(name)
    params = {
        key: value.double().cuda() for key, value in network.init(0, CLASSES if name == "multiclass" else None).items()
    }
    step = MetaStep(network, params, learning)
    for seed in (1, 2, 3):
        tasks = batch(name, params["head.bias"], seed)
        found, expected = step(tasks), meta_gradient(network, params, tasks, learning)
        assert found.loss == pytest.approx(expected.loss, rel=1e-12)
        for key, value in expected.gradient.items():
            torch.testing.assert_close(found.gradient[key], value, rtol=1e-9, atol=1e-12)
        for value in params.values():
            value.mul_(0.9)
    assert not caplog.records  # it was captured
