"""The dashboard: comes up on a home, and leaves no process behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from orchestrator.dashboard import serve_dashboard
from orchestrator.errors import InputError
from orchestrator.tracking import SweepView, Tracker, default_uri

SERVE = """
import pathlib, sys
from orchestrator.dashboard import serve_dashboard
serve_dashboard(pathlib.Path(sys.argv[1]), port=int(sys.argv[2]) if sys.argv[2:] else None)
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


def alive(pids: list[int]) -> list[int]:
    """Those that still run; a zombie does not."""
    states = {pid: Path(f"/proc/{pid}/stat") for pid in pids}
    return [pid for pid, stat in states.items() if stat.exists() and ") Z " not in stat.read_text()]


@pytest.mark.slow
@needs_proc
def test_it_serves_the_home_and_leaves_nothing(tmp_path):
    tracker = Tracker(default_uri(tmp_path), "metasweep", SweepView("small", "home"))
    assert tracker.finish("FINISHED", 150)
    before = {path.name for path in tmp_path.iterdir()}
    command = [sys.executable, "-c", SERVE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as dashboard:
        try:
            url = re.search(r"http://\S+", dashboard.stdout.readline()).group()
            address, _, page = url.partition("/#")
            assert page == f"/experiments/{tracker.experiment_id}"
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


@pytest.mark.slow
@needs_proc
def test_stopped_while_it_starts_it_leaves_nothing(tmp_path):
    (tmp_path / "mlflow.db").touch()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
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
        serve_dashboard(tmp_path)


def test_a_port_in_use_or_out_of_range(tmp_path):
    (tmp_path / "mlflow.db").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port} on 127.0.0.1: .*in use; give another --port"):
            serve_dashboard(tmp_path, port=port)
    with pytest.raises(InputError, match="port 70000"):
        serve_dashboard(tmp_path, port=70000)


@pytest.mark.slow
def test_a_server_that_does_not_start_shows_its_log(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database" * 100)
    with pytest.raises(InputError, match="MLflow server ended with status"):
        serve_dashboard(tmp_path)
    assert os.listdir(tmp_path) == ["mlflow.db"]
