"""A body and a linear head as one chain of layers, any stretch of which can be run by itself."""

from __future__ import annotations

import torch
from torch import Tensor

from trainers import heads
from trainers.algorithms.algorithm import HEAD_LAYER
from trainers.backbones import BACKBONES, Backbone, Params
from trainers.closed_form.blocks import Blocks
from trainers.config import TrialConfig


class Network:
    """Layers ``conv1 … conv4, head`` of a trial's network. Holds no parameters: they come with every call."""

    def __init__(self, config: TrialConfig, image_shape: tuple[int, int, int]) -> None:
        """``image_shape`` is (height, width, channels)."""
        self.name, self.backbone = config.backbone.name, config.backbone
        self.layers = config.layers
        self.ways = config.episodes.ways
        self._body: Backbone = BACKBONES[config.backbone.name](config.backbone, image_shape)

    @property
    def blocks(self) -> Blocks | None:
        """What the body's blocks do, where the closed form knows them."""
        return self._body.blocks

    def init(self, seed: int, classes: int | None = None) -> dict[str, Tensor]:
        """Parameters as a function of the seed: float32 on the CPU, in layer order.

        With ``classes`` also those of ``heads.CLASS_HEAD``, as wide; the others do not depend on them.
        """
        generator = torch.Generator().manual_seed(seed)
        params = self._body.init(generator)
        params |= heads.init_linear(self._body.feature_size, self.ways, generator)
        if classes is not None:
            params |= heads.init_linear(self._body.feature_size, classes, generator, heads.CLASS_HEAD)
        return params

    def forward(self, params: Params, x: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Runs layers ``start`` … ``stop`` − 1 (all by default): images [n, C, H, W] -> logits [n, ways]."""
        for layer in self.layers[start:stop]:
            if layer == HEAD_LAYER:
                x = heads.linear(params, self._body.features(x))
            else:
                x = self._body.apply(layer, params, x)
        return x

    def features(self, params: Params, images: Tensor) -> Tensor:
        """Features [n, feature_size] of images [n, C, H, W]."""
        return self._body.features(self.forward(params, images, stop=len(self.layers) - 1))


def layer_of(name: str) -> str:
    """``"conv1"`` of ``"conv1.weight"``."""
    return name.partition(".")[0]
