"""Accuracy of adapted networks on fixed episodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from trainers import heads
from trainers.algorithms.algorithm import Head
from trainers.backbones import Params
from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.episodes import test_sampler
from trainers.inner_loop import adapt
from trainers.meta_step import Task, as_task
from trainers.network import Network, layer_of

Accuracies = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Adaptation:
    """How a network is fitted to a support set before it predicts."""

    head: Head
    layers: tuple[str, ...]
    inner_lr: float
    inner_steps: int


def predict(network: Network, params: Params, task: Task, adaptation: Adaptation) -> Tensor:
    """Scores [query images, ways] of a task's query set: logits, or the NIL head's weights. No outer gradients."""
    if adaptation.head == "nil":
        with torch.no_grad():
            support, query = network.features(params, task.support), network.features(params, task.query)
            return heads.nil(support, task.support_labels, query, network.ways)
    leaves = {
        name: value.detach().requires_grad_(layer_of(name) in adaptation.layers) for name, value in params.items()
    }
    adapted = adapt(
        network,
        leaves,
        task.support,
        task.support_labels,
        layers=adaptation.layers,
        inner_lr=adaptation.inner_lr,
        inner_steps=adaptation.inner_steps,
        second_order=False,
    )
    with torch.no_grad():
        return network.forward(adapted, task.query)


def accuracy(scores: Tensor, labels: Tensor) -> float:
    """Share of images whose best score is their label's; an image with a score that is not finite is a mistake."""
    correct = (scores.argmax(1) == labels) & scores.isfinite().all(1)
    return correct.double().mean().item()


def validate(
    network: Network, params: Params, tasks: Sequence[Task], adaptations: Iterable[Adaptation]
) -> tuple[float, dict[str, float]]:
    """Mean query loss of the linear head, and mean accuracy by head, over tasks."""
    loss = 0.0
    accuracies: dict[str, float] = {}
    for adaptation in adaptations:
        correct = []
        for task in tasks:
            scores = predict(network, params, task, adaptation)
            correct.append(accuracy(scores, task.query_labels))
            if adaptation.head == "linear":
                loss += F.cross_entropy(scores, task.query_labels).item() / len(tasks)
        accuracies[adaptation.head] = float(np.mean(correct))
    return loss, accuracies


def evaluate(config: TrialConfig, params: Params, data: ImageTable, device: str = "cpu") -> Accuracies:
    """Accuracy of every test episode, in order: float64 [evaluation.episodes], fractions."""
    network = Network(config, data.image_shape)
    params = {name: value.to(device) for name, value in params.items()}
    like = next(iter(params.values()))
    sampler = test_sampler(config, data)
    adaptation = Adaptation(
        config.test_head, config.test_adapted_layers, config.algorithm.inner_lr, config.test_inner_steps
    )
    accuracies = np.empty(config.evaluation.episodes)
    for index in range(config.evaluation.episodes):
        task = as_task(sampler.episode(index), like)
        accuracies[index] = accuracy(predict(network, params, task, adaptation), task.query_labels)
    return accuracies
