"""Operations of adapting to one test episode, by shapes alone. No torch: reading commands show it of every trial."""

from __future__ import annotations

from functools import lru_cache

from trainers.algorithms.algorithm import HEAD_LAYER
from trainers.closed_form.blocks import Blocks
from trainers.closed_form.flops import ChainFlops, Loop
from trainers.config import BackboneConfig, TrialConfig

ImageShape = tuple[int, int, int]
"""(height, width, channels)"""


def adapt_flops(config: TrialConfig, image_shape: ImageShape) -> int:
    """Floating-point operations of the convolutions and matrix products that a config's test does with the support set
    of one episode, before it looks at a query.

    These are the layers in front of the first one that adapts, once, and the inner steps; for the NIL head the features
    of the support images; nothing where no layer takes a step. Weights and queries do not matter, so it is known before
    anything has run.

    Args:
        config: whose test.
        image_shape: of the dataset's images.
    """
    episodes = config.episodes
    chain = _chain(config.backbone, image_shape, episodes.ways)
    return chain.adapt(episodes.ways * episodes.shots, loop_of_test(config))


def loop_of_test(config: TrialConfig) -> Loop | None:
    """The inner loop of a config's test, as far as it decides what is calculated; None is the NIL head."""
    if config.test_head == "nil":
        return None
    return Loop(config.test_adapted_layers, config.test_inner_steps, second_order=False)


@lru_cache(maxsize=256)
def _chain(backbone: BackboneConfig, image_shape: ImageShape, ways: int) -> ChainFlops:
    """As ``trainers.backbones`` has it: a test holds every backbone against its own parameters."""
    height, width, channels = image_shape
    pooling = backbone.pooling == "max"
    features = backbone.width * (backbone.map_sizes(height, width)[-1] if pooling else 1)
    weights: dict[str, tuple[int, ...]] = {}
    for layer in backbone.layers:
        weights[layer] = backbone.width, channels, 3, 3
        channels = backbone.width
    weights[HEAD_LAYER] = ways, features
    return ChainFlops(Blocks(stride=1 if pooling else 2, pooling=pooling, mean=not pooling), weights, image_shape)
