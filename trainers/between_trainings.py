"""How alike what different trainings have learned is: per layer, what two networks make of the same query images.

Table 3 of Raghu et al. (2020). The representation of a block is its output, that of the head are its logits; batch norm
sees the query set, as in every test. Every network goes through an episode once, however many others it is compared
with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainers.backbones import Params
from trainers.config import Between, TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.device import settle
from trainers.episodes import test_sampler
from trainers.evaluation import EPISODES_AT_ONCE, Scores
from trainers.inner_loop import InnerLoop, adapted_for_test
from trainers.network import Network
from trainers.similarity import Representation, cca, flatten, linear_cka
from trainers.tasks import Task, as_tasks

SCORES = {"cca": cca, "cka": linear_cka}


@dataclass(frozen=True)
class Side:
    """One of the networks that are compared."""

    config: TrialConfig
    params: Params
    """Its trained weights."""


def similarities(
    sides: Sequence[Side], pairs: Sequence[tuple[int, int]], data: ImageTable, between: Between, device: str = "cpu"
) -> list[Scores]:
    """CCA and CKA of every layer in every test episode, for each pair of networks. Calculated in float64.

    Args:
        sides: they agree in ``trainers.canonical.points_identity``.
        pairs: which are compared, as indices of ``sides``.
        data: the dataset.
        between: what is measured, and whether before or after the inner loop of each one's test.
        device: where the networks run.

    Returns:
        For each pair the columns ``cca.<layer>`` (unless ``between.measure`` is ``cka``) and ``cka.<layer>`` for every
        layer, each float64 [evaluation.episodes]; NaN where the layer of one of them is not finite.
    """
    config = sides[0].config
    settle(device, config.training.tf32)
    networks = [_Network(side, data.image_shape, between.adapted, device) for side in sides]
    like = next(iter(networks[0].params.values()))
    sampler, episodes = test_sampler(config, data), config.evaluation.episodes
    kinds = [kind for kind in SCORES if kind != "cca" or between.measure != "cka"]
    columns = [f"{kind}.{layer}" for layer in config.layers for kind in kinds]
    found: list[dict[str, list[float]]] = [{column: [] for column in columns} for _ in pairs]
    for first in range(0, episodes, EPISODES_AT_ONCE):
        tasks = as_tasks(sampler.episodes(range(first, min(first + EPISODES_AT_ONCE, episodes))), like)
        for task in tasks:
            for known, new in zip(found, _episode(networks, pairs, task, kinds, config), strict=True):
                for column, value in new.items():
                    known[column].append(value)
    return [{column: np.array(values) for column, values in its.items()} for its in found]


class _Network:
    """A side on its device."""

    def __init__(self, side: Side, image_shape: tuple[int, int, int], adapted: bool, device: str) -> None:
        self.chain = Network(side.config, image_shape)
        self.params = {name: value.to(device) for name, value in side.params.items()}
        self.loop = InnerLoop.of_test(side.config) if adapted else None

    def for_task(self, task: Task) -> Mapping[str, Tensor]:
        """The weights that the task's query images are shown to."""
        return self.params if self.loop is None else adapted_for_test(self.chain, self.params, task, self.loop)

    def run(self, params: Params, x: Tensor, layer: str) -> Tensor:
        """Output of a layer for the output of the one before it."""
        index = self.chain.layers.index(layer)
        return self.chain.forward(params, x, start=index, stop=index + 1)


def _episode(
    networks: Sequence[_Network],
    pairs: Sequence[tuple[int, int]],
    task: Task,
    kinds: Sequence[str],
    config: TrialConfig,
) -> list[dict[str, float]]:
    """The columns of one episode for each pair. Layer by layer, so that one layer's matrices are held at a time."""
    found: list[dict[str, float]] = [{} for _ in pairs]
    weights = [network.for_task(task) for network in networks]
    outputs = [task.query] * len(networks)
    with torch.no_grad():
        for layer in config.layers:
            outputs = [
                network.run(params, x, layer) for network, params, x in zip(networks, weights, outputs, strict=True)
            ]
            flat = [flatten(x, config.evaluation.flattening) for x in outputs]
            prepared = [Representation(x) if x.isfinite().all() else None for x in flat]
            for its, (one, other) in zip(found, pairs, strict=True):
                its.update({f"{kind}.{layer}": _score(kind, prepared[one], prepared[other]) for kind in kinds})
    return found


def _score(kind: str, one: Representation | None, other: Representation | None) -> float:
    return math.nan if one is None or other is None else SCORES[kind](one, other)
