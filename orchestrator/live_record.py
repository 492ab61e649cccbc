"""What the driver of a sweep says of it while it runs, kept in the home for whoever watches from elsewhere.

``sweeps/<name>/live.json`` is a view, like the display: who watches reads it, and no result rests on it. One small
object, put over itself by a thread every few seconds; reading it is all that a look costs, in a bucket too.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from typing import Any, NamedTuple

from orchestrator.record import SweepRecord
from orchestrator.record_shapes import LiveShape
from orchestrator.status import Resources, SweepStatus, TrialLine

EVERY_S = 2.0
EVERY_IN_BUCKET_S = 5.0
"""There, a put is a request, and costs."""
END_TIMEOUT_S = 5.0
"""How long the end of a sweep waits for the last of it: a home that does not answer must not hold Ctrl-C up."""
ENDED_SHOWN = 20
"""Of the trials that have ended, the last so many are in it."""

COUNTS = ("planned", "completed", "pruned", "failed", "running", "cached")


class Live(NamedTuple):
    """What a driver said last."""

    run: str
    """Id of its run."""
    beat: int
    """Grows with everything that it says, and every few seconds where there is nothing to say."""
    over: bool
    """It drives the sweep no more."""
    status: SweepStatus | None
    """None while it starts."""


@contextmanager
def said_in_home(record: SweepRecord, run_id: str) -> Iterator[Callable[[SweepStatus], None]]:
    """Gives what takes the latest status and returns at once; a thread puts it into the home until the block ends."""
    every_s = EVERY_S if record.home.local is not None else EVERY_IN_BUCKET_S
    latest: list[tuple[float, SweepStatus]] = []
    order: dict[int, None] = {}
    over = threading.Event()

    def update(status: SweepStatus) -> None:
        for trial in status.trials:
            if trial.state == "running":
                order.pop(trial.number, None)
            elif trial.state != "planned":
                order.setdefault(trial.number)
        latest[:] = [(time.monotonic(), status)]

    def put(beat: int, end: bool = False) -> None:
        said = None
        for since, status in latest:
            said = status_json(status.later(time.monotonic() - since), set(tuple(order)[-ENDED_SHOWN:]))
        with suppress(OSError):  # a full disk is said by what met it first
            record.home.put_json(record.live_path, {"run": run_id, "beat": beat, "over": end, "status": said})

    def keep() -> None:
        for beat in itertools.count(1):
            end = over.wait(every_s)
            with suppress(Exception):  # it is a view: the next one may come through
                put(beat, end)
            if end:
                return

    put(0)
    thread = threading.Thread(target=keep, name="live-record", daemon=True)
    thread.start()
    try:
        yield update
    finally:
        over.set()
        thread.join(END_TIMEOUT_S)


def read_live(record: SweepRecord) -> Live | None:
    """What the last driver said last; None where none did, or the object is damaged."""
    said = record.home.read_json(record.live_path, LiveShape)
    if said is None:
        return None
    status = None if said["status"] is None else _status(said["status"] | {"name": record.name})
    return Live(said["run"], said["beat"], said["over"], status)


def status_json(status: SweepStatus, shown: set[int] | None = None) -> dict[str, Any]:
    """A status as JSON values; of the trials that have ended those in ``shown``, or all."""
    trials = [t for t in status.trials if shown is None or t.state == "running" or t.number in shown]
    failed = [t for t in status.trials if t.state == "failed"][-1:]
    listed = sorted({t.number: t for t in (*trials, *failed)}.values(), key=lambda trial: trial.number)
    apart = (*COUNTS, "best")
    plain = {field.name: getattr(status, field.name) for field in fields(SweepStatus) if field.name not in apart}
    return plain | {
        "trials": {name: getattr(status, name) for name in COUNTS},
        "best_trial": None if status.best is None else asdict(status.best),
        "lines": [asdict(trial) for trial in listed],
        "resources": None if status.resources is None else asdict(status.resources),
    }


def _status(said: Mapping[str, Any]) -> SweepStatus:
    values = {field.name: said[field.name] for field in fields(SweepStatus) if field.name in said}
    taken = said["resources"]
    return SweepStatus(
        **values
        | {name: said["trials"][name] for name in COUNTS}
        | {
            "best": None if said["best_trial"] is None else _trial(said["best_trial"]),
            "trials": tuple(map(_trial, said["lines"])),
            "resources": None if taken is None else _resources(taken),
        }
    )


def _resources(said: Mapping[str, Any]) -> Resources:
    return Resources(**_known(Resources, said) | {"nodes": tuple(said["nodes"])})


def _trial(said: Mapping[str, Any]) -> TrialLine:
    return TrialLine(**_known(TrialLine, said))


def _known(kind: type[Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """Without what a later version may have added."""
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in said.items() if name in names}
