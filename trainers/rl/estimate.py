"""How long trainings and tests of policies would take: measured here on a few steps of each kind, and scaled."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Sequence

import torch

from trainers.rl.config import RLConfig
from trainers.rl.trial import evaluate, train

HORIZON = 10
"""Steps of the episodes that are measured: the time of one grows with its length."""


def core_s(work: Iterable[tuple[RLConfig | None, Sequence[RLConfig]]]) -> float:
    """Core-seconds of trainings (None: it is there already) and of their tests, on this machine.

    Raises:
        InputError: the packages of an environment are not installed.
    """
    seconds, known = 0.0, dict[Hashable, float]()
    for training, tests in work:
        for config in [training] if training else []:
            settings = config.training
            of_training, of_validation = (_measured(config, tested, known) for tested in (False, True))
            validations = settings.iterations // settings.validate_every
            seconds += settings.iterations * of_training
            seconds += validations * settings.validation_tasks / settings.meta_batch * of_validation
        for config in tests:
            seconds += config.evaluation.tasks / config.training.meta_batch * _measured(config, True, known)
    return seconds


def _measured(config: RLConfig, tested: bool, known: dict[Hashable, float]) -> float:
    """Seconds of one iteration, or of a test of as many tasks as it has; measured once for each kind of config."""
    kind = (tested, config.environment, config.policy, config.sampling, config.algorithm, config.training.meta_batch)
    if kind not in known:
        known[kind] = _measure(config, tested)
    return known[kind]


def _measure(config: RLConfig, tested: bool) -> float:
    horizon = min(HORIZON, config.environment.resolved())
    settings = config.training.model_copy(
        update={"iterations": 2, "validate_every": 2, "validation_tasks": 1, "snapshots": ()}
    )
    test = config.evaluation.model_copy(update={"tasks": max(2, settings.meta_batch), "weights": "final"})
    environment = config.environment.model_copy(update={"horizon": horizon})
    short = config.model_copy(update={"training": settings, "evaluation": test, "environment": environment})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a trial has
    try:
        return _timed(short, tested) * config.environment.resolved() / horizon
    finally:
        torch.set_num_threads(threads)


def _timed(short: RLConfig, tested: bool) -> float:
    began = time.process_time()
    reached = [(time.process_time(), progress) for progress in train(short, due=lambda: True)]
    of_iteration = reached[0][0] - began
    if len(reached) > 1:  # the first one also loads what both need
        of_iteration = min(of_iteration, reached[1][0] - reached[0][0])
    if tested:
        began = time.process_time()
        evaluate([short], reached[-1][1].params)
        of_iteration = time.process_time() - began
    return of_iteration
