"""A stretch of a network's layers as one pass, over some tasks at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from trainers.closed_form.image_block import ImageBlockPass, Patches
from trainers.closed_form.layers import Gradients, HeadPass, LayerParams, Pass, by_groups, features
from trainers.closed_form.map_block import MapBlockPass

Tree = Mapping[str, LayerParams]
"""Parameters, or directions, by layer and short name."""


@dataclass(frozen=True)
class Blocks:
    """What the blocks of a body do: convolve with ``stride``, pool or not; features are the map or its spatial mean."""

    stride: int
    pooling: bool
    mean: bool


class Stretch:
    """The forward pass of some neighbouring layers, input first; the last one may be ``"head"``.

    Offers what a ``Pass`` offers, for the parameters of all its layers.
    """

    def __init__(
        self, blocks: Blocks, layers: Sequence[str], params: Tree, x: Tensor | Patches, tasks: int, shared: bool
    ) -> None:
        """Runs the layers.

        Args:
            blocks: what a block does.
            layers: names.
            params: [1, …] where ``shared``, [tasks, …] otherwise.
            x: the images' patches, or a map by segments.
            tasks: number of tasks in ``x``.
            shared: whether the tasks share the weights.
        """
        self._passes: list[tuple[str | None, Pass]] = []
        grouped = False
        for layer in layers:
            if layer == "head":
                assert not isinstance(x, Patches)
                x = self._add(None, features(x, tasks, grouped, blocks.mean))
                x = self._add(layer, HeadPass(x, params[layer]))
                continue
            if isinstance(x, Patches):
                grouped = not shared
                x = self._add(layer, ImageBlockPass(x, params[layer], blocks.pooling, grouped))
                continue
            if not shared and not grouped:
                x = self._add(None, by_groups(x, tasks))
                grouped = True
            segments = 1 if grouped else tasks
            x = self._add(layer, MapBlockPass(x, params[layer], segments, blocks.stride, blocks.pooling))
        assert not isinstance(x, Patches)  # there is a layer
        self.out = x
        self._grouped = grouped

    def _add(self, layer: str | None, its_pass: Pass) -> Tensor:
        self._passes.append((layer, its_pass))
        return its_pass.out

    @staticmethod
    def features(blocks: Blocks, x: Tensor | Patches, tasks: int) -> Tensor:
        """Features [tasks, images, size] of the body's last map, by segments."""
        assert not isinstance(x, Patches)
        return features(x, tasks, grouped=False, mean=blocks.mean).out

    def backward(self, g: Tensor, input_gradient: bool = False) -> tuple[dict[str, Gradients], Tensor | None]:
        """(gradients by layer, gradient of the input where asked for) for g = ∂L/∂out."""
        return self._backward("backward", g, input_gradient)

    def tangent(self, direction: Tree) -> Tensor:
        """Change of ``out`` along a direction of the parameters; layers that are not named stand still."""
        moved: Tensor | None = None
        for layer, its_pass in self._passes:
            step = direction.get(layer) if layer else None
            if moved is not None or step is not None:
                moved = its_pass.tangent(moved, step)
        assert moved is not None
        return moved

    def tangent_backward(self, dg: Tensor, input_gradient: bool = False) -> tuple[dict[str, Gradients], Tensor | None]:
        """Change of what ``backward`` gave."""
        return self._backward("tangent_backward", dg, input_gradient)

    def _backward(self, which: str, g: Tensor, input_gradient: bool) -> tuple[dict[str, Gradients], Tensor | None]:
        gradients: dict[str, Gradients] = {}
        for index in reversed(range(len(self._passes))):
            layer, its_pass = self._passes[index]
            its, gx = getattr(its_pass, which)(g, input_gradient or index > 0)
            if layer is not None:
                gradients[layer] = its
            g = gx
        return gradients, g if input_gradient else None
