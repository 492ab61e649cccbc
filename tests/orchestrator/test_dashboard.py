"""The dashboard: comes up on a home, and leaves no process behind."""

import json
import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from processes import wait_for

from orchestrator.dashboard import serve_dashboard
from orchestrator.dashboard_page import SweepPage
from orchestrator.errors import InputError
from orchestrator.tracking import SweepView, Tracker, TrialView, default_uri
from trainers.few_shot import FewShot

SERVE = """
import pathlib, sys
from orchestrator.dashboard import serve_dashboard
from trainers.few_shot import FewShot
serve_dashboard(pathlib.Path(sys.argv[1]), "home", port=int(sys.argv[2]) if sys.argv[2:] else None)
"""


needs_proc = pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc to see what is left running")


def of_server(address: str, without: int = 0) -> list[int]:
    """Processes with this server's port in their command line, and their children."""
    port = address.rpartition(":")[2]
    found, parents = set(), {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            pid, command = int(folder.name), (folder / "cmdline").read_bytes().split(b"\0")
            parents[pid] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if port.encode() in command and pid != without:
            found.add(pid)
    return sorted(found | {pid for pid, parent in parents.items() if parent in found})


def free_port() -> str:
    """One at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def alive(pids: list[int]) -> list[int]:
    """Those that still run; a zombie does not."""
    states = {pid: Path(f"/proc/{pid}/stat") for pid in pids}
    return [pid for pid, stat in states.items() if stat.exists() and ") Z " not in stat.read_text()]


@pytest.mark.slow
@needs_proc
def test_it_serves_the_home_and_leaves_nothing(tmp_path):
    for name in ("other", "small"):
        tracker = Tracker(default_uri(tmp_path), "metasweep", SweepView(name, "home", score=FewShot.score))
        for number, accuracy in enumerate((0.5, 0.9, 0.7)):
            metrics = {"test_accuracy": accuracy}
            tracker.record(TrialView(number, f"{name} {number}", "completed", metrics=metrics, ended_ms=1))
        assert tracker.finish("FINISHED", 150)
    before = {path.name for path in tmp_path.iterdir()}
    command = [sys.executable, "-c", SERVE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as dashboard:
        try:
            url = re.search(r"http://\S+", dashboard.stdout.readline()).group()
            address, _, page = url.partition("/#")
            path, _, query = page.partition("?")
            assert path == f"/experiments/{tracker.experiment_id}/runs"
            assert parse_qs(query) == {"viewStateShareKey": [tracker.run_id]}
            view = shared_view(address, tracker.experiment_id, tracker.run_id)
            assert named_runs(address, tracker.experiment_id, view) == ["small 1", "small 2", "small 0"]
            link = SweepPage("small", tracker.experiment_id, tracker.run_id, shared=False).trials(address)
            asked = {key: value for key, (value,) in parse_qs(link.partition("?")[2]).items()}
            assert asked == {key: view[key] for key in ("searchFilter", "orderByKey")} | {"orderByAsc": "false"}
            assert f"{address}/#/experiments/{tracker.experiment_id}/runs/{tracker.run_id}\n" in (
                dashboard.stdout.readline()
            )
            assert dashboard.stdout.readline() == "it is the latest; by NAME: other\n"
            assert urllib.request.urlopen(f"{address}/health", timeout=60).read() == b"OK"
            assert b"<html" in urllib.request.urlopen(address, timeout=60).read()
            running = of_server(address)
            assert running
        finally:
            dashboard.send_signal(signal.SIGINT)
            _, errors = dashboard.communicate(timeout=60)
    assert (dashboard.returncode, errors) == (0, "")
    assert alive(running) == []
    assert {path.name for path in tmp_path.iterdir()} <= before | {"mlflow.db-shm", "mlflow.db-wal", "mlartifacts"}


def shared_view(address: str, experiment: str, run: str) -> dict[str, Any]:
    """What MLflow's page finds where a link names a shared view."""
    with urllib.request.urlopen(f"{address}/api/2.0/mlflow/experiments/get?experiment_id={experiment}") as answer:
        tags = {tag["key"]: tag["value"] for tag in json.load(answer)["experiment"]["tags"]}
    return json.loads(tags[f"mlflow.sharedViewState.{run}"])


def named_runs(address: str, experiment: str, view: dict[str, Any]) -> list[str]:
    """What MLflow answers where its page asks for this."""
    order = f"{view['orderByKey']} {'ASC' if view['orderByAsc'] else 'DESC'}"
    asked = {"experiment_ids": [experiment], "filter": view["searchFilter"], "order_by": [order]}
    request = urllib.request.Request(
        f"{address}/api/2.0/mlflow/runs/search", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return [run["info"]["run_name"] for run in json.load(answer)["runs"]]


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("killed", ["dashboard", "shell"])
def test_killed_it_leaves_nothing_either(tmp_path, killed):
    (tmp_path / "mlflow.db").touch()
    port = free_port()
    arguments = [sys.executable, "-c", SERVE, str(tmp_path), port]
    shell = ["sh", "-c", f"{shlex.join(arguments)} & echo $!; wait"]
    with subprocess.Popen(shell, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        dashboard = int(parent.stdout.readline())
        wait_for(lambda: of_server(f":{port}", dashboard), "the server did not start")
        running = of_server(f":{port}", dashboard)
        os.kill(dashboard if killed == "dashboard" else parent.pid, signal.SIGKILL)
        wait_for(lambda: not alive([*running, dashboard, *of_server(f":{port}")]), "it outlived who started it")
        parent.kill()


@pytest.mark.slow
@needs_proc
def test_stopped_while_it_starts_it_leaves_nothing(tmp_path):
    (tmp_path / "mlflow.db").touch()
    port = free_port()
    with subprocess.Popen([sys.executable, "-c", SERVE, str(tmp_path), port], stderr=subprocess.PIPE) as dashboard:
        limit = time.monotonic() + 60
        while not (running := of_server(f":{port}", dashboard.pid)) and time.monotonic() < limit:
            time.sleep(0.02)
        dashboard.terminate()
        _, errors = dashboard.communicate(timeout=60)
    assert running
    assert (dashboard.returncode, errors) == (0, b"")
    assert alive(running) == []


def test_a_home_without_sweeps(tmp_path):
    with pytest.raises(InputError, match="run a sweep in this home first"):
        serve_dashboard(tmp_path, "home")


def test_a_sweep_that_mlflow_does_not_have(tmp_path):
    (tmp_path / "mlflow.db").touch()
    with pytest.raises(InputError, match="has no sweep 'mine'; `orchestrate track mine` writes it from the record"):
        serve_dashboard(tmp_path, "home", "mine")


def test_a_port_in_use_or_out_of_range(tmp_path):
    (tmp_path / "mlflow.db").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port} on 127.0.0.1: .*in use; give another --port"):
            serve_dashboard(tmp_path, "home", port=port)
    with pytest.raises(InputError, match="port 70000"):
        serve_dashboard(tmp_path, "home", port=70000)


def test_a_damaged_store_is_said_before_anything_starts(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database" * 100)
    with pytest.raises(InputError, match=r"mlflow.db: damaged \(file is not a database\); it is a view: remove it"):
        serve_dashboard(tmp_path, "home")
    assert os.listdir(tmp_path) == ["mlflow.db"]


@pytest.mark.slow
def test_a_server_that_does_not_start_shows_its_log(tmp_path):
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as store, store:
        store.execute("CREATE TABLE alembic_version (version_num TEXT)")
        store.execute("INSERT INTO alembic_version VALUES ('of another version')")
    with pytest.raises(InputError, match="MLflow server ended with status"):
        serve_dashboard(tmp_path, "home")
