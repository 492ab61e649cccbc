"""Has the trainings of a grid compared with each other on the cluster, once they are complete."""

from __future__ import annotations

import itertools
from collections import deque
from typing import NamedTuple

from orchestrator.analyses import Analysis, cell_pairs, count_analyses, in_blocks, is_lacking, lacking, read_scores
from orchestrator.cluster.execute import Event, Request, request
from orchestrator.failure import Failure, FailureCount
from orchestrator.sweep_run import SweepRun, stop_on_full_disk


class _Numbered(NamedTuple):
    """One of the analyses that a run does, counted from 1."""

    number: int
    analysis: Analysis


_Block = list[_Numbered]
"""What a worker does in one attempt. Never empty."""


def compare_trainings(run: SweepRun, count: FailureCount) -> None:
    """Does the analyses that a grid asks for and the store does not have, as far as their trainings are complete.

    Where some that were done together fail, each of them follows by itself, so that none spoils the others. By itself
    it is attempted as often as a trial; the limit of time is that of an attempt. What stays undone ``on_warning`` says,
    and the same command tries it again. It does not count as a trial that failed.

    Args:
        run: of the sweep.
        count: of its failures.

    Raises:
        InterruptedSweep: as ``execute``; or a disk is full.
    """
    spec, record, board, store = run.spec, run.record, run.board, run.store
    pairs = cell_pairs(spec, record.fingerprints)
    numbers = itertools.count(1)
    blocks = in_blocks(lacking(store, pairs))
    left = deque([[_Numbered(next(numbers), analysis) for analysis in block] for block in blocks])
    if not left:
        return
    running: dict[int, _Block] = {}
    failures: dict[int, Failure] = {}

    def next_block() -> Request | None:
        if not left:
            if running:  # it may fail, and leave more to do
                return None
            raise StopIteration
        block = left.popleft()
        number, first = block[0]
        running[number] = block
        data = run.data[first.configs[0].source]
        configs = [config for one in block for config in one.analysis.configs]
        timeout_s = count.policy.trial_timeout_s
        return request(number, record.home, data, configs, run.resources, {}, first.between, timeout_s)

    def on_event(number: int, event: Event) -> None:
        if event["kind"] == "compared":
            board.compared += event["analyses"]
            board.show()
        elif event["kind"] in ("failed", "lost"):
            failures[number] = failure = Failure.of_event(event)
            stop_on_full_disk(failure)
        elif event["kind"] == "ended":
            block = running.pop(number)
            if number in failures:
                failed(block, failures.pop(number))

    def failed(block: _Block, failure: Failure) -> None:
        done = [one for one in block if read_scores(store, one.analysis) is not None]
        board.compared += len(done)
        board.show()
        if len(block) > 1:
            run.on_warning(f"{_name(block)}: {failure.cause}; each that is not done follows by itself")
            left.extendleft([one] for one in reversed(block) if is_lacking(store, one.analysis))
        elif not done:  # its worker may have been lost after the record
            again = count.try_again(_name(block), failure)
            run.on_warning(again or f"sweep {spec.name!r}: not compared: {_name(block)} ({failure.cause})")
            left.extendleft([block] if again else [])

    counts = count_analyses(store, pairs)
    board.compared, board.to_compare = counts["completed"], counts["planned"]
    board.show()
    run.execute(next_block, on_event)


def _name(block: _Block) -> str:
    """For people; no other block of the run has it."""
    if len(block) > 1:
        return f"comparisons {block[0].number} to {block[-1].number}"
    return f"comparison {block[0].number} of {block[0].analysis.name}"
