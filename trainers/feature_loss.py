"""Training without an inner loop: losses on features of a body that all tasks share, and their gradients.

With weights that tasks share there is nothing to carry back through inner steps, so the closed form runs the body once
for all tasks, and autograd only what lies behind the features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from trainers import heads
from trainers.algorithms.algorithm import Objective
from trainers.backbones import Params
from trainers.closed_form.layers import Gradients
from trainers.closed_form.meta import Chain, SharedBody, Sums
from trainers.network import Network, layer_of
from trainers.tasks import Task, Tasks


class Logits(Protocol):
    """What reads the features in training."""

    def __call__(self, params: Params, support: Tensor | None, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        """Logits [tasks, query images, classes].

        Args:
            params: all parameters.
            support: features [tasks, support images, feature_size], where they are used.
            labels: of the support [support images].
            query: features [tasks, query images, feature_size].
            ways: classes of an episode.
        """


@dataclass(frozen=True)
class FeatureLoss:
    """Cross-entropy of the query set, behind a body without inner loop."""

    logits: Logits
    uses_support: bool = False
    """Whether the support set is embedded; it has batch statistics of its own, as in tests."""

    def of_task(self, network: Network, params: Params, task: Task) -> Tensor:
        """Logits [query images, classes] of one task, for autograd: the reference."""
        support = network.features(params, task.support).unsqueeze(0) if self.uses_support else None
        query = network.features(params, task.query).unsqueeze(0)
        return self.logits(params, support, task.support_labels, query, network.ways)[0]


def _nil(params: Params, support: Tensor | None, labels: Tensor, query: Tensor, ways: int) -> Tensor:
    assert support is not None
    return heads.nil(support, labels, query, ways).log()


def _shared(params: Params, support: Tensor | None, labels: Tensor, query: Tensor, ways: int) -> Tensor:
    return heads.linear(params, query)


def _classes(params: Params, support: Tensor | None, labels: Tensor, query: Tensor, ways: int) -> Tensor:
    return heads.linear(params, query, heads.CLASS_HEAD)


FEATURE_LOSSES: Mapping[Objective, FeatureLoss] = {
    "nil": FeatureLoss(_nil, uses_support=True),
    "shared": FeatureLoss(_shared),
    "classes": FeatureLoss(_classes),
}


def feature_gradient(network: Network, chain: Chain, params: Params, tasks: Tasks, loss: FeatureLoss) -> Sums:
    """Sums over tasks of the loss's gradient, of losses and of correct answers; ``chain`` has the body of ``params``.

    The images of a task are worked on together, since they share their batch statistics: so a batch of images, which
    is one task, is not cut into chunks.
    """
    sums = Sums()
    behind = {name: value.detach() for name, value in params.items() if layer_of(name) not in chain.layers[:-1]}
    _, images, height, width, _ = tasks.query_pixels.shape
    images = max(images, tasks.support_pixels.shape[1])
    for part in chain.chunks(len(tasks), images, height * width, shared=True):
        _add_chunk(sums, network, chain, behind, tasks[part], loss)
    return sums


def _add_chunk(sums: Sums, network: Network, chain: Chain, behind: Params, tasks: Tasks, loss: FeatureLoss) -> None:
    bodies = [SharedBody(chain, tasks.query())]
    if loss.uses_support:
        bodies.append(SharedBody(chain, tasks.support()))
    features = [body.out.requires_grad_() for body in bodies]
    leaves = {name: value.requires_grad_() for name, value in behind.items()}
    support = features[1] if loss.uses_support else None
    labels = tasks.query_labels
    logits = loss.logits(leaves, support, tasks.support_labels, features[0], network.ways)
    each = F.cross_entropy(logits.flatten(0, 1), labels.repeat(len(tasks)), reduction="none")
    losses = each.view(len(tasks), -1).mean(1)
    found = torch.autograd.grad(losses.sum(), [*features, *leaves.values()], materialize_grads=True)
    by_layer: dict[str, Gradients] = {}
    for name, gradient in zip(leaves, found[len(bodies) :], strict=True):
        layer, _, short = name.partition(".")
        by_layer.setdefault(layer, {})[short] = gradient.unsqueeze(0)
    sums.add(by_layer)
    for body, gradient in zip(bodies, found, strict=False):
        sums.add(body.backward(gradient))
    sums.losses.append(losses.detach())
    sums.correct.append((logits.detach().argmax(2) == labels).sum(1))
