"""Kill anything, run the same command again: the same trials, the same bits, none twice, and no process stays."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faults_spec import write_spec
from mlflow import MlflowClient
from processes import ORCHESTRATE, SERIAL, Driver, attempts, bits, driving, frozen, run

from orchestrator.home import open_home
from orchestrator.sweep_state import status

SOON_S = 60
"""Within this nothing is left of a driver, on a busy machine too; seconds on others."""

AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""Of Ray; where the driver could not end them, they notice only after a minute that their raylet is gone."""


def check_interrupted(driver: Driver, home: Path, name: str, code: int, but: tuple[str, ...] = ()) -> str:
    """It has ended with this exit code, one line says so, and the record can be continued; gives stderr."""
    returned, out, err = driver.end()
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
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    experiment = client.get_experiment_by_name("metasweep")
    runs = list(client.search_runs([experiment.experiment_id], max_results=100))
    assert len(runs) == trials + 1
    assert {one.info.status for one in runs} == {"FINISHED"}
    for child in (one for one in runs if "mlflow.parentRunId" in one.data.tags):
        steps = [point.step for point in client.get_metric_history(child.info.run_id, "train_loss")]
        assert sorted(steps) == list(range(10, 301, 10))


def test_a_search_interrupted_and_killed(search_file: Path, whole: dict[str, Any], home: Path) -> None:
    two = ("--max-concurrent", 2)
    with driving(home, search_file, *two) as driver:
        driver.wait_saved()
        with frozen([driver.worker()]):  # else the sweep might end meanwhile
            assert status(open_home(str(home)), "search")["state"] == "running"
            second = run(ORCHESTRATE, "sweep", search_file, "--home", home)
            assert second.returncode == 2
            assert "run by another process" in second.stderr
        driver.process.send_signal(signal.SIGINT)
        assert "the same command goes on from there" in check_interrupted(driver, home, "search", 130)

    with driving(home, search_file, *two) as driver:
        driver.wait_saved()
        driver.process.send_signal(signal.SIGTERM)
        assert "the same command goes on from there" in check_interrupted(driver, home, "search", 130)

    with driving(home, search_file, *two) as driver:
        driver.wait_until(driver.new_attempts, "nothing began")
        driver.process.send_signal(signal.SIGINT)
        assert driver.process.stderr is not None
        while "stopping" not in (line := driver.process.stderr.readline()):
            assert line, "it did not hear the first one"
        driver.process.send_signal(signal.SIGINT)
        assert "what was recorded is kept" in check_interrupted(driver, home, "search", 130, AGENTS)

    with driving(home, search_file, *two) as driver:
        driver.wait_saved()
        driver.process.kill()
        check_interrupted(driver, home, "search", -signal.SIGKILL, AGENTS)

    with driving(home, search_file, *two) as driver:
        driver.wait_saved()
        driver.worker().kill()
        code, _, err = driver.end()
        assert code == 0, err
        assert "its worker was lost" in err
        driver.wait_gone(SOON_S)

    check_same(home, "search", whole)
    check_mlflow(home, trials=4)


def test_a_grid_whose_cluster_is_killed(tmp_path: Path, new_home: Callable[[Path], Path], home: Path) -> None:
    path = write_spec(tmp_path, "grid", grid={"train": {"algorithm.inner_lr": [0.1, 0.3]}})
    for program in ("raylet", "gcs_server"):
        with driving(home, path, "--max-concurrent", 1) as driver:
            driver.wait_saved()
            driver.named(program).kill()
            err = check_interrupted(driver, home, "grid", 3)
            (line,) = [line for line in err.splitlines() if "error:" in line]
            assert "run it again" in line
    again = run(SERIAL, "sweep", path, "--home", home, "--max-concurrent", 1)
    assert again.returncode == 0, again.stderr

    undisturbed = new_home(tmp_path / "whole")
    assert run(SERIAL, "sweep", path, "--home", undisturbed).returncode == 0
    check_same(home, "grid", bits(undisturbed, "grid"))
