"""Kill anything, run the same command again: the same trials, the same bits, none twice, and no process stays."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from commands import orchestrate_in
from faults_spec import SEARCH, VALIDATED, write_spec
from in_process import NO_TRACKING
from mlflow_server import Read
from processes import SERIAL, Driver, attempts, bits, driving, faults, run

from orchestrator.home import open_home
from orchestrator.sweep_state import status

SOON_S = 45
"""Within this nothing is left of a driver, on a busy machine too; seconds on others. Ray alone would take a minute."""

HELD = faults(FAULT_HOLD="/.progress.safetensors", FAULT_AFTER=1)
"""A worker stands still when it has saved its first progress and is about to save more, so no sweep ends before it is
killed. The first save of an attempt that goes on is what it goes on from."""

AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""Of Ray; where the driver could not end them, they notice only after a minute that their raylet is gone."""


def check_interrupted(
    driver: Driver, home: Path, name: str, code: int, but: tuple[str, ...] = (), still: bool = False
) -> str:
    """It has ended with this exit code, one line says so, and the record can be continued; gives stderr."""
    returned, out, err = driver.end(still)
    assert (returned, out) == (code, ""), err
    driver.wait_gone(SOON_S, but)
    assert status(open_home(str(home)), name)["state"] == "interrupted"
    return err


def check_same(home: Path, name: str, expected: dict[str, Any]) -> None:
    """All trials are done, with the bits expected; none was trained to its end twice, and no work was thrown away."""
    found = status(open_home(str(home)), name)
    assert (found["state"], found["trials"]["failed"], found["trials"]["running"]) == ("done", 0, 0)
    assert bits(home, name) == expected
    complete = Counter(
        str(path.parents[2])
        for path in home.glob("trainings/*/attempts/*/attempt.json")
        if json.loads(path.read_text())["state"] == "complete"
    )
    assert set(complete.values()) == {1}
    assert any(attempt["resumed_at"] > 0 for attempt in attempts(home))


def check_mlflow(home: Path, trials: int) -> None:
    """One parent and one child a trial, however often the driver died; each point once; none left running."""
    read = Read(f"sqlite:///{home}/mlflow.db")
    assert (len(read.parents), len(read.children)) == (1, trials)
    assert {one.info.status for one in [*read.parents, *read.children]} == {"FINISHED"}
    for child in read.children:
        steps = [point.step for point in read.points(child) if point.key == "train_loss"]
        assert sorted(steps) == VALIDATED


def test_a_search_interrupted_and_killed(
    tmp_path: Path, undisturbed: Callable[[Path], dict[str, Any]], home: Path
) -> None:
    path = write_spec(tmp_path, "search", search=SEARCH)
    command = (path, "--max-concurrent", 2)
    with driving(home, *command, **HELD) as driver:
        driver.wait_held()
        assert status(open_home(str(home)), "search")["state"] == "running"
        assert driver.listens_on() == {"127.0.0.1"}
        second = orchestrate_in(tmp_path, "sweep", str(path), "--home", str(home))
        assert second.returncode == 2
        assert "run by another process" in second.stderr
        driver.process.send_signal(signal.SIGTERM)
        assert "the same command goes on from there" in check_interrupted(driver, home, "search", 130)

    with driving(home, *command) as driver:
        driver.wait_until(driver.new_attempts, "nothing began")
        driver.process.send_signal(signal.SIGINT)
        assert driver.process.stderr is not None
        while "stopping" not in (line := driver.process.stderr.readline()):
            assert line, "it did not hear the first one"
        driver.process.send_signal(signal.SIGINT)
        assert "what was recorded is kept" in check_interrupted(driver, home, "search", 130)

    with driving(home, *command) as driver:
        driver.wait_saved()
        driver.process.kill()
        check_interrupted(driver, home, "search", -signal.SIGKILL, AGENTS)

    with driving(home, *command, **HELD) as driver:
        driver.wait_held()
        driver.held()[0].kill()
        code, _, err = driver.end()
        assert code == 0, err
        assert "its worker was lost" in err
        driver.wait_gone(SOON_S)

    check_same(home, "search", undisturbed(path))
    check_mlflow(home, trials=4)


def test_a_grid_whose_cluster_is_killed(
    tmp_path: Path, undisturbed: Callable[[Path], dict[str, Any]], home: Path
) -> None:
    path = write_spec(tmp_path, "grid", grid={"train": {"algorithm.inner_lr": [0.1, 0.3]}})
    untracked = ("--tracking-uri", NO_TRACKING)
    for program in ("raylet", "gcs_server"):
        with driving(home, path, "--max-concurrent", 1, *untracked, **HELD) as driver:
            driver.wait_held()
            driver.named(program).kill()
            err = check_interrupted(driver, home, "grid", 3, still=True)
            (line,) = [line for line in err.splitlines() if "error:" in line]
            assert "run it again" in line
    again = run(SERIAL, "sweep", path, "--home", home, *untracked)
    assert again.returncode == 0, again.stderr
    check_same(home, "grid", undisturbed(path))
