"""The bodies of few-shot networks as pure functions of named parameters: ``"conv1.weight"`` belongs to layer conv1."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from trainers.closed_form.blocks import BATCH_NORM_EPS, Blocks
from trainers.config import BackboneConfig

Params = Mapping[str, Tensor]
"""Parameters by name, ``<layer>.<parameter>``."""


class Backbone(ABC):
    """Maps images to features, layer by layer."""

    @abstractmethod
    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Fresh parameters, float32 on the CPU, in layer order."""

    @abstractmethod
    def apply(self, layer: str, params: Params, x: Tensor) -> Tensor:
        """Output of one layer: [images, channels, height, width] -> the same with the layer's shape."""

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Output of the last layer -> features [images, feature_size]."""

    @property
    @abstractmethod
    def feature_size(self) -> int:
        """Length of a feature vector."""

    @property
    @abstractmethod
    def blocks(self) -> Blocks | None:
        """What its layers do in terms of the closed form; None where that does not know them, and autograd is used."""


class Conv4(Backbone):
    """Four blocks of 3×3 convolution without bias, batch norm, ReLU and 2×2 max-pool; or stride 2 instead of the pool.

    Batch norm is transductive: always the statistics of the batch at hand, no running ones, as in the original MAML
    code. Its γ and β adapt with their block. The convolution has no bias: batch norm would cancel it. With
    ``pooling="max"`` the features are the flattened last map (32·5·5 = 800 on 84×84), with ``"stride"`` its spatial
    mean.
    """

    def __init__(self, config: BackboneConfig, image_shape: tuple[int, int, int]) -> None:
        """``image_shape`` is (height, width, channels)."""
        height, width, self._channels = image_shape
        self._config = config
        self._map_size = config.map_sizes(height, width)[-1]

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Glorot-uniform convolutions, γ = 1, β = 0."""
        params: dict[str, Tensor] = {}
        channels, width = self._channels, self._config.width
        for layer in self._config.layers:
            bound = math.sqrt(6.0 / (9 * channels + 9 * width))
            params[f"{layer}.weight"] = uniform((width, channels, 3, 3), bound, generator)
            params[f"{layer}.gamma"] = torch.ones(width)
            params[f"{layer}.beta"] = torch.zeros(width)
            channels = width
        return params

    def apply(self, layer: str, params: Params, x: Tensor) -> Tensor:
        """One block."""
        stride = 2 if self._config.pooling == "stride" else 1
        x = F.conv2d(x, params[f"{layer}.weight"], stride=stride, padding=1)
        gamma, beta = params[f"{layer}.gamma"], params[f"{layer}.beta"]
        x = F.batch_norm(x, None, None, gamma, beta, training=True, eps=BATCH_NORM_EPS)
        # ReLU and max commute, so the ReLU runs on the smaller map.
        return F.relu(F.max_pool2d(x, 2) if self._config.pooling == "max" else x)

    def features(self, x: Tensor) -> Tensor:
        """Flattened map, or its spatial mean."""
        return x.flatten(1) if self._config.pooling == "max" else x.mean(dim=(2, 3))

    @property
    def feature_size(self) -> int:
        """Channels × pixels of the last map; channels where the map is averaged."""
        return self._config.width * (self._map_size if self._config.pooling == "max" else 1)

    @property
    def blocks(self) -> Blocks:
        """As ``apply`` and ``features``."""
        pooling = self._config.pooling == "max"
        return Blocks(stride=1 if pooling else 2, pooling=pooling, mean=not pooling)


def uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> Tensor:
    """Uniform numbers in [−bound, bound)."""
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)


BACKBONES: dict[str, type[Conv4]] = {"conv4": Conv4}
