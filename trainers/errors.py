"""Errors that a trial can raise.

MetaSweepError            the root of the whole project's tree (the rest of it: ``orchestrator.errors``)
├── InputError            bad input: exit code 2
│   ├── ConfigError           a trial config that makes no sense
│   ├── DatasetError          a dataset that is absent, damaged or too small
│   └── EnvironmentAbsent     an environment whose packages are not installed
├── TrainingDiverged      a loss that is not a number: the same config will fail again
└── AdaptationDiverged    a test whose inner loop leaves the numbers: nothing can be compared
"""

from __future__ import annotations


class MetaSweepError(Exception):
    """Root of every error raised on purpose. ``exit_code`` is what the command line ends with; each argument is a
    problem, and told in a line of its own."""

    exit_code = 2

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


class InputError(MetaSweepError):
    """Bad input; nothing was started."""


class ConfigError(InputError, ValueError):
    """A trial config that makes no sense. A ValueError too, so that pydantic reports its place."""


class DatasetError(InputError):
    """A dataset is absent, damaged, or too small for the episodes asked of it."""


class EnvironmentAbsent(InputError):
    """The packages of an environment of reinforcement learning are not installed."""


class TrainingDiverged(MetaSweepError):
    """The training loss is not finite. Deterministic: the same config fails in the same way again."""

    exit_code = 1


class AdaptationDiverged(MetaSweepError):
    """A network adapted in a test is not finite, so that before and after can't be compared. The training stands."""

    exit_code = 1
