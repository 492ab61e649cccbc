"""Failures in whole sweeps on a real Ray cluster: trials that take too long, that fail, that are run again."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from processes import SERIAL, run, wait_for
from test_sweep import orchestrate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def attempts(home: Path) -> list[dict[str, Any]]:
    """All of a home, oldest first."""
    records = [json.loads(path.read_text()) for path in home.rglob("attempt.json")]
    return sorted(records, key=lambda record: record["started_ms"])


def started_for(home: Path) -> list[str]:
    """Processes, Ray's too, that inherited the environment of a sweep of this home."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"METASWEEP_TEST={home}".encode() in path.read_bytes().split(b"\0"):
                found.append(path.parent.name)
    return found


@pytest.mark.faults
def test_a_trial_that_takes_too_long_is_ended_and_resumed_and_fails_fast(
    spec_file: Any, new_home: Callable[[Path], Path], tmp_path: Path
) -> None:
    home = new_home(tmp_path / "home")
    path = spec_file("endless", grid={"train": {"training.iterations": [4_000_000, 8]}})
    flags = ["--home", home, "--max-concurrent", 1, "--trial-timeout", 6, "--fail-fast", "--json"]
    done = orchestrate("sweep", path, *flags, METASWEEP_TEST=str(home))
    out, err = done.stdout, done.stderr
    assert done.returncode == 1, err
    assert "Traceback" not in err
    assert "trial 0: took longer than 6 s (--trial-timeout); attempt 2 of 3 follows" in err
    assert err.splitlines()[-1] == (
        "error: sweep 'endless' stopped: a trial failed, the last is trial 0: took longer than 6 s (--trial-timeout); "
        "the same command goes on with the rest"
    )
    status = json.loads(out)
    assert status["state"] == "interrupted"
    assert status["trials"] == {"planned": 2, "completed": 0, "pruned": 0, "failed": 1, "running": 0, "cached": 0}
    made = attempts(home)
    assert [record["failure"] for record in made] == ["timeout"] * 3
    assert {record["state"] for record in made} == {"failed"}
    reached = [record["resumed_at"] for record in made]
    assert reached == sorted(reached)
    assert reached[0] == 0 < reached[2]  # each goes on from what was saved last
    wait_for(lambda: not started_for(home), "processes outlive the sweep")


def test_what_failed_for_good_is_run_again_when_asked(
    spec_file: Any, new_home: Callable[[Path], Path], tmp_path: Path
) -> None:
    home = new_home(tmp_path / "home")
    path = spec_file("failing", grid={"train": {"algorithm.inner_lr": [1e30, 0.1], "algorithm.inner_steps": [5]}})
    done = run(SERIAL, "sweep", path, "--home", home, "--max-failures", 2)
    assert done.returncode == 1, done.stderr
    assert "failed trials are not run again; the same command with --retry-failed does" in done.stdout
    failed, completed = sorted(attempts(home), key=lambda record: record["state"], reverse=True)
    assert (failed["failure"], completed["failure"]) == ("diverged", None)
    again = orchestrate("sweep", path, "--home", home, "--retry-failed", "--json")
    assert again.returncode == 1, again.stderr
    assert json.loads(again.stdout)["trials"] == {
        **{"planned": 2, "completed": 1, "pruned": 0, "failed": 1, "running": 0, "cached": 1}
    }
    states = [(record["attempt"], record["state"]) for record in attempts(home) if record["failure"]]
    assert [state for _, state in states] == ["set aside", "failed"]
    assert states[0][0] == failed["attempt"]
