"""Addresses at which no cluster of ours is: each is told in a line, soon, whatever answers there."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
import ray
from click.testing import CliRunner
from standing_cluster import free_port

from orchestrator import cli_remote
from orchestrator.cli import cli
from orchestrator.cluster import checkup, connect, head, job_server
from orchestrator.cluster.checkup import is_loopback
from orchestrator.cluster.connect import check_address
from orchestrator.cluster.job_server import open_job_server
from orchestrator.errors import ClusterError, InputError
from orchestrator.submission import checked_home, exit_code

TOKEN = "ab" * 32


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a token."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_USE_TLS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@contextmanager
def answering(status: int, body: str, wants: str | None = None) -> Iterator[str]:
    """A server on this machine that answers each request alike; 401 or 403 where it wants a token. Gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Authorization")
            refused = wants is not None and given != f"Bearer {wants}"
            self.send_response((403 if given else 401) if refused else status)
            self.end_headers()
            self.wfile.write(b"" if refused else body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def version(found: str = ray.__version__) -> str:
    return json.dumps({"ray_version": found})


def refusal(address: str) -> str:
    """What is said of a job server, in one line."""
    with pytest.raises(ClusterError) as caught, open_job_server(address):
        pass
    (line,) = caught.value.args
    assert "\n" not in line
    assert line.startswith("--address ")
    return str(line)


@pytest.mark.parametrize(
    "address",
    ["", "nonsense", "127.0.0.1:8265", "ftp://head:8265", "http://", "http://head:x", "http://me:secret@head:8265"],
)
def test_what_is_no_url_of_a_job_server(address: str) -> None:
    line = refusal(address)
    assert "not a URL like http://HEAD:8265" in line
    assert "secret" not in line


def test_a_server_that_is_not_there_or_not_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no job server of Ray answers there" in refusal(f"http://127.0.0.1:{free_port()}")
    for status, body in ((404, ""), (200, "<html>"), (200, "[]"), (200, '{"version": 1}')):
        with answering(status, body) as url:
            assert "no job server of Ray answers there" in refusal(url)
    monkeypatch.setattr(job_server, "CONNECT_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert "timed out" in refusal(f"http://127.0.0.1:{mute.getsockname()[1]}")


def test_a_server_of_another_version() -> None:
    with answering(200, version("2.9.0")) as url:
        line = refusal(url)
    assert f"runs Ray 2.9.0, and this is {ray.__version__}; install the same on both" in line


def test_a_token_that_is_missing_or_wrong_or_right(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with answering(200, version(), wants=TOKEN) as url:
        assert "it wants a token, and there is none here; copy the file" in refusal(url)
        for unusable in ("cd" * 32, "not\na header"):
            (tmp_path / "token").write_text(unusable)
            monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
            assert "token" in refusal(url)
        monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
        monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")  # Ray's client would go there
        with open_job_server(url) as server:
            assert not server.is_open
        assert os.environ["RAY_ADDRESS"] == "http://127.0.0.1:9"


def test_an_open_cluster_is_reported() -> None:
    nodes = {"data": {"result": {"result": [{"state": "ALIVE", "resources_total": {"CPU": 4.0}}]}}}
    with answering(200, json.dumps(nodes | {"ray_version": ray.__version__})) as url:
        done = CliRunner().invoke(cli, ["doctor", "--address", url])
    assert done.exit_code == 1
    assert "PROBLEM  token          open: it takes orders without a token" in done.output
    assert "1 there: 4 CPUs, 0 GPUs" in done.output


def test_which_hosts_only_the_machine_itself_reaches() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "10.0.0.1", "::", "head.example")))


class Head(grpc.GenericRpcHandler):
    """Answers every call, or those with its token; none while it is busy."""

    def __init__(self, token: str | None, busy: threading.Event | None = None) -> None:
        self.token = token
        self.busy = busy

    def service(self, details: Any) -> Any:
        given = dict(details.invocation_metadata).get("authorization")

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            if self.busy is not None:
                self.busy.wait(60)
            if self.token and given != f"Bearer {self.token}":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@contextmanager
def head_with(token: str | None, busy: threading.Event | None = None) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[Head(token, busy)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def test_a_head_is_asked_before_ray_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with head_with(None) as address:
        assert head.ask_head(address) == "open"
        check_address(address)
    with head_with(TOKEN) as address:
        with pytest.raises(ClusterError, match="it wants a token, and there is none here"):
            check_address(address)
        monkeypatch.setenv("RAY_AUTH_TOKEN", "cd" * 32)
        with pytest.raises(ClusterError, match="it wants another token than the one here"):
            check_address(address)
        monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
        check_address(address)
        assert head.ask_head(address) == "ours"
    with answering(200, "") as url, pytest.raises(ClusterError, match="what listens there is not Ray"):
        check_address(url.removeprefix("http://"))


def test_a_head_that_is_busy_is_asked_again_and_an_encrypted_one_is_left_to_ray(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    busy = threading.Event()
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.setattr(connect, "ask_head", lambda address, timeout_s=0.2: head.ask_head(address, timeout_s))
    with head_with(TOKEN, busy) as address:
        monkeypatch.setattr(connect, "BUSY_TIMEOUT_S", 0.2)
        with pytest.raises(ClusterError, match="it takes connections, and says nothing"):
            check_address(address)
        monkeypatch.setattr(connect, "BUSY_TIMEOUT_S", 60.0)
        threading.Timer(1.0, busy.set).start()
        check_address(address)
    with answering(200, "") as url:
        address = url.removeprefix("http://")
        monkeypatch.setenv("RAY_USE_TLS", "1")
        assert head.ask_head(address) == "not asked"
        check_address(address)
    looked: dict[head.HeadAnswer, str] = {"open": "problem", "ours": "ok", "silent": "note", "not asked": "note"}
    assert {answer: checkup._token(answer).state for answer in looked} == looked


def test_a_cluster_of_another_python_is_told_in_a_line() -> None:
    said = (
        "Version mismatch: The cluster was started with:\n    Ray: 2.60.0\n    Python: 3.12.1\n"
        "This process on Node: 10.0.0.2 was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
    )
    line = connect._problem(said, "10.0.0.1:6379")
    assert line == (
        "--address 10.0.0.1:6379: the cluster runs Ray 2.60.0 on Python 3.12.1, and this is Ray 2.60.0 on Python "
        "3.11.7; install the same on both"
    )


@pytest.mark.parametrize(
    ("state", "its", "ours"),
    [
        ("SUCCEEDED", 0, 0),
        ("FAILED", 1, 1),
        ("FAILED", 2, 2),
        ("FAILED", 3, 3),
        ("FAILED", -9, 3),
        ("FAILED", 137, 3),
        ("STOPPED", None, 130),
    ],
)
def test_exit_codes_of_jobs(state: job_server.JobState, its: int | None, ours: int) -> None:
    assert exit_code(job_server.Job("id", state, {}, its, "", 0)) == ours


def test_a_home_that_is_typed_is_not_ignored() -> None:
    with answering(200, version()) as url:
        where = ["--address", url, "--home"]
        for arguments, words in (
            (["status", "x", *where, "./mine"], "a folder of this machine, which the cluster can't see"),
            (["status", "x", *where, "s3://bucket", "--home-on-head", "/runs"], "two homes; give one of them"),
            (["submit", "quickstart", *where, "s3://bucket", "--home-on-head", "/runs"], "two homes; give one"),
            (["cancel", "x", *where, "s3://bucket", "--home-on-head", "/runs"], "two homes; give one of them"),
        ):
            done = CliRunner().invoke(cli, arguments)
            assert words in f"{done.exception} {done.output}", arguments


def test_objects_of_a_log_are_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    cli_remote._echo_objects('{"name": "a"}\na warning\n{"name": "b"}\n')
    assert capsys.readouterr() == ('{"name": "a"}\n{"name": "b"}\n', "a warning\n")


def test_homes_that_a_cluster_can_see() -> None:
    assert checked_home("./runs", "/data/runs/") == "/data/runs"
    assert checked_home("s3://bucket/runs", None) == "s3://bucket/runs"
    for home, on_head, words in (
        ("./runs", None, "a folder of this machine, which the cluster can't see"),
        ("./runs", "runs", "not an absolute path"),
        ("./runs", "s3://bucket", "not an absolute path"),
        ("s3://key:secret@bucket/runs", None, "credentials"),
        ("s3://bucket/runs?secret_key=x", None, "credentials"),
    ):
        with pytest.raises(InputError, match=words):
            checked_home(home, on_head)
