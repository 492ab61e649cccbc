"""What Ray is told before it is joined or started."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ray._raylet import AuthenticationMode, AuthenticationTokenLoader, get_authentication_mode

from orchestrator.cluster import connect
from orchestrator.cluster.watch import _opened
from orchestrator.placement import Machine


def test_clusters_of_one_process_each_have_their_own_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    seen: list[tuple[bool, str]] = []

    @contextmanager
    def joined(address: str | None) -> Iterator[list[Machine]]:
        headers = AuthenticationTokenLoader.instance().get_token_for_http_header()
        seen.append((get_authentication_mode() == AuthenticationMode.TOKEN, headers.get("authorization", "")))
        yield []

    monkeypatch.setattr(connect, "_connected", joined)
    monkeypatch.setattr(connect, "check_address", lambda address: None)
    with connect.cluster("10.0.0.1:6379"):  # there is no token here, so it needs none
        pass
    with connect.cluster(None):  # of ours: always with a token
        pass
    for token in ("ab" * 32, "cd" * 32):
        monkeypatch.setenv("RAY_AUTH_TOKEN", token)
        with connect.cluster("10.0.0.1:6379"):
            pass
    with_none, ours, one, another = seen
    assert with_none == (False, "")
    assert ours[0]
    assert len(ours[1]) > len("Bearer ") + 32
    assert (one, another) == ((True, "Bearer " + "ab" * 32), (True, "Bearer " + "cd" * 32))


def test_a_process_that_closes_files_meanwhile_is_still_known(tmp_path: Path) -> None:
    """As /proc shows one: what is listed may be gone when it is read."""
    opened = tmp_path / "fd"
    opened.mkdir()
    for number in range(9):
        (opened / str(number)).symlink_to("/tmp/ray/session/logs/agent.log")
        (opened / f"1{number}").touch()  # no link: reading it fails as that of one that is gone
    assert list(_opened(tmp_path)) == ["/tmp/ray/session/logs/agent.log"] * 9
    assert list(_opened(tmp_path / "ended")) == []


def test_nothing_is_said_while_joining_also_where_stderr_is_closed() -> None:
    program = """
import os
from orchestrator.cluster.connect import _unsaid
with _unsaid():
    os.write(2, b"in it")
os.write(2, b"after it")
os.close(2)
with _unsaid():
    print("joined")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("joined\n", "after it")
