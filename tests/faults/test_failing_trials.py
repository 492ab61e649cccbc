"""Trials that diverge, hang, or need too much memory: the others go on, the cause is recorded, exit code 1."""

from __future__ import annotations

from pathlib import Path

from faults_spec import write_spec
from processes import ORCHESTRATE, SERIAL, attempts, faults, run

from orchestrator.grid import expand
from orchestrator.home import open_home
from orchestrator.row_table import results
from orchestrator.spec_file import load_spec
from orchestrator.store import Store, keys_of
from orchestrator.sweep_state import status
from trainers.datasets.image_file import ImageTable

MAML = {"algorithm.name": "maml", "algorithm.inner_steps": 5}
TINY = {"iterations": 8, "validate_every": 4, "meta_batch": 1}


def test_trials_fail_in_three_ways_while_the_tracking_server_is_gone(
    tmp_path: Path, home: Path, glyphs: ImageTable
) -> None:
    settings = {
        "diverges": {"algorithm.inner_lr": 1e30},
        "hangs": {"algorithm.inner_lr": 0.1},
        "needs more memory than there is": {"backbone.width": 512, "algorithm.name": "anil"},
        "is well": {"algorithm.inner_lr": 0.2},
        "is well, too": {"algorithm.inner_lr": 0.3},
    }
    path = write_spec(tmp_path, "failing", TINY, grid={"settings": {k: MAML | its for k, its in settings.items()}})
    _, hanging, large, *_ = (keys_of(its.config, glyphs.fingerprint).training for its in expand(load_spec(path)))
    command = ("sweep", path, "--home", home, "--max-concurrent", 2)
    done = run(
        ORCHESTRATE,
        *command,
        "--trial-timeout",
        6,
        "--tracking-uri",
        "http://me:secret@127.0.0.1:9",
        **faults(FAULT_MEMORY=f"trainings/{large}/", FAULT_HANG=f"trainings/{hanging}/.config.json"),
    )
    assert done.returncode == 1, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("tracking")]
    assert "127.0.0.1:9" in line
    assert "orchestrate track" in line
    assert "secret" not in done.stderr + done.stdout
    for word in ("ray", "Tune", "WARNING", "INFO", "\x1b", "Traceback", "File "):  # nothing of Ray's own
        assert word not in done.stderr.replace(str(home), "").replace(line, ""), done.stderr
    assert not any(b"secret" in path.read_bytes() for path in (home / "sweeps").rglob("*.json"))

    found = results("failing", str(home)).to_pylist()
    errors = [row["error"] for row in found]
    assert [row["state"] for row in found] == ["failed", "failed", "failed", "completed", "completed"], errors
    assert "loss is nan" in found[0]["error"]
    assert "took longer than 6 s (--trial-timeout)" in found[1]["error"]
    assert "out of memory: " in found[2]["error"]
    of_large = Store(open_home(str(home))).attempts(large)
    assert [attempt["failure"] for attempt in of_large] == ["memory"] * 3
    assert len({attempt["pid"] for attempt in of_large}) == 3  # each in a fresh process
    for attempt in (2, 3):
        assert f"attempt {attempt} of 3 follows" in done.stderr
    assert status(open_home(str(home)), "failing")["state"] == "done"

    # What made them fail is gone: the next run tries them again, but not the one that diverged; MLflow gets all of it.
    before = len(attempts(home))
    again = run(SERIAL, *command)  # without the time limit: a busy machine may need more than that for one of them
    assert again.returncode == 1, again.stderr
    assert "failed: trial 0: the training loss is nan" in again.stdout
    assert [row["state"] for row in results("failing", str(home)).to_pylist()] == ["failed", *4 * ["completed"]]
    assert len(attempts(home)) == before + 2
    assert status(open_home(str(home)), "failing")["tracking"]["synced"]
