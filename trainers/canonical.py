"""What two configs must share to mean the same training, or the same evaluation of one.

Configs that mean the same are one: layers that adapt are held by name (so MAML with its whole body frozen is ANIL),
values that equal a fixed default or cannot act are left out, and what is "as usual" or "as trained" is resolved. Keys
of stored results are digests of these.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from trainers.config import AlgorithmConfig, EvaluationConfig, Frozen, TrialConfig

TRAINER_VERSION = 2
"""Raised when the numbers of a training move; a golden trial in the tests says when."""

EVALUATION_VERSION = 2
"""Raised when the numbers of an evaluation move."""

KEY_DIGITS = 20


def _changed(section: Frozen, *leave_out: str) -> dict[str, Any]:
    """The values of a section that differ from their defaults."""
    return section.model_dump(mode="json", exclude_defaults=True, exclude=set(leave_out))


def training_identity(config: TrialConfig) -> dict[str, Any]:
    """What decides a training, without its length, seed and dataset: JSON values, defaults left out."""
    split, rotations = config.dataset.resolved()
    sections = {
        "dataset": {"split": split, "rotations": rotations},
        "episodes": _changed(config.episodes),
        "backbone": _changed(config.backbone),
        "algorithm": _algorithm_identity(config),
        "training": _changed(config.training, "iterations", "seed", "snapshots", *_idle_settings(config)),
    }
    identity: dict[str, Any] = {name: values for name, values in sections.items() if values}
    if config.problem != "few_shot":
        identity["problem"] = config.problem
    return identity


def _algorithm_identity(config: TrialConfig) -> dict[str, Any]:
    """What the training minimises; of an inner loop what adapts, and how. The name is nothing but a name."""
    objective = config.algorithm_entry.objective
    if objective != "adapted":  # no inner loop: its settings can't act
        return {"objective": objective}
    algorithm = _changed(config.algorithm, "name", "frozen_layers")
    adapted = config.adapted_layers
    if not adapted:
        algorithm = {}
    elif "inner_lr" in algorithm:
        algorithm["inner_lr"] = _inner_lr(config, adapted)
        if algorithm["inner_lr"] == AlgorithmConfig().inner_lr:
            del algorithm["inner_lr"]
    if adapted != config.layers:
        algorithm["adapted_layers"] = sorted(adapted)
    return algorithm


def _idle_settings(config: TrialConfig) -> tuple[str, ...]:
    """Settings of the outer loop that can't act where nothing is trained."""
    return ("meta_batch", "meta_lr", "clip") if config.algorithm_entry.objective == "none" else ()


def _inner_lr(config: TrialConfig, adapted: tuple[str, ...]) -> float | dict[str, float]:
    """The rates that can act: one number where they are equal, otherwise by layer."""
    rates = {layer: config.inner_lr[layer] for layer in adapted}
    first = rates[adapted[0]]
    return first if all(rate == first for rate in rates.values()) else rates


def evaluation_identity(config: TrialConfig) -> dict[str, Any]:
    """What decides an evaluation beside its training and dataset: JSON values, "as trained" resolved."""
    weights: Any = config.evaluation.weights
    if weights == "best":
        weights = ["best", config.algorithm_entry.head]
    elif weights == config.training.iterations:
        weights = "final"
    identity: dict[str, Any] = {"weights": weights, "queries": config.test_queries}
    if config.test_head != "linear":
        identity["head"] = config.test_head
    if config.test_nil != EvaluationConfig().nil:
        identity["nil"] = config.test_nil
    if config.test_inner_steps:
        identity["inner_steps"] = config.test_inner_steps
        identity["adapted_layers"] = sorted(config.test_adapted_layers)
        rate = _inner_lr(config, config.test_adapted_layers)
        trained = _inner_lr(config, config.adapted_layers) if config.adapted_layers else None
        if set(config.test_adapted_layers) - set(config.adapted_layers) and rate != trained:
            identity["inner_lr"] = rate  # the training's key does not hold it
    if config.evaluation.episodes != EvaluationConfig().episodes:
        identity["episodes"] = config.evaluation.episodes
    acting = {"measure", "flattening"} if config.evaluation.compares_layers else {"measure"}
    identity |= _changed(config.evaluation, *(EvaluationConfig.model_fields.keys() - acting))
    return identity


def resolved_training(config: TrialConfig) -> dict[str, Any]:
    """Every value that a training runs with, spelled out, as JSON: for people who open a record."""
    split, rotations = config.dataset.resolved()
    leave_out: Any = {
        "evaluation": True,
        "algorithm": {"name", "frozen_layers"},
        "training": {"snapshots", *_idle_settings(config)},
    }
    sections = config.model_dump(mode="json", exclude=leave_out)
    sections["dataset"] |= {"split": split, "rotations": rotations}
    if config.algorithm_entry.objective == "adapted":
        sections["algorithm"]["adapted_layers"] = list(config.adapted_layers)
    else:
        sections["algorithm"] = _algorithm_identity(config)
    return sections


def digest(value: Any) -> str:
    """First 20 hex digits of the SHA-256 of the sorted-key JSON of a value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]


def training_digest(config: TrialConfig, fingerprint: str) -> str:
    """The part of the training key that all lengths of the same training share."""
    return digest(
        {
            "training": training_identity(config),
            "seed": config.training.seed,
            "dataset": fingerprint,
            "trainer": TRAINER_VERSION,
        }
    )


def training_key(config: TrialConfig, fingerprint: str) -> str:
    """``<digest>-<iterations>``: the same for every config that means this training on this data."""
    return f"{training_digest(config, fingerprint)}-{config.training.iterations}"


def evaluation_key(config: TrialConfig, fingerprint: str) -> str:
    """The same for every config that tests a training in this way."""
    return digest({"evaluation": evaluation_identity(config), "dataset": fingerprint, "evaluator": EVALUATION_VERSION})
