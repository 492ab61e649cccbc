"""Tune as an executor: what it leaves on disk."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.cluster.scratch import PREFIX, scratch_folder

HOLD = """
import tempfile, time
from orchestrator.cluster.scratch import scratch_folder
tempfile.tempdir = {folder!r}
with scratch_folder() as scratch:
    (scratch / "sweep").mkdir()
    print(scratch, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders go."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@contextmanager
def driver(temporary: Path) -> Iterator[Path]:
    """The folder of another driver, which is killed at the end."""
    command = [sys.executable, "-c", HOLD.format(folder=str(temporary))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_the_folder_of_a_killed_driver_goes_with_the_next_start(temporary: Path) -> None:
    with driver(temporary) as first:
        with scratch_folder() as mine:
            assert sorted(temporary.iterdir()) == sorted([first, mine])  # a driver that lives keeps its own
            with scratch_folder():
                assert mine.exists()
        assert list(temporary.iterdir()) == [first]
    assert (first / "sweep").exists()
    with scratch_folder() as mine:
        assert list(temporary.iterdir()) == [mine]
    assert list(temporary.iterdir()) == []


def test_a_folder_that_is_taken_for_stale_before_it_is_locked(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    mkdtemp = tempfile.mkdtemp

    def make(prefix: str) -> str:
        made.append(Path(mkdtemp(prefix=prefix)))
        if len(made) == 1:
            made[0].rmdir()
        return str(made[-1])

    monkeypatch.setattr(tempfile, "mkdtemp", make)
    with scratch_folder() as mine:
        assert mine == made[1]
        assert mine.exists()


def test_a_folder_of_somebody_else_is_left_alone(temporary: Path) -> None:
    (temporary / f"{PREFIX}file").write_text("")
    (temporary / "other").mkdir()
    with scratch_folder():
        pass
    assert sorted(path.name for path in temporary.iterdir()) == [f"{PREFIX}file", "other"]
