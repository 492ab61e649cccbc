"""One trial of reinforcement learning: a training that can be stopped and resumed at any iteration, then its test."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainers.backbones import Params
from trainers.device import settle
from trainers.errors import AdaptationDiverged, TrainingDiverged
from trainers.rl.config import RLConfig
from trainers.rl.cost import count_flops
from trainers.rl.inner_loop import InnerLoop
from trainers.rl.noise import TEST_SEED, VALIDATION_SEED, Address
from trainers.rl.play import Played, Player
from trainers.rl.policy import device_of, init
from trainers.rl.trpo import OuterObjective, outer_step
from trainers.snapshots import Progress, Validation, Weights

HEAD = "linear"
"""Name of the head under which a policy's validation stands."""

TASKS_AT_ONCE = 40
"""Test or validation tasks that are played at once."""


def train(
    config: RLConfig,
    start: Progress | None = None,
    device: str = "cpu",
    due: Callable[[], bool] = lambda: False,
) -> Iterator[Progress]:
    """Trains, giving its progress at every validation, and in between wherever ``due`` asks for it.

    Nothing depends on ``training.iterations`` but the end, nothing on ``due``, and every task and trajectory is
    addressed, so a training resumed from ``start`` (any progress of the same training, however long that was to be)
    goes on to the same bits. The outer step remembers nothing, so a progress has no moments. Of a validation the score
    is the mean return after adaptation; ``others`` has that before it (``return_before``) and the ``environment_steps``
    of the training so far. ``losses`` are surrogates after the outer step, ``accuracies`` returns after adaptation.

    Raises:
        EnvironmentAbsent: its packages are not installed.
        TrainingDiverged: a policy, a return or a surrogate that is not finite; names the iteration.
    """
    settle(device, tf32=False)
    settings, player, loop = config.training, Player.of(config), InnerLoop.of_training(config)
    sizes = player.environment.observation_size, player.environment.action_size
    fresh = init(config.policy, *sizes, settings.seed)
    initial = start.params if start else fresh
    # in one order: a file has them in another, and dot products of all parameters then have other last bits
    params: Params = {name: initial[name].to(device) for name in fresh}
    flops = start.flops if start else count_flops(config)
    best, curve = (start.best, start.curve) if start else ({}, ())
    losses, returns, steps = (list(start.losses), list(start.accuracies), list(start.steps)) if start else ([], [], [])
    for iteration in range((start.iteration if start else 0) + 1, settings.iterations + 1):
        played = player.adapt(loop, params, _training_address(config, iteration))
        params, surrogate = _learned(config, player, loop, params, played, iteration)
        losses.append(surrogate)
        returns.append(played.returns[1].mean().item())
        steps.append(played.steps)
        validates = iteration % settings.validate_every == 0
        if not validates and not due():
            continue
        kept = {name: value.clone() for name, value in params.items()}
        if validates:
            before, after = _validated(config, player, loop, params, iteration)
            so_far = float(sum(steps)) + (curve[-1].others["environment_steps"] if curve else 0)
            others = {"return_before": before, "environment_steps": so_far}
            means = float(np.mean(losses)), float(np.mean(returns))
            point = Validation(iteration, *means, math.nan, {HEAD: after}, others)
            if not best or after > _score(curve, best[HEAD]):
                best = {HEAD: Weights(iteration, kept)}
            curve, losses, returns, steps = (*curve, point), [], [], []
        yield Progress(iteration, kept, {}, best, curve, flops, tuple(losses), tuple(returns), tuple(steps))


def _training_address(config: RLConfig, iteration: int) -> Address:
    """Tasks and trajectories of an iteration; iteration j ≥ 1 of a meta-batch of B has tasks (j − 1)·B … j·B − 1."""
    batch = config.training.meta_batch
    tasks = tuple(range((iteration - 1) * batch, iteration * batch))
    return Address("training", config.training.seed, tasks, iteration - 1)


def _learned(
    config: RLConfig, player: Player, loop: InnerLoop, params: Params, played: Played, iteration: int
) -> tuple[Params, float]:
    """The meta-parameters after the outer step of what was played, and their surrogate."""
    if not played.is_finite:
        raise TrainingDiverged(f"{played.fault} at iteration {iteration}")
    outer = player.experience(played.rounds[-1], device_of(params))
    done = outer_step(OuterObjective(loop, params, played.inner, outer), params, config.training)
    if not math.isfinite(done.surrogate):
        raise TrainingDiverged(f"the training loss is {done.surrogate} at iteration {iteration}")
    return done.params, done.surrogate


def _score(curve: Sequence[Validation], weights: Weights) -> float:
    return next(point.validation_accuracy[HEAD] for point in curve if point.iteration == weights.iteration)


def _validated(
    config: RLConfig, player: Player, loop: InnerLoop, params: Params, iteration: int
) -> tuple[float, float]:
    """Mean return over the validation tasks, before and after adaptation."""
    returns = []
    for tasks in _groups(config.training.validation_tasks):
        played = player.adapt(loop, params, Address("validation", VALIDATION_SEED, tasks))
        if not played.is_finite:
            raise TrainingDiverged(f"validation at iteration {iteration}: {played.fault}")
        returns.append(torch.stack(played.returns))
    before, after = torch.cat(returns, dim=1).mean(1).tolist()
    return before, after


def evaluate(
    configs: Sequence[RLConfig], params: Params, device: str = "cpu"
) -> list[dict[str, npt.NDArray[np.float64]]]:
    """``return_before`` and ``return_after`` of every test task, in order, for each config: float64 [evaluation.tasks].

    Without an inner loop both are the same trajectories.

    Args:
        configs: share training, number of test tasks and of their trajectories, and differ in how they adapt.
        params: the trained weights.
        device: where to calculate.

    Raises:
        AdaptationDiverged: an adapted policy or a return is not finite; names tasks and inner step.
    """
    settle(device, tf32=False)
    params = {name: value.to(device) for name, value in params.items()}
    player = Player.of(configs[0], configs[0].test_trajectories)
    found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in configs]
    for tasks in _groups(configs[0].evaluation.tasks):
        start = None
        for its, config in zip(found, configs, strict=True):
            played = player.adapt(InnerLoop.of_test(config), params, Address("test", TEST_SEED, tasks), start)
            if not played.is_finite:
                tested = f"test tasks {tasks[0]} to {tasks[-1]}"
                raise AdaptationDiverged(
                    f"{tested}: {played.fault}; lower algorithm.inner_lr or evaluation.inner_steps"
                )
            start = played.rounds[0]
            its.append(played.returns)
    columns = [[torch.cat(returns).numpy() for returns in zip(*its, strict=True)] for its in found]
    return [{"return_before": before, "return_after": after} for before, after in columns]


def _groups(count: int) -> list[tuple[int, ...]]:
    return [tuple(range(first, min(first + TASKS_AT_ONCE, count))) for first in range(0, count, TASKS_AT_ONCE)]
