"""The machines of the cluster that is connected: those that are there, and those that it can start."""

from __future__ import annotations

import time
from collections.abc import Callable

from orchestrator.errors import ClusterError
from orchestrator.placement import Machine, Startable, concurrency
from orchestrator.spec import Resources

LOOK_EVERY_S = 2.0
"""How often the head is asked which machines have come or gone."""

MOST_OF_A_KIND = 1_000
"""Where a cluster sets no limit."""


def machines() -> list[Machine]:
    """What each machine that is there has."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def startable() -> list[Startable]:
    """What the cluster can start, as its head has been told (``orchestrator.cluster.announce``); empty where not.

    Nothing public says it. Ray Data asks in the same way.
    """
    import ray

    config = ray._private.state.state.get_cluster_config()
    if config is None:
        return []
    groups = [group for group in config.node_group_configs if group.max_count]
    return [Startable(dict(group.resources), _most(group.max_count)) for group in groups]


def _most(count: int) -> int:
    return MOST_OF_A_KIND if count < 0 else int(count)


def capacity(
    resources: Resources,
    on_look: Callable[[list[Machine]], None] = lambda machines: None,
    clock: Callable[[], float] = time.monotonic,
) -> Callable[[], int]:
    """How many trials may run at once, now: machines come and go while a sweep runs. At least one, which then waits.

    Where the cluster grows with its work, as many as it can grow to: trials that wait make it grow.

    Args:
        resources: of one trial.
        on_look: gets the machines that are there, whenever the head was asked.
        clock: seconds; never goes back.
    """
    seen: list[tuple[float, int]] = []

    def now() -> int:
        if not seen or clock() - seen[0][0] >= LOOK_EVERY_S:
            there = machines()
            on_look(there)
            try:
                most = concurrency(resources, there, startable())
            except ClusterError:  # those that could hold a trial are gone, and may come back
                most = 1
            seen[:] = [(clock(), most)]
        return seen[0][1]

    return now
