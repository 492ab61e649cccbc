"""The environments: one file each, one line here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from trainers.errors import ConfigError, EnvironmentAbsent
from trainers.registry import lookup, nearest

if TYPE_CHECKING:
    from trainers.rl.environments.environment import Environment


@dataclass(frozen=True)
class EnvironmentEntry:
    """What is known of an environment without importing it."""

    place: str
    version: int
    """Part of the keys of results: raised when the numbers of the environment move."""
    horizon: int
    """Steps of an episode where a config names none."""
    observation_size: int
    action_size: int
    packages: tuple[str, ...] = ()
    """What it imports beyond the requirements of MetaSweep; the extra ``rl`` has all of it."""


MUJOCO = ("gymnasium", "mujoco")

ENVIRONMENTS = {
    "navigation_2d": EnvironmentEntry("trainers.rl.environments.navigation_2d:Navigation2D", 1, 100, 2, 2),
    "half_cheetah_direction": EnvironmentEntry(
        "trainers.rl.environments.half_cheetah_direction:Direction", 1, 200, 17, 6, MUJOCO
    ),
    "half_cheetah_velocity": EnvironmentEntry(
        "trainers.rl.environments.half_cheetah_velocity:Velocity", 1, 200, 17, 6, MUJOCO
    ),
}


def entry_of(name: str) -> EnvironmentEntry:
    """What is known of an environment.

    Raises:
        ConfigError: there is none of that name; the nearest one is named.
    """
    if name not in ENVIRONMENTS:
        raise ConfigError(f"unknown environment {name!r}; {nearest(name, ENVIRONMENTS)}")
    return ENVIRONMENTS[name]


def check_installed(name: str) -> None:
    """Refuses an environment whose packages are not there; imports none of them.

    Raises:
        EnvironmentAbsent: the packages and the extra that has them are named.
    """
    absent = [package for package in entry_of(name).packages if find_spec(package) is None]
    if absent:
        raise EnvironmentAbsent(
            f"environment {name} needs {' and '.join(absent)}: install them with pip install 'metasweep[rl]'"
        )


def open_environment(name: str) -> Environment:
    """A new environment, to sample from.

    Raises:
        ConfigError: there is none of that name.
        EnvironmentAbsent: its packages are not installed.
    """
    check_installed(name)
    place = {member: entry.place for member, entry in ENVIRONMENTS.items()}
    environment: Environment = lookup("environment", place, name)()
    return environment
