"""What two reinforcement-learning configs must share to mean the same training, or the same evaluation of one.

The rules are those of ``trainers.canonical``; the environment, with its version, takes the place of a dataset.
"""

from __future__ import annotations

from typing import Any

from trainers.canonical import acting_rate, changed, digest
from trainers.rl.config import PolicyAlgorithmConfig, PolicyEvaluationConfig, RLConfig

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
        "policy": changed(config.policy),
        "sampling": changed(config.sampling),
        "algorithm": _algorithm_identity(config),
        "training": changed(config.training, "iterations", "seed", "snapshots"),
    }
    return {"problem": config.problem} | {name: values for name, values in sections.items() if values}


def _algorithm_identity(config: RLConfig) -> dict[str, Any]:
    """What adapts, and how; nothing of an inner loop that moves nothing."""
    adapted = config.adapted_layers
    algorithm = changed(config.algorithm, "name", "frozen_layers") if adapted else {}
    if "inner_lr" in algorithm:
        algorithm["inner_lr"] = acting_rate(config.inner_lr, adapted)
        if algorithm["inner_lr"] == PolicyAlgorithmConfig().inner_lr:
            del algorithm["inner_lr"]
    if adapted != config.layers:
        algorithm["adapted_layers"] = sorted(adapted)
    return algorithm


def evaluation_identity(config: RLConfig) -> dict[str, Any]:
    """What decides an evaluation beside its training: JSON values, "as trained" resolved."""
    weights = config.evaluation.weights
    identity: dict[str, Any] = {
        "weights": "final" if weights == config.training.iterations else weights,
        "trajectories": config.test_trajectories,
    }
    if config.test_inner_steps:
        identity |= {
            "inner_steps": config.test_inner_steps,
            "adapted_layers": sorted(config.test_adapted_layers),
        }
        rate = acting_rate(config.inner_lr, config.test_adapted_layers)
        trained = acting_rate(config.inner_lr, config.adapted_layers) if config.adapted_layers else None
        if set(config.test_adapted_layers) - set(config.adapted_layers) and rate != trained:
            identity["inner_lr"] = rate
    if config.evaluation.tasks != PolicyEvaluationConfig().tasks:
        identity["tasks"] = config.evaluation.tasks
    return identity


def resolved_training(config: RLConfig) -> dict[str, Any]:
    """Every value that a training runs with, spelled out, as JSON: for people who open a record."""
    leave_out: Any = {"evaluation": True, "algorithm": {"name", "frozen_layers"}, "training": {"snapshots"}}
    sections = config.model_dump(mode="json", exclude=leave_out)
    sections["environment"]["horizon"] = config.environment.resolved()
    sections["algorithm"]["adapted_layers"] = list(config.adapted_layers)
    return sections
