"""One trial: a training that can be stopped and resumed at any validation, then its test."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from trainers.captured_step import MetaStep
from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.device import settle
from trainers.episodes import check_data, training_sampler, validation_sampler
from trainers.errors import TrainingDiverged
from trainers.evaluation import Accuracies, Adaptation, Scores, evaluate, validate
from trainers.inner_loop import InnerLoop
from trainers.layer_change import layer_changes
from trainers.meta_step import Adam, count_flops
from trainers.network import Network
from trainers.snapshots import Progress, Validation, Weights
from trainers.tasks import as_tasks


@dataclass(frozen=True)
class TrialResult:
    """What a trial leaves."""

    progress: Progress
    """The end of the training, with its whole curve."""
    accuracies: Accuracies
    """Of every test episode."""
    changes: Scores
    """``layer_changes`` of every test episode."""


def train(
    config: TrialConfig, data: ImageTable, start: Progress | None = None, device: str = "cpu"
) -> Iterator[Progress]:
    """Trains, giving its progress at every validation.

    Nothing depends on ``training.iterations`` but the end, and every episode is addressed, so a training resumed from
    ``start`` (any progress of the same training, however long that was to be) goes on to the same bits.

    Raises:
        DatasetError: the data can't fill the episodes.
        TrainingDiverged: a training or validation loss that is not finite; names the iteration.
    """
    check_data(config, data)
    settings = config.training
    settle(device, settings.tf32)
    network = Network(config, data.image_shape)
    done = start.iteration if start else 0
    initial = start.params if start else network.init(settings.seed)
    moments = {name: value.to(device) for name, value in start.moments.items()} if start else None
    optimizer = Adam(settings, {name: value.to(device) for name, value in initial.items()}, moments, done)
    like = next(iter(optimizer.params.values()))
    episodes = training_sampler(config, data)
    validation = validation_sampler(config, data)
    validation_tasks = as_tasks(validation.episodes(range(settings.validation_episodes)), like)
    loop = InnerLoop.of_training(config)
    validation_loop = replace(loop, second_order=False)
    adaptations = [Adaptation(head, validation_loop) for head in config.validation_heads]
    step = MetaStep(network, optimizer.params, loop)
    progress = start
    losses: list[float] = []
    accuracies: list[float] = []
    for iteration in range(done, settings.iterations):
        first = iteration * settings.meta_batch
        tasks = as_tasks(episodes.episodes(range(first, first + settings.meta_batch)), like)
        result = step(tasks)
        if not math.isfinite(result.loss):
            raise TrainingDiverged(f"the training loss is {result.loss} at iteration {iteration + 1}")
        optimizer.step(result.gradient)
        losses.append(result.loss)
        accuracies.append(result.accuracy)
        if (iteration + 1) % settings.validate_every:
            continue
        loss, by_head = validate(network, optimizer.params, validation_tasks, adaptations)
        if not math.isfinite(loss):
            raise TrainingDiverged(f"the validation loss is {loss} at iteration {iteration + 1}")
        point = Validation(iteration + 1, float(np.mean(losses)), float(np.mean(accuracies)), loss, by_head)
        losses, accuracies = [], []
        params = {name: value.detach().clone() for name, value in optimizer.params.items()}
        progress = Progress(
            iteration=iteration + 1,
            params=params,
            moments=optimizer.moments(),
            best=_best(progress, point, Weights(iteration + 1, params)),
            curve=(*(progress.curve if progress else ()), point),
            flops=progress.flops if progress else count_flops(network, params, tasks, loop),
        )
        yield progress


def _best(before: Progress | None, point: Validation, weights: Weights) -> dict[str, Weights]:
    """The best weights by each head's validation accuracy; the earlier ones where equal."""
    if before is None:
        return dict.fromkeys(point.validation_accuracy, weights)
    reached = {known.iteration: known.validation_accuracy for known in before.curve}
    return {
        head: weights if accuracy > reached[best.iteration][head] else best
        for head, best in before.best.items()
        for accuracy in (point.validation_accuracy[head],)
    }


def chosen_weights(config: TrialConfig, progress: Progress) -> Weights:
    """The weights that a config's evaluation asks for, of a training that has come as far as they need.

    Raises:
        ValueError: they are those of another iteration; names both.
    """
    asked = config.evaluation.weights
    if asked == "best":
        return progress.best[config.algorithm_entry.head]
    if asked not in ("final", progress.iteration):
        raise ValueError(f"evaluation.weights: asks for iteration {asked}, and the training is at {progress.iteration}")
    return Weights(progress.iteration, progress.params)


def run_trial(
    config: TrialConfig,
    data: ImageTable,
    report: Callable[[Progress], None] = lambda progress: None,
    start: Progress | None = None,
    device: str = "cpu",
) -> TrialResult:
    """Trains and tests in this process; ``report`` gets the progress at every validation, and may store it.

    Raises:
        DatasetError, TrainingDiverged: as ``train``.
        AdaptationDiverged: as ``layer_changes``.
        ValueError: ``start`` is beyond the iteration that is to be tested.
    """
    progress, snapshot = start, start
    for progress in train(config, data, start, device):
        report(progress)
        if progress.iteration == config.evaluation.weights:
            snapshot = progress
    assert progress is not None  # a training has at least one validation
    tested = snapshot if snapshot is not None and isinstance(config.evaluation.weights, int) else progress
    params = chosen_weights(config, tested).params
    (accuracies,) = evaluate([config], params, data, device)
    return TrialResult(progress, accuracies, layer_changes(config, params, data, device))
