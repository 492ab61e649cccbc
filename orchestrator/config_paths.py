"""Dotted paths of a trial config (``algorithm.inner_lr``): which there are, and setting them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from orchestrator.errors import SpecError
from orchestrator.wording import plain_problems
from orchestrator.yaml_file import dotted
from trainers.config import flatten
from trainers.errors import ConfigError
from trainers.problems import CONFIGS, Config
from trainers.registry import nearest

PATHS = {problem: tuple(flatten(config())) for problem, config in CONFIGS.items()}
"""Problem -> every path of its configs, in their order."""

CONFIG_PATHS = tuple(dict.fromkeys(path for paths in PATHS.values() for path in paths))
"""Every path of any config."""

SECTIONS = frozenset(path.partition(".")[0] for path in CONFIG_PATHS)
"""First parts of them."""


def nearest_path(path: str, others: tuple[str, ...] = ()) -> str:
    """Names the path that was probably meant: one with the same last part before one that is spelled alike."""
    last = path.rpartition(".")[2]
    same = [known for known in CONFIG_PATHS if known.rpartition(".")[2] == last]
    same = same or [known for known in CONFIG_PATHS if len(last) > 1 and last in known.rpartition(".")[2]]
    if len(same) > 1:
        same = [known for known in same if known in path] or same
    return f"did you mean {same[0]!r}?" if same else nearest(path, (*CONFIG_PATHS, *others))


def known_path(path: str) -> str:
    """The path itself.

    Raises:
        ConfigError: no config has it; the nearest one is named.
    """
    if path not in CONFIG_PATHS:
        raise ConfigError(f"unknown path {path!r}; {nearest_path(path)}")
    return path


@lru_cache(4096)
def elsewhere(path: str, problem: str) -> str | None:
    """Why a path, or the first part of one, can't stand in a trial of this problem: it is of another. Else None."""

    def has(paths: tuple[str, ...]) -> bool:
        return any(f"{known}.".startswith(f"{path}.") for known in paths)

    others = [other for other, paths in PATHS.items() if has(paths)]
    if not others or problem not in PATHS or problem in others:
        return None
    return f"is of trials with problem: {others[0]}, and this one is {problem}; leave it out, or change problem"


def frozen_value(value: Any) -> Any:
    """The value with its lists as tuples, so that it can be compared and hashed."""
    return tuple(map(frozen_value, value)) if isinstance(value, list | tuple) else value


def plain_value(value: Any) -> Any:
    """The value with its tuples as lists, as JSON and YAML hold it."""
    return list(map(plain_value, value)) if isinstance(value, list | tuple) else value


def leaves(config: Config) -> dict[str, Any]:
    """Every path of a config with its value, lists as tuples."""
    return {path: frozen_value(value) for path, value in flatten(config).items()}


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """The config with these paths set.

    Raises:
        SpecError: a path is unknown or the values make no valid config; one line ``path: why`` each.
    """
    sections = config.model_dump()
    for path, value in values.items():
        try:
            known_path(path)
        except ConfigError as error:
            raise SpecError(str(error)) from None
        if (reason := elsewhere(path, config.problem)) is not None:
            raise SpecError(f"{path}: {reason}")
        section, _, key = path.rpartition(".")
        (sections[section] if section else sections)[key] = value
    try:
        return type(config).model_validate(sections)
    except ValidationError as error:
        changed = {tuple(path.split(".")) for path in values}
        problems = plain_problems(type(config), error, sections, changed)
    raise SpecError(*(f"{dotted(place)}: {words}" for place, words in problems))
