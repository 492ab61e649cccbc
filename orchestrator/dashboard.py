"""``orchestrate dashboard``: the MLflow UI on a home, as a server on this machine that stops with the command."""

from __future__ import annotations

import os
import signal
import socket
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
from typing import IO, NoReturn

from orchestrator.dashboard_page import SweepPage, sweep_pages
from orchestrator.errors import InputError, TrackingError
from orchestrator.tracking_uri import default_uri

_USUAL_PORT = 5000
_START_LIMIT_S = 90.0
_STOP_LIMIT_S = 5.0
_NAMED_SWEEPS = 5
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def serve_dashboard(
    home: Path, home_id: str, sweep: str | None = None, host: str = "127.0.0.1", port: int | None = None
) -> None:
    """Serves the home's MLflow store, prints where a sweep is to be seen, and blocks until Ctrl-C or SIGTERM, or until
    the process that started it is gone; then nothing is left.

    Args:
        home: the folder.
        home_id: its identity, by which its sweeps are known.
        sweep: the one to show; the latest where left out.
        host: interface to listen on.
        port: 5000, or any free one where that is taken, if left out.

    Raises:
        InputError: nothing is recorded in this home yet, the sweep is not in its store, or the port can't be used.
        TrackingError: the store is damaged, or the server did not come up; with the end of its log.
    """
    database = home / "mlflow.db"
    if not database.is_file():
        raise InputError(f"nothing to show: {database} does not exist; run a sweep in this home first")
    pages = sweep_pages(database, home_id)
    if sweep is not None and all(page.name != sweep for page in pages):
        raise InputError(f"{database}: has no sweep {sweep!r}; `orchestrate track {sweep}` writes it from the record")
    port = _usable_port(host, port)
    server, orphaned = None, _orphaned()
    with tempfile.TemporaryFile() as log, _interruptible() as postponed:
        try:
            with postponed():  # else a signal between the start and its return would leave a server behind
                server = _start(home, host, port, log)
            address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            _wait_until_up(server, address, log, orphaned)
            print("\n".join([*_links(sweep_pages(database, home_id), sweep, address), "Ctrl-C stops it."]), flush=True)
            _wait_for_end(server, log, orphaned)
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
    guard = str(Path(__file__).with_name("server_guard.py"))
    command = [sys.executable, guard, sys.executable, "-m", "mlflow", "server"]
    command += ["--backend-store-uri", default_uri(home)]
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
        stdin=subprocess.PIPE,  # never written to: it ends when we do, and the guard ends the server
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def _wait_until_up(server: subprocess.Popen[bytes], address: str, log: IO[bytes], orphaned: Callable[[], bool]) -> None:
    limit = time.monotonic() + _START_LIMIT_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while server.poll() is None and time.monotonic() < limit:
        with suppress(OSError), opener.open(f"{address}/health", timeout=5) as answer:
            if answer.status == 200:
                return
        if orphaned():
            raise KeyboardInterrupt
        time.sleep(0.2)
    ended = server.poll() is not None
    reason = f"ended with status {server.returncode}" if ended else f"did not answer within {_START_LIMIT_S:g} s"
    raise TrackingError(f"the MLflow server {reason}: {_last_lines(log)}")


def _last_lines(log: IO[bytes], count: int = 5) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()[-count:]
    return " | ".join(lines) or "it wrote no log"


def _links(pages: list[SweepPage], sweep: str | None, address: str) -> list[str]:
    """The sweep's trials first; its own run; how many others there are."""
    page = next((page for page in pages if sweep in (None, page.name)), None)
    if page is None:
        return [f"MLflow: {address}"]
    lines = [f"MLflow: {page.trials(address)}", f"the sweep {page.name} itself: {page.run(address)}"]
    others = [other.name for other in pages if other.name != page.name]
    if others and sweep is None:
        more = f" and {len(others) - _NAMED_SWEEPS} more" if len(others) > _NAMED_SWEEPS else ""
        lines.append(f"it is the latest; by NAME: {', '.join(others[:_NAMED_SWEEPS])}{more}")
    return lines


def _wait_for_end(server: subprocess.Popen[bytes], log: IO[bytes], orphaned: Callable[[], bool]) -> NoReturn:
    while not orphaned():
        with suppress(subprocess.TimeoutExpired):
            status = server.wait(1)
            raise TrackingError(f"the MLflow server ended by itself (status {status}): {_last_lines(log)}")
    raise KeyboardInterrupt


def _orphaned() -> Callable[[], bool]:
    """Whether the process that started this one is gone since this call; never under ``nohup``, which asks for that."""
    parent, stays = os.getppid(), signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return lambda: not stays and os.getppid() != parent


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
    # Ctrl-C too: a shell starts background commands with it ignored. But SIGHUP stays ignored under `nohup`.
    ending = [
        number for number in _ENDING if number != signal.SIGHUP or signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, interrupt) for number in ending}
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
