"""Reading commands on the head of a cluster, where the home of a sweep may be that nobody else can see."""

from __future__ import annotations

import base64
import json
import shlex
import time
import uuid
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from orchestrator.cluster.job_server import Job, JobServer
from orchestrator.errors import ClusterError, InputError
from orchestrator.job_entry import MARK
from orchestrator.job_package import ENTRY, job_package, job_variables
from orchestrator.submission import check_began, jobs_of

STOP_TIMEOUT_S = 10.0
"""For a job that reads to end; Ray kills it after three seconds."""


@dataclass(frozen=True)
class Answer:
    """What came of a command."""

    code: int
    stdout: bytes
    stderr: str
    files: dict[str, bytes]
    """By path below the folder that it ran in."""

    def write_files(self, folder: Path) -> None:
        """Puts its files below a folder of this machine.

        Raises:
            ClusterError: one leads out of it.
        """
        for name, data in self.files.items():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise ClusterError(f"the cluster sent a file {name!r}, which leads out of its folder; it is not kept")
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)


def home_of(server: JobServer, name: str | None) -> str:
    """The home of the sweep that was submitted last, of those with that name.

    Raises:
        InputError: there is none.
    """
    jobs = jobs_of(server, name) if name else [job for job in server.jobs() if "home" in job.metadata]
    if not jobs:
        what = f"no sweep {name!r}" if name else "no sweep"
        raise InputError(f"{what} was submitted to {server.address}; name its home there by --home-on-head PATH")
    return jobs[-1].metadata["home"]


def answer(server: JobServer, arguments: Sequence[str]) -> Answer:
    """Runs a command of ours on the head, and brings everything back that came of it.

    Raises:
        ClusterError: it could not be run there.
    """
    job_id = _begin(server, "answer", arguments)
    printed: list[str] = []
    job = _ended(server, job_id, printed.append)
    lines = "".join(printed).splitlines()
    found = next((line.removeprefix(MARK) for line in reversed(lines) if line.startswith(MARK)), None)
    if found is None:
        said = next((line for line in reversed(lines) if line.strip()), f"it ended as {job.state}")
        raise ClusterError(f"--address {server.address}: {said.removeprefix('error: ')}")
    its = json.loads(zlib.decompress(base64.b64decode(found)))
    files = {name: base64.b64decode(data) for name, data in its["files"].items()}
    return Answer(its["code"], base64.b64decode(its["stdout"]), base64.b64decode(its["stderr"]).decode(), files)


def show(server: JobServer, arguments: Sequence[str], on_text: Callable[[str], None]) -> int:
    """Runs a command of ours on the head, passes on what it prints while it does, and gives its exit code.

    It is stopped, and forgotten, where this is interrupted.
    """
    job = _ended(server, _begin(server, "run", arguments), on_text)
    return 1 if job.exit_code is None else job.exit_code


def _begin(server: JobServer, how: str, arguments: Sequence[str]) -> str:
    job_id = f"metasweep-reads-{uuid.uuid4().hex[:12]}"
    with job_package({}) as folder:
        entrypoint = shlex.join(["python", ENTRY, how, *arguments])
        server.submit(job_id, entrypoint, folder, job_variables(), {"reads": arguments[0]})
    return job_id


def _ended(server: JobServer, job_id: str, on_text: Callable[[str], None]) -> Job:
    try:
        job = server.follow(job_id, on_text)
    except KeyboardInterrupt:
        with suppress(ClusterError):
            server.stop(job_id)
            until = time.monotonic() + STOP_TIMEOUT_S
            while not server.job(job_id).ended and time.monotonic() < until:
                time.sleep(0.1)
            server.forget(job_id)
        raise
    check_began(server, job)
    server.forget(job_id)
    return job
