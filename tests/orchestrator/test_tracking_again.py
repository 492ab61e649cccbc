"""MLflow as a sweep left it, and what writes to it afterwards: the same, from the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from in_process import GRID, run_here, sweep_file
from mlflow_server import Read

from orchestrator.track import track
from orchestrator.tracking import default_uri


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
