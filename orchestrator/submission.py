"""A sweep as a job of a Ray cluster. It goes on without whoever submitted it, and submitting it again finds it again.

A job's id follows from the sweep and its home, so two who submit the same sweep have one job. An id is used once; what
continues a sweep whose job has ended without finishing it is the next of its jobs.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import dataclass
from typing import Literal

from orchestrator.cluster.job_server import Job, JobServer, TakenId
from orchestrator.errors import ClusterError, InputError, InterruptedSweep
from orchestrator.interrupt import EXIT_CODE as STOPPED_CODE
from orchestrator.job_package import ENTRY, job_package, job_variables
from orchestrator.spec import SweepSpec
from orchestrator.spec_file import spec_to_yaml
from orchestrator.url_secrets import holds_secrets

SPEC = "spec.yaml"

OWN_CODES = (0, 1, 2, 3, STOPPED_CODE)
"""With which ``orchestrate sweep`` ends itself."""

KILLED_CODE = InterruptedSweep.exit_code

Outcome = Literal["submitted", "continued", "attached", "done"]
"""What submitting has found: a new sweep; one to go on with; one that runs; one that was done before."""


@dataclass(frozen=True)
class Submission:
    """A sweep to be run as a job."""

    spec: SweepSpec
    home: str
    """A URL, or an absolute path on the head."""
    arguments: tuple[str, ...] = ()
    """Options of ``orchestrate sweep``."""

    @property
    def id(self) -> str:
        """What all jobs of this sweep in this home begin with."""
        return f"metasweep-{self.spec.name}-{_digest(self.home)}"

    @property
    def asks(self) -> str:
        """Digest of all that is asked, by which a job of the same request is known."""
        return _digest(json.dumps([spec_to_yaml(self.spec), self.arguments]))


def checked_home(home: str, home_on_head: str | None) -> str:
    """The home of a sweep that runs on a cluster.

    Raises:
        InputError: one that the cluster can't see.
    """
    if home_on_head is not None:
        if "://" in home_on_head or not home_on_head.startswith(("/", "~/")):
            raise InputError(f"--home-on-head {home_on_head}: not an absolute path; give one, or a URL by --home")
        return home_on_head.rstrip("/") or "/"
    if "://" not in home:
        raise InputError(
            f"--home {home}: a folder of this machine, which the cluster can't see; give a URL, or a folder of its "
            "head by --home-on-head PATH"
        )
    if "@" in home or holds_secrets(home):
        raise InputError("--home: a URL with credentials would be seen on the cluster; give them to its machines")
    return home.rstrip("/")


def submit(server: JobServer, asked: Submission, again: bool = False) -> tuple[Job, Outcome]:
    """The job of a sweep: the one that runs, or a new one that runs what is not recorded yet.

    Args:
        server: of the cluster.
        asked: the sweep.
        again: also where a job of the same request has done it all.

    Raises:
        InputError: the sweep runs there with another spec or other options.
        ClusterError: the cluster does not take it.
    """
    before = jobs_of(server, asked.spec.name, asked.home)
    if before and not before[-1].ended:
        return _same(before[-1], asked), "attached"
    same = bool(before) and before[-1].metadata["asks"] == asked.asks
    if same and before[-1].state == "SUCCEEDED" and not again:
        return before[-1], "done"
    number = 1 + max((int(job.metadata["number"]) for job in before), default=0)
    job_id = f"{asked.id}-{number}"
    entrypoint = shlex.join(["python", ENTRY, "run", "sweep", SPEC, "--home", asked.home, *asked.arguments])
    metadata = {"sweep": asked.spec.name, "home": asked.home, "asks": asked.asks, "number": str(number)}
    try:
        with job_package({SPEC: spec_to_yaml(asked.spec)}) as folder:
            server.submit(job_id, entrypoint, folder, job_variables(), metadata)
    except TakenId:  # somebody else was quicker
        return _same(server.job(job_id), asked), "attached"
    return server.job(job_id), "continued" if before else "submitted"


def cancel(server: JobServer, name: str, home: str | None) -> Job:
    """Stops the running job of a sweep; gives it.

    Raises:
        InputError: none runs, or sweeps of that name in several homes.
    """
    running = [job for job in jobs_of(server, name, home) if not job.ended]
    if not running:
        raise InputError(f"{name}: no sweep of that name runs at {server.address}; `orchestrate submit` runs one")
    homes = sorted({job.metadata["home"] for job in running})
    if len(homes) > 1:
        raise InputError(f"{name}: sweeps of that name run in {' and '.join(homes)}; name one of these homes")
    server.stop(running[-1].id)
    return running[-1]


def jobs_of(server: JobServer, name: str, home: str | None = None) -> list[Job]:
    """All jobs of a sweep, oldest first."""
    return [
        job for job in server.jobs() if job.metadata.get("sweep") == name and home in (None, job.metadata.get("home"))
    ]


def exit_code(job: Job) -> int:
    """Of the command that waited for the end of a job: its own, or by what ended it (a signal, too little memory)."""
    if job.state == "STOPPED":
        return STOPPED_CODE
    code = job.exit_code or 0
    return code if code in OWN_CODES else KILLED_CODE


def check_began(server: JobServer, job: Job) -> None:
    """Says why a job has ended that never came to run its command.

    Raises:
        ClusterError: it is one.
    """
    if job.state == "FAILED" and job.exit_code is None:
        lines = [line for line in job.message.splitlines() if line.strip()] or ["the cluster does not say why"]
        raise ClusterError(f"--address {server.address}: job {job.id} could not be run: {lines[-1].strip()[:500]}")


def _same(job: Job, asked: Submission) -> Job:
    if job.metadata.get("asks") != asked.asks:
        raise InputError(
            f"sweep {asked.spec.name!r} runs there with another spec or other options (job {job.id}); wait for its "
            f"end, or stop it by `orchestrate cancel {asked.spec.name}`"
        )
    return job


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
