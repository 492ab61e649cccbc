"""attempt.json: who asked for an attempt, where and with what it ran, how far it came and how it ended."""

from __future__ import annotations

import os
import platform
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from orchestrator.environment import peak_memory_mb, versions
from orchestrator.store import Store


@dataclass
class AttemptRecord:
    """The record of one attempt while it grows. It is put as a whole each time, so a kill leaves the last whole one."""

    store: Store
    key: str
    asked_by: dict[str, Any]
    """Sweep, number and run that asked for the trial, and the git commit they were asked from."""
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
            "state": "running",
            "cause": None,
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

    def validated(self, iteration: int, train_seconds: float) -> int:
        """Notes the time of a validation; gives it, in ms since 1970."""
        now = now_ms()
        self._record["validated_ms"][str(iteration)] = now
        self._record["train_seconds"] = round(train_seconds, 3)
        self._put()
        return now

    def end(self, state: str, cause: str | None = None) -> None:
        """The attempt ends, as ``complete`` or ``failed``."""
        self._record |= {"state": state, "cause": cause, "ended_ms": now_ms(), "peak_memory_mb": peak_memory_mb()}
        self._put()

    def fail(self, cause: str) -> None:
        """The attempt ends as failed, whether it had begun or not."""
        if not self.begun:
            self.begin(None)
        self.end("failed", cause)

    def _put(self) -> None:
        # Of the whole process, all threads: a worker runs one attempt at a time.
        self._record["cpu_seconds"] = round(time.process_time() - self._cpu_before_s, 3)
        self.store.put_attempt(self.key, self.id, self._record)


def record_failed_attempt(store: Store, key: str, asked_by: dict[str, Any], cause: str) -> None:
    """Records an attempt whose worker could not do so itself."""
    AttemptRecord(store, key, asked_by).fail(cause)


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
