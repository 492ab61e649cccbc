"""The outer loop's step: meta-gradient of a meta-batch, and the update by Adam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from trainers.backbones import Params
from trainers.config import TrainingConfig, TrialConfig
from trainers.episodes import Episode, Pixels
from trainers.inner_loop import adapt
from trainers.network import Network


@dataclass(frozen=True)
class Task:
    """An episode as tensors on the device."""

    support: Tensor
    """[ways·shots, C, H, W]"""
    support_labels: Tensor
    """int64 [ways·shots], in 0 … ways − 1"""
    query: Tensor
    """[ways·queries, C, H, W]"""
    query_labels: Tensor
    """int64 [ways·queries]"""


@dataclass(frozen=True)
class MetaGradient:
    """Gradient of the mean query loss of a meta-batch with respect to the meta-parameters."""

    gradient: dict[str, Tensor]
    """By parameter name, each of its parameter's shape."""
    loss: float
    """Mean query cross-entropy after adaptation."""
    accuracy: float
    """Share of query images classified correctly after adaptation."""


def as_task(episode: Episode, like: Tensor) -> Task:
    """An episode in the dtype and on the device of ``like``; pixels stay uint8 until here, then lie in [0, 1]."""
    return Task(*_images_and_labels(episode.support, like), *_images_and_labels(episode.query, like))


def _images_and_labels(pixels: Pixels, like: Tensor) -> tuple[Tensor, Tensor]:
    ways, per_class = pixels.shape[:2]
    flat = torch.from_numpy(pixels.reshape(ways * per_class, *pixels.shape[2:])).to(like.device)
    images = flat.permute(0, 3, 1, 2).to(like.dtype).div_(255.0).contiguous()
    return images, torch.arange(ways, device=like.device).repeat_interleave(per_class)


def meta_gradient(network: Network, config: TrialConfig, params: Params, tasks: Sequence[Task]) -> MetaGradient:
    """Mean over tasks of ∇_θ L_query(θ_m(θ)): through the inner steps, or past them if first order.

    One task at a time, so memory does not grow with the meta-batch.
    """
    names = list(params)
    total = {name: torch.zeros_like(value) for name, value in params.items()}
    loss_sum = correct = images = 0.0
    for task in tasks:
        leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
        adapted = adapt(
            network,
            leaves,
            task.support,
            task.support_labels,
            layers=config.adapted_layers,
            inner_lr=config.algorithm.inner_lr,
            inner_steps=config.algorithm.inner_steps,
            second_order=not config.algorithm.first_order,
        )
        logits = network.forward(adapted, task.query)
        loss = F.cross_entropy(logits, task.query_labels)
        gradients = torch.autograd.grad(loss, [leaves[name] for name in names])
        for name, gradient in zip(names, gradients, strict=True):
            total[name] += gradient
        loss_sum += loss.item()
        correct += (logits.argmax(1) == task.query_labels).sum().item()
        images += len(logits)
    mean = {name: value / len(tasks) for name, value in total.items()}
    return MetaGradient(mean, loss_sum / len(tasks), correct / images)


def count_flops(network: Network, config: TrialConfig, params: Params, tasks: Sequence[Task]) -> int:
    """Floating-point operations of the convolutions and matrix products of one meta-gradient; a function of shapes."""
    with FlopCounterMode(display=False) as counter:
        meta_gradient(network, config, params, tasks[:1])
    return int(counter.get_total_flops()) * len(tasks)


class Adam:
    """The outer optimiser (Kingma & Ba 2015), with its moments held by parameter name."""

    def __init__(self, config: TrainingConfig, params: Params, moments: Params | None = None, steps: int = 0) -> None:
        """``moments``, as ``moments()`` gave them after ``steps`` updates, continue an earlier run."""
        self._clip = config.clip
        self.params = {name: value.detach().clone().requires_grad_() for name, value in params.items()}
        self._optimizer = torch.optim.Adam(list(self.params.values()), lr=config.meta_lr, foreach=False)
        if moments is not None:
            for name, value in self.params.items():
                self._optimizer.state[value] = {
                    "step": torch.tensor(float(steps)),
                    "exp_avg": moments[f"{name}.exp_avg"].clone(),
                    "exp_avg_sq": moments[f"{name}.exp_avg_sq"].clone(),
                }

    def step(self, gradient: Params) -> None:
        """One update by the meta-gradient, clipped elementwise."""
        for name, value in self.params.items():
            value.grad = gradient[name]
        if self._clip is not None:
            torch.nn.utils.clip_grad_value_(self.params.values(), self._clip)
        self._optimizer.step()

    def moments(self) -> dict[str, Tensor]:
        """First and second moments of every parameter, by ``"<name>.exp_avg"`` and ``"<name>.exp_avg_sq"``."""
        return {
            f"{name}.{moment}": self._optimizer.state[value][moment].clone()
            for name, value in self.params.items()
            for moment in ("exp_avg", "exp_avg_sq")
        }
