"""How a trial is called where people read: by what varies in its sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.spec import SweepSpec
from trainers.config import TrialConfig, flatten


def varying_paths(spec: SweepSpec) -> list[str]:
    """Config paths that a sweep varies, in the order of its file; the seed where there are several."""
    if spec.search is not None:
        return list(spec.search.space)
    if spec.grid is None:
        return []
    several_seeds = not isinstance(spec.grid.seeds, int) or spec.grid.seeds > 1
    return [*spec.grid.factors, *(["training.seed"] if several_seeds else [])]


def varying_first(config: TrialConfig, spec: SweepSpec) -> dict[str, Any]:
    """Every leaf of a config, those that vary in front."""
    leaves = flatten(config)
    return {path: leaves[path] for path in varying_paths(spec)} | leaves


def label(config: TrialConfig, spec: SweepSpec) -> str:
    """``anil inner_lr=0.31 seed=2``: the algorithm, and what else varies and can act."""
    leaves = flatten(config)
    words = [config.algorithm.name]
    for path in varying_paths(spec):
        if path == "algorithm.name" or not _acts(path, spec, leaves):
            continue
        words.append(f"{short_name(path)}={short_value(leaves[path])}")
    return " ".join(words)


def levels_label(levels: Mapping[str, Any]) -> str:
    """``shots=5 test_frozen_layers=2``: a combination of levels of a grid; empty for none."""
    return " ".join(
        short_value(level) if path == "algorithm.name" else f"{short_name(path)}={short_value(level)}"
        for path, level in levels.items()
    )


def short_name(path: str) -> str:
    """``test_frozen_layers`` of ``evaluation.frozen_layers``: a config path without its section."""
    section, _, key = path.rpartition(".")
    return f"{'test_' if section == 'evaluation' else ''}{key}"


def short_value(value: Any) -> str:
    """A value of a config in few characters: three digits of a rate, layers joined by ``+``."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _acts(path: str, spec: SweepSpec, leaves: dict[str, Any]) -> bool:
    parameter = spec.search.space[path] if spec.search is not None else None
    return parameter is None or parameter.active(leaves, leaves)
