"""A perceptron with ReLU, its gradient, and the derivative of both in a direction, for all tasks at once and in closed
form.

The last is the R-operator of Pearlmutter (1994): with it the products of a Hessian with a vector cost no more than two
gradients, and nothing of size parameters × parameters is ever made. A layer's parameters are its own for each task
(weight [tasks, out, in], bias [tasks, out]) or shared by all (weight [out, in], bias [out]); every function takes both.
Points are [tasks, points, size]. A direction names the layers that it moves: the others stand still.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from trainers.backbones import Params


@dataclass(frozen=True)
class Trace:
    """What a forward pass leaves."""

    inputs: Mapping[str, Tensor]
    """Of each layer, by name."""
    output: Tensor
    """Of the last layer."""


@dataclass(frozen=True)
class Tangent:
    """The derivative of a ``Trace`` in a direction; layers whose input does not move are left out."""

    inputs: Mapping[str, Tensor]
    output: Tensor


def forward(layers: Sequence[str], params: Params, points: Tensor) -> Trace:
    """Runs all layers."""
    inputs, x = {}, points
    for layer in layers:
        inputs[layer] = x
        x = _affine(x, params[f"{layer}.weight"], params[f"{layer}.bias"])
        if layer != layers[-1]:
            x = x.relu_()
    return Trace(inputs, x)


def slopes(layers: Sequence[str], params: Params, trace: Trace, slope: Tensor, lowest: str) -> dict[str, Tensor]:
    """Derivative of a scalar by what each layer gives before its ReLU, from the last layer down to ``lowest``.

    ``slope`` is that by the output.
    """
    found = {layers[-1]: slope}
    for below, layer in _downward(layers, lowest):
        found[below] = _gated(found[layer] @ params[f"{layer}.weight"], trace.inputs[layer])
    return found


def gradient(
    trace: Trace, slopes: Mapping[str, Tensor], wanted: Collection[str], per_task: Collection[str]
) -> dict[str, Tensor]:
    """Derivative of the scalar by the parameters of the ``wanted`` layers: one for each task where the layer is in
    ``per_task``, otherwise the sum over tasks."""
    found = {}
    for layer in wanted:
        found[f"{layer}.weight"] = _outer(slopes[layer], trace.inputs[layer], layer in per_task)
        found[f"{layer}.bias"] = slopes[layer].sum(1 if layer in per_task else (0, 1))
    return found


def tangent(layers: Sequence[str], params: Params, trace: Trace, direction: Params) -> Tangent:
    """How the forward pass moves with the parameters."""
    inputs: dict[str, Tensor] = {}
    moved: Tensor | None = None
    for number, layer in enumerate(layers):
        own = None
        if moved is not None:
            inputs[layer] = moved
        if f"{layer}.weight" in direction:
            own = _affine(trace.inputs[layer], direction[f"{layer}.weight"], direction[f"{layer}.bias"])
        if moved is not None:
            own = _plus(own, moved, params[f"{layer}.weight"].mT)
        last = number == len(layers) - 1
        moved = own if own is None or last else _gated(own, trace.inputs[layers[number + 1]])
    return Tangent(inputs, torch.zeros_like(trace.output) if moved is None else moved)


def gradient_tangent(
    layers: Sequence[str],
    params: Params,
    trace: Trace,
    slopes: Mapping[str, Tensor],
    moved: Tangent,
    direction: Params,
    slope: Tensor,
    wanted: Collection[str],
    per_task: Collection[str],
) -> dict[str, Tensor]:
    """How ``gradient`` moves with the parameters: the Hessian times the direction.

    Args:
        layers: input first.
        params: where.
        trace: the forward pass there.
        slopes: of every layer at or above the lowest that the direction moves or that is wanted with a moving input.
        moved: ``tangent`` of the same direction.
        direction: by parameter name.
        slope: derivative of ``slopes[layers[-1]]`` in the direction.
        wanted: the layers whose part of the product is asked for.
        per_task: those of them whose part is not summed over tasks.
    """
    lowest = next(layer for layer in layers if layer in wanted)
    moving = {layers[-1]: slope}
    for below, layer in _downward(layers, lowest):
        back = moving[layer] @ params[f"{layer}.weight"]
        if f"{layer}.weight" in direction:
            back = _plus(back, slopes[layer], direction[f"{layer}.weight"])
        moving[below] = _gated(back, trace.inputs[layer])
    found = gradient(trace, moving, wanted, per_task)
    for layer in wanted:
        if layer in moved.inputs:
            found[f"{layer}.weight"] += _outer(slopes[layer], moved.inputs[layer], layer in per_task)
    return found


def _downward(layers: Sequence[str], lowest: str) -> list[tuple[str, str]]:
    """(layer, the one above), from the top down to ``lowest``."""
    return list(itertools.pairwise(layers))[layers.index(lowest) :][::-1]


def _affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.linear(x, weight, bias) if weight.dim() == 2 else torch.baddbmm(bias[:, None], x, weight.mT)


def _plus(term: Tensor | None, x: Tensor, matrix: Tensor) -> Tensor:
    """term + x @ matrix; the term is used up."""
    if term is None:
        return x @ matrix
    if matrix.dim() == 2:
        term.view(-1, term.shape[-1]).addmm_(x.reshape(-1, x.shape[-1]), matrix)
        return term
    return term.baddbmm_(x, matrix)


def _gated(x: Tensor, activation: Tensor) -> Tensor:
    """Zero wherever the ReLU that gave ``activation`` is flat; x is used up."""
    torch.ops.aten.threshold_backward.grad_input(x, activation, 0, grad_input=x)  # one pass, no mask, no new memory
    return x


def _outer(slope: Tensor, x: Tensor, per_task: bool) -> Tensor:
    """slopeᵀ x over the points of each task, or of all."""
    if not per_task:
        slope, x = slope.flatten(0, 1), x.flatten(0, 1)
    if x.shape[-1] < slope.shape[-1]:  # libraries are slow where the last matrix is narrow
        return (x.mT @ slope).mT
    return slope.mT @ x
