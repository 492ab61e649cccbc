"""Adaptation of chosen layers to a support set: what it is, and the reference, by autograd, one task at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from trainers.backbones import Params
from trainers.config import TrialConfig
from trainers.network import Network, layer_of
from trainers.tasks import Task


@dataclass(frozen=True)
class InnerLoop:
    """θ ← θ − inner_lr · ∇ L_support(θ) on some layers, some times (Finn et al. 2017, algorithm 1)."""

    layers: tuple[str, ...]
    """Names of the layers that adapt, input first."""
    inner_lr: Mapping[str, float]
    """Step size by layer, on the mean cross-entropy."""
    steps: int
    """0 or more."""
    second_order: bool
    """Whether the result is to be differentiated through the steps; otherwise they are constants (first-order MAML)."""

    @classmethod
    def of_training(cls, config: TrialConfig) -> InnerLoop:
        """The inner loop of a config's training and validation."""
        steps = config.algorithm.inner_steps if config.adapted_layers else 0
        return cls(config.adapted_layers, config.inner_lr, steps, not config.algorithm.first_order)

    @classmethod
    def of_test(cls, config: TrialConfig) -> InnerLoop:
        """The inner loop of a config's test."""
        return cls(config.test_adapted_layers, config.inner_lr, config.test_inner_steps, False)


def adapt(network: Network, params: Params, support: Tensor, labels: Tensor, loop: InnerLoop) -> dict[str, Tensor]:
    """The parameters after the inner loop. Layers in front of the first adapted one are computed once, not once a step.

    Args:
        network: the chain of layers.
        params: all parameters; those of the layers that adapt must require grad.
        support: images [ways·shots, C, H, W].
        labels: [ways·shots].
        loop: what adapts, and how. If ``second_order``, the graph of the steps is kept.
    """
    adapted = dict(params)
    names = [name for name in params if layer_of(name) in loop.layers]
    if not names or loop.steps == 0:
        return adapted
    start = min(network.layers.index(layer) for layer in loop.layers)
    with torch.set_grad_enabled(loop.second_order):
        prefix = network.forward(params, support, stop=start)
    for _ in range(loop.steps):
        loss = F.cross_entropy(network.forward(adapted, prefix, start=start), labels)
        gradients = torch.autograd.grad(loss, [adapted[name] for name in names], create_graph=loop.second_order)
        for name, gradient in zip(names, gradients, strict=True):
            adapted[name] = adapted[name] - loop.inner_lr[layer_of(name)] * gradient
    return adapted


def adapted_for_test(network: Network, params: Params, task: Task, loop: InnerLoop) -> dict[str, Tensor]:
    """The parameters after the inner loop on a task's support set, where nothing is to be learned from them."""
    leaves = {name: value.detach().requires_grad_(layer_of(name) in loop.layers) for name, value in params.items()}
    return adapt(network, leaves, task.support, task.support_labels, replace(loop, second_order=False))
