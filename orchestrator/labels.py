"""How trials and cells are called where people read: by what varies in their sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.config_paths import leaves
from orchestrator.spec import SweepSpec
from trainers.config import flatten
from trainers.problems import Config


def varying_paths(spec: SweepSpec) -> list[str]:
    """Config paths that a sweep varies, in the order of its file, but for those of its settings; the seed where there
    are several."""
    if spec.search is not None:
        return list(spec.search.space)
    if spec.grid is None:
        return []
    several_seeds = not isinstance(spec.grid.seeds, int) or spec.grid.seeds > 1
    return [*spec.grid.factors, *(["training.seed"] if several_seeds else [])]


def varying_first(config: Config, spec: SweepSpec) -> dict[str, Any]:
    """Every leaf of a config, those that vary in front."""
    values = flatten(config)
    return {path: values[path] for path in varying_paths(spec)} | values


def label(config: Config, spec: SweepSpec, with_test: bool = True) -> str:
    """``anil inner_lr=0.31 seed=2``: the algorithm, and what else varies and can act; the test too, or not."""
    values = flatten(config)
    paths = [path for path in acting_paths(config, spec) if path != "algorithm.name"]
    if spec.search is not None and config.training.seed >= spec.fresh_seed and "training.seed" not in paths:
        paths.append("training.seed")  # of a confirmation
    varying = {path: values[path] for path in paths if with_test or not path.startswith("evaluation.")}
    return " ".join(filter(None, [config.algorithm.name, setting_of(config, spec), levels_text(varying)]))


def setting_of(config: Config, spec: SweepSpec) -> str:
    """Name of the setting of a grid that a config has; empty where the grid has none."""
    known = leaves(config)
    settings = spec.grid.settings if spec.grid else {}
    return next((name for name, values in settings.items() if values.items() <= known.items()), "")


def acting_paths(config: Config, spec: SweepSpec) -> list[str]:
    """Config paths that a sweep varies, but for those whose condition does not hold for this config."""
    values = flatten(config)
    parameters = spec.search.space if spec.search else spec.grid.factors if spec.grid else {}
    return [path for path in varying_paths(spec) if path not in parameters or parameters[path].active(values, values)]


def levels_text(levels: Mapping[str, Any]) -> str:
    """``anil shots=1 test_frozen_layers=4``, of config path -> value; empty for none."""
    return " ".join(
        level_text(path, level) if path == "algorithm.name" else f"{short_name(path)}={level_text(path, level)}"
        for path, level in levels.items()
    )


def short_name(path: str) -> str:
    """``test_queries`` of ``evaluation.queries``, ``algorithm`` of ``algorithm.name``, otherwise the last part."""
    section, _, key = path.rpartition(".")
    return section if key == "name" else f"test_{key}" if section == "evaluation" else key


def level_text(path: str, level: Any) -> str:
    """A value of a config as people read it: ``0.31``, ``conv1+head``, ``as trained``."""
    if level is None:
        return "as trained" if path.startswith("evaluation.") else "none"
    if isinstance(level, bool):
        return str(level).lower()
    if isinstance(level, float):
        return f"{level:.3g}"
    return "+".join(map(str, level)) if isinstance(level, list | tuple) else str(level)
