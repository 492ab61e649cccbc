"""Every error that a user can cause or meet, in one tree.

MetaSweepError
├── InputError            exit code 2: bad input, nothing was started
│   ├── SpecError             a sweep file or a trial config
│   ├── HomeError             a home that can't be used
│   │   ├── AbsentHome            there is none
│   │   └── SilentHome            its object store does not answer
│   ├── DatasetError          a dataset that is absent, damaged or too small (raised by ``trainers.datasets``)
│   ├── TrackingError         a tracking server that is malformed, or required and out of reach
│   └── ClusterError          a Ray cluster that can't be reached
├── InterruptedSweep      exit code 3: could not finish, can be resumed
│   └── DeadCluster           Ray on this machine has died
├── OutOfReach            exit code 3: a tracking server that went away, or never answered
└── TooManyFailures       exit code 1: stopped by --fail-fast or --max-failures, can be resumed
"""

from __future__ import annotations

from typing import Any

from trainers.errors import DatasetError, InputError, MetaSweepError

__all__ = [
    "AbsentHome",
    "ClusterError",
    "DatasetError",
    "DeadCluster",
    "HomeError",
    "InputError",
    "InterruptedSweep",
    "MetaSweepError",
    "OutOfReach",
    "SilentHome",
    "SpecError",
    "TooManyFailures",
    "TrackingError",
]


class SpecError(InputError):
    """A sweep file or trial config is wrong. ``problems`` holds one line each, with place and value."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems


class HomeError(InputError):
    """The home can't be read, written or understood."""


class AbsentHome(HomeError):
    """There is no home at the place named."""


class SilentHome(HomeError):
    """The object store does not answer."""


class TrackingError(InputError):
    """The tracking URI is malformed, or the server is required and can't be reached."""


class ClusterError(InputError):
    """The Ray cluster can't be reached or can't hold the trials."""


class InterruptedSweep(MetaSweepError):
    """The sweep could not finish (cluster or disk gone); running the same command again resumes it."""

    exit_code = 3


class DeadCluster(InterruptedSweep):
    """A part of the Ray cluster that this process had started has died.

    Ray's threads still wait for it: they would hold up Python's exit, and Ray ends the process after a minute.
    """


class OutOfReach(MetaSweepError):
    """MLflow could not be written; nothing of the record is lost, and the same command goes on."""

    exit_code = 3


class TooManyFailures(MetaSweepError):
    """As many trials failed as were allowed; what had not ended stays planned. ``status`` is the sweep's."""

    exit_code = 1

    def __init__(self, message: str, status: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status or {}
