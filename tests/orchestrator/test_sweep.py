"""Whole sweeps on a real Ray cluster with a real MLflow store: run, killed, continued, failed, shared."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ORCHESTRATE = str(Path(sys.executable).parent / "orchestrate")

SPACE = {
    "algorithm.name": {"choice": ["maml", "anil", "nil"]},
    "algorithm.inner_lr": {"loguniform": [0.05, 1.0]},
    "algorithm.inner_steps": {"int": [1, 3]},
}


LONGER = {
    "name": "longer",
    "trial": {
        "dataset": {"name": "glyphs"},
        "episodes": {"ways": 3, "shots": 1, "queries": 2},
        "backbone": {"width": 8, "pooling": "stride"},
        "training": {"iterations": 160, "validate_every": 8, "meta_batch": 2, "validation_episodes": 5},
        "evaluation": {"episodes": 20},
    },
    "search": {
        "trials": 4,
        "window": 2,
        "space": {
            "algorithm.name": {"choice": ["maml", "anil"]},
            "algorithm.inner_lr": {"loguniform": [0.05, 1.0]},
        },
    },
}
"""Its trials have validations enough to be killed between two of them, on machines of any speed."""

PATIENCE_S = 180
"""For what takes seconds on a machine that is not busy. Nothing here measures speed."""


def environment() -> dict[str, str]:
    dropped = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "ORCHESTRATE_HOME", "RAY_ADDRESS")
    return {name: value for name, value in os.environ.items() if name not in dropped}


def orchestrate(*arguments: Any, **variables: str) -> subprocess.CompletedProcess[str]:
    command, limit_s = [ORCHESTRATE, *map(str, arguments)], 2 * PATIENCE_S
    return subprocess.run(command, capture_output=True, text=True, timeout=limit_s, env=environment() | variables)


def sweep(*arguments: Any, **variables: str) -> dict[str, Any]:
    """Runs a sweep with --json; gives the status object."""
    done = orchestrate("sweep", *arguments, "--max-concurrent", 2, "--json", **variables)
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


def digests(home: Path) -> dict[str, list[str]]:
    """By training key: the sha256 of its files, whatever attempt wrote them."""
    found = {}
    for path in home.glob("trainings/*/manifest.json"):
        found[path.parent.name] = sorted(json.loads(path.read_text())["files"].values())
    return found


def proposals(home: Path, name: str) -> list[str]:
    folder = home / "sweeps" / name / "proposals"
    return [(folder / f"{number}.json").read_text() for number in range(len(list(folder.iterdir())))]


def children_of(pid: int) -> set[int]:
    """All living descendants."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(path.parent.name)] = int(fields[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def alive(pids: set[int]) -> set[int]:
    living = set()
    for pid in pids:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                living.add(pid)
        except OSError:
            continue
    return living


def wait_for(condition: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def start_and_wait(home: Path, *arguments: Any, validations: int) -> subprocess.Popen[str]:
    """Starts a sweep; returns once it has recorded so many validations."""
    before = validations_in(home)
    command = [ORCHESTRATE, "sweep", *map(str, arguments), "--home", str(home), "--max-concurrent", "2"]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())

    def reached() -> bool:
        assert driver.poll() is None, driver.communicate()
        return validations_in(home) - before >= validations

    try:
        wait_for(reached, "no validation")
    except AssertionError:
        driver.kill()
        raise
    return driver


def runners_of(driver: subprocess.Popen[str]) -> list[int]:
    """Processes in which trials run."""
    found: list[int] = []
    # Between two trials a process is not called so.
    wait_for(
        lambda: found.extend(pid for pid in children_of(driver.pid) if "Trainable" in command_of(pid)) or found,
        "no trial runs",
    )
    return found


@contextmanager
def frozen(driver: subprocess.Popen[str]) -> Iterator[None]:
    """Its trials stand still in here, so that the sweep can't end meanwhile."""
    runners = runners_of(driver)
    for pid in runners:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in runners:
            os.kill(pid, signal.SIGCONT)


def validations_in(home: Path) -> int:
    return sum(len(json.loads(path.read_text())["validated_ms"]) for path in home.rglob("attempt.json"))


@pytest.fixture
def search_file(spec_file: Any) -> Path:
    path: Path = spec_file(search={"trials": 5, "window": 3, "space": SPACE}, question="Which one?")
    return path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, glyphs_file: Path) -> tuple[Path, dict[str, Any]]:
    """A home in which a search of longer trials ran from start to end, and its status."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "home" / "datasets").mkdir(parents=True)
    os.link(glyphs_file, folder / "home" / "datasets" / glyphs_file.name)
    path = folder / "longer.yaml"
    path.write_text(yaml.safe_dump(LONGER, sort_keys=False))
    return folder / "home", sweep(path, "--home", folder / "home")


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
    grown = sweep(search_file, "--home", home, "--trials", 7)
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
        (dataset,) = run.inputs.dataset_inputs
        assert dataset.dataset.name == "glyphs"


def test_a_sweep_disturbed_in_every_way_ends_in_the_same_bits(
    undisturbed: tuple[Path, dict[str, Any]], fresh_glyphs_home: Path
) -> None:
    """Ctrl-C, SIGTERM, SIGKILL of the driver, SIGKILL of a trial's worker, each in the middle of a trial."""
    (whole, expected), home = undisturbed, fresh_glyphs_home
    spec = whole.parent / "longer.yaml"
    for number, seen in ((signal.SIGINT, 1), (signal.SIGTERM, 2)):
        driver = start_and_wait(home, spec, validations=seen)
        workers = children_of(driver.pid)
        if number == signal.SIGINT:
            with frozen(driver):
                check_while_running(home, spec)
        driver.send_signal(number)
        out, err = driver.communicate(timeout=PATIENCE_S)
        assert driver.returncode == 130, err
        assert "the same command goes on from there" in err
        assert "Traceback" not in err
        assert out == ""
        wait_for(lambda pids=workers: not alive(pids), "workers outlive their driver")
        assert state_of(home) == "interrupted"

    driver = start_and_wait(home, spec, validations=3)
    runners = set(runners_of(driver))
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert state_of(home) == "interrupted"
    wait_for(lambda: not alive(runners), "workers outlive their driver")

    driver = start_and_wait(home, spec, validations=3)
    os.kill(runners_of(driver)[0], signal.SIGKILL)
    _, err = driver.communicate(timeout=2 * PATIENCE_S)
    assert driver.returncode == 0, err

    status = json.loads(orchestrate("status", "longer", "--home", home, "--json").stdout)
    assert status["state"] == "done"
    assert status["best"] | {"metrics": None} == expected["best"] | {"metrics": None}
    assert proposals(home, "longer") == proposals(whole, "longer")
    assert digests(home) == digests(whole)
    assert rows_without_times(home) == rows_without_times(whole)
    check_mlflow_runs(home, ended=4)


def check_while_running(home: Path, spec: Path) -> None:
    status = json.loads(orchestrate("status", "longer", "--home", home, "--json").stdout)
    assert status["state"] == "running"
    assert status["trials"]["running"] >= 1
    second = orchestrate("sweep", spec, "--home", home)
    assert second.returncode == 2
    assert "run by another process" in second.stderr


def check_mlflow_runs(home: Path, ended: int) -> None:
    """One parent and one child a trial, however often the driver died; each point once; none left running."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    experiment = client.get_experiment_by_name("metasweep")
    runs = list(client.search_runs([experiment.experiment_id], max_results=100))
    assert len(runs) == ended + 1
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        if "mlflow.parentRunId" in run.data.tags:
            steps = [point.step for point in client.get_metric_history(run.info.run_id, "train_loss")]
            assert sorted(steps) == list(range(8, 161, 8))


def state_of(home: Path) -> str:
    state: str = json.loads(orchestrate("status", "longer", "--home", home, "--json").stdout)["state"]
    return state


def command_of(pid: int) -> str:
    """Empty where it has just ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return ""


def rows_without_times(home: Path) -> list[dict[str, str]]:
    return [{key: value for key, value in row.items() if key != "train_seconds"} for row in rows("longer", home)]


def test_neither_a_failed_trial_nor_a_dead_tracking_server_stops_a_sweep(
    spec_file: Any, fresh_glyphs_home: Path
) -> None:
    home = fresh_glyphs_home
    path = spec_file("failing", grid={"train": {"algorithm.inner_lr": [1e30, 0.1], "algorithm.inner_steps": [5]}})
    done = orchestrate("sweep", path, "--home", home, "--tracking-uri", "http://me:secret@127.0.0.1:9")
    assert done.returncode == 1, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "tracking" in line]
    assert "127.0.0.1:9" in line
    assert "secret" not in done.stderr + done.stdout
    for word in ("ray", "Tune", "WARNING", "INFO", "\x1b", "Traceback"):  # nothing of Ray's own
        assert word not in done.stderr.replace(str(home), "").replace(line, ""), done.stderr
    assert "best trial by validation: 1" in done.stdout
    assert "curves:" not in done.stdout  # there is nothing to show
    assert not any(b"secret" in path.read_bytes() for path in (home / "sweeps").rglob("*.json"))

    status = json.loads(orchestrate("status", "failing", "--home", home, "--json").stdout)
    counts = status["trials"]
    assert (counts["planned"], counts["completed"], counts["failed"]) == (2, 1, 1)
    assert status["state"] == "done"
    failed, completed = rows("failing", home)
    assert failed["state"] == "failed"
    assert "loss is nan" in failed["error"]
    assert (completed["state"], completed["error"]) == ("completed", "")

    before = attempts(home)
    again = orchestrate("sweep", path, "--home", home)
    assert again.returncode == 1
    assert "failed: trial 0: the training loss is nan" in again.stdout
    assert "curves:" in again.stdout  # the view was made from the store
    assert attempts(home) == before


def test_a_grid_on_a_standing_ray_cluster_grows_by_seeds(
    spec_file: Any, fresh_glyphs_home: Path, tmp_path: Path
) -> None:
    home = fresh_glyphs_home
    factors = {"train": {"algorithm.name": ["maml", "anil", "nil"]}, "test": {"evaluation.frozen_layers": [0, 4]}}
    path = spec_file("small-grid", grid={**factors, "seeds": 1})
    with standing_cluster(tmp_path) as (address, variables):
        on_cluster = ("--address", address)
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


@contextmanager
def standing_cluster(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """``ray start --head`` in its own process group: its address and its token; sweeps must leave it running."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = folder / "token"
    token.write_text(os.urandom(32).hex())
    token.chmod(0o600)
    secured = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:  # the address that Ray takes for this machine's
        route.connect(("192.0.2.1", 9))
        host = route.getsockname()[0]
    temp = Path("/tmp") / f"ray-{port}"
    command = [
        str(Path(sys.executable).parent / "ray"),
        *f"start --head --port={port} --num-cpus=2 --include-dashboard=false --block".split(),
        f"--temp-dir={temp}",
    ]
    said = folder / "ray.log"
    with said.open("wb") as log:
        head = subprocess.Popen(
            command, env=environment() | secured, start_new_session=True, stdout=log, stderr=subprocess.STDOUT
        )
    try:

        def up() -> bool:
            assert head.poll() is None, said.read_text()
            return "Ray runtime started" in said.read_text()

        wait_for(up, "ray start --head does not come up")
        yield f"{host}:{port}", secured
        assert head.poll() is None
    finally:
        for pid in children_of(head.pid) | {head.pid}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        head.wait()
        shutil.rmtree(temp, ignore_errors=True)


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


def test_trainings_of_a_grid_are_compared_once(spec_file: Any, fresh_glyphs_home: Path) -> None:
    home = fresh_glyphs_home
    grid = {"train": {"algorithm.name": ["maml", "anil"]}, "seeds": 2}
    plain = spec_file("alike", grid=grid)
    assert sweep(plain, "--home", home, "--set", "episodes.queries=8")["analyses"] == {"planned": 0, "completed": 0}

    asked = spec_file("alike", grid={**grid, "between": {}})  # a view: it may be asked for later, and trains nothing
    before = attempts(home)
    done = orchestrate("sweep", asked, "--home", home, "--set", "episodes.queries=8", "--json")
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
    assert sweep(asked, "--home", home, "--set", "episodes.queries=8")["analyses"]["completed"] == 4
    assert {path: path.read_bytes() for path in (home / "analyses").rglob("*.arrow")} == records

    report = orchestrate("report", "alike", "--home", home)
    assert report.returncode == 0, report.stderr
    assert "| maml – anil |" in (home / "sweeps/alike/report/tables/between_trainings.md").read_text()
