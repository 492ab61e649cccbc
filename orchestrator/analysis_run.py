"""Has the trainings of a grid compared with each other on the cluster, once they are complete."""

from __future__ import annotations

from orchestrator.analyses import Analysis, cell_pairs, count_analyses, lacking
from orchestrator.cluster.execute import Event, Request, request
from orchestrator.sweep_run import SweepRun

AT_ONCE = 20
"""Analyses that a worker does at a time. It runs each of their networks once; a kill costs no more than these."""


def compare_trainings(run: SweepRun) -> None:
    """Does the analyses that a grid asks for and the store does not have, as far as their trainings are complete.

    One that fails is said by ``on_warning`` and stays undone: the same command tries it again.
    """
    spec, record, board, store = run.spec, run.record, run.board, run.store
    pairs = cell_pairs(spec, record.fingerprints)
    asked = _blocks(lacking(store, pairs))
    if not asked:
        return
    running: dict[int, list[Analysis]] = {}
    left = iter(enumerate(asked))

    def show() -> None:
        counts = count_analyses(store, pairs)
        board.compared, board.to_compare = counts["completed"], counts["planned"]
        board.show()

    def next_block() -> Request | None:
        number, block = next(left)
        running[number] = block
        data = run.data[block[0].configs[0].dataset.name]
        configs = [config for analysis in block for config in analysis.configs]
        return request(number, record.home, data, configs, spec.resources, {"sweep": spec.name}, block[0].between)

    def on_event(number: int, event: Event) -> None:
        if event["kind"] == "lost":
            names = "; ".join(analysis.name for analysis in running[number])
            run.on_warning(f"sweep {spec.name!r}: not compared: {names} ({event['cause']})")
        elif event["kind"] == "ended":
            del running[number]
            show()

    show()
    run.execute(next_block, on_event)


def _blocks(analyses: list[Analysis]) -> list[list[Analysis]]:
    """Analyses on the same points, some at a time."""
    by_points: dict[str, list[Analysis]] = {}
    for analysis in analyses:
        by_points.setdefault(analysis.points, []).append(analysis)
    return [its[first : first + AT_ONCE] for its in by_points.values() for first in range(0, len(its), AT_ONCE)]
