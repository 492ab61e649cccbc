"""One run of a sweep: what its trials and its analyses have in common."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from orchestrator.board import Board
from orchestrator.cluster.execute import NextTrial, OnEvent, execute
from orchestrator.errors import InterruptedSweep
from orchestrator.failure import Failure
from orchestrator.place import Placed
from orchestrator.record import SweepRecord
from orchestrator.spec import Resources, SweepSpec
from orchestrator.spending import Spending
from orchestrator.store import Store
from trainers.datasets.image_file import ImageTable
from trainers.problem import Source


@dataclass(frozen=True)
class SweepRun:
    """A sweep that is being run, in this process."""

    spec: SweepSpec
    record: SweepRecord
    id: str
    board: Board
    data: Mapping[str, Source]
    """By name."""
    shared: Collection[ImageTable]
    """Those that not every worker may be able to map."""
    start: Callable[[], Placed]
    """Starts Ray where it is not there yet; called when there is work."""
    spending: Spending
    on_warning: Callable[[str], None]

    @property
    def resources(self) -> Resources:
        """Of one trial, once Ray is there."""
        return self.start().resources

    @property
    def store(self) -> Store:
        """That of the sweep's home."""
        return Store(self.record.home)

    def execute(self, next_trial: NextTrial, on_event: OnEvent) -> None:
        """Runs what ``next_trial`` hands out, on the cluster; see ``orchestrator.cluster.execute``."""
        placed = self.start()
        self.spending.gpus = placed.resources.gpu or 0.0
        execute(next_trial, on_event, placed.resources, placed.slots, self.shared, placed.capacity)


def stop_on_full_disk(failure: Failure) -> None:
    """Ends a run whose disk is full or read-only, since all other work would meet that, too.

    Raises:
        InterruptedSweep: it is.
    """
    if failure.kind == "disk":
        raise InterruptedSweep(f"the sweep stopped: {failure.cause}; mend that, and run it again to go on")
