"""Whole sweeps on a real Ray cluster with a real MLflow store: run, killed, continued, failed, shared."""

from __future__ import annotations

import csv
import io
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import ORCHESTRATE, PATIENCE_S, SERIAL, environment, run
from standing_cluster import standing_cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SPACE = {
    "algorithm.name": {"choice": ["maml", "anil", "nil"]},
    "algorithm.inner_lr": {"loguniform": [0.05, 1.0]},
    "algorithm.inner_steps": {"int": [1, 3]},
}


def orchestrate(*arguments: Any, **variables: str) -> subprocess.CompletedProcess[str]:
    return run(ORCHESTRATE, *arguments, **variables)


def sweep(*arguments: Any, program: tuple[str, ...] = ORCHESTRATE, **variables: str) -> dict[str, Any]:
    """Runs a sweep with --json; gives the status object. ``program``: SERIAL where Ray is not what is tested."""
    done = run(program, "sweep", *arguments, "--max-concurrent", 2, "--json", **variables)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    status: dict[str, Any] = json.loads(done.stdout)
    return status


def rows(name: str, home: Path) -> list[dict[str, str]]:
    done = orchestrate("export", name, "--home", home)
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


def attempts(home: Path) -> set[str]:
    return {str(path.parent) for path in home.rglob("attempt.json")}


def proposals(home: Path, name: str) -> list[str]:
    folder = home / "sweeps" / name / "proposals"
    return [(folder / f"{number}.json").read_text() for number in range(len(list(folder.iterdir())))]


@pytest.fixture
def search_file(spec_file: Any) -> Path:
    path: Path = spec_file(search={"trials": 5, "window": 3, "space": SPACE}, question="Which one?")
    return path


def test_a_search_from_start_to_end(search_file: Path, fresh_glyphs_home: Path) -> None:
    home = fresh_glyphs_home
    status = sweep(search_file, "--home", home)
    assert (status["name"], status["state"]) == ("tiny", "done")
    counts = status["trials"]
    assert (counts["planned"], counts["completed"], counts["failed"], counts["running"]) == (5, 5, 0, 0)
    assert status["tracking"] == {"uri": f"sqlite:///{home}/mlflow.db", "synced": True}

    found = rows("tiny", home)
    assert [row["state"] for row in found] == ["completed"] * 5
    best = max(found, key=lambda row: (float(row["validation_accuracy"]), -int(row["number"])))
    assert status["best"]["training_key"] == best["training_key"]
    assert status["best"]["metrics"]["test_accuracy"] == float(best["test_accuracy"])
    assert {row["algorithm.name"] for row in found} <= {"maml", "anil", "nil"}

    check_mlflow(home, found)

    before = attempts(home)
    again = orchestrate("sweep", search_file, "--home", home)
    assert again.returncode == 0
    assert attempts(home) == before
    assert "1-nearest-neighbour" in again.stdout
    assert "chance: 33.3 %" in again.stdout
    assert json.loads(orchestrate("status", "tiny", "--home", home, "--json").stdout)["trials"]["cached"] == 5

    # under another name the store answers, without running anything
    other = sweep(search_file, "--home", home, "--name", "other")
    assert (other["trials"]["completed"], other["trials"]["cached"]) == (5, 5)
    assert attempts(home) == before

    # a grown search continues the same study; its first five proposals stay
    first = proposals(home, "tiny")
    grown = sweep(search_file, "--home", home, "--trials", 7, program=SERIAL)
    assert (grown["trials"]["planned"], grown["trials"]["completed"]) == (7, 7)
    assert proposals(home, "tiny")[:5] == first

    # another search under this name is refused, and nothing changes
    refused = orchestrate("sweep", search_file, "--home", home, "--set", "algorithm.inner_steps=2")
    assert refused.returncode == 2
    assert "--name" in refused.stderr
    assert proposals(home, "tiny")[:5] == first


def check_mlflow(home: Path, found: list[dict[str, str]]) -> None:
    """One parent, one child a row, with config, curve, dataset and results; nothing left running."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    experiment = client.get_experiment_by_name("metasweep")
    runs = list(client.search_runs([experiment.experiment_id], max_results=100))
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["metasweep.sweep"] == "tiny"
    children = {int(run.data.tags["metasweep.number"]): run for run in runs if run is not parent}
    assert sorted(children) == list(range(len(found)))
    for row in found:
        run = children[int(row["number"])]
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["training_key"] == row["training_key"]
        assert run.data.params["algorithm.inner_lr"] == row["algorithm.inner_lr"]
        assert run.data.metrics["test_accuracy"] == pytest.approx(float(row["test_accuracy"]))
        assert run.data.metrics["best_validation_accuracy"] == pytest.approx(float(row["validation_accuracy"]))
        curve = client.get_metric_history(run.info.run_id, "validation_accuracy")
        assert [point.step for point in curve] == [4, 8]
        inputs = {each.dataset.name: each.tags[0].value for each in run.inputs.dataset_inputs}
        assert inputs == {"glyphs-train": "training", "glyphs-validation": "validation", "glyphs-test": "testing"}


def test_a_grid_on_a_standing_ray_cluster_grows_by_seeds(
    spec_file: Any, new_home: Callable[[Path], Path], tmp_path: Path
) -> None:
    home = new_home(tmp_path / "home")
    factors = {"train": {"algorithm.name": ["maml", "anil", "nil"]}, "test": {"evaluation.frozen_layers": [0, 4]}}
    path = spec_file("small-grid", grid={**factors, "seeds": 1})
    with standing_cluster(tmp_path) as head:
        on_cluster, variables = ("--address", head.address), head.variables
        status = sweep(path, "--home", home, *on_cluster, **variables)
        assert (status["trials"]["planned"], status["trials"]["completed"]) == (2, 2)  # anil and nil share a training
        assert len(rows("small-grid", home)) == 6
        before = attempts(home)
        grown = sweep(path, "--home", home, "--seeds", 2, *on_cluster, **variables)
    assert (grown["trials"]["planned"], grown["trials"]["completed"], grown["trials"]["cached"]) == (4, 4, 2)
    assert len(attempts(home) - before) == 2
    tested = {
        (row["algorithm.name"], row["evaluation.frozen_layers"], row["seed"]): row for row in rows("small-grid", home)
    }
    assert list(tested) == list(itertools.product(("maml", "anil", "nil"), "04", "01"))
    for name, seed in itertools.product(("maml", "anil"), "01"):  # one training, tested in two ways
        all_adapt, head_adapts = (tested[name, frozen, seed] for frozen in "04")
        assert all_adapt["training_key"] == head_adapts["training_key"]
        assert all_adapt["evaluation_key"] != head_adapts["evaluation_key"]
        assert tested["nil", "0", seed]["evaluation_key"] == tested["nil", "4", seed]["evaluation_key"]  # no inner loop


SESSIONS = """
import os
from pathlib import Path

from orchestrator.cluster.connect import cluster

def mine():
    return len(list(Path("/tmp/ray").glob(f"session_*_{os.getpid()}")))

print(os.getpid())
with cluster(None):
    print(mine())
print(mine())
try:
    with cluster(None):
        raise ValueError
except ValueError:
    print(mine())
"""


def test_the_session_folder_of_a_cluster_stays_only_where_something_failed() -> None:
    command = [sys.executable, "-c", SESSIONS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env=environment())
    pid, *counts = done.stdout.split()
    for folder in Path("/tmp/ray").glob(f"session_*_{pid}"):
        shutil.rmtree(folder, ignore_errors=True)
    assert counts == ["1", "0", "1"], done.stderr


def test_trainings_of_a_grid_are_compared_once(
    spec_file: Any, new_home: Callable[[Path], Path], tmp_path: Path
) -> None:
    home = new_home(tmp_path / "home")
    grid = {"train": {"algorithm.name": ["maml", "anil"]}, "seeds": 2}
    plain = spec_file("alike", grid=grid)
    asked_of_both = ("--home", home, "--set", "episodes.queries=8")
    trained = sweep(plain, *asked_of_both, program=SERIAL)
    assert trained["analyses"] == {"planned": 0, "completed": 0}

    asked = spec_file("alike", grid={**grid, "between": {}})  # a view: it may be asked for later, and trains nothing
    before = attempts(home)
    done = orchestrate("sweep", asked, *asked_of_both, "--json")
    assert done.returncode == 0, done.stderr
    assert "4/4 pairs of trainings compared" in done.stderr
    status = json.loads(done.stdout)
    assert (status["state"], status["analyses"]) == ("done", {"planned": 4, "completed": 4})
    assert attempts(home) == before
    records = {path: path.read_bytes() for path in (home / "analyses").rglob("*.arrow")}
    assert len(records) == 4

    (lost, *_) = records
    lost.unlink()
    assert json.loads(orchestrate("status", "alike", "--home", home, "--json").stdout)["state"] == "interrupted"
    assert sweep(asked, *asked_of_both, program=SERIAL)["analyses"]["completed"] == 4
    assert {path: path.read_bytes() for path in (home / "analyses").rglob("*.arrow")} == records

    report = orchestrate("report", "alike", "--home", home)
    assert report.returncode == 0, report.stderr
    assert "| maml – anil |" in (home / "sweeps/alike/report/tables/between_trainings.md").read_text()
