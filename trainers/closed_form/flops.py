"""Floating-point operations of the closed form, by shapes alone: of its convolutions and matrix products.

A layer does one kind of product, and each of its passes does that a few times, as the passes' docstrings have it. A
product and its two gradients cost the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainers.closed_form.blocks import STEPS_KEPT, Blocks


@dataclass(frozen=True)
class Loop:
    """An inner loop, as far as it decides what is calculated."""

    layers: tuple[str, ...]
    """Names of the layers that adapt, input first."""
    steps: int
    second_order: bool


class ChainFlops:
    """Operations of one episode, for the layers of a network."""

    def __init__(
        self, blocks: Blocks, weights: Mapping[str, tuple[int, ...]], image_shape: tuple[int, int, int]
    ) -> None:
        """``weights`` has the shape of every layer's, input first; ``image_shape`` is (height, width, channels)."""
        self._layers = tuple(weights)
        height, width, channels = image_shape
        self._taps, filters = 9 * channels, weights[self._layers[0]][0]
        self._product: dict[str, int] = {}
        """By layer, of one image; the first block's patches have a constant row."""
        for layer in self._layers[:-1]:
            height, width = (math.ceil(size / blocks.stride) for size in (height, width))
            rows = self._taps + 1 if layer == self._layers[0] else math.prod(weights[layer][1:])
            self._product[layer] = 2 * weights[layer][0] * rows * height * width
            if layer == self._layers[0]:
                self._moments = 2 * (self._taps + 1) ** 2 * height * width
            if blocks.pooling:
                height, width = height // 2, width // 2
        ways, self._features = weights[self._layers[-1]]
        self._product[self._layers[-1]] = 2 * ways * self._features
        self._ways = ways
        self._fold = 2 * self._taps * filters
        """Of the first block, whatever its images: its filters' means; their spreads cost ``_taps`` times as much."""

    def learn(self, support: int, query: int, loop: Loop) -> int:
        """Of a meta-gradient, for numbers of support and query images."""
        depth = self._depth(loop)
        tail = self._layers[depth:]
        step = self._forward(tail, support) + self._backward(tail, support)
        count = loop.steps if loop.layers else 0
        found = self._patches(support) + self._forward(self._layers[:depth], support) + count * step
        found += self._patches(query) + self._forward(self._layers, query) + self._backward(self._layers, query)
        if loop.second_order and count:
            found += max(0, count - STEPS_KEPT) * step + count * self._second(tail, support, loop)
            found += self._backward(self._layers[:depth], support)
        return found

    def learn_shared(self, support: int, query: int, nil: bool) -> int:
        """Of a gradient without an inner loop: behind the linear head, or behind the NIL head."""
        *body, head = self._layers
        embedded = (query, support) if nil else (query,)
        found = sum(self._patches(n) + self._forward(body, n) + self._backward(body, n) for n in embedded)
        if nil:  # labels have no gradient
            return found + 2 * query * support * (3 * self._features + 2 * self._ways)
        return found + 3 * query * self._product[head]

    def predict(self, support: int, query: int, loops: Sequence[Loop | None]) -> int:
        """Of the scores of query images by each way of adapting; None is the NIL head."""
        depths = [len(self._layers) - 1 if loop is None else self._depth(loop) for loop in loops]
        found = sum(self._patches(n) + self._forward(self._layers[: max(depths)], n) for n in (support, query))
        for loop, depth in zip(loops, depths, strict=True):
            if loop is None:
                found += 2 * query * support * (self._features + self._ways)
                continue
            tail = self._layers[depth:]
            found += self._forward(tail, query)
            if loop.layers:
                found += loop.steps * (self._forward(tail, support) + self._backward(tail, support))
        return found

    def adapt(self, support: int, loop: Loop | None) -> int:
        """Of what is done with support images before any query is looked at: the layers that don't adapt, once, and the
        steps; None is the NIL head, which needs their features."""
        if loop is not None and not (loop.layers and loop.steps):
            return 0
        depth = len(self._layers) - 1 if loop is None else self._depth(loop)
        tail = self._layers[depth:]
        steps = 0 if loop is None else loop.steps
        found = self._patches(support) + self._forward(self._layers[:depth], support)
        return found + steps * (self._forward(tail, support) + self._backward(tail, support))

    def _depth(self, loop: Loop) -> int:
        """As ``meta.depth_of_prefix``."""
        return min((self._layers.index(layer) for layer in loop.layers if loop.steps), default=len(self._layers) - 1)

    def _patches(self, images: int) -> int:
        return self._moments * images + 2 * self._taps**2

    def _forward(self, layers: Sequence[str], images: int) -> int:
        fold = self._fold * (self._taps + 1) if self._layers[0] in layers else 0
        return images * sum(self._product[layer] for layer in layers) + fold

    def _backward(self, layers: Sequence[str], images: int) -> int:
        """The gradient of the parameters, and of the input in all but the first block."""
        return images * sum(self._product[layer] * (1 if layer == self._layers[0] else 2) for layer in layers)

    def _second(self, tail: Sequence[str], images: int, loop: Loop) -> int:
        """Of the tangent of a step and the tangent of its gradient, through the layers behind the prefix."""
        found, moved = 0, False
        for layer in tail:
            moves = layer in loop.layers
            if layer == self._layers[0]:
                found += images * 2 * self._product[layer] + self._fold * (1 + self._taps)
            else:
                # tangent: by the input's, by the weights'; its gradient: both of them, and each once more
                found += images * self._product[layer] * (moved + moves + 2 + moves + moved)
            moved = moved or moves
        return found
