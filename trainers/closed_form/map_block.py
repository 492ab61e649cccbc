"""A block on a map: convolution, batch norm, ReLU and pooling, for tasks with weights of their own or shared ones.

The sign of γ goes into the convolution, so that γ ≥ 0: then the maximum of a window is found in front of the affine
part, which runs on the pooled map only. (At γ = 0 exactly all of a window are equal, and the subgradient taken is that
of the largest x̂, not of the first.) Symbols: r = 1/σ, x̂ = (z − μ) r, k = γ r, M positions; a dot is the tangent.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.closed_form.blocks import BATCH_NORM_EPS
from trainers.closed_form.convolution import convolution_backward, convolve
from trainers.closed_form.layers import (
    Gradients,
    LayerParams,
    as_map,
    at,
    flat,
    gate,
    pool,
    total,
    unpool,
)


def normalize(z: Tensor, segments: int) -> tuple[Tensor, Tensor]:
    """Flat x̂ and r [segments, 1, C] of a map, by its statistics in each segment."""
    parts = [
        torch.native_batch_norm(part, None, None, None, None, True, 0.0, BATCH_NORM_EPS) for part in z.chunk(segments)
    ]
    xhat = parts[0][0] if segments == 1 else torch.cat([part for part, _, _ in parts])
    return flat(xhat, segments), torch.stack([r for _, _, r in parts]).unsqueeze(1)


class MapBlockPass:
    """relu(max-pool(γ BN(conv(x)) + β)) of a map by segments (shared weights) or by groups (one segment)."""

    def __init__(self, x: Tensor, params: LayerParams, segments: int, stride: int, pooling: bool) -> None:
        """weight [groups, C_out, C_in, 3, 3]; gamma, beta [groups, C_out]."""
        self._x, self._segments, self._stride = x, segments, stride
        self._groups, self._channels = params["gamma"].shape
        self._sign = torch.where(params["gamma"] < 0, -1.0, 1.0).to(x.dtype)
        self._w = self._filters(params)
        self._gamma = self._row(params["gamma"] * self._sign)
        z = self._convolve(x, self._w)
        self._shape = z.shape
        self._xhat, self._r = normalize(z, segments)
        self._k = self._gamma * self._r
        pooled, self._places = pool(as_map(self._xhat, self._shape), pooling)
        self._pooled = flat(pooled, segments)
        self.out = as_map(torch.addcmul(self._row(params["beta"]), self._pooled, self._gamma).relu_(), pooled.shape)

    def _filters(self, params: LayerParams) -> Tensor:
        """Weights, or a direction of them, with the signs taken in: [groups · C_out, C_in, 3, 3]."""
        return (params["weight"] * self._sign[..., None, None, None]).flatten(0, 1)

    def _row(self, value: Tensor) -> Tensor:
        """A parameter per channel [groups, C_out] as it stands beside a flat map."""
        return value.reshape(1, 1, -1)

    def _convolve(self, x: Tensor, w: Tensor) -> Tensor:
        return convolve(x, w, self._stride, self._groups)

    def _conv_backward(
        self, g: Tensor, x: Tensor, w: Tensor, wanted: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        return convolution_backward(g, x, w, self._stride, self._groups, wanted)

    def _before_norm(self, pooled: Tensor, on_xhat: Tensor, constant: Tensor) -> Tensor:
        """unpool(pooled) + on_xhat · x̂ + constant, flat."""
        unpooled = unpool(as_map(pooled, self.out.shape), self._places, self._shape)
        return torch.addcmul(constant, self._xhat, on_xhat).add_(flat(unpooled, self._segments))

    def _gradients(self, weight: Tensor, gamma: Tensor, beta: Tensor) -> Gradients:
        by_group = weight.view(self._groups, self._channels, *weight.shape[1:])
        return {
            "weight": by_group * self._sign[..., None, None, None],
            "gamma": total(gamma, 1).view(self._groups, self._channels) * self._sign,
            "beta": total(beta, 1).view(self._groups, self._channels),
        }

    def backward(self, g: Tensor, input_gradient: bool) -> tuple[Gradients, Tensor | None]:
        """g_z = k (unpool g − Σ g / M − x̂ Σ(g x̂) / M), then the convolution's two gradients."""
        self._g = gate(flat(g, self._segments), flat(self.out, self._segments))
        self._g_beta = self._g.sum(1, keepdim=True)
        self._g_gamma = (self._g * self._pooled).sum(1, keepdim=True)
        share = self._k / -self._xhat.shape[1]
        gz = self._before_norm(self._k * self._g, share * self._g_gamma, share * self._g_beta)
        self._gz = as_map(gz, self._shape)
        gx, weight = self._conv_backward(self._gz, self._x, self._w, (input_gradient, True))
        assert weight is not None
        return self._gradients(weight, self._g_gamma, self._g_beta), gx

    def tangent(self, dx: Tensor | None, dp: LayerParams | None) -> Tensor:
        """ż = ẋ * W + x * Ẇ;  x̂̇ = r (ż − mean ż − x̂ mean(x̂ ż));  ẏ = γ̇ x̂ + γ x̂̇ + β̇."""
        self._dx = dx
        self._dw = None if dp is None else self._filters(dp)
        terms = [] if dx is None else [self._convolve(dx, self._w)]
        terms += [] if self._dw is None else [self._convolve(self._x, self._dw)]
        self._dz = flat(terms[0] if len(terms) == 1 else terms[0].add_(terms[1]), self._segments)
        self._dmean = self._dz.mean(1, keepdim=True)
        self._dscale = (self._xhat * self._dz).mean(1, keepdim=True)
        dz = flat(at(as_map(self._dz, self._shape), self._places), self._segments)
        self._dpooled = torch.addcmul(dz - self._dmean, self._pooled, self._dscale, value=-1).mul_(self._r)
        self._dk = -self._k * self._r * self._dscale  # γ ṙ, ṙ = −r² mean(x̂ ż)
        dy = self._gamma * self._dpooled
        if dp is not None:
            dgamma = self._row(dp["gamma"] * self._sign)
            self._dk = self._dk + dgamma * self._r
            dy = torch.addcmul(dy.add_(self._row(dp["beta"])), self._pooled, dgamma)
        return as_map(gate(dy, flat(self.out, self._segments)), self.out.shape)

    def tangent_backward(self, dg: Tensor, input_gradient: bool) -> tuple[Gradients, Tensor | None]:
        """ġ_z has the terms of g_z with k̇ and with ġ, and −k Σ(g x̂)/M · x̂̇; all are linear in x̂ and ż."""
        positions = self._xhat.shape[1]
        dg = gate(flat(dg, self._segments), flat(self.out, self._segments))
        dg_beta = dg.sum(1, keepdim=True)
        dg_gamma = torch.addcmul(dg * self._pooled, self._g, self._dpooled).sum(1, keepdim=True)
        kr = self._k * self._g_gamma * self._r
        dgz = self._before_norm(
            torch.addcmul(self._dk * self._g, self._k, dg),
            (kr * self._dscale - self._dk * self._g_gamma - self._k * dg_gamma) / positions,
            (kr * self._dmean - self._dk * self._g_beta - self._k * dg_beta) / positions,
        ).addcmul_(self._dz, kr / -positions)
        dgx, weight = self._conv_backward(as_map(dgz, self._shape), self._x, self._w, (input_gradient, True))
        assert weight is not None
        wanted = input_gradient and self._dw is not None, self._dx is not None
        if any(wanted):
            x = self._x if self._dx is None else self._dx
            w = self._w if self._dw is None else self._dw
            gx, gw = self._conv_backward(self._gz, x, w, wanted)
            dgx = dgx if dgx is None or gx is None else dgx.add_(gx)
            weight = weight if gw is None else weight.add_(gw)
        return self._gradients(weight, dg_gamma, dg_beta), dgx
