"""Why an attempt failed, in one of six kinds, and what follows from it: the one place that tells them apart.

lost      the worker, its machine or something it needs (home, dataset) was gone      tried again; then a search stops
memory    there was not enough, of the machine or of the device                       tried again, within a limit
disk      the home is full or read-only                                               the sweep stops, to be continued
timeout   it took longer than it may (``--trial-timeout``)                            tried again, within a limit
error     an exception: a bug, here or in what the trial uses                         not again in its sweep
diverged  a loss or a network that is not finite: the same config would do it again   not again in its sweep

``--retry-failed`` tries all of them again. A training that diverged is recorded as such in the store, for all sweeps.
"""

from __future__ import annotations

import errno
import re
import traceback
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.errors import TooManyFailures
from trainers.errors import AdaptationDiverged, TrainingDiverged

Kind = Literal["lost", "disk", "memory", "timeout", "error", "diverged"]

ATTEMPTS_IN_A_RUN = 3
"""How often one run of a sweep attempts a trial, or a comparison of trainings, whose failures can pass."""

MOST_LOSSES = 3 * ATTEMPTS_IN_A_RUN
"""How many attempts of a trial may lose their worker before that is taken for the trial's doing."""

CAUSE_LENGTH = 500
"""Characters of an exception's text that are kept."""

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

_NO_MEMORY = re.compile(r"out of memory|can(no|')t allocate memory|alloc_failed|bad_alloc", re.IGNORECASE)
"""What PyTorch, CUDA and its libraries, and the system say; only some of them have an exception of its own for it."""


@dataclass(frozen=True)
class Failure:
    """Of one attempt."""

    kind: Kind
    cause: str
    """One line for people."""

    @property
    def can_pass(self) -> bool:
        """Whether another attempt may well go better."""
        return can_pass(self.kind)

    @classmethod
    def of_event(cls, event: Mapping[str, Any]) -> Failure:
        """What an event ``failed`` or ``lost`` says."""
        return cls(event["failure"], event["cause"])

    def event(self, kind: Literal["failed", "lost"]) -> dict[str, Any]:
        """The event that says it: ``failed`` where the attempt has recorded it itself, else ``lost``."""
        return {"kind": kind, "failure": self.kind, "cause": self.cause}


def can_pass(kind: str | None) -> bool:
    """Whether a failure of this kind may pass; None is what records of earlier versions have."""
    return kind not in ("error", "diverged")


def failure_of(error: Exception) -> Failure:
    """What an exception in an attempt means."""
    if isinstance(error, TrainingDiverged | AdaptationDiverged):
        return Failure("diverged", str(error))
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        return Failure("memory", f"out of memory: {in_one_line(error)}")
    if isinstance(error, OSError) and error.errno in _DISK:
        return Failure("disk", f"{error.filename or 'the home'}: {error.strerror}")
    if isinstance(error, OSError):  # a disk that is gone, a home that does not answer
        return Failure("lost", in_one_line(error))
    return Failure("error", in_one_line(error))


def in_one_line(error: Exception) -> str:
    """``ValueError: what it says (file.py:12)``."""
    where = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" ({where[0].filename.rpartition('/')[2]}:{where[0].lineno})" if where else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:CAUSE_LENGTH]}{place}"


@dataclass(frozen=True)
class FailurePolicy:
    """What a run of a sweep makes of failures; none of it can change a result."""

    retry_failed: bool = False
    """Trials that have failed before are run again, whatever the kind."""
    max_failures: int | None = None
    """The run stops as soon as so many of its trials have failed."""
    trial_timeout_s: float | None = None
    """How long an attempt, of a trial or of comparisons, may take before its worker is ended."""


@dataclass
class FailureCount:
    """The failures of one run, held against its policy."""

    policy: FailurePolicy
    _failed: int = 0
    _attempts: Counter[str] = field(default_factory=Counter)

    def try_again(self, work: str, failure: Failure | None) -> str | None:
        """Whether work of which an attempt has ended so is to be attempted again: a line that says it.

        Args:
            work: what the run calls it, and nothing else: ``trial 3``.
            failure: of the attempt; None where it did not fail.
        """
        self._attempts[work] += 1
        attempt = self._attempts[work] + 1
        if failure is None or not failure.can_pass or attempt > ATTEMPTS_IN_A_RUN:
            return None
        return f"{work}: {failure.cause}; attempt {attempt} of {ATTEMPTS_IN_A_RUN} follows"

    def failed(self, trial: str, cause: str) -> None:
        """A trial has failed, as far as this run goes.

        Raises:
            TooManyFailures: as many have as the policy allows.
        """
        self._failed += 1
        if self._failed == self.policy.max_failures:
            many = "a trial" if self._failed == 1 else f"{self._failed} trials"
            raise TooManyFailures(f"{many} failed, the last is trial {trial}: {cause}")
