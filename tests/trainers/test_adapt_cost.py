"""Operations of adapting to an episode are those that really run on its support set, and need no torch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from trainers.adapt_cost import _chain, adapt_flops
from trainers.algorithms import ALGORITHMS
from trainers.backbones import BACKBONES
from trainers.closed_form import meta
from trainers.config import TrialConfig
from trainers.inner_loop import InnerLoop
from trainers.network import Network
from trainers.tasks import Tasks

SHAPE = (19, 18, 3)
SMALL: dict[str, Any] = {
    "episodes": {"ways": 3, "shots": 2, "queries": 4},
    "backbone": {"width": 6},
    "algorithm": {"inner_steps": 2},
}


def config(**sections: dict[str, Any]) -> TrialConfig:
    return TrialConfig.model_validate({name: SMALL.get(name, {}) | sections.get(name, {}) for name in SMALL | sections})


def run_and_count(asked: TrialConfig) -> int:
    """By torch, which looks at every operator while the support set of one episode is adapted to."""
    network = Network(asked, SHAPE)
    assert network.blocks is not None
    chain = meta.Chain.of(network.blocks, network.layers, network.init(0))
    images = asked.episodes.ways * asked.episodes.shots
    labels = torch.arange(asked.episodes.ways).repeat_interleave(asked.episodes.shots)
    pixels = torch.randint(0, 256, (1, images, *SHAPE), dtype=torch.uint8)
    tasks = Tasks(pixels, pixels[:, :0], labels, labels[:0], torch.float32)
    loop = InnerLoop.of_test(asked)
    with FlopCounterMode(display=False) as counter:
        prefix = meta.Prefix(chain, tasks.support())
        if asked.test_head == "nil":
            prefix.out(len(network.layers) - 1)
        elif loop.layers and loop.steps:
            meta.adapt(chain, prefix.out(meta.depth_of_prefix(chain, loop)), labels, 1, loop)
        else:
            return 0
    return int(counter.get_total_flops())


@pytest.mark.parametrize("pooling", ["max", "stride"])
@pytest.mark.parametrize(
    "evaluation",
    [
        {},
        {"inner_steps": 10},
        {"frozen_layers": 4, "inner_steps": 10},
        {"frozen_layers": ["conv1", "conv3", "head"]},
        {"frozen_layers": ["conv1", "conv2", "conv3", "conv4", "head"]},
        {"inner_steps": 0},
        {"head": "nil"},
    ],
    ids=str,
)
def test_it_is_what_torch_counts(evaluation: dict[str, Any], pooling: str) -> None:
    asked = config(evaluation=evaluation, backbone={"pooling": pooling})
    found = adapt_flops(asked, SHAPE)
    assert found == run_and_count(asked)
    assert (found == 0) == (asked.test_head == "linear" and not asked.test_inner_steps)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_of_every_algorithm_too(name: str) -> None:
    asked = config(algorithm={"name": name})
    assert adapt_flops(asked, SHAPE) == run_and_count(asked) > 0


def test_only_what_the_test_does_counts() -> None:
    """More steps, shots and layers cost more; how it was trained, and the queries, nothing."""
    base = adapt_flops(config(), SHAPE)
    for other in (
        config(training={"iterations": 7, "validate_every": 7}),
        config(algorithm={"inner_steps": 5}, evaluation={"inner_steps": 2}),
        config(evaluation={"queries": 1, "episodes": 3}),
    ):
        assert adapt_flops(other, SHAPE) == base
    body = adapt_flops(config(evaluation={"head": "nil"}), SHAPE)
    anil = [adapt_flops(config(algorithm={"name": "anil", "inner_steps": steps}), SHAPE) for steps in (1, 2, 3)]
    assert body < anil[0] < anil[1] < anil[2] < base
    assert anil[2] - anil[1] == anil[1] - anil[0] == 3 * 2 * 3 * 6 * 6  # 6 images: logits, and two gradients, of 3 × 6


@pytest.mark.parametrize("shape", [SHAPE, (28, 28, 1), (84, 84, 3)])
@pytest.mark.parametrize("pooling", ["max", "stride"])
@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_has_the_shapes_that_are_counted(name: str, pooling: str, shape: tuple[int, int, int]) -> None:
    from trainers import cost

    backbone = config(backbone={"name": name, "pooling": pooling}).backbone
    real = cost._chain(backbone, shape, 5)
    assert real is not None
    assert vars(_chain(backbone, shape, 5)) == vars(real)


def test_it_needs_no_torch() -> None:
    code = "import sys, trainers.adapt_cost; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
