"""Layers as passes: objects made by a forward pass that give its gradient, and that gradient's derivative.

A pass of a layer with output o(x, p) offers, to be called in this order,

* ``backward(g)`` for g = ∂L/∂o: (∂L/∂p, ∂L/∂x),
* ``tangent(ẋ, ṗ)``: ȯ, the change of o along a direction (None stands for zero),
* ``tangent_backward(ġ)``: the change of what ``backward`` gave, where g changes by ġ.

A pass keeps what the calls after it need: that, and not the formulas, is most of a step's memory and time.

Many tasks at once: parameters have a first dimension [groups], which is the number of tasks where each has weights of
its own, or 1 where they share them. A map is channels_last, and lies in one of two layouts:

* by segments, [tasks · images, C, H, W]: the tasks one after the other. The images, and layers with shared weights.
* by groups, [images, tasks · C, H, W]: the tasks side by side, for grouped convolutions with weights of their own.

In formulas a map is ``flat``, [segments, positions, channels]; batch norm takes its statistics over the second
dimension, so over the images of one task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

LayerParams = Mapping[str, Tensor]
"""Parameters of one layer by short name ("weight", "gamma", "beta" or "bias"), each [groups, …]."""

Gradients = dict[str, Tensor]


class Pass(Protocol):
    """What a layer's forward pass leaves, see above."""

    out: Tensor

    def backward(self, g: Tensor, input_gradient: bool) -> tuple[Gradients, Tensor | None]:
        """Gradients of the parameters, [groups, …], and of the input where asked for."""

    def tangent(self, dx: Tensor | None, dp: LayerParams | None) -> Tensor:
        """Change of ``out``. Not both are None."""

    def tangent_backward(self, dg: Tensor, input_gradient: bool) -> tuple[Gradients, Tensor | None]:
        """Change of what ``backward`` gave."""


def flat(x: Tensor, segments: int) -> Tensor:
    """Map [segments · images, C, H, W] -> [segments, images · H · W, C]."""
    return x.permute(0, 2, 3, 1).reshape(segments, -1, x.shape[1])


def as_map(x: Tensor, shape: torch.Size) -> Tensor:
    """The inverse of ``flat``: a channels_last map of ``shape``, over the same memory."""
    images, channels, height, width = shape
    return x.view(images, height, width, channels).permute(0, 3, 1, 2)


def total(value: Tensor, groups: int) -> Tensor:
    """Sums [tasks, …] over tasks that share parameters: [groups, …]."""
    return value if len(value) == groups else value.sum(0, keepdim=True)


def gate(g: Tensor, out: Tensor) -> Tensor:
    """Gradient in front of a ReLU whose output is ``out``."""
    gated: Tensor = torch.ops.aten.threshold_backward(g, out, 0)
    return gated


# --- pooling: a map is either pooled by 2×2, or left as it is, with ``places`` None


def pool(x: Tensor, pooling: bool) -> tuple[Tensor, Tensor | None]:
    """Maxima of 2×2 windows, and their places."""
    if not pooling:
        return x, None
    pooled, places = F.max_pool2d(x, 2, return_indices=True)
    return pooled, places


def unpool(g: Tensor, places: Tensor | None, shape: torch.Size) -> Tensor:
    """Each value at the place of its maximum, zero elsewhere."""
    if places is None:
        return g
    like = torch.empty(shape, dtype=g.dtype, device=g.device, memory_format=torch.channels_last)  # its shape is read
    out: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
        g, like, [2, 2], [2, 2], [0, 0], [1, 1], False, places
    )
    return out


def at(x: Tensor, places: Tensor | None) -> Tensor:
    """The values of a map at the places of the maxima."""
    if places is None:
        return x
    return as_map(flat(x, len(x)).gather(1, flat(places, len(x))), places.shape)


class HeadPass:
    """Logits f wᵀ + b [tasks, images, ways] of features f [tasks, images, size]."""

    def __init__(self, features: Tensor, params: LayerParams) -> None:
        self._f, self._w = features, params["weight"]
        self.out = torch.matmul(features, self._w.mT).add_(params["bias"].unsqueeze(1))

    def backward(self, g: Tensor, input_gradient: bool) -> tuple[Gradients, Tensor | None]:
        """See ``Pass``."""
        self._g = g
        gradients = {"weight": total(g.mT @ self._f, len(self._w)), "bias": total(g.sum(1), len(self._w))}
        return gradients, torch.matmul(g, self._w) if input_gradient else None

    def tangent(self, dx: Tensor | None, dp: LayerParams | None) -> Tensor:
        """The product rule on ``out``."""
        self._df, self._dw = dx, None if dp is None else dp["weight"]
        dout = torch.zeros_like(self.out) if dx is None else dx @ self._w.mT
        return dout if dp is None else torch.baddbmm(dout, self._f, dp["weight"].mT).add_(dp["bias"].unsqueeze(1))

    def tangent_backward(self, dg: Tensor, input_gradient: bool) -> tuple[Gradients, Tensor | None]:
        """The product rule on ``backward``."""
        weight = dg.mT @ self._f
        if self._df is not None:
            weight = torch.baddbmm(weight, self._g.mT, self._df)
        gradients = {"weight": total(weight, len(self._w)), "bias": total(dg.sum(1), len(self._w))}
        if not input_gradient:
            return gradients, None
        dgx = torch.matmul(dg, self._w)
        return gradients, dgx if self._dw is None else torch.baddbmm(dgx, self._g, self._dw)


class LinearPass:
    """A fixed linear map between layouts, with its adjoint."""

    def __init__(self, x: Tensor, apply: Callable[[Tensor], Tensor], adjoint: Callable[[Tensor], Tensor]) -> None:
        self._apply, self._adjoint = apply, adjoint
        self.out = apply(x)

    def backward(self, g: Tensor, input_gradient: bool) -> tuple[Gradients, Tensor | None]:
        """See ``Pass``."""
        return {}, self._adjoint(g) if input_gradient else None

    def tangent(self, dx: Tensor | None, dp: LayerParams | None) -> Tensor:
        """See ``Pass``."""
        assert dx is not None  # it has no parameters
        return self._apply(dx)

    def tangent_backward(self, dg: Tensor, input_gradient: bool) -> tuple[Gradients, Tensor | None]:
        """See ``Pass``."""
        return self.backward(dg, input_gradient)


def by_groups(x: Tensor, tasks: int) -> LinearPass:
    """A map by segments [tasks · images, C, H, W] -> the map by groups [images, tasks · C, H, W]."""

    def apply(x: Tensor) -> Tensor:
        _, channels, height, width = x.shape
        parted = x.permute(0, 2, 3, 1).reshape(tasks, -1, height, width, channels)
        return parted.permute(1, 2, 3, 0, 4).reshape(-1, height, width, tasks * channels).permute(0, 3, 1, 2)

    def adjoint(g: Tensor) -> Tensor:
        _, channels, height, width = g.shape
        parted = g.permute(0, 2, 3, 1).reshape(-1, height, width, tasks, channels // tasks)
        return parted.permute(3, 0, 1, 2, 4).reshape(-1, height, width, channels // tasks).permute(0, 3, 1, 2)

    return LinearPass(x, apply, adjoint)


def features(x: Tensor, tasks: int, grouped: bool, mean: bool) -> LinearPass:
    """A map in either layout -> features [tasks, images, size]: channels × pixels, or the mean over pixels."""
    height, width = x.shape[2:]
    images = len(x) if grouped else len(x) // tasks

    def apply(x: Tensor) -> Tensor:
        parted = x.reshape(images, tasks, -1, height, width).transpose(0, 1) if grouped else x
        parted = parted.reshape(tasks, images, -1, height, width)
        return parted.mean(dim=(3, 4)) if mean else parted.flatten(2)

    def adjoint(g: Tensor) -> Tensor:
        if mean:
            g = g.unsqueeze(3) / (height * width)
        parted = g.reshape(tasks, images, -1, 1 if mean else height * width).expand(-1, -1, -1, height * width)
        parted = parted.transpose(2, 3)  # [tasks, images, pixels, C], so that the map is channels_last
        if grouped:
            parted = parted.permute(1, 2, 0, 3)
        return parted.reshape(len(x), height, width, x.shape[1]).permute(0, 3, 1, 2)

    return LinearPass(x, apply, adjoint)
