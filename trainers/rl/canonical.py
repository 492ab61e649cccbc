"""What two reinforcement-learning configs must share to mean the same training, or the same evaluation of one.

The rules are those of ``trainers.canonical``; the environment, with its version, takes the place of a dataset.
"""

from __future__ import annotations

from typing import Any

from trainers.algorithms.algorithm import HEAD_LAYER
from trainers.canonical import changed, digest, inner_loop_identity, tested_inner_loop_identity
from trainers.rl.config import PolicyEvaluationConfig, RLConfig

TRAINER_VERSION = 1
"""Raised when the numbers of a training move."""

EVALUATION_VERSION = 1
"""Raised when the numbers of an evaluation move."""


def environment_fingerprint(name: str, version: int) -> str:
    """Which environment it is: that of a dataset is of its pixels, this one of a name and a version."""
    return digest({"environment": name, "version": version})


def training_identity(config: RLConfig) -> dict[str, Any]:
    """What decides a training, without its length, seed and environment's version: JSON values, defaults left out."""
    sections = {
        "environment": {"name": config.environment.name, "horizon": config.environment.resolved()},
        "policy": changed(config.policy, *_idle_settings(config)),
        "sampling": changed(config.sampling),
        "algorithm": inner_loop_identity(config),
        "training": changed(config.training, "iterations", "seed", "snapshots"),
    }
    return {"problem": config.problem} | {name: values for name, values in sections.items() if values}


def _idle_settings(config: RLConfig) -> tuple[str, ...]:
    """Settings of the policy that can't act in training: its standard deviation adapts only with the head."""
    return () if HEAD_LAYER in config.adapted_layers else ("adapt_std",)


def _adapts_head_in_test(config: RLConfig) -> bool:
    return config.test_inner_steps > 0 and HEAD_LAYER in config.test_adapted_layers


def evaluation_identity(config: RLConfig) -> dict[str, Any]:
    """What decides an evaluation beside its training: JSON values, "as trained" resolved."""
    weights = config.evaluation.weights
    identity: dict[str, Any] = {
        "weights": "final" if weights == config.training.iterations else weights,
        "trajectories": config.test_trajectories,
    }
    identity |= tested_inner_loop_identity(config)
    if config.policy.adapt_std and "adapt_std" in _idle_settings(config) and _adapts_head_in_test(config):
        identity["adapt_std"] = True
    if config.evaluation.tasks != PolicyEvaluationConfig().tasks:
        identity["tasks"] = config.evaluation.tasks
    return identity


def resolved_training(config: RLConfig) -> dict[str, Any]:
    """Every value that a training runs with, spelled out, as JSON: for people who open a record."""
    leave_out: Any = {
        "evaluation": True,
        "policy": {*_idle_settings(config)},
        "algorithm": {"name", "frozen_layers"},
        "training": {"snapshots"},
    }
    sections = config.model_dump(mode="json", exclude=leave_out)
    sections["environment"]["horizon"] = config.environment.resolved()
    sections["algorithm"]["adapted_layers"] = list(config.adapted_layers)
    return sections
