"""A new tracking database is whole or absent, whatever happens while its tables are made."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from orchestrator.tracking.client import open_client
from orchestrator.tracking_database import ensure_database
from orchestrator.tracking_uri import default_uri, sqlite_path

DIES = """
import os, signal, sqlite3, sys
from orchestrator.tracking_database import ensure_database
from orchestrator.tracking_uri import sqlite_path

def fill(uri):
    sqlite3.connect(sqlite_path(uri)).execute("CREATE TABLE experiments (x)").connection.commit()
    os.kill(os.getpid(), signal.SIGKILL)

ensure_database(sys.argv[1], fill)
"""


def tables(path: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master")}


def make(*names: str):
    def fill(uri: str) -> None:
        with contextlib.closing(sqlite3.connect(sqlite_path(uri))) as database:
            for name in names:
                database.execute(f"CREATE TABLE {name} (x)")
            database.commit()

    return fill


def test_a_kill_among_the_tables_leaves_no_database(tmp_path):
    uri = default_uri(tmp_path)
    killed = subprocess.run(
        [sys.executable, "-c", DIES, uri], env=os.environ | {"PYTHONPATH": os.getcwd()}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "mlflow.db").exists()
    (left,) = tmp_path.iterdir()
    assert tables(left) == {"experiments"}  # else nothing was half made

    ensure_database(uri, make("experiments", "runs"))
    assert tables(tmp_path / "mlflow.db") == {"experiments", "runs"}
    assert left.exists()  # for all that is known, another process is still at it
    hour_ago = time.time() - 3600
    os.utime(left, (hour_ago, hour_ago))
    ensure_database(uri, make())
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def test_a_failure_leaves_nothing(tmp_path):
    def fill(uri: str) -> None:
        make("experiments")(uri)
        raise OSError(28, "no space left")

    with pytest.raises(OSError, match="no space"):
        ensure_database(default_uri(tmp_path), fill)
    assert not list(tmp_path.iterdir())


def test_the_first_of_several_is_kept(tmp_path):
    together = threading.Barrier(4)

    def fill(number: int):
        def wait(uri: str) -> None:
            make(f"made_by_{number}")(uri)
            together.wait(30)

        return wait

    uri = default_uri(tmp_path) + "?timeout=5"
    makers = [threading.Thread(target=ensure_database, args=(uri, fill(number))) for number in range(4)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(60)
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
    (made,) = tables(tmp_path / "mlflow.db")
    ensure_database(uri, make("another"))
    assert tables(tmp_path / "mlflow.db") == {made}


def test_one_that_another_has_put_meanwhile_is_kept(tmp_path):
    uri = default_uri(tmp_path)

    def fill(unfinished: str) -> None:
        make("made_by_another")(uri)
        make("late")(unfinished)

    ensure_database(uri, fill)
    assert tables(tmp_path / "mlflow.db") == {"made_by_another"}


def test_a_client_opens_none_that_is_not_whole(tmp_path, monkeypatch):
    path, opened = tmp_path / "mlflow.db", []

    class Client:
        def __init__(self, tracking_uri: str) -> None:
            self.uri = tracking_uri
            opened.append((sqlite_path(tracking_uri) == path, path.exists()))

        def search_experiments(self, max_results: int) -> None:
            make("experiments")(self.uri)

    monkeypatch.setattr("mlflow.MlflowClient", Client)
    open_client(default_uri(tmp_path))
    assert opened == [(False, False), (True, True)]


def test_other_stores_are_left_alone():
    ensure_database("http://127.0.0.1:5000", lambda uri: pytest.fail(uri))
