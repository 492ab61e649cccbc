"""What two configs must share to mean the same training, or the same evaluation of one.

Configs that mean the same are one: layers that adapt are held by name (so MAML with its whole body frozen is ANIL),
values that equal a fixed default or cannot act are left out, and what is "as usual" or "as trained" is resolved. Keys
of stored results are digests of these.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from trainers.config import Between, EvaluationConfig, Frozen, TrialConfig
from trainers.problems import Config, problem_of

TRAINER_VERSION = 3
"""Raised when the numbers of a training move; a golden trial in the tests says when."""

EVALUATION_VERSION = 3
"""Raised when the numbers of an evaluation move."""

ANALYSIS_VERSION = 1
"""Raised when the numbers of a similarity between trainings move."""

KEY_DIGITS = 20


def changed(section: Frozen, *leave_out: str) -> dict[str, Any]:
    """The values of a section that differ from their defaults."""
    return section.model_dump(mode="json", exclude_defaults=True, exclude=set(leave_out))


def training_identity(config: TrialConfig) -> dict[str, Any]:
    """What decides a training, without its length, seed and dataset: JSON values, defaults left out."""
    split, rotations = config.dataset.resolved()
    sections = {
        "dataset": {"split": split, "rotations": rotations},
        "episodes": changed(config.episodes),
        "backbone": changed(config.backbone),
        "algorithm": _algorithm_identity(config),
        "training": changed(config.training, "iterations", "seed", "snapshots", *_idle_settings(config)),
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
    return inner_loop_identity(config)


def inner_loop_identity(config: Config) -> dict[str, Any]:
    """What adapts in training, and how; nothing of an inner loop that moves nothing."""
    adapted = config.adapted_layers
    identity = changed(config.algorithm, "name", "frozen_layers") if adapted else {}
    if "inner_lr" in identity:
        identity["inner_lr"] = acting_rate(config.inner_lr, adapted)
        if identity["inner_lr"] == type(config.algorithm)().inner_lr:
            del identity["inner_lr"]
    if adapted != config.layers:
        identity["adapted_layers"] = sorted(adapted)
    return identity


def _idle_settings(config: TrialConfig) -> tuple[str, ...]:
    """Settings of the outer loop that can't act where nothing is trained."""
    return ("meta_batch", "meta_lr", "clip") if config.algorithm_entry.objective == "none" else ()


def acting_rate(by_layer: Mapping[str, float], adapted: tuple[str, ...]) -> float | dict[str, float]:
    """The inner learning rates that can act: one number where they are equal, otherwise by layer."""
    rates = {layer: by_layer[layer] for layer in adapted}
    first = rates[adapted[0]]
    return first if all(rate == first for rate in rates.values()) else rates


def evaluation_identity(config: TrialConfig) -> dict[str, Any]:
    """What decides an evaluation beside its training and dataset: JSON values, "as trained" resolved."""
    identity: dict[str, Any] = {"weights": _tested_weights(config), "queries": config.test_queries}
    if config.test_head != "linear":
        identity["head"] = config.test_head
    if config.test_nil != EvaluationConfig().nil:
        identity["nil"] = config.test_nil
    identity |= tested_inner_loop_identity(config)
    if config.evaluation.episodes != EvaluationConfig().episodes:
        identity["episodes"] = config.evaluation.episodes
    acting = {"measure", "flattening"} if config.evaluation.compares_layers else {"measure"}
    identity |= changed(config.evaluation, *(EvaluationConfig.model_fields.keys() - acting))
    return identity


def _tested_weights(config: TrialConfig) -> Any:
    weights = config.evaluation.weights
    if weights == "best":
        return ["best", config.algorithm_entry.head]
    return "final" if weights == config.training.iterations else weights


def tested_inner_loop_identity(config: Config) -> dict[str, Any]:
    """What the test's inner loop does that the training's key does not say; empty where there is none."""
    if not config.test_inner_steps:
        return {}
    identity: dict[str, Any] = {
        "inner_steps": config.test_inner_steps,
        "adapted_layers": sorted(config.test_adapted_layers),
    }
    rate = acting_rate(config.inner_lr, config.test_adapted_layers)
    trained = acting_rate(config.inner_lr, config.adapted_layers) if config.adapted_layers else None
    if set(config.test_adapted_layers) - set(config.adapted_layers) and rate != trained:
        identity["inner_lr"] = rate
    return identity


def points_identity(config: TrialConfig) -> dict[str, Any]:
    """What decides on which points a test looks at which layers: trainings that share it can be compared there."""
    split, rotations = config.dataset.resolved()
    return {
        "dataset": [config.dataset.name, split, rotations],
        "ways": config.episodes.ways,
        "queries": config.test_queries,
        "episodes": config.evaluation.episodes,
        "flattening": config.evaluation.flattening,
        "layers": list(config.layers),
    }


def representation_identity(config: TrialConfig, adapted: bool) -> dict[str, Any]:
    """What decides a network's representations beside its training and the points: JSON values."""
    return {"weights": _tested_weights(config), **(tested_inner_loop_identity(config) if adapted else {})}


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


def training_digest(config: Config, fingerprint: str) -> str:
    """The part of the training key that all lengths of the same training share."""
    problem = problem_of(config)
    return digest(
        {
            "training": problem.training_identity(config),
            "seed": config.training.seed,
            "dataset": fingerprint,
            "trainer": problem.trainer_version,
        }
    )


def training_key(config: Config, fingerprint: str) -> str:
    """``<digest>-<iterations>``: the same for every config that means this training on this source."""
    return f"{training_digest(config, fingerprint)}-{config.training.iterations}"


def evaluation_key(config: Config, fingerprint: str) -> str:
    """The same for every config that tests a training in this way."""
    problem = problem_of(config)
    return digest(
        {
            "evaluation": problem.evaluation_identity(config),
            "dataset": fingerprint,
            "evaluator": problem.evaluation_version,
        }
    )


def analysis_key(one: TrialConfig, other: TrialConfig, fingerprint: str, between: Between) -> str:
    """The same for every two configs that mean this comparison of two trainings, in either order.

    Both must share ``points_identity``.
    """
    sides = [
        [training_key(config, fingerprint), representation_identity(config, between.adapted)] for config in (one, other)
    ]
    points = {**points_identity(one), "dataset": fingerprint}
    if between.measure != "similarity":
        points["measure"] = between.measure
    return digest({"sides": sorted(sides, key=digest), "points": points, "analysis": ANALYSIS_VERSION})
