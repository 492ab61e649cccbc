"""The environments: one file each, one line here."""

from __future__ import annotations

from dataclasses import dataclass

from trainers.errors import ConfigError
from trainers.registry import nearest


@dataclass(frozen=True)
class EnvironmentEntry:
    """What is known of an environment without importing it."""

    place: str
    horizon: int


ENVIRONMENTS = {
    "navigation_2d": EnvironmentEntry("trainers.rl.environments.navigation_2d:Navigation2D", 100),
    "half_cheetah_direction": EnvironmentEntry("trainers.rl.environments.half_cheetah_direction:Direction", 200),
    "half_cheetah_velocity": EnvironmentEntry("trainers.rl.environments.half_cheetah_velocity:Velocity", 200),
}


def entry_of(name: str) -> EnvironmentEntry:
    """What is known of an environment.

    Raises:
        ConfigError: there is none of that name; the nearest one is named.
    """
    if name not in ENVIRONMENTS:
        raise ConfigError(f"unknown environment {name!r}; {nearest(name, ENVIRONMENTS)}")
    return ENVIRONMENTS[name]
