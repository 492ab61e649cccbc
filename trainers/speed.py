"""How long an iteration of the training and an inference take: by the clock, so of the machine that they ran on.

The protocol is that of Raghu et al. (2020), as far as it is known: images lie on the device before the clock starts; a
training iteration is the meta-gradient of a meta-batch, without the update; an inference adapts to one test episode and
predicts its query set.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from trainers.backbones import Params
from trainers.captured_step import MetaStep
from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.device import settle
from trainers.episodes import test_sampler
from trainers.evaluation import Adaptation, Scores, predict
from trainers.meta_step import learning_of
from trainers.network import Network
from trainers.tasks import as_tasks
from trainers.training_batches import training_batches

Clock = Callable[[], float]
"""Seconds since some moment."""

WARM_UPS = 5
"""Rounds in front of those that count: memory is taken, kernels are chosen, on CUDA the step is captured."""


def speed(
    config: TrialConfig, params: Params, data: ImageTable, device: str = "cpu", clock: Clock | None = None
) -> Scores:
    """Times of as many rounds as the test has episodes: nothing where the config does not ask for them.

    A round is one training iteration and one inference, in turns, so that what else the machine does meets both.

    Args:
        config: asks for it by ``evaluation.measure: speed``; its training says what an iteration is, its test what an
            inference is.
        params: the trained weights. They stay as they are.
        data: the dataset.
        device: where to calculate.
        clock: ``clock_of(device)`` where left out.

    Returns:
        Columns ``train_ms`` and ``infer_ms``, each float64 [evaluation.episodes].
    """
    if config.evaluation.measure != "speed":
        return {}
    settle(device, config.training.tf32)
    network = Network(config, data.image_shape)
    params = {name: value.to(device) for name, value in params.items()}
    like = next(iter(params.values()))
    clock = clock or clock_of(device)
    batches, episodes = training_batches(config, data, like), test_sampler(config, data)
    step = MetaStep(network, params, learning_of(config))
    adaptations = [Adaptation.of_test(config)]
    ticks = np.empty((config.evaluation.episodes, 3))
    for number in range(-WARM_UPS, len(ticks)):
        batch, task = batches(max(number, 0)), as_tasks([episodes.episode(max(number, 0))], like)
        start = clock()
        step(batch)
        between = clock()
        predict(network, params, task, adaptations)
        its = start, between, clock()
        if number >= 0:
            ticks[number] = its
    train_ms, infer_ms = 1000 * np.diff(ticks).T
    return {"train_ms": train_ms, "infer_ms": infer_ms}


def clock_of(device: str) -> Clock:
    """On CUDA the time that passes, once all that was launched is done. On a CPU the time that this process works, in
    all of its threads: other programs on the machine are not in it."""
    if not device.startswith("cuda"):
        return time.process_time

    def passed() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return passed
