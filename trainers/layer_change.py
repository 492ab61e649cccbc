"""How far the inner loop moves each layer: what it makes of the query set, and its weights, before against after.

Figure 2 of Raghu et al. (2020), and the distances of its appendix. The representation of a block is its output, that of
the head are its logits; batch norm sees the query set, as in every test. By autograd, one task at a time.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trainers.backbones import Params
from trainers.config import Flattening, TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.device import settle
from trainers.episodes import test_sampler
from trainers.errors import AdaptationDiverged
from trainers.evaluation import EPISODES_AT_ONCE, Scores
from trainers.inner_loop import InnerLoop, adapted_for_test
from trainers.network import Network, layer_of
from trainers.similarity import cca, euclidean_distance, flatten, linear_cka, relative_distance
from trainers.tasks import Task, as_tasks

UNMOVED = {"cca": 1.0, "cka": 1.0, "distance": 0.0, "relative_distance": 0.0}
"""What is recorded of a layer that is the same before and after."""


def layer_changes(config: TrialConfig, params: Params, data: ImageTable, device: str = "cpu") -> Scores:
    """Change of every layer in every test episode, in order: nothing where the config does not ask for it.

    Args:
        config: its test says what adapts, and ``evaluation.measure`` what is measured.
        params: the trained weights.
        data: the dataset.
        device: where to calculate.

    Returns:
        Columns ``cca.<layer>`` (unless ``measure`` is ``cka``), ``cka.<layer>``, ``distance.<layer>`` and
        ``relative_distance.<layer>`` for every layer, each float64 [evaluation.episodes].

    Raises:
        AdaptationDiverged: an adapted layer is not finite; names episode and layer.
    """
    flattening = config.evaluation.flattening
    if not config.evaluation.compares_layers:
        return {}
    settle(device, config.training.tf32)
    network = Network(config, data.image_shape)
    params = {name: value.to(device) for name, value in params.items()}
    like = next(iter(params.values()))
    sampler = test_sampler(config, data)
    episodes = config.evaluation.episodes
    kinds = change_kinds(config)
    found: dict[str, list[float]] = {f"{kind}.{layer}": [] for kind in kinds for layer in network.layers}
    for first in range(0, episodes, EPISODES_AT_ONCE):
        tasks = as_tasks(sampler.episodes(range(first, min(first + EPISODES_AT_ONCE, episodes))), like)
        for index, task in enumerate(tasks, first):
            try:
                its = task_changes(network, params, task, InnerLoop.of_test(config), kinds, flattening)
            except AdaptationDiverged as error:
                raise AdaptationDiverged(
                    f"test episode {index}: {error}; lower algorithm.inner_lr, or leave evaluation.measure out"
                ) from None
            for column, value in its.items():
                found[column].append(value)
    return {column: np.array(values) for column, values in found.items()}


def change_kinds(config: TrialConfig) -> list[str]:
    """What is measured of every layer, of ``UNMOVED``."""
    return [kind for kind in UNMOVED if kind != "cca" or config.evaluation.measure != "cka"]


def task_changes(
    network: Network, params: Params, task: Task, loop: InnerLoop, kinds: list[str], flattening: Flattening
) -> dict[str, float]:
    """The columns of one task. Layers in front of the first one that adapts are what they were: only passed through.

    Raises:
        AdaptationDiverged: an adapted layer is not finite; names the layer.
    """
    adapted = adapted_for_test(network, params, task, loop)
    moving = [network.layers.index(layer) for layer in loop.layers if loop.steps]
    first = min(moving, default=len(network.layers))
    found = {f"{kind}.{layer}": UNMOVED[kind] for kind in kinds for layer in network.layers[:first]}
    with torch.no_grad():
        before = after = network.forward(params, task.query, stop=first)
        for index, layer in enumerate(network.layers[first:], first):
            before = network.forward(params, before, start=index, stop=index + 1)
            after = network.forward(adapted, after, start=index, stop=index + 1)
            if not after.isfinite().all():
                raise AdaptationDiverged(f"{layer} is not finite after the inner loop")
            x, y = flatten(before, flattening), flatten(after, flattening)
            weights = _of_layer(params, layer), _of_layer(adapted, layer)
            for kind in kinds:
                found[f"{kind}.{layer}"] = _change(kind, x, y, *weights)
    return found


def _change(kind: str, x: Tensor, y: Tensor, before: Params, after: Params) -> float:
    if kind in ("cca", "cka"):
        return cca(x, y) if kind == "cca" else linear_cka(x, y)
    return euclidean_distance(before, after) if kind == "distance" else relative_distance(before, after)


def _of_layer(params: Params, layer: str) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in params.items() if layer_of(name) == layer}
