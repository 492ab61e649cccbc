"""Object stores that take a connection and never answer: every request ends, and so does the command."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from processes import ORCHESTRATE, run
from pyarrow import fs

from orchestrator import patience
from orchestrator.home_objects import Home
from orchestrator.patience import Patience, awaited

REQUESTS: dict[str, Callable[[Home], object]] = {
    "read": lambda home: home.read("a"),
    "read a header": lambda home: home.read_json_header("a"),
    "put": lambda home: home.put("a", b"1"),
    "put first": lambda home: home.put_first("a", b"1"),
    "remove": lambda home: home.remove("a"),
    "exists": lambda home: home.exists("a"),
    "names": lambda home: home.names("a"),
    "files": lambda home: home.files("a"),
}


@pytest.fixture
def mute() -> Iterator[str]:
    """``HOST:PORT`` of a server that says nothing; threads that wait for it have ended afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield "{}:{}".format(*server.getsockname())
    for thread in threading.enumerate():
        if thread.name == "object-store":
            thread.join()


def test_every_request_ends(mute: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "MUTE_S", 0.01)
    store = fs.S3FileSystem(
        access_key="a", secret_key="b", region="us-east-1", endpoint_override=mute, scheme="http", retry_strategy=ONCE
    )
    home = Home(store, "bucket", "s3://bucket", patience=Patience("s3://bucket", 0.1))
    for said, request in REQUESTS.items():
        with pytest.raises(TimeoutError, match=r"no answer within 0\.\d+ s") as caught:
            request(home)
        assert caught.value.filename == "s3://bucket", said
    assert awaited()


ONCE = fs.AwsStandardS3RetryStrategy(max_attempts=1)


def test_patience_comes_back_with_the_first_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "MUTE_S", 0.05)
    waiting, asked = threading.Event(), Patience("there", 0.1)
    with pytest.raises(TimeoutError, match=r"no answer within 0\.1 s"):
        asked.ask(waiting.wait)
    with pytest.raises(TimeoutError, match=r"no answer within 0\.05 s"):
        asked.ask(waiting.wait)
    assert awaited()
    assert asked.ask(lambda: 3) == 3
    with pytest.raises(TimeoutError, match=r"no answer within 1\.1 s"):
        asked.ask(waiting.wait, sent_bytes=2**20)
    waiting.set()
    with pytest.raises(ZeroDivisionError):
        asked.ask(lambda: 1 // 0)


def test_what_is_being_put_when_a_signal_comes_is_put_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    began, put = threading.Event(), []

    def slow() -> None:
        began.wait()
        put.append("whole")

    def interrupted(thread: threading.Thread, timeout: float | None = None) -> None:
        if not began.is_set():
            began.set()
            raise KeyboardInterrupt
        join(thread, timeout)

    join = threading.Thread.join
    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Patience("there").ask(slow)
    assert put == ["whole"]


@pytest.mark.timeout(80)  # Python's own exit takes 100 s here
def test_a_command_does_not_wait_at_its_end(mute: str) -> None:
    url = f"s3://bucket/x?endpoint_override={mute}&scheme=http&region=us-east-1"
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_EC2_METADATA_DISABLED": "true"}
    done = run(ORCHESTRATE, "status", "x", "--home", url, **keys)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: --home {url}: no answer within 4 s; check the network")
    assert done.stderr.count("\n") == 1
