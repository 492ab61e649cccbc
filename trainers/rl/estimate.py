"""How long trainings and tests of policies would take: measured here on a few steps of each kind, and scaled.

What is measured is a short config that stands for all of equal cost: what can't change the cost is as usual in it, so
each is measured once, and what can is in it. Inner learning rates are as usual, too: none makes a measurement diverge.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import pairwise

import torch

from trainers.rl.config import PolicyAlgorithmConfig, PolicyEvaluationConfig, RLConfig
from trainers.rl.policy import init
from trainers.rl.trial import TASKS_AT_ONCE, evaluate, train

HORIZON = 10
"""Steps of the episodes that are measured: the time of one grows with its length."""


def core_s(work: Iterable[tuple[RLConfig | None, Sequence[RLConfig]]]) -> float:
    """Core-seconds of trainings (None: it is there already) and of their tests, on this machine.

    Raises:
        InputError: the packages of an environment are not installed.
    """
    seconds, iteration_s, task_s = 0.0, cache(_iteration_s), cache(_task_s)
    with _one_thread():
        for training, tests in work:
            for config in [training] if training else []:
                settings = config.training
                validations = settings.iterations // settings.validate_every
                seconds += _longer(config) * settings.iterations * iteration_s(_short_training(config))
                seconds += _longer(config) * validations * settings.validation_tasks * task_s(_short_validation(config))
            for config in tests:
                seconds += _longer(config) * config.evaluation.tasks * task_s(_short_test(config))
    return seconds


def _longer(config: RLConfig) -> float:
    """Horizon of a config, in those of its short one."""
    return config.environment.resolved() / _short(config).environment.resolved()


def _short(config: RLConfig) -> RLConfig:
    """The environment and the policy of a config alone, with short episodes."""
    horizon = min(HORIZON, config.environment.resolved())
    environment = config.environment.model_copy(update={"horizon": horizon})
    return RLConfig(environment=environment, policy=config.policy, sampling=config.sampling)


def _short_training(config: RLConfig) -> RLConfig:
    """Equal only for trainings whose iterations cost the same."""
    whole = {"iterations": 3, "validate_every": 3, "validation_tasks": 1, "seed": 0, "snapshots": ()}
    sections = {
        "algorithm": config.algorithm.model_copy(update={"inner_lr": PolicyAlgorithmConfig().inner_lr}),
        "training": config.training.model_copy(update=whole),
    }
    return _short(config).model_copy(update=sections)


def _short_validation(config: RLConfig) -> RLConfig:
    """Equal only for trainings a task of whose validations costs the same: a test as they are, whatever the test is."""
    as_trained = PolicyEvaluationConfig(tasks=max(2, config.training.validation_tasks))
    return _short_test(config.model_copy(update={"evaluation": as_trained}))


def _short_test(config: RLConfig) -> RLConfig:
    """Equal only for tests a task of which costs the same; so many tasks as are played at once."""
    adapted = config.test_adapted_layers
    evaluation = PolicyEvaluationConfig(
        tasks=min(TASKS_AT_ONCE, config.evaluation.tasks),
        inner_steps=config.test_inner_steps,
        frozen_layers=tuple(layer for layer in config.layers if layer not in adapted),
        weights="final",
    )
    sampling = config.sampling.model_copy(update={"trajectories": config.test_trajectories})
    return _short(config).model_copy(update={"sampling": sampling, "evaluation": evaluation})


def _iteration_s(short: RLConfig) -> float:
    """Of a training."""
    began = time.process_time()
    reached = [began, *(time.process_time() for _, _ in zip(range(2), train(short, due=lambda: True), strict=False))]
    return min(end - start for start, end in pairwise(reached))  # the first one also loads what both need


def _task_s(short: RLConfig) -> float:
    """Of a test."""
    entry = short.environment.entry
    params = init(short.policy, entry.observation_size, entry.action_size, short.training.seed)
    return min(_seconds(lambda: evaluate([short], params)) for _ in range(2)) / short.evaluation.tasks


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


@contextmanager
def _one_thread() -> Iterator[None]:
    """As a trial has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
