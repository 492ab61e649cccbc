"""Killed between any two writes and run again, a sweep ends as if nothing had happened: nothing lost, nothing twice."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from crash_points import Killed, crash_points
from in_process import BETWEEN, GRID, SEARCH, files, opened, outcome, run_here, sweep_file, validations

pytestmark = pytest.mark.usefixtures("every_iteration_saved")
"""Else it would depend on time which writes there are."""

SWEEPS = {"grid": GRID, "search": SEARCH, "between": BETWEEN}
PARTS = 4
"""The points are shared out among so many tests, which workers can take."""

FORK = multiprocessing.get_context("fork")

LINK = os.link
"""The real one: links of a sweep are points."""


@dataclass(frozen=True)
class Undisturbed:
    """A sweep that nothing happened to."""

    file: Path
    outcome: dict[str, Any]
    validations: int
    points: int


@pytest.fixture(params=SWEEPS)
def undisturbed(request: pytest.FixtureRequest, fresh: Callable[[Any], Path], tmp_path: Path) -> Undisturbed:
    file = sweep_file(tmp_path, request.param, SWEEPS[request.param])
    home, events = fresh("undisturbed"), []
    with crash_points(None) as points:
        assert run_here(file, str(home), events) == []
    return Undisturbed(file, outcome(opened(home), request.param), validations(events), points.passed)


def strays(home: Path) -> list[Path]:
    """Temporary files that a killed writer left."""
    return [path for path in home.rglob(".*") if path.name != ".lock"]


@pytest.mark.parametrize("part", range(PARTS))
def test_a_kill_between_any_two_writes(
    undisturbed: Undisturbed, fresh: Callable[[Any], Path], tmp_path: Path, part: int
) -> None:
    """What a kill leaves is the home as it is at that moment, so one run shows all of them."""
    stem, before, killed = undisturbed.file.stem, [], {}

    def copy(at: int) -> None:
        if at % PARTS == part:
            shutil.copytree(tmp_path / "home-run", tmp_path / f"home-{at}", copy_function=LINK)
            killed[at] = validations(before)

    home = fresh("run")
    with crash_points(None, on_point=copy):
        run_here(undisturbed.file, str(home), before)
    assert len(killed) == len(range(part, undisturbed.points, PARTS))
    assert any(strays(tmp_path / f"home-{at}") for at in killed)  # else all points lie between whole writes
    for at, said in killed.items():
        home, after = tmp_path / f"home-{at}", []
        assert run_here(undisturbed.file, str(home), after) == []
        assert outcome(opened(home), stem) == undisturbed.outcome, at
        # one may have been recorded and not yet said (it is not run again), or said and not yet recorded (it is)
        assert abs(undisturbed.validations - said - validations(after)) <= 1, at
        done = files(home)
        assert run_here(undisturbed.file, str(home), after) == []
        assert {path for path, data in files(home).items() if done.get(path) != data} <= {
            f"sweeps/{stem}/live.json",
            f"sweeps/{stem}/run.json",
            f"sweeps/{stem}/tracking.json",
        }


def test_killed_again_and_again(undisturbed: Undisturbed, fresh: Callable[[Any], Path]) -> None:
    home, kills = fresh("weary"), 0
    while True:
        try:
            with crash_points(3 + 2 * kills):  # a little later each time: each run begins with some writes of its own
                assert run_here(undisturbed.file, str(home)) == []
            break
        except Killed:
            kills += 1
    assert kills > 5
    assert outcome(opened(home), undisturbed.file.stem) == undisturbed.outcome


def _run_and_die(file: Path, home: Path, at: int) -> None:
    with crash_points(at, really=True):
        run_here(file, str(home))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_real_kill(undisturbed: Undisturbed, fresh: Callable[[Any], Path], share: float) -> None:
    home = fresh("killed")
    child = FORK.Process(target=_run_and_die, args=(undisturbed.file, home, int(share * undisturbed.points)))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert run_here(undisturbed.file, str(home)) == []
    assert outcome(opened(home), undisturbed.file.stem) == undisturbed.outcome


def _run(file: Path, home: Path, barrier: Any) -> None:
    barrier.wait()
    run_here(file, str(home))


def test_two_sweeps_at_once_on_one_home(fresh: Callable[[Any], Path], tmp_path: Path) -> None:
    """They share a training, its snapshot and one of their tests, and begin together."""
    both = [
        sweep_file(tmp_path, name, GRID | {"grid": {"test": {"evaluation.weights": weights}}})
        for name, weights in {"one": [2, "final"], "other": ["final", "best"]}.items()
    ]
    alone = []
    for file in both:
        assert run_here(file, str(fresh(file.stem))) == []
        alone.append(outcome(opened(tmp_path / f"home-{file.stem}"), file.stem))
    home, barrier = fresh("shared"), FORK.Barrier(2)
    children = [FORK.Process(target=_run, args=(file, home, barrier)) for file in both]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    together = [outcome(opened(home), file.stem) for file in both]
    for its, own in zip(together, alone, strict=True):
        assert {path: its[path] for path in own} == own
    assert set(together[0]) == set(alone[0]) | set(alone[1])  # and nothing else
