"""The first block, on images: its map is the largest by far, and never kept.

Convolution, batch norm and affine together are one linear map of the 3×3 patches, by *folded* weights: with the
patches' mean m and covariance Σ in a task, a filter w has μ = mᵀ w and σ² = wᵀ Σ w, so that

    y = patchesᵀ V,   V = (a w; β − a μ),   a = γ / √(σ² + ε),

where the last row of V meets a constant 1 in the patches. The full map is only looked through for its maxima, and its
gradient only enters as patches · unpool(g) = ∂L/∂V; everything else is algebra of the small matrices w and V.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from trainers.closed_form.blocks import BATCH_NORM_EPS
from trainers.closed_form.convolution import sum_of_products
from trainers.closed_form.layers import Gradients, LayerParams, at, flat, gate, pool, total, unpool

FLOATS_A_PIECE = 2**18
"""Numbers of the map that are worked on at once: 1 MB, well within a core's cache. In
float32 last bits depend on it, so changing it changes the trainer version."""

POSITIONS_A_SUM = 2**12
"""Positions whose products are added up in the images' own precision; the sums are added up in float64."""


@dataclass(frozen=True)
class Patches:
    """The 3×3 neighbourhoods of images, and their first two moments in each task."""

    columns: Tensor
    """[tasks, 9 · channels + 1, positions]; the last row is 1."""
    mean: Tensor
    """[tasks, 9 · channels, 1]"""
    covariance: Tensor
    """[tasks, 9 · channels, 9 · channels]"""
    size: tuple[int, int]
    """Height and width of the convolution's output."""

    @classmethod
    def of(cls, images: Tensor, stride: int) -> Patches:
        """Patches of images [tasks, images, C, H, W], with a border of zeros, less a constant a task and channel.

        Batch norm cancels the constant. Without it neighbouring pixels would be so alike that the variance of an edge
        filter were a small difference of large moments.
        """
        tasks, count, channels, height, width = images.shape
        size = (height - 1) // stride + 1, (width - 1) // stride + 1
        padded = F.pad(images, (1, 1, 1, 1)).transpose(1, 2)
        padded -= padded.mean((2, 3, 4), keepdim=True)
        columns = _empty(images, tasks, channels * 9 + 1, count, *size)
        columns[:, -1] = 1
        by_tap = columns[:, :-1].view(tasks, channels, 9, count, *size)
        for tap in range(9):
            top, left = divmod(tap, 3)
            by_tap[:, :, tap] = padded[..., top : top + height : stride, left : left + width : stride]
        columns = columns.flatten(2)
        moments = _moments(columns) / columns.shape[2]
        mean = moments[:, :-1, -1:]
        covariance = moments[:, :-1, :-1] - mean @ mean.mT
        return cls(columns, mean.to(images.dtype), covariance.to(images.dtype), size)


def _empty(like: Tensor, tasks: int, rows: int, *positions: int) -> Tensor:
    """Memory for columns: row by row on a CPU; on CUDA position by position, as ``sum_of_products`` cuts them."""
    if like.is_cuda:
        return like.new_empty(tasks, *positions, rows).movedim(-1, 1)
    return like.new_empty(tasks, rows, *positions)


def _moments(columns: Tensor) -> Tensor:
    """Sums of products of two rows, float64 [tasks, rows, rows]."""
    if columns.is_cuda:
        return sum_of_products(columns.mT, columns.mT, torch.float64)
    moments = columns.new_zeros(len(columns), columns.shape[1], columns.shape[1], dtype=torch.float64)
    for part in torch.split(columns, POSITIONS_A_SUM, dim=2):
        moments += torch.bmm(part, part.mT)
    return moments


class ImageBlockPass:
    """relu(max-pool(γ BN(conv(images)) + β)). The images never move: there is no gradient of them."""

    def __init__(self, x: Patches, params: LayerParams, pooling: bool, by_groups: bool) -> None:
        """weight [groups, C_out, C_in, 3, 3]; gamma, beta [groups, C_out]. ``by_groups`` is the layout of ``out``."""
        self._x, self._by_groups = x, by_groups
        self._shape = params["weight"].shape
        self._w = params["weight"].flatten(2).mT  # [groups, 9 · C_in, C_out]
        self._gamma = params["gamma"].unsqueeze(1)
        self._spread = x.covariance @ self._w
        variance = (self._spread * self._w).sum(1, keepdim=True).clamp_min_(0)
        self._r = torch.rsqrt(variance + BATCH_NORM_EPS)
        self._a = self._gamma * self._r
        self._mu = x.mean.mT @ self._w
        self._pieces = self._cut()
        folded = torch.cat([self._a * self._w, params["beta"].unsqueeze(1) - self._a * self._mu], dim=1)
        self._places, self.out = self._activate(folded, pooling)

    def _cut(self) -> list[tuple[slice, slice]]:
        """Slices of (tasks, images) in which the full map has about ``FLOATS_A_PIECE`` numbers."""
        tasks, _, positions = self._x.columns.shape
        pixels = self._x.size[0] * self._x.size[1]
        images = positions // pixels
        if self._x.columns.is_cuda:  # launches cost more there than a large map
            return [(slice(0, tasks), slice(0, images))]
        budget = max(1, FLOATS_A_PIECE // (pixels * self._shape[1]))  # in images
        if budget >= images:
            block = budget // images
            return [(slice(first, min(first + block, tasks)), slice(0, images)) for first in range(0, tasks, block)]
        cuts = [slice(first, min(first + budget, images)) for first in range(0, images, budget)]
        return [(slice(task, task + 1), cut) for task in range(tasks) for cut in cuts]

    def _columns(self, tasks: slice, images: slice) -> Tensor:
        return self._x.columns[tasks, :, self._positions(images)]

    def _positions(self, images: slice) -> slice:
        pixels = self._x.size[0] * self._x.size[1]
        return slice(images.start * pixels, images.stop * pixels)

    def _apply(self, folded: Tensor) -> Iterator[Tensor]:
        """Pieces of the map patchesᵀ V, for V [tasks, 9 · C_in + 1, C_out]."""
        for tasks, images in self._pieces:
            piece = torch.bmm(self._columns(tasks, images).mT, folded[tasks])
            yield piece.view(-1, *self._x.size, piece.shape[2]).permute(0, 3, 1, 2)

    def _activate(self, folded: Tensor, pooling: bool) -> tuple[list[Tensor | None], Tensor]:
        """Places of the maxima by piece, and relu(max-pool(patchesᵀ V)): unless pooled, made where it stays."""
        if pooling or self._by_groups:
            pooled = [pool(y, pooling) for y in self._apply(folded)]
            return [places for _, places in pooled], self._join([maxima.relu_() for maxima, _ in pooled])
        tasks, _, positions = self._x.columns.shape
        channels = self._shape[1]
        out = folded.new_empty(tasks, positions, channels)
        for where, images in self._pieces:
            piece = out[where, self._positions(images)]
            torch.bmm(self._columns(where, images).mT, folded[where], out=piece).relu_()
        return [None] * len(self._pieces), out.view(-1, *self._x.size, channels).permute(0, 3, 1, 2)

    def _correlate(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """patches · unpool(gate(g)) for a map g, as [tasks, 9 · C_in, C_out] and its last row [tasks, 1, C_out]."""
        channels = self._shape[1]
        product = g.new_zeros(*self._x.columns.shape[:2], channels)
        for (tasks, images), out, places, part in zip(
            self._pieces, self._parts(self.out), self._places, self._parts(g), strict=True
        ):
            unpooled = unpool(gate(part, out), places, torch.Size((len(part), channels, *self._x.size)))
            columns = self._columns(tasks, images)
            product[tasks] += sum_of_products(columns.mT, flat(unpooled, len(columns)))
        return product[:, :-1], product[:, -1:]

    def _by_task(self, x: Tensor) -> Tensor:
        """A map in this pass's layout as [tasks, images, H, W, C], over the same memory."""
        tasks = len(self._x.columns)
        _, channels, height, width = x.shape
        x = x.permute(0, 2, 3, 1)
        if self._by_groups:
            return x.view(-1, height, width, tasks, channels // tasks).permute(3, 0, 1, 2, 4)
        return x.view(tasks, -1, height, width, channels)

    def _join(self, pieces: list[Tensor]) -> Tensor:
        """The map of pieces [tasks · images, C, H, W]."""
        tasks, (_, channels, height, width) = len(self._x.columns), pieces[0].shape
        images = sum(map(len, pieces)) // tasks
        shape = (
            (images, tasks * channels, height, width) if self._by_groups else (tasks * images, channels, height, width)
        )
        joined = pieces[0].new_empty(shape[0], height, width, shape[1]).permute(0, 3, 1, 2)
        by_task = self._by_task(joined)
        for (where, which), piece in zip(self._pieces, pieces, strict=True):
            target = by_task[where, which]
            target.copy_(piece.permute(0, 2, 3, 1).view(target.shape))
        return joined

    def _parts(self, x: Tensor) -> Iterator[Tensor]:
        """The inverse of ``_join``."""
        by_task = self._by_task(x.contiguous(memory_format=torch.channels_last))
        for tasks, images in self._pieces:
            yield by_task[tasks, images].flatten(0, 1).permute(0, 3, 1, 2)

    def _gradients(self, weight: Tensor, gamma: Tensor, beta: Tensor) -> Gradients:
        groups = self._shape[0]
        return {
            "weight": total(weight, groups).mT.reshape(self._shape),
            "gamma": total(gamma, groups).squeeze(1),
            "beta": total(beta, groups).squeeze(1),
        }

    def backward(self, g: Tensor, input_gradient: bool) -> tuple[Gradients, Tensor | None]:
        """From G = ∂L/∂V: ∂L/∂a = Σ G w − μ G_last, then down to w through a, μ and σ²."""
        self._g, self._g_last = self._correlate(g)
        self._g_a = (self._g * self._w).sum(1, keepdim=True) - self._mu * self._g_last
        self._g_centred = self._g - self._x.mean * self._g_last
        weight = self._a * self._g_centred - self._r.pow(3) * self._gamma * self._g_a * self._spread
        return self._gradients(weight, self._r * self._g_a, self._g_last), None

    def tangent(self, dx: Tensor | None, dp: LayerParams | None) -> Tensor:
        """patchesᵀ V̇ at the maxima, behind the ReLU's gate."""
        assert dx is None
        assert dp is not None
        self._dw = dp["weight"].flatten(2).mT
        self._dgamma = dp["gamma"].unsqueeze(1)
        self._dmu = self._x.mean.mT @ self._dw
        self._dr = -self._r.pow(3) * (self._spread * self._dw).sum(1, keepdim=True)
        self._da = self._dgamma * self._r + self._gamma * self._dr
        last = dp["beta"].unsqueeze(1) - self._da * self._mu - self._a * self._dmu
        folded = torch.cat([self._da * self._w + self._a * self._dw, last], dim=1)
        moved = zip(self._apply(folded), self._places, self._parts(self.out), strict=True)
        return self._join([gate(at(dy, places), out) for dy, places, out in moved])

    def tangent_backward(self, dg: Tensor, input_gradient: bool) -> tuple[Gradients, Tensor | None]:
        """The product rule on every line of ``backward``."""
        change, last = self._correlate(dg)
        g_a, r3 = self._g_a, self._r.pow(3)
        dg_a = (change * self._w + self._g * self._dw).sum(1, keepdim=True) - self._dmu * self._g_last - self._mu * last
        weight = self._da * self._g_centred + self._a * (change - self._x.mean * last)
        factor = 3 * self._r.square() * self._dr * self._gamma * g_a + r3 * (self._dgamma * g_a + self._gamma * dg_a)
        weight -= factor * self._spread + r3 * self._gamma * g_a * (self._x.covariance @ self._dw)
        return self._gradients(weight, self._dr * g_a + self._r * dg_a, last), None
