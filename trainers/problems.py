"""The problems that a trial can be about: one line each. Imports no torch."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from trainers.config import TrainingConfig, TrialConfig
from trainers.problem import Problem
from trainers.registry import lookup
from trainers.rl.config import PolicyTrainingConfig, RLConfig

PROBLEMS = {
    "few_shot": "trainers.few_shot:FewShot",
    "rl": "trainers.rl.problem:ReinforcementLearning",
}

Config = TrialConfig | RLConfig
"""The config of a trial, whatever its problem."""

Training = TrainingConfig | PolicyTrainingConfig
"""The outer loop of one."""

CONFIGS: dict[str, type[Config]] = {"few_shot": TrialConfig, "rl": RLConfig}


def config_of_json(text: str) -> Config:
    """The inverse of ``model_dump_json``."""
    return CONFIGS[json.loads(text)["problem"]].model_validate_json(text)


def few_shot(config: Config) -> TrialConfig:
    """The config itself, where no other problem comes."""
    assert isinstance(config, TrialConfig)
    return config


@cache
def problem_named(name: str) -> Problem[Any]:
    """The problem of that name.

    Raises:
        ConfigError: there is none; the nearest is named.
    """
    problem: Problem[Any] = lookup("problem", PROBLEMS, name)()
    return problem


def problem_of(config: Config) -> Problem[Any]:
    """The problem that a config is about."""
    return problem_named(config.problem)
