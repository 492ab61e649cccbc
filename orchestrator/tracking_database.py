"""A new SQLite tracking store appears whole or not at all.

MLflow makes some sixty tables one after the other and keeps no note of where it was: a process that dies among them, or
a disk that is full there, leaves a file that no later run can use.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from orchestrator.tracking_uri import sqlite_path

_LEFT_BEHIND_S = 600.0


def ensure_database(uri: str, fill: Callable[[str], Any]) -> None:
    """Makes the file of a SQLite store where there is none; does nothing for any other store.

    ``fill`` gets the URI of a file beside it and makes the tables there; then it takes its place. Where several
    processes make one, the first is kept.
    """
    if not uri.startswith("sqlite:"):
        return
    path = sqlite_path(uri)
    _remove_left_behind(path)
    if path.exists():
        return
    address, *query = uri.split("?", 1)
    suffix = f".{secrets.token_hex(4)}.new"
    unfinished = path.with_name(path.name + suffix)
    try:
        fill("?".join([address + suffix, *query]))
        with suppress(FileExistsError):
            _put(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def runs_below(uri: str, run: str) -> list[tuple[str, str]] | None:
    """(id, status) of a run and those below it, by id, without MLflow; None where no SQLite file tells.

    Runs that were deleted are left out.
    """
    path = sqlite_path(uri) if uri.startswith("sqlite:") else None
    if path is None or not path.is_file():
        return None
    below = "SELECT run_uuid FROM tags WHERE key = 'mlflow.parentRunId' AND value = :run"
    active = f"lifecycle_stage = 'active' AND (run_uuid = :run OR run_uuid IN ({below}))"
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=1)) as database:
        query = f"SELECT run_uuid, status FROM runs WHERE {active} ORDER BY run_uuid"
        return [(str(run), str(status)) for run, status in database.execute(query, {"run": run})]
    return None


def _put(unfinished: Path, path: Path) -> None:
    try:
        os.link(unfinished, path)  # never over one that is there
    except FileExistsError:
        raise
    except OSError:  # a filesystem without links
        os.replace(unfinished, path)
    # Commits take a third of the time, and who reads does not wait for who writes. MLflow leaves it as it finds it.
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=1)) as database:
        database.execute("PRAGMA journal_mode=WAL")


def _remove_left_behind(path: Path) -> None:
    for old in path.parent.glob(f"{path.name}.*.new*"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > _LEFT_BEHIND_S:
                old.unlink()
