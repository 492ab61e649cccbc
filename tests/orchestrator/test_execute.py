"""Tune as an executor: what it leaves on disk, and what it says of a worker that can't start."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cluster import execute as executor
from orchestrator.cluster.connect import cluster
from orchestrator.cluster.scratch import PREFIX, scratch_folder
from orchestrator.cluster.tune_failure import OUT_OF_MEMORY, WORKER_LOST, worker_failure
from orchestrator.cluster.watch import ClusterDied
from orchestrator.failure import Failure, Kind
from orchestrator.spec import Resources

HOLD = """
import tempfile, time
from orchestrator.cluster.scratch import scratch_folder
tempfile.tempdir = {folder!r}
with scratch_folder() as scratch:
    (scratch / "sweep").mkdir()
    print(scratch, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders go."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@contextmanager
def driver(temporary: Path) -> Iterator[Path]:
    """The folder of another driver, which is killed at the end."""
    command = [sys.executable, "-c", HOLD.format(folder=str(temporary))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_the_folder_of_a_killed_driver_goes_with_the_next_start(temporary: Path) -> None:
    with driver(temporary) as first:
        with scratch_folder() as mine:
            assert sorted(temporary.iterdir()) == sorted([first, mine])  # a driver that lives keeps its own
            with scratch_folder():
                assert mine.exists()
        assert list(temporary.iterdir()) == [first]
    assert (first / "sweep").exists()
    with scratch_folder() as mine:
        assert list(temporary.iterdir()) == [mine]
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("moment", ["before it is opened", "before it is locked"])
def test_a_new_folder_that_another_driver_takes_for_stale(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    made: list[Path] = []
    mkdtemp, flock = tempfile.mkdtemp, fcntl.flock

    def make(prefix: str) -> str:
        made.append(Path(mkdtemp(prefix=prefix)))
        if len(made) == 1 and moment == "before it is opened":
            made[0].rmdir()
        return str(made[-1])

    def lock(descriptor: int, how: int) -> None:
        if len(made) == 1:
            made[0].rmdir()
        flock(descriptor, how)

    monkeypatch.setattr(tempfile, "mkdtemp", make)
    monkeypatch.setattr(fcntl, "flock", lock)
    with scratch_folder() as mine:
        assert mine == made[1]
        assert mine.exists()


def test_a_folder_of_somebody_else_is_left_alone(temporary: Path) -> None:
    (temporary / f"{PREFIX}file").write_text("")
    (temporary / "other").mkdir()
    with scratch_folder():
        pass
    assert sorted(path.name for path in temporary.iterdir()) == [f"{PREFIX}file", "other"]


ENDS = {
    "an exception": (
        "The actor died because of an error raised in its creation task, ray::TrialRunner.__init__() (pid=9)\n"
        '  File "tune_adapter.py", line 84, in setup\n    self._begin(config)\nTypeError: Request got an extra\n',
        "its worker failed: TypeError: Request got an extra",
    ),
    "one of several lines, after another": (
        "Failure # 1\nOSError: first\nFailure # 2\nray.exceptions.RaySystemError: System error: No module named 'x'\n"
        "traceback: Traceback (most recent call last):\nModuleNotFoundError: No module named 'x'\n  see the docs\n",
        "its worker failed: ModuleNotFoundError: No module named 'x'",
    ),
    "a worker that was killed": (
        "The actor died unexpectedly before finishing this task.\n\tclass_name: Trainable\n\tpid: 9\n"
        "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: "
        "Worker unexpectedly exits with a connection error code 2. End of file.\n",
        WORKER_LOST,
    ),
    "a worker that Ray's memory monitor killed": (
        "1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 10.0.0.2, ID: 50b4) "
        "was 5.58GB used / 23.54GB limit (0.236955)\nOOM kill reason: Memory usage 5632794624B exceeded threshold\n",
        f"{OUT_OF_MEMORY} (5.58GB used / 23.54GB limit)",
    ),
    "nothing": ("", WORKER_LOST),
}


@pytest.mark.parametrize(("text", "cause"), ENDS.values(), ids=ENDS)
def test_what_tune_left_of_a_failure(tmp_path: Path, text: str, cause: str) -> None:
    (tmp_path / "error.txt").write_text(text)
    kind = "memory" if cause.startswith(OUT_OF_MEMORY) else "lost"
    assert worker_failure(str(tmp_path / "error.txt")) == Failure(kind, cause)


def test_tune_left_nothing_of_a_failure(tmp_path: Path) -> None:
    assert worker_failure(str(tmp_path / "absent")) == worker_failure(None) == Failure("lost", WORKER_LOST)


def test_trials_are_placed_in_the_order_in_which_they_came() -> None:
    from ray.tune.experiment import Trial

    from orchestrator.cluster.tune_adapter import FirstCome

    @dataclass(eq=False)
    class Waits:
        """A trial, as far as the scheduler looks at it."""

        status: str = Trial.PENDING

    scheduler, trials = FirstCome(), [Waits() for _ in range(4)]
    assert scheduler.choose_trial_to_run(None) is None
    for trial in trials:
        scheduler.on_trial_add(None, trial)
    placed = []
    while (chosen := scheduler.choose_trial_to_run(None)) is not None:
        assert scheduler.choose_trial_to_run(None) is chosen  # until it runs
        chosen.status = Trial.RUNNING
        placed.append(chosen)
    assert placed == trials
    trials[0].status = trials[2].status = Trial.TERMINATED
    scheduler.on_trial_add(None, later := Waits())
    assert scheduler.choose_trial_to_run(None) is later


@pytest.mark.parametrize(
    ("timeout_s", "began", "failure"),
    [
        (0.0, True, Failure("timeout", "took longer than 0 s (--trial-timeout)")),
        (0.0, False, Failure("lost", WORKER_LOST)),  # it was loading libraries
        (3600.0, True, Failure("lost", WORKER_LOST)),
    ],
)
def test_a_worker_that_went_away_took_too_long_or_was_lost(timeout_s: float, began: bool, failure: Failure) -> None:
    from orchestrator.cluster.tune_adapter import TrialFeeder

    events: list[dict[str, Any]] = []
    request = executor.Request(3, "home", "data", "0" * 20, ("{}",), "cpu", 1, {}, timeout_s=timeout_s)
    feeder = TrialFeeder(lambda: request, lambda number, event: events.append(event))
    feeder.suggest("t")
    if began:
        feeder.on_trial_result("t", {"event": json.dumps({"kind": "began"})})
    feeder.on_trial_complete("t", error=True)
    assert events == [failure.event("lost"), {"kind": "ended"}]


def test_a_worker_keeps_the_limit_of_time_and_says_when_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float | None] = []

    @contextmanager
    def deadline(timeout_s: float | None) -> Iterator[None]:
        limits.append(timeout_s)
        yield

    monkeypatch.setattr(executor, "deadline", deadline)
    home = str(tmp_path / "absent")
    request = executor.Request(3, home, "glyphs", "0" * 20, ("{}",), "cpu", 1, {}, timeout_s=7.0)
    began, lost = executor.run_request(request, {})
    assert (began, lost["kind"], limits) == ({"kind": "began"}, "lost", [7.0])


def test_a_cluster_that_is_dead_is_no_failure_of_its_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestrator.cluster.tune_adapter import TrialFeeder

    request = executor.Request(3, "home", "data", "0" * 20, ("{}",), "cpu", 1, {})
    feeder = TrialFeeder(lambda: request, lambda number, event: pytest.fail(str(event)))
    feeder.suggest("t")
    monkeypatch.setattr("orchestrator.cluster.watch.dead_part", lambda: "raylet")
    with pytest.raises(ClusterDied, match="Ray's raylet on this machine was killed"):
        feeder.on_trial_complete("t", error=True)


@pytest.mark.parametrize("kind", ["memory", "diverged"])
def test_a_process_in_which_a_trial_failed_runs_no_other(monkeypatch: pytest.MonkeyPatch, kind: Kind) -> None:
    """But for one that diverged: that has left nothing behind."""
    from orchestrator.cluster import tune_adapter

    failed = Failure(kind, "why").event("failed")
    monkeypatch.setattr(tune_adapter, "run_request", lambda request, shared: iter([failed]))
    runner = tune_adapter.TrialRunner.__new__(tune_adapter.TrialRunner)
    request = executor.Request(3, "home", "data", "0" * 20, ("{}",), "cpu", 1, {})
    runner.setup({"request": json.dumps(asdict(request))})
    assert json.loads(runner.step()["event"]) == failed
    if kind == "diverged":
        assert runner.step() == {"done": True}
    else:
        with pytest.raises(tune_adapter.WorkerSpent):
            runner.step()


@dataclass(frozen=True)
class Strange(executor.Request):
    """A request that no worker understands."""

    extra: int = 0


@pytest.mark.slow
def test_a_worker_that_can_not_start_says_why() -> None:
    left = [Strange(3, "home", "data", "0" * 20, ("{}",), "cpu", 1, {})]
    events: list[tuple[int, dict[str, Any]]] = []

    def next_trial() -> executor.Request:
        if left:
            return left.pop()
        raise StopIteration

    with cluster(None):
        executor.execute(next_trial, lambda number, event: events.append((number, event)), Resources(), 1)
    (_, lost), ended = events
    assert ended == (3, {"kind": "ended"})
    assert (lost["kind"], lost["failure"]) == ("lost", "lost")
    assert "TypeError" in lost["cause"]
    assert "'extra'" in lost["cause"]
