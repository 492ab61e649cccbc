"""The outer loop's step: meta-gradient of a meta-batch, and the update by Adam."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor
from torch.optim.adam import adam

from trainers.backbones import Params
from trainers.closed_form import meta as closed_form
from trainers.config import TrainingConfig, TrialConfig
from trainers.feature_loss import FEATURE_LOSSES, FeatureLoss, feature_gradient
from trainers.flop_counter import FlopCounter
from trainers.inner_loop import InnerLoop, adapt
from trainers.network import Network
from trainers.tasks import Task, Tasks

MOMENTS = ("exp_avg", "exp_avg_sq")
"""Adam's, as torch names them."""


@dataclass(frozen=True)
class MetaGradient:
    """Gradient of the mean query loss of a meta-batch with respect to the meta-parameters."""

    gradient: dict[str, Tensor]
    """By parameter name, each of its parameter's shape."""
    loss: float
    """Mean query cross-entropy after adaptation."""
    accuracy: float
    """Share of query images classified correctly after adaptation."""


@dataclass(frozen=True)
class MetaSums:
    """A meta-gradient before anything of it is read back from its device."""

    gradient: dict[str, Tensor]
    """As ``MetaGradient.gradient``."""
    loss: Tensor
    """As ``MetaGradient.loss``, []."""
    correct: Tensor
    """Query images classified correctly, []."""
    images: int
    """Query images."""

    def result(self) -> MetaGradient:
        """With loss and accuracy as numbers; waits for the device."""
        return MetaGradient(self.gradient, self.loss.item(), self.correct.item() / self.images)


Learning = InnerLoop | FeatureLoss
"""What a step learns by: the query loss behind an inner loop, or a loss on features without one."""


def learning_of(config: TrialConfig) -> Learning:
    """What a step of a config's training learns by; there is nothing to learn where its objective is ``none``."""
    objective = config.algorithm_entry.objective
    return InnerLoop.of_training(config) if objective == "adapted" else FEATURE_LOSSES[objective]


def meta_gradient(network: Network, params: Params, tasks: Tasks, learning: Learning) -> MetaGradient:
    """Mean over tasks of ∇_θ L_query(θ_m(θ)): through the inner steps, or past them if first order. Without an inner
    loop the gradient of the loss, mean over tasks; a parameter that it does not reach gets zeros.

    In closed form where the backbone has one, otherwise by autograd. Memory does not grow with the meta-batch.
    """
    if network.blocks is None:
        say_autograd(network.name)
        return meta_gradient_by_autograd(network, params, tasks, learning)
    return meta_sums(network, params, tasks, learning).result()


def meta_sums(network: Network, params: Params, tasks: Tasks, learning: Learning) -> MetaSums:
    """The closed form of ``meta_gradient``, for a backbone that has one. What is done depends on shapes alone."""
    assert network.blocks is not None
    chain = closed_form.Chain.of(network.blocks, network.layers, params)
    if isinstance(learning, InnerLoop):
        sums = closed_form.meta_gradient(chain, tasks, learning)
    else:
        sums = feature_gradient(network, chain, params, tasks, learning)
    gradient = {
        name: sums.gradient[layer][short][0] / len(tasks) if layer in sums.gradient else torch.zeros_like(value)
        for name, value in params.items()
        for layer, _, short in [name.partition(".")]
    }
    images = len(tasks) * len(tasks.query_labels)
    return MetaSums(gradient, torch.cat(sums.losses).mean(), torch.cat(sums.correct).sum(), images)


@cache
def say_autograd(backbone: str) -> None:
    """Says once that a backbone is slower than it could be."""
    logging.getLogger(__name__).warning("backbone %s has no closed form; its gradients are taken by autograd", backbone)


def meta_gradient_by_autograd(
    network: Network, params: Params, tasks: Iterable[Task], learning: Learning
) -> MetaGradient:
    """The reference of ``meta_gradient``: one task at a time, as algorithm 1 of Finn et al. (2017) reads."""
    names = list(params)
    total = {name: torch.zeros_like(value) for name, value in params.items()}
    loss_sum = correct = images = count = 0.0
    for task in tasks:
        leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
        if isinstance(learning, InnerLoop):
            adapted = adapt(network, leaves, task.support, task.support_labels, learning)
            logits = network.forward(adapted, task.query)
        else:
            logits = learning.of_task(network, leaves, task)
        loss = F.cross_entropy(logits, task.query_labels)
        gradients = torch.autograd.grad(loss, [leaves[name] for name in names], materialize_grads=True)
        for name, gradient in zip(names, gradients, strict=True):
            total[name] += gradient
        loss_sum += loss.item()
        correct += (logits.argmax(1) == task.query_labels).sum().item()
        images += len(logits)
        count += 1
    return MetaGradient({name: value / count for name, value in total.items()}, loss_sum / count, correct / images)


def count_flops(network: Network, params: Params, tasks: Tasks, learning: Learning) -> int:
    """Floating-point operations of the convolutions and matrix products of one meta-gradient.

    A function of shapes, so counted once a process for each of them: trials of a second would feel it.
    """
    shapes = [(name, value.shape) for name, value in params.items()]
    images = tasks.support_pixels.shape[1:], tasks.query_pixels.shape[1:]
    what = (learning.layers, learning.steps, learning.second_order) if isinstance(learning, InnerLoop) else learning
    key = network.backbone, what, images, *shapes
    if key not in _counted:
        with FlopCounter() as counter:
            meta_gradient(network, params, tasks[:1], learning)
        _counted[key] = int(counter.total)
    return _counted[key] * len(tasks)


_counted: dict[Hashable, int] = {}


class Adam:
    """The outer optimiser (Kingma & Ba 2015), with its moments held by parameter name.

    By torch's function of it: the class ``torch.optim.Adam`` imports torch's compiler, seconds for every process that
    trains, for the same numbers.
    """

    def __init__(self, config: TrainingConfig, params: Params, moments: Params | None = None, steps: int = 0) -> None:
        """``moments``, as ``moments()`` gave them after ``steps`` updates, continue an earlier run."""
        self._clip, self._lr = config.clip, config.meta_lr
        self._on_cuda = next(iter(params.values())).is_cuda
        self.params = {name: value.detach().clone().requires_grad_() for name, value in params.items()}
        self._means, self._squares = (
            {
                name: torch.zeros_like(value) if moments is None else moments[f"{name}.{moment}"].clone()
                for name, value in params.items()
            }
            for moment in MOMENTS
        )
        self._steps = [torch.tensor(float(steps)) for _ in params]

    @torch.no_grad()
    def step(self, gradient: Params) -> None:
        """One update by the meta-gradient, clipped elementwise."""
        for name, value in self.params.items():
            value.grad = gradient[name]
        if self._clip is not None:
            torch.nn.utils.clip_grad_value_(self.params.values(), self._clip)
        adam(
            list(self.params.values()),
            [gradient[name] for name in self.params],
            list(self._means.values()),
            list(self._squares.values()),
            [],
            self._steps,
            foreach=self._on_cuda,  # fewer launches; on a CPU it would only be other code
            fused=False,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self._lr,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )

    def moments(self) -> dict[str, Tensor]:
        """First and second moments of every parameter, by ``"<name>.exp_avg"`` and ``"<name>.exp_avg_sq"``."""
        return {
            f"{name}.{moment}": values[name].clone()
            for name in self.params
            for moment, values in zip(MOMENTS, (self._means, self._squares), strict=True)
        }
