"""Accuracy of adapted networks on fixed episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from trainers import heads
from trainers.algorithms.algorithm import Head
from trainers.backbones import Params
from trainers.closed_form import meta as closed_form
from trainers.config import NilWeights, TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.device import settle
from trainers.episodes import test_sampler
from trainers.inner_loop import InnerLoop, adapted_for_test
from trainers.meta_step import say_autograd
from trainers.network import Network
from trainers.tasks import Task, Tasks, as_tasks

Accuracies = npt.NDArray[np.float64]

Scores = dict[str, Accuracies]
"""What was measured of every test episode, in order, by column: ``accuracy``, ``cca.conv1``, …"""

EPISODES_AT_ONCE = 20
"""Test episodes that are gathered and predicted at once. In float32 the last bits of scores can depend on it, so
changing it changes the evaluation version."""


@dataclass(frozen=True)
class Adaptation:
    """How a network is fitted to a support set before it predicts."""

    head: Head
    loop: InnerLoop
    """Does not matter where the head is ``nil``."""
    nil: NilWeights = "softmax"
    """Only matters there."""

    @classmethod
    def of_test(cls, config: TrialConfig) -> Adaptation:
        """That of a config's test."""
        return cls(config.test_head, InnerLoop.of_test(config), config.test_nil)


def predict(network: Network, params: Params, tasks: Tasks, adaptations: Sequence[Adaptation]) -> list[Tensor]:
    """Scores [tasks, query images, ways] by each way of adapting: logits, or the NIL head's weights.

    No outer gradients. What several ways of adapting have in common is computed once.
    """
    if network.blocks is None:
        say_autograd(network.name)
        return [
            torch.stack([predict_by_autograd(network, params, task, adaptation) for task in tasks])
            for adaptation in adaptations
        ]
    chain = closed_form.Chain.of(network.blocks, network.layers, params)
    loops = [None if adaptation.head == "nil" else adaptation.loop for adaptation in adaptations]
    count = len(tasks.support_labels)
    return [
        heads.nil(found[:, :count], tasks.support_labels, found[:, count:], network.ways, adaptation.nil)
        if adaptation.head == "nil"
        else found
        for adaptation, found in zip(adaptations, closed_form.scores(chain, tasks, loops), strict=True)
    ]


def predict_by_autograd(network: Network, params: Params, task: Task, adaptation: Adaptation) -> Tensor:
    """The reference of ``predict``, for one task: scores [query images, ways]."""
    if adaptation.head == "nil":
        with torch.no_grad():
            support, query = network.features(params, task.support), network.features(params, task.query)
            return heads.nil(support, task.support_labels, query, network.ways, adaptation.nil)
    adapted = adapted_for_test(network, params, task, adaptation.loop)
    with torch.no_grad():
        return network.forward(adapted, task.query)


def accuracy(scores: Tensor, labels: Tensor) -> Tensor:
    """Share of a task's images whose best score is their label's; one with a score that is not finite is a mistake.

    Args:
        scores: [tasks, images, ways].
        labels: [images].

    Returns:
        float64 [tasks].
    """
    correct = (scores.argmax(2) == labels) & scores.isfinite().all(2)
    return correct.double().mean(1)


def validate(
    network: Network, params: Params, tasks: Tasks, adaptations: Sequence[Adaptation]
) -> tuple[float, dict[str, float]]:
    """Mean query loss of the first head, and mean accuracy by head, over tasks."""
    labels = tasks.query_labels
    found = predict(network, params, tasks, adaptations)
    accuracies: dict[str, float] = {
        adaptation.head: accuracy(scores, labels).mean().item()
        for adaptation, scores in zip(adaptations, found, strict=True)
    }
    logits = found[0].log() if adaptations[0].head == "nil" else found[0]
    return F.cross_entropy(logits.flatten(0, 1), labels.repeat(len(tasks))).item(), accuracies


def evaluate(configs: Sequence[TrialConfig], params: Params, data: ImageTable, device: str = "cpu") -> list[Accuracies]:
    """Accuracy of every test episode, in order, for each config: float64 [evaluation.episodes], fractions.

    Args:
        configs: share training, queries and number of test episodes, and differ in how they adapt.
        params: the trained weights.
        data: the dataset.
        device: where to calculate.
    """
    settle(device, configs[0].training.tf32)
    network = Network(configs[0], data.image_shape)
    params = {name: value.to(device) for name, value in params.items()}
    like = next(iter(params.values()))
    sampler = test_sampler(configs[0], data)
    episodes = configs[0].evaluation.episodes
    adaptations = [Adaptation.of_test(config) for config in configs]
    found: list[list[Tensor]] = [[] for _ in configs]
    for first in range(0, episodes, EPISODES_AT_ONCE):
        tasks = as_tasks(sampler.episodes(range(first, min(first + EPISODES_AT_ONCE, episodes))), like)
        for its, scores in zip(found, predict(network, params, tasks, adaptations), strict=True):
            its.append(accuracy(scores, tasks.query_labels))
    return [torch.cat(its).cpu().numpy() for its in found]
