"""The job server on the head of a Ray cluster: takes jobs, tells of them, stops them. Needs no port but its own."""

from __future__ import annotations

import http.client
import json
import logging
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit

from orchestrator.cluster.token import WAY_OUT, user_token
from orchestrator.errors import ClusterError, InterruptedSweep
from orchestrator.placement import Machine
from orchestrator.url_secrets import masked

CONNECT_TIMEOUT_S = 5.0
START_TIMEOUT_S = 60.0
"""A head that has just come up answers, and takes jobs a little later."""

ANSWER_TIMEOUT_S = 60.0
"""For one answer of a server that was there a moment ago, and may be busy."""

PATIENCE_S = 180.0
"""How long a job is followed through an outage of the network or of the head."""

LOOK_EVERY_S = 1.0
SLOWER_EACH_BYTES = 1_000_000
"""A long log is asked for more rarely, since the server sends all of it: a second more for so many bytes."""

MAX_ANSWER_BYTES = 10_000

PREFIX = "metasweep_"
"""Of the metadata that jobs of ours have."""

_SERVERS_OWN = re.compile(
    r"Running entrypoint for job |\S+ \S+\tINFO job_manager\.py:|\[.*logging\.cc:\d+: Set ray log level"
)

JobState = Literal["PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"]


@dataclass(frozen=True)
class Job:
    """A job of ours, as the server knows it."""

    id: str
    state: JobState
    metadata: Mapping[str, str]
    exit_code: int | None
    """Of its process; None while it runs, and where it was stopped or never began."""
    message: str
    started_ms: int

    @property
    def ended(self) -> bool:
        """Whether it will never run again."""
        return self.state in ("STOPPED", "SUCCEEDED", "FAILED")


class TakenId(Exception):
    """There is a job of that id already."""


class JobServer:
    """A client of one job server. ``open_job_server`` makes one."""

    def __init__(self, address: str, is_open: bool, client: Any) -> None:
        self.address = address
        self.is_open = is_open
        """Whether it answers without a token."""
        self._client = client

    def jobs(self) -> list[Job]:
        """Those that were submitted with metadata of ours, oldest first."""
        found = [_job(details) for details in self._ask(self._client.list_jobs) if details.submission_id]
        return sorted((job for job in found if job.metadata), key=lambda job: job.started_ms)

    def submit(
        self, job_id: str, entrypoint: str, code: Path, variables: Mapping[str, str], metadata: Mapping[str, str]
    ) -> None:
        """Starts a job in a copy of the folder ``code``. It needs no processor, so it runs on the head.

        Raises:
            TakenId: there is one of that id, running or not.
        """

        def send() -> Any:
            return self._client.submit_job(
                submission_id=job_id,
                entrypoint=entrypoint,
                runtime_env={"working_dir": str(code), "env_vars": dict(variables)},
                metadata={PREFIX + name: text for name, text in metadata.items()},
            )

        until = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self._ask(send)
                return
            except ClusterError as error:
                if "already exists" in str(error.__cause__):
                    raise TakenId from error
                if "No available agent" not in str(error) or time.monotonic() > until:
                    raise
            time.sleep(LOOK_EVERY_S)

    def job(self, job_id: str) -> Job:
        """How it is."""
        return _job(self._ask(lambda: self._client.get_job_info(job_id)))

    def log(self, job_id: str) -> str:
        """What it has printed so far, on stdout and stderr."""
        return str(self._ask(lambda: self._client.get_job_logs(job_id)))

    def stop(self, job_id: str) -> None:
        """Asks it to end, as SIGTERM does; kills it seconds later."""
        self._ask(lambda: self._client.stop_job(job_id))

    def forget(self, job_id: str) -> None:
        """Takes an ended one out of the server's list."""
        self._ask(lambda: self._client.delete_job(job_id))

    def machines(self) -> list[Machine]:
        """What each machine of the cluster that is there has."""
        answer = self._ask(lambda: self._client._do_request("GET", "/api/v0/nodes?limit=10000").json())
        nodes = answer["data"]["result"]["result"]
        return [node["resources_total"] for node in nodes if node["state"] == "ALIVE"]

    def follow(self, job_id: str, on_text: Callable[[str], None], patience_s: float = PATIENCE_S) -> Job:
        """Passes on what a job prints, line by line, until it has ended; gives how it ended.

        Raises:
            InterruptedSweep: the server has not answered for ``patience_s``; the job may well go on.
        """
        said = 0
        silent_since: float | None = None
        while True:
            try:
                job = self.job(job_id)  # before the log, so that of an ended job nothing is missed
                text = self.log(job_id)
                silent_since = None
            except ClusterError as error:
                silent_since = silent_since or time.monotonic()
                if time.monotonic() - silent_since > patience_s:
                    raise InterruptedSweep(f"{error}; the job may well go on there") from error
                time.sleep(LOOK_EVERY_S)
                continue
            whole = len(text) if job.ended else text.rfind("\n") + 1
            if whole > said:
                on_text("".join(_ours(text[said:whole].splitlines(keepends=True))))
                said = whole
            if job.ended:
                return job
            time.sleep(LOOK_EVERY_S + len(text) / SLOWER_EACH_BYTES)

    def _ask(self, question: Callable[[], Any]) -> Any:
        with _quiet():
            try:
                return question()
            except Exception as error:  # of requests, of Ray, of what the server answered
                lines = [line for line in str(error).splitlines() if line.strip(" .")]
                reason = lines[-1].strip()[:300] if lines else type(error).__name__
                raise ClusterError(f"--address {self.address}: {reason}; is its head well?") from error


@contextmanager
def open_job_server(address: str) -> Iterator[JobServer]:
    """A client of the job server at an address such as ``http://HEAD:8265``, after everything that can be refused.

    Raises:
        ClusterError: no URL; nothing or something else answers; it wants a token, and there is none here, or another;
            it runs another version of Ray.
    """
    address = _checked(address)
    is_open = _version(address) is not None
    token = user_token()
    if not is_open and token is None:
        raise ClusterError(f"--address {address}: it wants a token, and there is none here; {WAY_OUT}")
    headers = {"Authorization": f"Bearer {token}"} if token and not is_open else {}
    version = _version(address, headers)
    if version is None:
        raise ClusterError(f"--address {address}: it wants another token than the one here; {WAY_OUT}")
    with _unset("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        import ray
        from ray.job_submission import JobSubmissionClient

        if version != ray.__version__:
            raise ClusterError(
                f"--address {address}: the cluster runs Ray {version}, and this is {ray.__version__}; install the same "
                "on both"
            )
        with _quiet():
            client = JobSubmissionClient(address, headers=headers)  # Ray's own way reads a token once a process
        client._do_request = partial(client._do_request, timeout=ANSWER_TIMEOUT_S)  # it would wait for ever
        yield JobServer(address, is_open, client)


def _checked(address: str) -> str:
    """The address as it is used."""
    parts = urlsplit(address)
    try:
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc or parts.query or parts.fragment:
        raise ClusterError(
            f"--address {masked(address)}: not a URL like http://HEAD:8265; give that of the cluster's dashboard, "
            "whose server takes jobs"
        )
    return address.rstrip("/")


def _version(address: str, headers: Mapping[str, str] = MappingProxyType({})) -> str | None:
    """Version of the Ray that answers; None where it wants a token, or another one.

    Raises:
        ClusterError: nothing answers, or something else does.
    """
    try:
        asked = urllib.request.Request(f"{address}/api/version", headers=dict(headers))
        with urllib.request.urlopen(asked, timeout=CONNECT_TIMEOUT_S) as answer:
            return str(json.loads(answer.read(MAX_ANSWER_BYTES))["ray_version"])
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return None
        reason = f"HTTP {error.code}, which is not Ray's"
    except (OSError, http.client.HTTPException) as error:
        reason = str(getattr(error, "reason", None) or error)
    except (ValueError, KeyError, TypeError):
        reason = "what answers there is not Ray"
    raise ClusterError(
        f"--address {address}: no job server of Ray answers there ({reason}); give the URL of a cluster's dashboard, "
        "or forward its port (`ray dashboard cluster.yaml`)"
    )


def _job(details: Any) -> Job:
    its = {
        name.removeprefix(PREFIX): text for name, text in (details.metadata or {}).items() if name.startswith(PREFIX)
    }
    return Job(
        id=details.submission_id,
        state=details.status.value,
        metadata=its,
        exit_code=details.driver_exit_code,
        message=details.message or "",
        started_ms=details.start_time or 0,
    )


def _ours(lines: list[str]) -> list[str]:
    """Without what the server itself writes into a job's log."""
    return [line for line in lines if not _SERVERS_OWN.match(line)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Ray's client from logging what it uploads."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _unset(*names: str) -> Iterator[None]:
    """Takes environment variables away inside: Ray's client would prefer them to what it is given."""
    taken = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(taken)
