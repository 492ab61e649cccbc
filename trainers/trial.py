"""One trial: a training that can be stopped and resumed at any iteration, then its test."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from trainers.backbones import Params
from trainers.captured_step import MetaStep
from trainers.config import TrainingConfig, TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.device import settle
from trainers.episodes import check_data, training_sampler, validation_sampler
from trainers.errors import TrainingDiverged
from trainers.evaluation import Accuracies, Adaptation, Scores, evaluate, validate
from trainers.image_batches import training_images
from trainers.inner_loop import InnerLoop
from trainers.layer_change import layer_changes
from trainers.meta_step import Adam, count_flops, learning_of
from trainers.network import Network
from trainers.snapshots import Progress, Validation, Weights
from trainers.tasks import Tasks, as_batch, as_tasks


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
    config: TrialConfig,
    data: ImageTable,
    start: Progress | None = None,
    device: str = "cpu",
    due: Callable[[], bool] = lambda: False,
) -> Iterator[Progress]:
    """Trains, giving its progress at every validation, and in between wherever ``due`` asks for it.

    Nothing depends on ``training.iterations`` but the end, nothing on ``due``, and every episode is addressed, so a
    training resumed from ``start`` (any progress of the same training, however long that was to be) goes on to the same
    bits.

    Args:
        config: what to train.
        data: the dataset.
        start: where to go on from.
        device: ``cpu`` or ``cuda``.
        due: asked after every iteration without a validation: is its progress wanted?

    Raises:
        DatasetError: the data can't fill the episodes.
        TrainingDiverged: a training or validation loss that is not finite; names the iteration.
    """
    check_data(config, data)
    settle(device, config.training.tf32)
    network = Network(config, data.image_shape)
    initial = start.params if start else _initial(config, network, data)
    params = {name: value.to(device) for name, value in initial.items()}
    validator = Validator.of(config, network, data, next(iter(params.values())))
    if config.algorithm_entry.objective == "none":
        yield from _unchanged(config.training, params, validator, start)
    else:
        yield from _learn(config, data, params, validator, start, due)


def _initial(config: TrialConfig, network: Network, data: ImageTable) -> dict[str, Tensor]:
    seed = config.training.seed
    if config.algorithm_entry.objective == "classes":
        return network.init(seed, training_images(config, data).classes)
    return network.init(seed)


def _learn(
    config: TrialConfig,
    data: ImageTable,
    params: Params,
    validator: Validator,
    start: Progress | None,
    due: Callable[[], bool],
) -> Iterator[Progress]:
    settings, network = config.training, validator.network
    like = next(iter(params.values()))
    done = start.iteration if start else 0
    moments = {name: value.to(like.device) for name, value in start.moments.items()} if start else None
    optimizer = Adam(settings, params, moments, done)
    batches, learning = _batches(config, data, like), learning_of(config)
    step = MetaStep(network, optimizer.params, learning)
    flops = start.flops if start else 0
    best, curve = (start.best, start.curve) if start else ({}, ())
    losses, accuracies = (list(start.losses), list(start.accuracies)) if start else ([], [])
    for iteration in range(done + 1, settings.iterations + 1):
        tasks = batches(iteration - 1)
        result = step(tasks)
        if not math.isfinite(result.loss):
            raise TrainingDiverged(f"the training loss is {result.loss} at iteration {iteration}")
        optimizer.step(result.gradient)
        losses.append(result.loss)
        accuracies.append(result.accuracy)
        validates = iteration % settings.validate_every == 0
        if not validates and not due():
            continue
        params = {name: value.detach().clone() for name, value in optimizer.params.items()}
        if validates:
            validated = validator(optimizer.params, iteration)
            point = Validation(iteration, float(np.mean(losses)), float(np.mean(accuracies)), *validated)
            best, curve = _best(best, curve, point, Weights(iteration, params)), (*curve, point)
            losses, accuracies = [], []
        flops = flops or count_flops(network, params, tasks, learning)
        moments = optimizer.moments()
        yield Progress(iteration, params, moments, best, curve, flops, tuple(losses), tuple(accuracies))


def _batches(config: TrialConfig, data: ImageTable, like: Tensor) -> Callable[[int], Tasks]:
    """What each iteration learns from, on the device of ``like``."""
    if config.algorithm_entry.objective == "classes":
        images = training_images(config, data)
        return lambda iteration: as_batch(*images.batch(iteration), like)
    episodes, count = training_sampler(config, data), config.training.meta_batch
    return lambda iteration: as_tasks(episodes.episodes(range(iteration * count, (iteration + 1) * count)), like)


def _unchanged(
    settings: TrainingConfig, params: Params, validator: Validator, start: Progress | None
) -> Iterator[Progress]:
    """The progress of a training whose weights never move. They are validated once, whatever the number of points."""
    best, curve = (start.best, start.curve) if start else ({}, ())
    validated = validator(params, settings.validate_every)
    done = start.iteration if start else 0
    for iteration in range(done + settings.validate_every, settings.iterations + 1, settings.validate_every):
        point = Validation(iteration, math.nan, math.nan, *validated)
        weights = {name: value.clone() for name, value in params.items()}  # a file takes no two that share memory
        best, curve = _best(best, curve, point, Weights(iteration, weights)), (*curve, point)
        yield Progress(iteration, weights, {}, best, curve)


@dataclass(frozen=True)
class Validator:
    """The validation episodes of a training, and how its weights are tried on them."""

    network: Network
    tasks: Tasks
    adaptations: Sequence[Adaptation]

    @classmethod
    def of(cls, config: TrialConfig, network: Network, data: ImageTable, like: Tensor) -> Validator:
        """That of a config; on the device of ``like``."""
        episodes = validation_sampler(config, data).episodes(range(config.training.validation_episodes))
        loop = replace(InnerLoop.of_training(config), second_order=False)
        return cls(network, as_tasks(episodes, like), [Adaptation(head, loop) for head in config.validation_heads])

    def __call__(self, params: Params, iteration: int) -> tuple[float, dict[str, float]]:
        """Loss, and accuracy by head, after so many iterations.

        Raises:
            TrainingDiverged: the loss is not finite.
        """
        loss, by_head = validate(self.network, params, self.tasks, self.adaptations)
        if not math.isfinite(loss):
            raise TrainingDiverged(f"the validation loss is {loss} at iteration {iteration}")
        return loss, by_head


def _best(
    before: Mapping[str, Weights], curve: Sequence[Validation], point: Validation, weights: Weights
) -> dict[str, Weights]:
    """The best weights by each head's validation accuracy; the earlier ones where equal."""
    reached = {known.iteration: known.validation_accuracy for known in curve}
    return {
        head: weights if head not in before or accuracy > reached[before[head].iteration][head] else before[head]
        for head, accuracy in point.validation_accuracy.items()
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
