"""A sweep submitted to a real Ray head: followed, left, found again, stopped, continued, read; as good as at home."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from in_process import TINY
from processes import ORCHESTRATE, PATIENCE_S, SERIAL, attempts, bits, environment, frozen, run, wait_for
from standing_cluster import Head, standing_cluster

from orchestrator.cli import cli
from orchestrator.cluster.job_server import open_job_server
from orchestrator.errors import InputError
from orchestrator.spec_file import load_spec
from orchestrator.submission import Submission, submit

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

ANNOUNCE = """
import sys
from orchestrator.cluster.announce import announce
from orchestrator.placement import Startable
announce(sys.argv[1], [Startable({"CPU": 4.0}, 3)])
"""

SWEEP = {
    "trial": TINY | {"training": TINY["training"] | {"iterations": 200, "validate_every": 50}},
    "grid": {"train": {"algorithm.name": ["maml", "anil"]}},
    "resources": {"gpu": 0, "max_concurrent": 1},
}
"""One trial after the other, so that who stops the worker stops the sweep."""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "sent.yaml"
    path.write_text(yaml.safe_dump(SWEEP))
    return path


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Head]:
    with standing_cluster(tmp_path, jobs=True) as found:
        for name, value in found.variables.items():
            monkeypatch.setenv(name, value)
        yield found


def command(*arguments: Any) -> Result:
    """A command in this process."""
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=True)


def test_the_life_of_a_submitted_sweep(
    head: Head, spec: Path, new_home: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = new_home(tmp_path / "home")
    there = ("--address", head.jobs, "--home-on-head", home)
    left_found_again_and_stopped(head, spec, there, home)
    done = run(ORCHESTRATE, "submit", spec, *there)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "goes on as job metasweep-sent-" in done.stderr
    assert "sent: done, 2 planned, 2 completed" in done.stdout
    assert "Running entrypoint" not in done.stdout
    assert all(one["environment"]["threads"] == 1 for one in attempts(home) if one.get("environment"))
    again = command("submit", spec, *there)
    assert (again.exit_code, again.stdout) == (0, done.stdout)
    assert "(--fresh runs it again), which had printed" in again.stderr

    assert run(SERIAL, "sweep", spec, "--home", new_home(tmp_path / "here")).returncode == 0
    assert bits(home, "sent") == bits(tmp_path / "here", "sent")
    read_from_here(head, home, tmp_path, monkeypatch)
    grows(head, spec, home)


def started(*arguments: Any) -> subprocess.Popen[str]:
    """A command in the background that hears Ctrl-C."""
    return subprocess.Popen(
        [*ORCHESTRATE, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )


def left(follower: subprocess.Popen[str], word: str) -> str:
    """Waits until it has printed that, gives it Ctrl-C, and what it said."""
    assert follower.stdout is not None
    seen = ""
    while word not in seen:
        line = follower.stdout.readline()
        assert line, follower.communicate()
        seen += line
    follower.send_signal(signal.SIGINT)
    _, said = follower.communicate(timeout=PATIENCE_S)
    assert (follower.returncode, "Traceback" in said) == (130, False), said
    return said


def left_found_again_and_stopped(head: Head, spec: Path, there: tuple[Any, ...], home: Path) -> None:
    """Ctrl-C leaves the job running; the same request finds it, another is refused; who watches can leave, too."""
    follower = started("submit", spec, *there)
    wait_for(lambda: follower.poll() is not None or attempts(home), "no trial has begun")
    with frozen(head.workers()):  # so that they do not end meanwhile
        assert "detached; the sweep goes on there" in left(follower, "2 trials")
        with open_job_server(head.jobs) as server:
            asked = Submission(load_spec(spec), str(home))
            job, outcome = submit(server, asked)
            assert (outcome, job.state, job.id) == ("attached", "RUNNING", f"{asked.id}-1")
            with pytest.raises(InputError, match=r"runs there with another spec.*orchestrate cancel sent"):
                submit(server, Submission(load_spec(spec, ["grid.seeds=2"]), str(home)))
            assert not server.is_open
            watcher = started("status", "sent", "--watch", "--json", "--address", head.jobs)
            assert "no longer watching; sweep 'sent' is left alone" in left(watcher, '"running"')
            assert [job.id for job in server.jobs()] == [f"{asked.id}-1"], "what reads is forgotten"
        stopped = command("cancel", "sent", "--address", head.jobs)
        assert (stopped.exit_code, stopped.stdout.partition("(")[0]) == (0, "sent: stopped ")
        assert "no sweep of that name runs" in str(command("cancel", "sent", "--address", head.jobs).exception)
        assert attempts(home)
        assert not list(home.glob("trainings/*/manifest.json"))


def grows(head: Head, spec: Path, home: Path) -> None:
    """A sweep that the machines can't hold is refused where the cluster can't start one that does, as its head says."""
    sweep = (ORCHESTRATE, "sweep", spec, "--name", "larger", "--home", home, "--address", head.address)
    asks = ("--set", "resources.cpu=8")
    told = run((sys.executable, "-c", ANNOUNCE), head.address)  # Ray reads a token once a process
    assert told.returncode == 0, told.stderr
    refused = run(*sweep, *asks)
    words = "nor any that the cluster can start, has more than 4 and 0"
    assert (refused.returncode, words in refused.stderr) == (2, True), refused.stderr
    assert not (home / "sweeps" / "larger").exists()


def read_from_here(head: Head, home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading commands find the home by the job, run on the head, and bring back what they print and write."""
    monkeypatch.chdir(folder)
    shown = command("status", "sent", "--address", head.jobs, "--json")
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert (found["state"], found["trials"]["completed"], found["home"]) == ("done", 2, str(home))
    lines = command("status", "sent", "--address", head.jobs, "--watch", "--json").stdout.splitlines()
    assert [json.loads(line)["state"] for line in lines][-1] == "done"
    absent = command("export", "absent", "--address", head.jobs, "--home-on-head", home)
    assert absent.exit_code == 2
    assert "absent" in absent.stderr
    made = command("report", "sent", "--address", head.jobs)
    assert made.exit_code == 0, made.output
    assert (folder / "sent-report" / "index.html").stat().st_size > 10_000
    rows = list(csv.DictReader(io.StringIO((folder / "sent-report" / "tables" / "cells.csv").read_text())))
    assert len(rows) == 2
    looked = run(ORCHESTRATE, "doctor", "--address", head.jobs, "--json")
    assert looked.returncode == 0, looked.stdout + looked.stderr
    findings = {one["what"]: one for one in json.loads(looked.stdout)["findings"]}
    assert findings["token"]["found"].startswith("wants the one that is here")
    assert findings["machines"]["found"] == "1 there: 2 CPUs, 0 GPUs"
