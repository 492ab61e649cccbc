"""``orchestrate dashboard``: the MLflow UI on a home, as a server on this machine that stops with the command."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO
from urllib.parse import quote

from orchestrator.errors import InputError, TrackingError
from orchestrator.tracking_uri import default_uri, experiment_name

_USUAL_PORT = 5000
_START_LIMIT_S = 90.0
_STOP_LIMIT_S = 5.0
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def serve_dashboard(home: Path, host: str = "127.0.0.1", port: int | None = None) -> None:
    """Serves the home's MLflow store, prints the address, and blocks until Ctrl-C or SIGTERM; then nothing is left.

    Args:
        port: 5000, or any free one where that is taken, if left out.

    Raises:
        InputError: nothing is recorded in this home yet, or the port can't be used.
        TrackingError: the server did not come up; with the end of its log.
    """
    database = home / "mlflow.db"
    if not database.is_file():
        raise InputError(f"nothing to show: {database} does not exist; run a sweep in this home first")
    port = _usable_port(host, port)
    server = None
    with tempfile.TemporaryFile() as log, _interruptible() as postponed:
        try:
            with postponed():  # else a signal between the start and its return would leave a server behind
                server = _start(home, host, port, log)
            _wait_until_up(server, f"http://{host}:{port}", log)
            print(
                f"MLflow: {_page(database, f'http://{host}:{port}', experiment_name())}\nCtrl-C stops it.", flush=True
            )
            status = server.wait()
            raise TrackingError(f"the MLflow server ended by itself (status {status}): {_last_lines(log)}")
        except KeyboardInterrupt:
            pass
        finally:
            if server is not None:
                _stop(server)


def _usable_port(host: str, port: int | None) -> int:
    for candidate in (port,) if port is not None else (_USUAL_PORT, 0):
        with closing(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
                return int(probe.getsockname()[1])
            except (OSError, OverflowError) as error:
                reason = getattr(error, "strerror", None) or str(error)
    raise InputError(f"port {port if port is not None else _USUAL_PORT} on {host}: {reason}; give another --port")


def _start(home: Path, host: str, port: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    artifacts = (home / "mlartifacts").absolute().as_uri()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", default_uri(home)]
    command += ["--artifacts-destination", artifacts, "--host", host, "--port", str(port), "--workers", "1"]
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # saves its job runner: processes and start-up time
    }
    # In the home, since MLflow makes folders where it stands; a session of its own, so that one signal stops them all
    # and a terminal's Ctrl-C reaches only us.
    return subprocess.Popen(
        command,
        cwd=home,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def _wait_until_up(server: subprocess.Popen[bytes], address: str, log: IO[bytes]) -> None:
    limit = time.monotonic() + _START_LIMIT_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while server.poll() is None and time.monotonic() < limit:
        with suppress(OSError), opener.open(f"{address}/health", timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.2)
    ended = server.poll() is not None
    reason = f"ended with status {server.returncode}" if ended else f"did not answer within {_START_LIMIT_S:g} s"
    raise TrackingError(f"the MLflow server {reason}: {_last_lines(log)}")


def _last_lines(log: IO[bytes], count: int = 5) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()[-count:]
    return " | ".join(lines) or "it wrote no log"


def _page(database: Path, address: str, experiment: str) -> str:
    """The experiment's page, or the front page where it is not simply known."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True)) as store:
        row = store.execute("SELECT experiment_id FROM experiments WHERE name = ?", (experiment,)).fetchone()
        if row is not None:
            return f"{address}/#/experiments/{row[0]}"
    return address


@contextmanager
def _interruptible() -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt in here, as Ctrl-C does; gives a context that puts it off to its end.

    Signals belong to the main thread: in another, nothing is changed.
    """
    put_off: list[bool] = []
    came: list[bool] = []

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        came.append(True)
        if not put_off:
            raise KeyboardInterrupt

    @contextmanager
    def postponed() -> Iterator[None]:
        put_off.append(True)
        try:
            yield
        finally:
            put_off.clear()
        if came:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield postponed
        return
    # Ctrl-C too: a shell starts background commands with it ignored.
    before = {number: signal.signal(number, interrupt) for number in _ENDING}
    try:
        yield postponed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Ends the whole process group: asked first, killed after some seconds, or at a second Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with suppress(KeyboardInterrupt):
            if _gone(server, _STOP_LIMIT_S):
                return


def _gone(server: subprocess.Popen[bytes], limit_s: float) -> bool:
    limit = time.monotonic() + limit_s
    while time.monotonic() < limit:
        server.poll()  # reaps the leader, which would keep the group alive as a zombie
        try:
            os.killpg(server.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False
