"""The 3×3 convolution of a block, with a border of one zero, and its gradients.

Many tasks with weights of their own are a grouped convolution. torch's is good on a CPU; on CUDA its library takes the
groups one after the other, or sums over positions in few thread blocks. There the products of all groups run at once,
as matrix products of the windows.

On a CPU the weights' gradient of a strided convolution of many images is a sum of products of columns of the maps as
they lie: nothing is copied, and the border's zeros, three in ten of what the windows of a 7×7 map hold, are left out.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

POSITIONS_A_PIECE = 1024
"""At most so many positions are summed by one product on CUDA. In float32 last bits depend on it, so changing it
changes the trainer version."""

OPERATIONS_A_PRODUCT = 2**20
"""Multiplications that make a matrix product worth its call on a CPU. In float32 last bits depend on it, so changing
it changes the trainer version."""


def takes_windows(x: Tensor, groups: int) -> bool:
    """Whether convolutions of x are products of its windows."""
    return groups > 1 and x.is_cuda


def convolve(x: Tensor, w: Tensor, stride: int, groups: int) -> Tensor:
    """x [images, groups · C_in, H, W], w [groups · C_out, C_in, 3, 3] -> [images, groups · C_out, H', W'].

    Maps are channels_last.
    """
    if takes_windows(x, groups):
        return by_windows(x, w, stride, groups)
    return F.conv2d(x, w, stride=stride, padding=1, groups=groups)


def convolution_backward(
    g: Tensor, x: Tensor, w: Tensor, stride: int, groups: int, wanted: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """(∂/∂x, ∂/∂w) of g · conv(x, w), as far as wanted."""
    if takes_windows(x, groups):
        return (
            input_gradient_by_windows(g, x, w, stride, groups) if wanted[0] else None,
            weight_gradient_by_windows(g, x, w, stride, groups) if wanted[1] else None,
        )
    if wanted[1] and takes_columns(x, w, stride, groups):
        gx = convolution_backward(g, x, w, stride, groups, (True, False))[0] if wanted[0] else None
        return gx, weight_gradient_by_columns(g, x, stride)
    gx, gw, _ = torch.ops.aten.convolution_backward(
        g, x, w, None, [stride] * 2, [1, 1], [1, 1], False, [0, 0], groups, [*wanted, False]
    )
    return gx, gw


def takes_columns(x: Tensor, w: Tensor, stride: int, groups: int) -> bool:
    """Whether the weights' gradient of a convolution of x is ``weight_gradient_by_columns``."""
    return groups == 1 and stride > 1 and not x.is_cuda and len(x) * 3 * w.shape[:2].numel() >= OPERATIONS_A_PRODUCT


def weight_gradient_by_columns(g: Tensor, x: Tensor, stride: int) -> Tensor:
    """∂/∂w of one group: ∂w[:, :, a, b] = Σ_ij g[:, :, i, j]ᵀ x[:, :, s i + a − 1, s j + b − 1].

    The sum over images is a matrix product: of a column j and a row a of taps one for each row i, all i at once. The
    taps b that meet the map lie side by side, as maps are channels_last.
    """
    height, width = x.shape[2:]
    x, g = x.permute(2, 0, 3, 1), g.permute(2, 3, 1, 0)  # [H, images, W, C_in], [H', W', C_out, images]
    rows, columns, c_out, _ = g.shape
    by_row = x.new_zeros(3, rows, c_out, 3, x.shape[3])
    for j in range(columns):
        left = stride * j - 1
        taps = slice(max(0, -left), min(3, width - left))
        for a in range(3):
            first, last = int(a == 0), min(rows, (height - a) // stride + 1)  # rows whose row of taps is on the map
            met = x[stride * first + a - 1 : stride * (last - 1) + a : stride, :, left + taps.start : left + taps.stop]
            by_row[a, first:last, :, taps].flatten(2).baddbmm_(g[first:last, j], met.flatten(2))
    return by_row.sum(1).permute(1, 3, 0, 2)


def by_windows(x: Tensor, w: Tensor, stride: int, groups: int) -> Tensor:
    """``convolve`` as a product of windows [groups, positions, 9 · C_in] and weights [groups, 9 · C_in, C_out]."""
    images, _, height, width = x.shape
    size = (height - 1) // stride + 1, (width - 1) // stride + 1
    out = x.new_empty(images, *size, len(w))
    torch.bmm(windows(x, stride, groups), _as_matrices(w, groups), out=_by_position(out, groups))
    return out.permute(0, 3, 1, 2)


def input_gradient_by_windows(g: Tensor, x: Tensor, w: Tensor, stride: int, groups: int) -> Tensor:
    """∂/∂x: the convolution of g, with zeros between its positions where strided, by the weights turned around."""
    if stride > 1:
        spread = g.new_zeros(len(g), *x.shape[2:], g.shape[1]).permute(0, 3, 1, 2)
        spread[..., ::stride, ::stride] = g
        g = spread
    turned = w.view(groups, -1, *w.shape[1:]).flip(3, 4).transpose(1, 2).flatten(0, 1)
    return by_windows(g, turned, 1, groups)


def weight_gradient_by_windows(g: Tensor, x: Tensor, w: Tensor, stride: int, groups: int) -> Tensor:
    """∂/∂w: windowsᵀ · g."""
    by_tap = sum_of_products(windows(x, stride, groups), _by_position(g.permute(0, 2, 3, 1).contiguous(), groups))
    by_tap = by_tap.view(groups, 3, 3, w.shape[1], -1)
    return by_tap.permute(0, 4, 1, 2, 3).reshape(len(w), 3, 3, w.shape[1]).permute(0, 3, 1, 2)


def windows(x: Tensor, stride: int, groups: int) -> Tensor:
    """The 3×3 neighbourhoods of a map: [groups, positions, 9 · C_in]."""
    images, channels, height, width = x.shape
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).view(images, height + 2, width + 2, groups, -1)
    size = (height - 1) // stride + 1, (width - 1) // stride + 1
    image, row, column, group, channel = padded.stride()
    every = padded.as_strided(
        (groups, images, *size, 3, 3, channels // groups),
        (group, image, row * stride, column * stride, row, column, channel),
    )
    return every.reshape(groups, images * size[0] * size[1], -1)


def sum_of_products(a: Tensor, b: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """aᵀ b of a [batch, positions, M], b [batch, positions, N]: [batch, M, N], in ``dtype`` where given.

    On CUDA in pieces: a product of few rows and columns and many positions would be left to few thread blocks.
    """
    pieces = pieces_of(a.shape[1]) if a.is_cuda else 1
    return torch.bmm(a.mT, b).to(dtype or a.dtype) if pieces == 1 else in_pieces(a, b, pieces, dtype)


def in_pieces(a: Tensor, b: Tensor, pieces: int, dtype: torch.dtype | None) -> Tensor:
    """``sum_of_products`` by products of equal pieces of the positions."""
    batch, positions, _ = a.shape
    left, right = (value.reshape(batch * pieces, positions // pieces, -1) for value in (a, b))
    parts = torch.bmm(left.mT, right)
    return parts.view(batch, pieces, *parts.shape[1:]).sum(1, dtype=dtype)


@cache
def pieces_of(positions: int) -> int:
    """The fewest equal pieces of at most ``POSITIONS_A_PIECE`` positions; one where they would be tiny."""
    for pieces in range(-(-positions // POSITIONS_A_PIECE), positions // (POSITIONS_A_PIECE // 8) + 1):
        if positions % pieces == 0:
            return pieces
    return 1


def _as_matrices(w: Tensor, groups: int) -> Tensor:
    by_group = w.view(groups, -1, *w.shape[1:])
    return by_group.permute(0, 3, 4, 2, 1).reshape(groups, 9 * w.shape[1], -1)


def _by_position(x: Tensor, groups: int) -> Tensor:
    """[images, H, W, groups · C] as [groups, positions, C], over the same memory."""
    return x.view(-1, groups, x.shape[3] // groups).transpose(0, 1)
