"""An MLflow server dies in the middle of a sweep: the sweep does not change, and ``orchestrate track`` catches up."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import orchestrate_in
from faults_spec import SEARCH, write_spec
from in_process import run_here
from mlflow_server import Read, Server
from processes import SERIAL, bits, environment, faults, link_data, wait_for

from orchestrator.home import open_home
from orchestrator.record import SweepRecord
from orchestrator.rows import load_rows
from orchestrator.spec_file import load_spec
from orchestrator.store import Store
from orchestrator.sweep_state import status
from orchestrator.tracking import Point
from orchestrator.tracking_rows import stored_view

SHORT = {"iterations": 30}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server")
    try:
        server.start()
        yield server
    finally:
        server.stop()


def check_equal(uri: str, home: Path, name: str) -> list[Any]:
    """The server holds exactly what the store does: a run a trial, each point once at its own time. Gives the runs."""
    opened = open_home(str(home))
    record, store, read = SweepRecord(opened, name), Store(opened), Read(uri)
    assert record.spec is not None
    (parent,) = read.parents
    assert (parent.info.status, parent.data.tags["metasweep.state"]) == ("FINISHED", "done")
    rows = load_rows(store, record, record.spec)
    assert [int(run.data.tags["metasweep.number"]) for run in read.children] == [row.number for row in rows]
    for child, row in zip(read.children, rows, strict=True):
        view = stored_view(row, record.spec, record.fingerprints[row.config.dataset.name], store)
        assert read.points(child) == sorted(view.all_points())
        assert child.data.params == {key: str(value) for key, value in view.params.items()}
        assert view.tags.items() <= child.data.tags.items()
        assert (child.info.status, child.info.end_time) == ("FINISHED", view.ended_ms)
    return [(run.info.run_id, run.data.to_dictionary(), read.points(run)) for run in [parent, *read.children]]


def test_a_server_dies_in_the_middle_of_a_sweep(
    tmp_path: Path, home: Path, glyphs_file: Path, server: Server, undisturbed: Callable[[Path], dict[str, Any]]
) -> None:
    path, gone = write_spec(tmp_path, "search", SHORT, search=SEARCH), tmp_path / "gone"
    command = [*SERIAL, "sweep", str(path), "--home", str(home), "--tracking-uri", server.uri]
    waits = faults(FAULT_WAIT="proposals/.2.json", FAULT_UNTIL=gone)  # the rest of the sweep is without the server
    sweep = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment() | waits
    )
    try:
        wait_for(lambda: seen(server.uri), "nothing reaches the server")
        server.stop()
        assert sweep.poll() is None
        gone.touch()
        _, err = sweep.communicate(timeout=300)
    finally:
        sweep.kill()
    assert sweep.returncode == 0, err
    (line,) = [line for line in err.splitlines() if line.startswith("tracking")]
    assert "`orchestrate track search` writes what is missing" in line
    assert status(open_home(str(home)), "search")["tracking"] == {"uri": server.uri, "synced": False}
    assert bits(home, "search") == undisturbed(path)

    track = ("track", "search", "--home", str(home), "--tracking-uri", server.uri)
    down = orchestrate_in(tmp_path, *track)
    assert (down.returncode, down.stdout) == (3, "")
    (line,) = down.stderr.splitlines()
    assert server.uri in line

    server.start()
    done = orchestrate_in(tmp_path, *track)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{server.uri} has sweep search: 4 trials\n"
    held = check_equal(server.uri, home, "search")
    assert orchestrate_in(tmp_path, *track).returncode == 0
    assert check_equal(server.uri, home, "search") == held
    assert status(open_home(str(home)), "search")["tracking"] == {"uri": server.uri, "synced": True}

    without = link_data(glyphs_file, tmp_path / "without")
    assert run_here(path, str(without)) == []
    assert not (without / "mlflow.db").exists()
    uri = f"sqlite:///{tmp_path}/other.db"  # one that never saw the sweep
    orchestrate_in(tmp_path, "track", "search", "--home", str(without), "--tracking-uri", uri)
    check_equal(uri, without, "search")


def seen(uri: str) -> list[Point]:
    """Points of the first trial that a server has."""
    try:
        read = Read(uri)
    except AttributeError:  # no experiment yet
        return []
    return [point for child in read.children[:1] for point in read.points(child)]


def test_what_can_not_be_tracked_is_refused_in_a_line(home: Path, tmp_path: Path) -> None:
    path = write_spec(tmp_path, "search", SHORT, search=SEARCH)
    open_home(str(home))
    cases: list[tuple[list[str], str]] = [
        (["serach"], "no sweep 'serach'"),
        (["search", "--tracking-uri", "ftp://host"], "unknown scheme 'ftp'"),
    ]
    SweepRecord(open_home(str(home)), "search").put_spec(load_spec(path), {"glyphs": "0" * 20})
    for arguments, says in cases:
        done = orchestrate_in(tmp_path, "track", *arguments, "--home", str(home))
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert says in line
    with SweepRecord(open_home(str(home)), "search").lock():
        done = orchestrate_in(tmp_path, "track", "search", "--home", str(home))
    assert done.returncode == 2
    assert "run by a process now" in done.stderr
