"""A home in an object store: the same protocol on S3's own puts, against a server of moto on this machine."""

from __future__ import annotations

import logging
import os
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from crash_points import Killed, crash_points
from in_process import GRID, SEARCH, opened, outcome, run_here, sweep_file, validations
from moto.server import ThreadedMotoServer

from orchestrator.cleanup import Limits, plan_cleanup, remove_parts
from orchestrator.cli import cli
from orchestrator.home import open_home
from orchestrator.home_objects import Home
from orchestrator.record import sweep_names

pytestmark = pytest.mark.usefixtures("every_iteration_saved")
"""Else it would depend on time which writes there are."""

SWEEPS = {"grid": GRID, "search": SEARCH}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """``HOST:PORT`` of an object store with a bucket."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a request
    started = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    with urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/bucket", method="PUT")):
        pass
    yield f"{host}:{port}"
    started.stop()


@pytest.fixture
def bucket(server: str, glyphs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], str]:
    """Names homes in the bucket; this machine's cache has the data."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "metasweep" / "datasets").mkdir(parents=True)
    os.link(glyphs_file, tmp_path / "metasweep" / "datasets" / glyphs_file.name)
    options = f"endpoint_override={server}&scheme=http&region=us-east-1"
    return lambda name: f"s3://bucket/{tmp_path.name}/{name}?{options}"


def everything(home: Home, folder: str) -> dict[str, bytes]:
    """Every object below a folder."""
    found = {}
    for name in home.names(folder):
        path = f"{folder}/{name}"
        data = home.read(path) if home.exists(path) else None
        found |= everything(home, path) if data is None else {path: data}
    return found


def test_objects(bucket: Callable[[Any], str]) -> None:
    home = open_home(bucket("objects"))
    assert home.local is None
    assert (home.read("a/b.json"), home.names("a"), home.read_json("a/b.json")) == (None, [], None)
    home.put("a/b.json", b"one")
    home.put("a/b.json", b"two")
    assert not home.put_first("a/b.json", b"three")
    assert home.put_first("a/c.json", b"three")
    assert (home.read("a/b.json"), home.names("a")) == (b"two", ["b.json", "c.json"])
    home.remove("a/c.json")
    home.remove("a/c.json")
    assert home.names("a") == ["b.json"]
    assert open_home(home.url).id == opened(home.url).id == home.id


def test_records_that_are_put_while_they_are_read(bucket: Callable[[Any], str]) -> None:
    """Arrow asks for an object's size first: what is put over it before the rest is read comes cut, or padded."""
    told: list[str] = []
    home, over = open_home(bucket("busy")).mending(told.append), threading.Event()
    versions = [{"text": length * "x"} for length in (10, 10_000)]
    home.put_json("record.json", versions[0])

    def put_on() -> None:
        while not over.is_set():
            for version in versions:
                home.put_json("record.json", version)

    with ThreadPoolExecutor(1) as pool:
        putting = pool.submit(put_on)
        try:
            found = [home.read_json("record.json") for _ in range(100)]
        finally:
            over.set()
        putting.result()
    assert all(version in found for version in versions)
    assert all(one in versions for one in found)
    assert told == []


@pytest.mark.parametrize("name", SWEEPS)
def test_a_kill_between_puts(name: str, bucket: Callable[[Any], str], tmp_path: Path) -> None:
    file, events = sweep_file(tmp_path, name, SWEEPS[name]), []
    with crash_points(None) as points:
        assert run_here(file, bucket("undisturbed"), events) == []
    expected = outcome(opened(bucket("undisturbed")), name)
    for at in range(2, points.passed, 7):  # the first puts home.json, in a thread of its own
        before, after = [], []
        with pytest.raises(Killed), crash_points(at):
            run_here(file, bucket(at), before)
        assert run_here(file, bucket(at), after) == []
        assert outcome(opened(bucket(at)), name) == expected, at
        assert abs(validations(events) - validations(before) - validations(after)) <= 1, at


def test_damaged_records(bucket: Callable[[Any], str], tmp_path: Path) -> None:
    file = sweep_file(tmp_path, "grid", GRID)
    run_here(file, bucket("h"))
    home = opened(bucket("h"))
    expected = outcome(home, "grid")
    torn = {
        path: data[:-1]
        for path, data in {**everything(home, "trainings"), **everything(home, "sweeps")}.items()
        if path.endswith(("manifest.json", ".arrow", "spec.yaml"))
    }
    assert len(torn) == 5
    for path, data in torn.items():
        home.put(path, data)
    said = run_here(file, bucket("h"))
    assert len(said) == 5
    assert outcome(opened(bucket("h")), "grid") == expected
    assert everything(home, "damaged") == {f"damaged/{path}": data for path, data in torn.items()}
    assert run_here(file, bucket("h")) == []


def test_a_sweep_is_forgotten_and_cleaned_away(bucket: Callable[[Any], str], tmp_path: Path) -> None:
    files = {
        name: sweep_file(tmp_path, name, GRID | {"trial": GRID["trial"] | {"algorithm": {"inner_lr": inner_lr}}})
        for name, inner_lr in (("kept", 0.1), ("forgotten", 0.2))
    }
    for file in files.values():
        run_here(file, bucket("h"))
    home = opened(bucket("h"))
    before, trainings = everything(home, "trainings"), set(home.names("trainings"))

    def command(*arguments: str) -> None:
        done = CliRunner().invoke(cli, [*arguments, "--home", home.url], catch_exceptions=False)
        assert done.exit_code == 0, done.output

    command("rm", "forgotten")
    assert sweep_names(home) == ["kept"]
    assert not everything(home, "sweeps/forgotten")
    command("clean", "--older-than", "0")  # in a bucket nobody can tell what runs: a minute at least
    assert set(home.names("trainings")) == trainings
    remove_parts(home, plan_cleanup(home, Limits(time.time() + 120, False, 60, False)), alone=False)
    after, events = everything(home, "trainings"), []
    kept = {path.split("/")[1] for path in after}
    assert len(kept) == len(trainings) // 2
    assert after == {path: data for path, data in before.items() if path.split("/")[1] in kept}
    assert run_here(files["kept"], home.url, events) == events == []
