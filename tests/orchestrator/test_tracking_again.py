"""MLflow as a sweep left it, and what writes to it afterwards: the same, from the store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from in_process import GRID, TINY, opened, run_here, sweep_file
from mlflow_server import Read

from orchestrator import sweep
from orchestrator.home import open_home
from orchestrator.record import SweepRecord
from orchestrator.track import track
from orchestrator.tracking import Mark, default_uri


def everything(uri: str) -> list[Any]:
    """All runs of a store with their points, and each artifact with its content and the time of its upload."""
    read = Read(uri)
    return [
        (run.info.run_id, run.info.status, run.data.to_dictionary(), read.points(run), artifacts(run))
        for run in [*read.parents, *read.children]
    ]


def artifacts(run: Any) -> dict[str, tuple[bytes, int]]:
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_track_changes_nothing_that_the_sweep_has_written(tmp_path: Path, fresh: Callable[[Any], Path]) -> None:
    """Of a sweep that leaves ``gpu`` to us."""
    home = fresh("tracked")
    file, uri = sweep_file(tmp_path, "again", GRID), default_uri(home)
    assert run_here(file, str(home), tracking_uri=uri) == []
    before = everything(uri)
    assert "report/index.html" in before[0][-1]
    assert track("again", str(home))[1] == 2
    assert everything(uri) == before


def test_a_home_that_can_not_be_read_at_the_end_is_said_and_the_runs_are_ended(
    tmp_path: Path, fresh: Callable[[Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = fresh("unread")
    file, uri = sweep_file(tmp_path, "unread", GRID), default_uri(home)

    def unreadable(*_: object) -> None:
        raise OSError("no answer")

    monkeypatch.setattr(sweep, "outcome", unreadable)
    said: list[str] = []
    run_here(file, str(home), tracking_uri=uri, said=said)
    assert [line for line in said if "OSError: no answer" in line and "`orchestrate track unread`" in line]
    assert Read(uri).parents[0].info.status == "FINISHED"
    assert json.loads((home / "sweeps" / "unread" / "tracking.json").read_text())["synced"] is False


def test_nobody_else_drives_a_sweep_while_it_is_written(
    tmp_path: Path, fresh: Callable[[Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = fresh("tracked")
    assert run_here(sweep_file(tmp_path, "one", {"trial": TINY, "grid": {"seeds": 1}}), str(home)) == []
    record, locked = SweepRecord(opened(home), "one"), list[bool]()
    monkeypatch.setattr("orchestrator.track.outcome", lambda *_: None)
    monkeypatch.setattr("orchestrator.track.write_all", lambda *_: locked.append(record.locked))
    assert track("one", str(home)) == (default_uri(home), 1)
    assert (locked, record.locked) == ([True], False)


def test_who_begins_to_write_and_is_killed_leaves_no_mark(fresh: Callable[[Any], Path]) -> None:
    record, mark = SweepRecord(open_home(str(fresh("marked"))), "s"), Mark("run", "digest")
    record.put_tracked(mark)
    assert [record.take_tracked(), record.take_tracked()] == [mark, None]
