"""Where the trials of one run of a sweep are placed: its machines, what a trial takes of them, how many run at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import NamedTuple

from orchestrator.cluster.connect import cluster
from orchestrator.cluster.nodes import capacity, startable
from orchestrator.environment import cpu_count, has_gpu_driver
from orchestrator.gpu_share import settled
from orchestrator.inputs import Where
from orchestrator.placement import Machine, concurrency, has_gpu
from orchestrator.spec import Resources, SweepSpec


class Placed(NamedTuple):
    """What is known once Ray is there."""

    resources: Resources
    """Of one trial, ``gpu`` as a number."""
    slots: int
    """How many trials run at once, as the machines were when it began."""
    capacity: Callable[[], int] | None = None
    """How many may, now; None where machines neither come nor go."""


class Place:
    """Machines for the trials of a sweep. Starting Ray here, and trying a trial on a GPU, wait until there is work.

    Raises:
        ClusterError: no cluster answers at the address, or no machine can hold a trial.
        SpecError: the budget is in GPU-hours, and there are none.
    """

    def __init__(
        self,
        spec: SweepSpec,
        where: Where,
        stack: ExitStack,
        on_build: Callable[[int, int], None],
        on_warning: Callable[[str], None],
    ) -> None:
        """``stack``: leaves the cluster at its end. The others as ``run_sweep``."""
        self._spec, self._where, self._stack = spec, where, stack
        self._on_build, self._on_warning = on_build, on_warning
        self.standing = where.address is not None
        """Whether the cluster was there before, and may have more or fewer machines soon."""
        self.machines: Sequence[Machine] = [{"CPU": float(cpu_count())}]
        """Those that are there, as they were seen last."""
        self.resources = spec.resources
        """Of one trial, as far as it is known."""
        self._connected = False
        if self.standing or spec.resources.gpu:  # only Ray can count GPUs
            self._connect()
        self._startable = startable() if self.standing else []
        known = [*self.machines, *(kind.machine for kind in self._startable)]
        maybe_gpus = any(map(has_gpu, known)) if self.standing else has_gpu_driver()
        if spec.resources.gpu is None and maybe_gpus:
            concurrency(spec.resources, self.machines, self._startable)  # what can be refused without a probe
        else:
            self.slots()

    def slots(self) -> int:
        """How many trials run at once."""
        return self._settled[1]

    def start(self) -> Placed:
        """Starts Ray where it is not there yet."""
        return self._placed

    def look(self) -> tuple[Sequence[Machine], Resources]:
        """Machines that are there, and what one trial takes of them, as far as they are known."""
        return self.machines, self.resources

    def _connect(self) -> None:
        if not self._connected:
            self.machines = self._stack.enter_context(cluster(self._where.address))
            self._connected = True

    @cached_property
    def _settled(self) -> tuple[Resources, int]:
        if self._spec.resources.gpu is None and has_gpu_driver():
            self._connect()
        home, kinds = self._where.home, self._startable
        self.resources = settled(self._spec, home, self.machines, kinds, self._on_build, self._on_warning)
        return self.resources, concurrency(self.resources, self.machines, kinds)

    @cached_property
    def _placed(self) -> Placed:
        resources, slots = self._settled
        self._connect()
        return Placed(resources, slots, capacity(resources, self._see) if self.standing else None)

    def _see(self, machines: Sequence[Machine]) -> None:
        self.machines = machines
