"""attempt.json: who asked for an attempt, where and with what it ran, how far it came and how it ended."""

from __future__ import annotations

import os
import platform
import time
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.environment import peak_memory_mb, versions
from orchestrator.failure import Failure
from orchestrator.store import Store


@dataclass
class AttemptRecord:
    """The record of one attempt while it grows. It is put as a whole each time, so a kill leaves the last whole one."""

    store: Store
    key: str
    asked_by: dict[str, Any]
    """Sweep, number and run that asked for the trial, and the git commit they were asked from."""
    evaluations: Sequence[str] = ()
    """Keys of the evaluations asked for: a failure says nothing of others of the same training."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    begun: bool = False
    _cpu_before_s: float = field(default_factory=time.process_time)
    _record: dict[str, Any] = field(default_factory=dict)

    def begin(self, environment: dict[str, Any] | None, resumed_at: int = 0, train_seconds: float = 0.0) -> None:
        """The attempt begins; again, where only then is known from which iteration it goes on.

        Args:
            environment: what decides the bits; None where no worker came to say so.
            resumed_at: iteration that it goes on from.
            train_seconds: spent up to there by the attempts that it goes on from.
        """
        self.begun = True
        self._record = {
            "attempt": self.id,
            "asked_by": self.asked_by,
            "evaluations": list(self.evaluations),
            "state": "running",
            "failure": None,
            "cause": None,
            "after": self._record["after"] if self._record else len(self.store.attempts(self.key)),
            "started_ms": self._record.get("started_ms", now_ms()),
            "ended_ms": None,
            "resumed_at": resumed_at,
            "train_seconds": train_seconds,
            "cpu_seconds": 0.0,
            "validated_ms": {},
            "environment": environment,
            "versions": versions(),
            "node": platform.node(),
            "pid": os.getpid(),
            "peak_memory_mb": None,
        }
        self._put()

    def validated(self, iteration: int) -> int:
        """Notes the time of a validation, to be put with the next save; gives it, in ms since 1970."""
        now = now_ms()
        self._record["validated_ms"][str(iteration)] = now
        return now

    def reached(self, train_seconds: float) -> None:
        """Progress was saved, after so many seconds of training in all."""
        self._record["train_seconds"] = round(train_seconds, 3)
        self._put()

    def end(self, failure: Failure | None = None, pruned: bool = False) -> None:
        """The attempt ends: it is complete, has failed, or its sweep wants no more of the training."""
        state = {"state": "pruned"} if pruned else {}
        self._record |= ending(failure) | state | {"peak_memory_mb": peak_memory_mb()}
        self._put()

    def fail(self, failure: Failure, tested: Collection[str] = ()) -> None:
        """The attempt ends as failed, whether it had begun or not; of the evaluations ``tested`` that says nothing."""
        if not self.begun:
            self.begin(None)
        self._record["evaluations"] = [key for key in self.evaluations if key not in tested]
        self.end(failure)

    def _put(self) -> None:
        # Of the whole process, all threads: a worker runs one attempt at a time.
        self._record["cpu_seconds"] = round(time.process_time() - self._cpu_before_s, 3)
        self.store.put_attempt(self.key, self.id, self._record)


def ending(failure: Failure | None) -> dict[str, Any]:
    """What a record says of its end, now."""
    if failure is None:
        return {"state": "complete", "failure": None, "cause": None, "ended_ms": now_ms()}
    return {"state": "failed", "failure": failure.kind, "cause": failure.cause, "ended_ms": now_ms()}


def record_lost(store: Store, key: str, snapshots: Sequence[str], asked_by: dict[str, Any], failure: Failure) -> None:
    """Records a failure that no worker could: of the attempts that it left running, or of one that never began.

    Args:
        store: where.
        key: of the training.
        snapshots: keys of those on its way, which have attempts of their own.
        asked_by: as the worker was told.
        failure: what became of it.
    """
    for its in (key, *snapshots):
        left = [one for one in store.attempts(its) if one["state"] == "running" and one["asked_by"] == asked_by]
        for record in left:
            store.put_attempt(its, record["attempt"], record | ending(failure))
        if its == key and not left:
            AttemptRecord(store, key, asked_by).fail(failure)


def set_failures_aside(store: Store, key: str, sweep: str) -> None:
    """Makes a training that failed in a sweep one that was not tried yet; the causes stay in the records."""
    store.remove_failure(key)
    for record in store.attempts(key):
        if record["state"] == "failed" and record["asked_by"].get("sweep") == sweep:
            store.put_attempt(key, record["attempt"], record | {"state": "set aside"})


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
