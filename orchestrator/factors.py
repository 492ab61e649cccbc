"""The parts of a grid as a sweep file writes them: factors and their levels, settings, groups, exclusions, seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from orchestrator.config_paths import known_path
from orchestrator.space import Parameter, levels, scalar_or_list
from orchestrator.wording import shown
from trainers.errors import ConfigError

MAX_CELLS = 100_000
"""Larger grids are laid out only where that is said on purpose."""


def _train_factor(path: str) -> str:
    if path.startswith("evaluation."):
        raise ConfigError(f"{path} is how a training is tested; move it to grid.test")
    return known_path(path)


def _test_factor(path: str) -> str:
    known_path(path)
    if not path.startswith("evaluation."):
        raise ConfigError(f"{path} changes what is trained; move it to grid.train")
    return path


def _factor(value: Any) -> Any:
    """A list of levels, or ``{choice: levels, when: {path: value}}``."""
    if isinstance(value, Parameter):
        return value
    if isinstance(value, Mapping):
        unknown = next((key for key in value if key not in ("choice", "when")), None)
        if unknown is not None:
            raise ConfigError(f"unknown key {unknown!r}; a factor is a list of levels, or {{choice: [..], when: ..}}")
        if value.get("choice") is None:
            raise ConfigError("has no levels; add choice: and a list of them")
        return value
    if not isinstance(value, list | tuple):
        raise ConfigError(f"must be a list of levels, or {{choice: [..], when: ..}}, got {shown(value)}")
    return {"choice": value}


def _seeds(value: Any) -> int | tuple[int, ...]:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_CELLS:
        return value
    if isinstance(value, list | tuple) and value:
        whole = all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 2**63 for one in value)
        if whole and len(set(value)) == len(value):
            return tuple(value)
    raise ConfigError(
        f"must be how many (1 to {MAX_CELLS:,}), or a list of different seeds of at least 0, got {shown(value)}"
    )


def _groups(value: Any) -> tuple[tuple[str, ...], ...]:
    """Lists of paths; a single list of paths is one group."""
    if isinstance(value, list | tuple) and value and all(isinstance(one, str) for one in value):
        value = [value]
    groups = value if isinstance(value, list | tuple) else [None]
    for group in groups:
        if not isinstance(group, list | tuple) or len(group) < 2 or not all(isinstance(one, str) for one in group):
            raise ConfigError(f"must be a list of at least two factors that move together, got {shown(value)}")
    return tuple(map(tuple, groups))


def _exclusions(value: Any) -> tuple[dict[str, tuple[Any, ...]], ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"must be a list of {{factor: level}} or {{factor: [levels]}}, got {shown(value)}")
    for one in value:
        if not isinstance(one, Mapping) or not one:
            raise ConfigError(f"must be a list of {{factor: level}} or {{factor: [levels]}}, got {shown(value)}")
    return tuple(
        {path: levels(wanted if isinstance(wanted, list | tuple) else [wanted]) for path, wanted in one.items()}
        for one in value
    )


def _names(value: Any) -> Any:
    """A list of names; a single one is a list of one, null is none."""
    return [value] if isinstance(value, str) else [] if value is None else value


def _settings(settings: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    for name, values in settings.items():
        if not name or not values:
            raise ConfigError(f"must be {{name: {{path: value}}}}, got {shown({name: values})}")
        twin = next((other for other in settings if other != name and settings[other] == values), None)
        if twin is not None:
            raise ConfigError(f"{twin} and {name} are the same; keep one of them")
    return settings


TrainFactor = Annotated[str, AfterValidator(_train_factor)]
TestFactor = Annotated[str, AfterValidator(_test_factor)]
Factor = Annotated[Parameter, BeforeValidator(_factor)]
Value = Annotated[Any, BeforeValidator(scalar_or_list)]
Settings = Annotated[dict[str, dict[Annotated[str, AfterValidator(known_path)], Value]], AfterValidator(_settings)]
Groups = Annotated[tuple[tuple[str, ...], ...], BeforeValidator(_groups)]
Exclusions = Annotated[tuple[dict[str, tuple[Any, ...]], ...], BeforeValidator(_exclusions)]
Seeds = Annotated[int | tuple[int, ...], BeforeValidator(_seeds)]
Names = Annotated[tuple[str, ...], Field(strict=False), BeforeValidator(_names)]
