"""A trial that diverges or hangs: the others go on, the cause is recorded, exit code 1."""

from __future__ import annotations

import os
from pathlib import Path

from faults_spec import write_spec
from processes import ORCHESTRATE, attempts, run

from orchestrator.grid import expand
from orchestrator.home import open_home
from orchestrator.rows import results, status
from orchestrator.spec_file import load_spec
from orchestrator.store import keys_of
from trainers.datasets.image_file import ImageTable

TINY = {"iterations": 8, "validate_every": 4, "meta_batch": 1}


def test_one_diverges_and_one_hangs_while_the_tracking_server_is_gone(
    tmp_path: Path, home: Path, glyphs: ImageTable
) -> None:
    factors = {"algorithm.name": ["maml"], "algorithm.inner_steps": [5], "algorithm.inner_lr": [1e30, 0.1, 0.2, 0.3]}
    path = write_spec(tmp_path, "failing", TINY, grid={"train": factors})
    hanging = expand(load_spec(path))[1]
    # A read from a pipe that nobody writes is a real hang: it never returns, and no signal handler of Python's runs.
    pipe = home / "trainings" / keys_of(hanging.config, glyphs.fingerprint).training / "attempts/0/progress.safetensors"
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    command = ("sweep", path, "--home", home, "--max-concurrent", 2, "--trial-timeout", 15)
    done = run(ORCHESTRATE, *command, "--tracking-uri", "http://me:secret@127.0.0.1:9")
    assert done.returncode == 1, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("tracking")]
    assert "127.0.0.1:9" in line
    assert "orchestrate track" in line
    assert "secret" not in done.stderr + done.stdout
    for word in ("ray", "Tune", "WARNING", "INFO", "\x1b", "Traceback", "File "):  # nothing of Ray's own
        assert word not in done.stderr.replace(str(home), "").replace(line, ""), done.stderr
    assert not any(b"secret" in path.read_bytes() for path in (home / "sweeps").rglob("*.json"))

    found = results("failing", str(home)).to_pylist()
    assert [row["state"] for row in found] == ["failed", "failed", "completed", "completed"]
    assert "loss is nan" in found[0]["error"]
    assert "took longer than 15 s (--trial-timeout)" in found[1]["error"]
    assert status(open_home(str(home)), "failing")["state"] == "done"

    # What made it hang is gone: the next run tries it again, but not the one that diverged; MLflow gets all of it.
    pipe.unlink()
    before = len(attempts(home))
    again = run(ORCHESTRATE, *command)
    assert again.returncode == 1, again.stderr
    assert "failed: trial 0: the training loss is nan" in again.stdout
    assert [row["state"] for row in results("failing", str(home)).to_pylist()] == ["failed", *3 * ["completed"]]
    assert len(attempts(home)) == before + 1
    assert status(open_home(str(home)), "failing")["tracking"]["synced"]
