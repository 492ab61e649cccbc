"""Adaptation of chosen layers to a support set: the reference implementation, by autograd, one task at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from trainers.backbones import Params
from trainers.network import Network, layer_of


def adapt(
    network: Network,
    params: Params,
    support: Tensor,
    labels: Tensor,
    *,
    layers: Sequence[str],
    inner_lr: float,
    inner_steps: int,
    second_order: bool,
) -> dict[str, Tensor]:
    """θ_m after m steps θ ← θ − inner_lr · ∇ L_support(θ) on the chosen layers (Finn et al. 2017, algorithm 1).

    Layers in front of the first adapted one are computed once, not once a step.

    Args:
        network: the chain of layers.
        params: all parameters; those of ``layers`` must require grad.
        support: images [ways·shots, C, H, W].
        labels: [ways·shots].
        layers: names of the layers that adapt; the others are returned as they are.
        inner_lr: step size on the mean cross-entropy.
        inner_steps: number of steps, 0 or more.
        second_order: keep the graph of the steps, so that the result can be differentiated through them with respect
            to ``params``. Otherwise the steps are constants (first-order MAML, and tests).
    """
    adapted = dict(params)
    names = [name for name in params if layer_of(name) in layers]
    if not names or inner_steps == 0:
        return adapted
    start = min(network.layers.index(layer) for layer in layers)
    with torch.set_grad_enabled(second_order):
        prefix = network.forward(params, support, stop=start)
    for _ in range(inner_steps):
        loss = F.cross_entropy(network.forward(adapted, prefix, start=start), labels)
        gradients = torch.autograd.grad(loss, [adapted[name] for name in names], create_graph=second_order)
        for name, gradient in zip(names, gradients, strict=True):
            adapted[name] = adapted[name] - inner_lr * gradient
    return adapted
