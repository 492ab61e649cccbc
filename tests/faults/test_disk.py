"""A disk that is full, or read-only: one clear line, exit code 3 or 2, no half record, and the same command goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from commands import orchestrate_in
from faults_spec import SEARCH, write_spec
from in_process import NO_TRACKING, run_here
from processes import ORCHESTRATE, SERIAL, bits, faults, run

from orchestrator.home import open_home
from orchestrator.sweep_state import status

TINY = {"iterations": 8, "validate_every": 4, "meta_batch": 1}


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        while folder.is_mount():
            subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk."""
    with mounted(tmp_path / "disk", "40m") as folder:
        yield folder


def check_stopped(done: subprocess.CompletedProcess[str], home: Path, place: str, reason: str) -> None:
    """It says once, in a line, which file could not be written and what to do; it left nothing half written."""
    assert done.returncode == 3, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "error:" in line]
    assert place in line
    assert reason in line
    assert "again" in line
    assert "Traceback" not in done.stderr
    assert list((home / "trainings").rglob(".*")) == []
    assert status(open_home(str(home), create=False), "search")["state"] == "interrupted"


def test_a_disk_that_is_full(
    tmp_path: Path, new_home: Callable[[Path], Path], disk: Path, undisturbed: Callable[[Path], dict[str, Any]]
) -> None:
    path = write_spec(tmp_path, "search", TINY, search=SEARCH)
    home, ballast = new_home(disk / "home"), disk / "ballast"
    command = ("sweep", path, "--home", home, "--max-concurrent", 2, "--tracking-uri", NO_TRACKING)
    cases = [
        (ORCHESTRATE, ".progress.safetensors", "progress.safetensors"),
        (SERIAL, "evaluations/.", "evaluations"),
        (ORCHESTRATE, "proposals/.2", "proposals/2.json"),
    ]
    for program, written, place in cases:
        done = run(program, *command, **faults(FAULT_FILL=written, FAULT_DISK=disk))
        check_stopped(done, home, place, "No space left on device")
        ballast.unlink()
    assert run_here(path, str(home), count_flops=True) == []
    assert bits(home, "search") == undisturbed(path)


def test_a_disk_that_becomes_read_only(tmp_path: Path, new_home: Callable[[Path], Path], disk: Path) -> None:
    path = write_spec(tmp_path, "search", TINY, search=SEARCH | {"trials": 2})
    home = new_home(disk / "home")
    command = ("sweep", path, "--home", home, "--tracking-uri", NO_TRACKING)
    done = run(SERIAL, *command, **faults(FAULT_READ_ONLY=".progress.safetensors", FAULT_DISK=disk))
    check_stopped(done, home, "/progress.safetensors: ", "Read-only file system")  # not the temporary file
    subprocess.run(["umount", "--lazy", disk], check=True)
    assert run_here(path, str(home)) == []
    assert status(open_home(str(home)), "search")["state"] == "done"


def test_the_disk_of_mlflow_is_full(tmp_path: Path, home: Path) -> None:
    path = write_spec(tmp_path, "search", TINY, search=SEARCH | {"trials": 2})
    with mounted(tmp_path / "small", "64k") as disk:
        uri, said = f"sqlite:///{disk}/mlflow.db", list[str]()
        assert run_here(path, str(home), tracking_uri=uri, said=said) == []
        (line,) = said
        assert "and `orchestrate track search` writes what is missing" in line
        assert not list(disk.iterdir())  # a database that is not whole is none
        assert status(open_home(str(home)), "search")["tracking"] == {"uri": uri, "synced": False}
        track = ("track", "search", "--home", str(home), "--tracking-uri", uri)
        still = orchestrate_in(tmp_path, *track)
        assert (still.returncode, still.stdout) == (3, "")
        assert still.stderr.count("\n") == 1
        subprocess.run(["mount", "-o", "remount,size=16m", disk], check=True)
        done = orchestrate_in(tmp_path, *track)
        assert done.returncode == 0, done.stderr
        assert status(open_home(str(home)), "search")["tracking"] == {"uri": uri, "synced": True}


def test_a_home_that_is_read_only(tmp_path: Path, new_home: Callable[[Path], Path], disk: Path) -> None:
    """A mount, since modes do not keep root from writing."""
    path = str(write_spec(tmp_path, "search", TINY, search=SEARCH | {"trials": 2}))
    home = str(new_home(disk / "home"))
    assert run_here(Path(path), home) == []
    before = sorted(disk.rglob("*"))
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    track = ["track", "search", "--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db"]
    for command in (["sweep", path, "--trials", "3"], ["sweep", path, "--name", "other"], ["trial", path], track):
        done = orchestrate_in(tmp_path, *command, "--home", home)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert "Read-only file system" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
    for command in (["status", "search"], ["export", "search"]):
        assert orchestrate_in(tmp_path, *command, "--home", home).returncode == 0
    assert sorted(disk.rglob("*")) == before
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    grown = write_spec(tmp_path, "search", TINY, search=SEARCH | {"trials": 3})
    assert run_here(grown, home) == []
