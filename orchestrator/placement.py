"""How many trials machines can hold at once, and what part of a GPU one takes: pure, from what machines have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from orchestrator.errors import ClusterError
from orchestrator.spec import Resources

Machine = Mapping[str, float]
"""What a machine has, by Ray's names: ``CPU``, ``GPU``, …"""

MAX_TRIALS_ON_A_GPU = 16
"""Where resources.gpu is left out: beyond some, more of them only take turns."""

GPU_MEMORY_USED = 0.9
"""Of a GPU's memory, what trials together may count on: a share is a promise among trials, nothing enforces it."""

SHARES_OF_A_GPU = 10_000
"""Ray counts in ten-thousandths."""


class Startable(NamedTuple):
    """A kind of machine that an autoscaler can start."""

    machine: Machine
    most: int
    """How many of it there can be."""


def concurrency(resources: Resources, machines: Sequence[Machine], startable: Sequence[Startable] = ()) -> int:
    """How many trials run at once.

    Args:
        resources: what one trial takes, ``gpu`` settled.
        machines: those that are there.
        startable: those that there can be at most, where a cluster grows with its work.

    Raises:
        ClusterError: no machine, of these or those, can ever hold a trial.
    """
    there = sum(held(resources, machine) for machine in machines)
    grown = sum(held(resources, kind.machine) * kind.most for kind in startable)
    most = max(there, grown)
    if most < 1:
        kinds = [*machines, *(kind.machine for kind in startable if kind.most)]
        largest = {name: max((kind.get(name, 0.0) for kind in kinds), default=0.0) for name in ("CPU", "GPU")}
        where = "no machine here, nor any that the cluster can start," if startable else "no machine here"
        raise ClusterError(
            f"resources: a trial asks for cpu={resources.cpu:g} gpu={resources.gpu or 0:g}, but {where} has more "
            f"than {largest['CPU']:g} and {largest['GPU']:g}; ask for less"
        )
    return min(most, resources.max_concurrent or most)


def held(resources: Resources, machine: Machine) -> int:
    """How many trials one machine holds. Of whole GPUs and shares alike: a trial's share lies on one GPU."""
    slots = int(machine.get("CPU", 0.0) / resources.cpu + 1e-9)
    gpu = resources.gpu or 0.0
    if gpu > 0:
        gpus = machine.get("GPU", 0.0)
        on_gpus = int(1 / gpu + 1e-9) * int(gpus) if gpu < 1 else int(gpus / gpu + 1e-9)
        slots = min(slots, on_gpus)
    return slots


def has_gpu(machine: Machine) -> bool:
    """Whether it has one, in use or not."""
    return machine.get("GPU", 0.0) > 0


def trials_on_a_gpu(memory_bytes: float, trial_bytes: float, resources: Resources, machine: Machine) -> int:
    """How many trials share a GPU.

    Args:
        memory_bytes: of the GPU.
        trial_bytes: what one trial took of it at its peak.
        resources: of one trial.
        machine: which the GPU is in. Each trial needs a processor as well, and its GPUs share those.
    """
    in_memory = int(memory_bytes * GPU_MEMORY_USED / trial_bytes)
    on_processors = int(machine["CPU"] / resources.cpu / machine["GPU"] + 1e-9)
    return max(1, min(in_memory, on_processors, MAX_TRIALS_ON_A_GPU, resources.max_concurrent or MAX_TRIALS_ON_A_GPU))


def share_of_a_gpu(trials: int) -> float:
    """What each of so many trials on one GPU takes of it, rounded down, so that all of them find room."""
    return (SHARES_OF_A_GPU // trials) / SHARES_OF_A_GPU
