"""Has the trainings of a grid compared with each other on the cluster, once they are complete."""

from __future__ import annotations

from orchestrator.analyses import Analysis, cell_pairs, count_analyses, lacking
from orchestrator.cluster.execute import Event, Request, request
from orchestrator.failure import Failure
from orchestrator.sweep_run import SweepRun, stop_on_full_disk

AT_ONCE = 20
"""Analyses that a worker does at a time. It runs each of their networks once; a kill costs no more than these."""


def compare_trainings(run: SweepRun) -> None:
    """Does the analyses that a grid asks for and the store does not have, as far as their trainings are complete.

    Some are done at a time; if those fail they stay undone, which ``on_warning`` says, and the same command tries them
    again. There is no limit of time to them.

    Raises:
        InterruptedSweep: as ``execute``; or a disk is full.
    """
    spec, record, board, store = run.spec, run.record, run.board, run.store
    pairs = cell_pairs(spec, record.fingerprints)
    asked = _blocks(lacking(store, pairs))
    if not asked:
        return
    running: dict[int, list[Analysis]] = {}
    left = iter(enumerate(asked))

    def next_block() -> Request | None:
        number, block = next(left)
        running[number] = block
        data = run.data[block[0].configs[0].dataset.name]
        configs = [config for analysis in block for config in analysis.configs]
        return request(number, record.home, data, configs, spec.resources, {}, block[0].between)

    def on_event(number: int, event: Event) -> None:
        if event["kind"] == "compared":
            board.compared += event["analyses"]
            board.show()
        elif event["kind"] == "lost":
            stop_on_full_disk(Failure.of_event(event))
            names = "; ".join(analysis.name for analysis in running[number])
            run.on_warning(f"sweep {spec.name!r}: not compared: {names} ({event['cause']})")
        elif event["kind"] == "ended":
            del running[number]

    counts = count_analyses(store, pairs)
    board.compared, board.to_compare = counts["completed"], counts["planned"]
    board.show()
    run.execute(next_block, on_event)


def _blocks(analyses: list[Analysis]) -> list[list[Analysis]]:
    """Analyses on the same points, some at a time."""
    by_points: dict[str, list[Analysis]] = {}
    for analysis in analyses:
        by_points.setdefault(analysis.points, []).append(analysis)
    return [its[first : first + AT_ONCE] for its in by_points.values() for first in range(0, len(its), AT_ONCE)]
