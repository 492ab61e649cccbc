"""Comparisons whose attempts fail: which are tried again, in what company, within what time, and what is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from test_analyses import spec_of, trained

from orchestrator import sweep_run
from orchestrator.analyses import cell_pairs, lacking, weights_file
from orchestrator.analysis_run import compare_trainings
from orchestrator.board import Board
from orchestrator.cluster.execute import Event, NextTrial, OnEvent, Request, run_request
from orchestrator.errors import InterruptedSweep
from orchestrator.failure import Failure, FailureCount, FailurePolicy
from orchestrator.place import Placed
from orchestrator.record import SweepRecord
from orchestrator.spending import Spending
from orchestrator.sweep_run import SweepRun
from trainers.datasets.image_file import ImageTable

LOST = Failure("lost", "its worker was lost").event("lost")
LATE = Failure("timeout", "took longer than 7 s").event("lost")
BUG = Failure("error", "ValueError: a bug").event("failed")

ALL = "comparisons 1 to 3"
SECOND, THIRD = "comparison 2 of maml of seed 0 and maml of seed 2", "comparison 3 of maml of seed 1 and maml of seed 2"


@dataclass
class Comparing:
    """Three trainings whose comparisons are done here, one attempt after the other; a test says which of them fail."""

    run: SweepRun
    warned: list[str]
    fate: Callable[[Request], Event | None] = lambda request: None
    """How an attempt fails, if it does, before anything is done."""
    attempts: list[Request] = field(default_factory=list)

    def execute(self, next_trial: NextTrial, on_event: OnEvent, *_: object) -> None:
        """In place of a cluster."""
        while True:
            try:
                request = next_trial()
            except StopIteration:
                return
            assert request is not None
            self.attempts.append(request)
            if len(self.attempts) == 1:
                assert next_trial() is None  # all is in flight, and may fail
            failure = self.fate(request)
            for event in [failure] if failure else run_request(request, {}):
                on_event(request.number, event)
            on_event(request.number, {"kind": "ended"})

    @property
    def sizes(self) -> list[int]:
        """Comparisons of each attempt."""
        return [len(request.configs) // 2 for request in self.attempts]

    @property
    def left(self) -> int:
        """Comparisons that the store does not have."""
        return len(lacking(self.run.store, cell_pairs(self.run.spec, self.run.record.fingerprints)))


@pytest.fixture
def comparing(fresh: Callable[[str], Path], glyphs: ImageTable, monkeypatch: pytest.MonkeyPatch) -> Comparing:
    spec, warned = spec_of(seeds=3), []
    store = trained(fresh("h"), glyphs, spec)
    data = {"glyphs": glyphs}
    board = Board(spec, store, data, None, {}, lambda status: None)
    record = SweepRecord(store.home, spec.name)
    spending = Spending(record, "run", None, 0.0)
    run = SweepRun(spec, record, "run", board, data, [], lambda: Placed(spec.resources, 1), spending, warned.append)
    made = Comparing(run, warned)
    monkeypatch.setattr(sweep_run, "execute", made.execute)
    return made


def compare(comparing: Comparing, fate: Callable[[Request], Event | None], policy: FailurePolicy | None = None) -> None:
    comparing.fate = fate
    compare_trainings(comparing.run, FailureCount(policy or FailurePolicy()))


def fails(number: int, failure: Event) -> Callable[[Request], Event | None]:
    """Whatever has this comparison in it fails."""
    return lambda request: failure if 2 * (number - request.number) in range(0, len(request.configs), 2) else None


def test_without_a_failure_all_are_done_at_once(comparing: Comparing) -> None:
    compare(comparing, lambda request: None)
    assert (comparing.sizes, comparing.left, comparing.warned) == ([3], 0, [])
    assert (comparing.run.board.compared, comparing.run.board.to_compare) == (3, 3)


@pytest.mark.parametrize("failure", [LOST, LATE])
def test_what_can_pass_is_tried_again_by_itself_and_spoils_no_other(comparing: Comparing, failure: Event) -> None:
    compare(comparing, fails(2, failure), FailurePolicy(trial_timeout_s=7.0, max_failures=1))
    cause = failure["cause"]
    assert comparing.warned == [
        f"{ALL}: {cause}; each that is not done follows by itself",
        f"{SECOND}: {cause}; attempt 2 of 3 follows",
        f"{SECOND}: {cause}; attempt 3 of 3 follows",
        f"sweep 'alike': not compared: {SECOND} ({cause})",
    ]
    assert comparing.sizes == [3, 1, 1, 1, 1, 1]
    assert comparing.left == 1
    assert (comparing.run.board.compared, comparing.run.board.to_compare) == (2, 3)
    assert {request.timeout_s for request in comparing.attempts} == {7.0}
    compare(comparing, lambda request: None)
    assert comparing.left == 0


def test_what_passes_is_done_in_the_same_run(comparing: Comparing) -> None:
    compare(comparing, lambda request: LOST if len(comparing.attempts) in (1, 3) else None)
    assert comparing.warned == [
        f"{ALL}: its worker was lost; each that is not done follows by itself",
        f"{SECOND}: its worker was lost; attempt 2 of 3 follows",
    ]
    assert comparing.left == 0
    assert comparing.run.board.compared == 3


def test_what_would_fail_again_is_not_tried_again(comparing: Comparing) -> None:
    compare(comparing, fails(3, BUG))
    assert comparing.warned == [
        f"{ALL}: ValueError: a bug; each that is not done follows by itself",
        f"sweep 'alike': not compared: {THIRD} (ValueError: a bug)",
    ]
    assert comparing.left == 1


def test_what_was_recorded_before_a_worker_was_lost_is_not_done_again(comparing: Comparing) -> None:
    def lost_behind_the_first(request: Request) -> Event | None:
        if len(comparing.attempts) == 1:
            for _ in run_request(replace(request, configs=request.configs[:2]), {}):
                pass
        return LOST if len(comparing.attempts) == 1 else None

    compare(comparing, lost_behind_the_first)
    assert comparing.sizes == [3, 1, 1]
    assert comparing.left == 0
    assert comparing.run.board.compared == 3


def test_lost_weights_leave_what_does_not_need_them(comparing: Comparing) -> None:
    home = comparing.run.record.home.local
    assert home is not None
    (analysis, *_) = lacking(comparing.run.store, cell_pairs(comparing.run.spec, comparing.run.record.fingerprints))
    file = weights_file(comparing.run.store, analysis.configs[0], analysis.keys[0])
    assert file is not None
    (home / "trainings" / file[0] / file[1]).write_bytes(b"torn")
    compare(comparing, lambda request: None)
    (line,) = comparing.warned
    assert line.startswith(f"{ALL}: DamagedSnapshot: the weights of training {file[0]} are gone or damaged; the same")
    assert comparing.sizes == [3, 1]
    assert comparing.run.board.compared == 1
    assert comparing.run.store.manifest(file[0]) is None  # so the same command trains it again, and compares the rest


def test_a_full_disk_ends_the_run(comparing: Comparing) -> None:
    with pytest.raises(InterruptedSweep, match=r"the sweep stopped: h/x: No space left on device; mend that"):
        compare(comparing, lambda request: Failure("disk", "h/x: No space left on device").event("failed"))
    assert comparing.sizes == [3]
