"""Watches a sweep that another process drives, by what that one says in the home."""

from __future__ import annotations

import time
from collections.abc import Callable

from orchestrator.home_objects import Home
from orchestrator.live_record import Live, read_live
from orchestrator.rows import find_sweep
from orchestrator.status import SweepStatus

POLL_S, POLL_IN_BUCKET_S = 1.0, 5.0
SILENT_S = 30.0
"""In a bucket no lock says whether the driver lives: one that says nothing for so long is taken for dead."""


def watch(
    home: Home,
    name: str,
    on_change: Callable[[SweepStatus], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Gives ``on_change`` each new status, until no process drives the sweep any more; at once where none does.

    Raises:
        InputError: no such sweep.
    """
    record, _ = find_sweep(home, name)
    seen: Live | None = None
    heard_s, watched = clock(), False
    while True:
        driven = record.locked  # looked at first, so that what is read next is the last that it says
        live = read_live(record)
        if live is not None and live != seen:
            heard_s = clock()
        if home.local is None:
            driven = live is not None and not live.over and clock() - heard_s < SILENT_S
        if live is not None and live.status is not None and live != seen and (driven or watched):
            on_change(live.status)
        if not driven:
            return
        seen, watched = live, True
        sleep(POLL_S if home.local is not None else POLL_IN_BUCKET_S)
