"""A stretch of a network's layers as one pass, over some tasks at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from trainers.closed_form.blocks import Blocks
from trainers.closed_form.image_block import ImageBlockPass, Patches
from trainers.closed_form.layers import Gradients, HeadPass, LayerParams, Pass, by_groups, features
from trainers.closed_form.map_block import MapBlockPass

Backward = Callable[[Tensor, bool], tuple[Gradients, Tensor | None]]

Tree = Mapping[str, LayerParams]
"""Parameters, or directions, by layer and short name."""


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

    def _add(self, layer: str | None, its_pass: Pass) -> Tensor:
        self._passes.append((layer, its_pass))
        return its_pass.out

    def backward(self, g: Tensor, input_gradient: bool = False) -> tuple[dict[str, Gradients], Tensor | None]:
        """(gradients by layer, gradient of the input where asked for) for g = ∂L/∂out."""
        return self._from_the_end(lambda its: its.backward, g, input_gradient)

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
        return self._from_the_end(lambda its: its.tangent_backward, dg, input_gradient)

    def _from_the_end(
        self, direction: Callable[[Pass], Backward], g: Tensor, input_gradient: bool
    ) -> tuple[dict[str, Gradients], Tensor | None]:
        gradients: dict[str, Gradients] = {}
        passed: Tensor | None = g
        for index in reversed(range(len(self._passes))):
            layer, its_pass = self._passes[index]
            assert passed is not None  # every layer but the first is asked for it
            its, passed = direction(its_pass)(passed, input_gradient or index > 0)
            if layer is not None:
                gradients[layer] = its
        return gradients, passed if input_gradient else None
