"""The clock is set back, or the dataset becomes another between two runs."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from commands import orchestrate_in
from faults_spec import SEARCH, VALIDATED, write_spec
from in_process import TINY, run_here, sweep_file
from miniature import folder, picture, write_folder
from mlflow_server import Read
from processes import SERIAL, attempts, bits, environment, faults, run, wait_for

from orchestrator.home import open_home
from orchestrator.record import SweepRecord
from orchestrator.row_table import results
from orchestrator.seal import open_json
from orchestrator.store import Store
from orchestrator.sweep_state import status

DAY_S = 86_400


def last_run(home: Path) -> str:
    """Its id."""
    return str(SweepRecord(open_home(str(home)), "search").run["run"])


def test_a_clock_that_is_set_back(tmp_path: Path, home: Path, undisturbed: Callable[[Path], dict[str, Any]]) -> None:
    """Between two runs, and while a trial of the second one trains."""
    path = write_spec(tmp_path, "search", search=SEARCH | {"trials": 2})
    ahead = faults(FAULT_CLOCK_S=DAY_S, FAULT_HOLD="manifest.json")  # its first training is saved, and never done
    command, began = [*SERIAL, "sweep", str(path), "--home", str(home)], time.monotonic()
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment() | ahead)
    try:
        wait_for(lambda: any(attempt["validated_ms"] for attempt in attempts(home)), "nothing saved")
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    (tomorrow,) = attempts(home)
    back = faults(FAULT_CLOCK="/.progress.safetensors", FAULT_CLOCK_S=-DAY_S)
    done = run(SERIAL, "sweep", path, "--home", home, **back)
    took_s = time.monotonic() - began
    assert done.returncode == 0, done.stderr

    (key,) = (path.parents[2].name for path in home.rglob("attempt.json") if tomorrow["attempt"] in str(path))
    one, other = Store(open_home(str(home))).attempts(key)
    assert one == tomorrow
    assert other["resumed_at"] > 0
    assert one["started_ms"] - other["started_ms"] > 1000 * DAY_S / 2  # else this test tests nothing
    assert other["started_ms"] - other["ended_ms"] > 1000 * DAY_S / 2
    assert 0 <= other["train_seconds"] - one["train_seconds"] < took_s
    (used,) = (open_json(path.read_bytes()) for path in home.glob(f"sweeps/search/runs/{last_run(home)}.json"))
    assert 0 < used["seconds"] < took_s
    assert status(open_home(str(home)), "search")["state"] == "done"
    read = Read(f"sqlite:///{home}/mlflow.db")
    assert {run.info.status for run in [*read.parents, *read.children]} == {"FINISHED"}
    for child in read.children:
        steps = [point.step for point in read.points(child) if point.key == "train_loss"]
        assert sorted(steps) == VALIDATED
    assert bits(home, "search") == undisturbed(path)


def test_a_dataset_that_becomes_another(tmp_path: Path) -> None:
    home = tmp_path / "home"

    def imported(files: dict[str, bytes]) -> str:
        """Imports images as ``folder.birds``; gives their fingerprint."""
        source = str(write_folder(tmp_path / str(len(files)), files))
        arguments = ("--source", source, "--size", "28", "--home", str(home))
        done = orchestrate_in(tmp_path, "data", "import", "folder.birds", *arguments)
        assert done.returncode == 0, done.stderr
        (newest, *_) = sorted((home / "datasets").glob("*.arrow"), key=lambda path: -path.stat().st_mtime_ns)
        return newest.stem.rpartition("-")[2]

    def sweep(name: str, seeds: int) -> Path:
        grid = {"train": {"algorithm.inner_lr": [0.1, 0.2]}, "seeds": seeds}
        return sweep_file(tmp_path, name, {"trial": TINY | {"dataset": {"name": "folder.birds"}}, "grid": grid})

    def keys(name: str) -> set[Any]:
        return {row["training_key"] for row in results(name, str(home)).to_pylist() if row["state"] == "completed"}

    files = folder(classes=20)
    before = imported(files)
    assert run_here(sweep("birds", seeds=1), str(home)) == []
    old = keys("birds")
    after = imported(files | {"birds/a/c00/9.png": picture(999)})
    assert before != after

    # A sweep stays with the images that it began with, for as long as they are there.
    assert run_here(sweep("birds", seeds=2), str(home)) == []
    assert len(keys("birds")) == 4
    assert old < keys("birds")
    assert run_here(sweep("fresh", seeds=1), str(home)) == []
    assert len(keys("fresh")) == 2
    assert not keys("fresh") & keys("birds")
    made_of = {
        config.parent.name: yaml.safe_load(config.read_text())["dataset_fingerprint"]
        for config in home.glob("trainings/*/config.json")
    }
    assert {made_of[key] for key in keys("birds")} == {before}
    assert {made_of[key] for key in keys("fresh")} == {after}

    (home / "datasets" / f"folder.birds-{before}.arrow").unlink()
    done = orchestrate_in(tmp_path, "sweep", str(sweep("birds", seeds=3)), "--home", str(home))
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert f"dataset 'folder.birds' has changed since sweep 'birds' began ({before} is gone, {after} is there)" in line
    assert len(keys("birds")) == 4
