"""Real processes for tests: ``orchestrate`` and all that it starts, known by pid."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from orchestrator.seal import open_json

ORCHESTRATE = (str(Path(sys.executable).parent / "orchestrate"),)

SERIAL = (sys.executable, "-P", str(Path(__file__).with_name("serial.py")))
"""``orchestrate`` whose sweeps run one trial after the other in its own process, without Ray: quicker, and another way
to the same results."""

PR_SET_CHILD_SUBREAPER = 36
"""Of Linux's ``prctl.h``."""

PATIENCE_S = 180
"""For what takes seconds on a machine that is not busy. Nothing here measures speed."""


def environment() -> dict[str, str]:
    """This process's, without what would change a sweep; no report for MLflow, which takes seconds to make."""
    quick = {"ORCHESTRATE_TRACK_REPORT": "no"}
    dropped = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "ORCHESTRATE_HOME", "RAY_ADDRESS")
    return {name: value for name, value in os.environ.items() if name not in dropped} | quick


def faults(**variables: Any) -> dict[str, str]:
    """Variables for a process with faults of ``faults/shim``."""
    shim = Path(__file__).parent / "faults" / "shim"
    path = {"PYTHONPATH": f"{shim}:{os.environ.get('PYTHONPATH', '')}"}
    return path | {name: str(value) for name, value in variables.items()}


def run(program: tuple[str, ...], *arguments: Any, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs ``ORCHESTRATE`` or ``SERIAL`` to its end."""
    command = [*program, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=2 * PATIENCE_S, env=environment() | variables
    )


def wait_for(condition: Callable[[], Any], what: str, limit_s: float = PATIENCE_S) -> None:
    """Returns once it holds; fails with ``what`` otherwise."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def link_data(file: Path, home: Path) -> Path:
    """Gives a home a dataset; gives the home."""
    (home / "datasets").mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, home / "datasets" / file.name)
    except OSError:  # another filesystem
        shutil.copyfile(file, home / "datasets" / file.name)
    return home


def attempts(home: Path) -> list[dict[str, Any]]:
    """The records of all attempts."""
    return [open_json(path.read_bytes()) for path in home.glob("trainings/*/attempts/*/attempt.json")]


def bits(home: Path, name: str) -> dict[str, Any]:
    """All that a sweep leaves but times and attempts: weights by sha256, accuracies and proposals as bytes."""
    manifests = {path.parent.name: open_json(path.read_bytes()) for path in home.glob("trainings/*/manifest.json")}
    found: dict[str, Any] = {key: sorted(manifest["files"].values()) for key, manifest in manifests.items()}
    for pattern in ("trainings/*/evaluations/*.arrow", f"sweeps/{name}/proposals/*.json"):
        found |= {str(path.relative_to(home)): path.read_bytes() for path in home.glob(pattern)}
    return found


class Driver:
    """A sweep that runs in the background. ``family`` are the processes that it has started, ended ones included."""

    def __init__(self, home: Path, *arguments: Any, **variables: str) -> None:
        self.home, self.before = home, {attempt["attempt"] for attempt in attempts(home)}
        command = [*ORCHESTRATE, "sweep", *map(str, arguments), "--home", str(home)]
        self.process = psutil.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment() | variables
        )
        self.family: dict[int, psutil.Process] = {}

    def new_attempts(self) -> list[dict[str, Any]]:
        """Those of this run."""
        return [attempt for attempt in attempts(self.home) if attempt["attempt"] not in self.before]

    def wait_until(self, condition: Callable[[], Any], what: str) -> None:
        """Returns once it holds, if that is before the sweep ends."""

        def holds() -> Any:
            assert self.process.poll() is None, self.process.communicate()
            return condition()

        wait_for(holds, what)
        self.look()

    def wait_saved(self) -> None:
        """Returns once a trial of this run has saved progress that a later attempt can go on from."""
        self.wait_until(lambda: any(a["validated_ms"] for a in self.new_attempts()), "nothing saved")

    def held(self) -> list[psutil.Process]:
        """The processes with a trial of this run that stand still."""
        found = []
        for pid in {attempt["pid"] for attempt in self.new_attempts()}:
            with suppress(psutil.NoSuchProcess):
                if (process := psutil.Process(pid)).status() == psutil.STATUS_STOPPED:
                    found.append(process)
        return found

    def wait_held(self) -> None:
        """Returns once a trial of this run stands still, as the variables of its sweep ask for."""
        self.wait_until(self.held, "nothing is held")

    def go_on(self) -> None:
        """Lets those that stand still go on."""
        for process in self.held():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)

    def look(self) -> None:
        """Notes the processes that it has now."""
        self.family |= {child.pid: child for child in self.process.children(recursive=True)}

    def named(self, program: str) -> psutil.Process:
        """The one child that runs a program, such as ``raylet``."""
        (found,) = [one for one in self.family.values() if (command_of(one) or [""])[0].endswith(program)]
        return found

    def listens_on(self) -> set[str]:
        """The addresses at which its processes can be reached."""
        found = set()
        for one in [self.process, *self.family.values()]:
            with suppress(psutil.Error):
                found |= {its.laddr.ip for its in one.net_connections("inet") if its.status == psutil.CONN_LISTEN}
        return {address.removeprefix("::ffff:") for address in found}

    def end(self, still: bool = False) -> tuple[int, str, str]:
        """Waits for it, with nothing held any more unless ``still``; gives exit code, stdout and stderr."""
        deadline = time.monotonic() + 2 * PATIENCE_S
        while True:
            if not still:
                self.go_on()
            try:
                out, err = self.process.communicate(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                assert time.monotonic() < deadline, "it does not end"
        assert "Traceback" not in err
        return self.process.returncode, out, err

    def wait_gone(self, limit_s: float, but: tuple[str, ...] = ()) -> None:
        """Returns when nothing of it is left, ``but`` for programs of these names; fails otherwise."""

        def left() -> list[str]:
            self.go_on()
            programs = [(command_of(one) or ["?"])[0] for one in self.family.values() if alive(one)]
            return [program for program in programs if program not in but]

        try:
            wait_for(lambda: not left(), "some stay", limit_s)
        except AssertionError:
            raise AssertionError(f"left: {left()}") from None

    def close(self) -> None:
        """Ends whatever is left of it, with the files that Ray keeps of a session that was killed."""
        if self.process.poll() is None:
            self.look()
        for one in [*self.family.values(), self.process]:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        for one in self.family.values():
            with suppress(ChildProcessError):  # it never was adopted
                os.waitpid(one.pid, 0)
        self.process.wait()
        for session in Path("/tmp/ray").glob(f"session_*_{self.process.pid}"):
            shutil.rmtree(session, ignore_errors=True)


@contextmanager
def driving(home: Path, *arguments: Any, **variables: str) -> Iterator[Driver]:
    """A sweep in the background; nothing of it outlives the block."""
    adopt(True)
    driver = Driver(home, *arguments, **variables)
    try:
        yield driver
    finally:
        driver.close()
        adopt(False)


def adopt(yes: bool) -> None:
    """Whether orphans get this process for a parent, as that of a desktop session is theirs, and not process 1."""
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0) == 0


def alive(process: psutil.Process) -> bool:
    """Whether a process runs, and is not one that only its parent has yet to notice."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def command_of(process: psutil.Process) -> list[str]:
    """Empty where it has ended."""
    with suppress(psutil.Error):
        return process.cmdline()
    return []


@contextmanager
def frozen(processes: list[psutil.Process]) -> Iterator[None]:
    """They stand still in here."""
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # killed meanwhile
                process.send_signal(signal.SIGCONT)
