"""The record of one sweep in a home: what was asked, on which data, what a search proposed, which run drives it.

sweeps/<name>/spec.yaml           the spec, with the window filled in
sweeps/<name>/datasets.json       name -> fingerprint of the data it runs on, for good
sweeps/<name>/proposals/<n>.json  what a search proposed; never made again
sweeps/<name>/run.json            the last run: id, start, host, pid
sweeps/<name>/runs/<id>.json      the time that a run has used so far
sweeps/<name>/begun/<keys>.json   a trial that was handed to the cluster, by some run
sweeps/<name>/live.json           what its driver said last, for who watches from elsewhere
sweeps/<name>/tracked.json        the mark of its view in MLflow, where that had everything at the end of the last run

All are sealed, and a damaged one counts as absent (``Home``): the spec is stored again as it is asked, a proposal made
again as it was.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from orchestrator.budget import Begun, Used
from orchestrator.errors import HomeError, InputError, SpecError
from orchestrator.home_objects import DAMAGED, Home, StoredFile
from orchestrator.record_shapes import BegunShape, FingerprintsShape, RunShape, TrackedShape, UsedShape
from orchestrator.seal import open_json, open_text, seal_json, seal_text
from orchestrator.search.proposals import Proposal
from orchestrator.spec import NAME, SweepSpec
from orchestrator.spec_file import load_spec, spec_to_yaml
from orchestrator.tracking import Mark

LOCK_PATIENCE_S = 1.0
"""How long a new driver waits: reading commands hold the lock for a moment."""

_PROPOSAL = re.compile(r"(0|[1-9][0-9]{0,9})\.json")
"""The one name that each number has: another of the same number would count twice."""


class SweepRecord:
    """What a home knows of one sweep."""

    def __init__(self, home: Home, name: str) -> None:
        self.home = home
        self.name = name
        self._folder = f"sweeps/{name}"
        self.live_path = f"{self._folder}/live.json"

    @property
    def spec(self) -> SweepSpec | None:
        """The spec as stored, or None for a new sweep.

        Raises:
            SpecError: it is whole, but none of this version.
        """
        stored = f"{self._folder}/spec.yaml"
        data = self.home.read_record(stored, open_text)
        if data is None:
            return None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{self.name}.yaml"
            path.write_bytes(data)
            try:
                return load_spec(path)
            except SpecError as error:  # names the file that the user has
                place = f"{self.home.url}/{stored}"
                raise SpecError(*(line.replace(str(path), place) for line in error.problems)) from None

    @property
    def fingerprints(self) -> dict[str, str]:
        """Dataset name -> fingerprint."""
        return dict(self.home.read_json(f"{self._folder}/datasets.json", FingerprintsShape) or {})

    @property
    def run(self) -> dict[str, Any]:
        """The last run; empty for a new sweep."""
        return dict(self.home.read_json(f"{self._folder}/run.json", RunShape) or {})

    def proposals(self) -> list[Proposal]:
        """All proposals so far, in number order; damaged ones left out."""
        names = self.home.names(f"{self._folder}/proposals")
        numbers = sorted(int(name.removesuffix(".json")) for name in names if _PROPOSAL.fullmatch(name))
        found = (self._read_proposal(number) for number in numbers)
        return [proposal for proposal in found if proposal is not None]

    def put_spec(self, spec: SweepSpec, fingerprints: dict[str, str]) -> None:
        """Stores what is asked (it may have grown) and the data it runs on."""
        self.home.put_json(f"{self._folder}/datasets.json", fingerprints)
        self.home.put(f"{self._folder}/spec.yaml", seal_text(spec_to_yaml(spec)))

    def put_proposal(self, proposal: Proposal) -> Proposal:
        """Stores a proposal, unless its number has one; gives the stored one."""
        self.home.put_first(self._proposal(proposal.number), seal_json(proposal.to_json()))
        return self._read_proposal(proposal.number) or proposal

    def begin_run(self) -> str:
        """Stores that a run begins now, in this process; gives its id."""
        run = {
            "run": uuid.uuid4().hex,
            "started_ms": time.time_ns() // 1_000_000,
            "node": platform.node(),
            "pid": os.getpid(),
        }
        self.home.put_json(f"{self._folder}/run.json", run)
        return str(run["run"])

    @property
    def used(self) -> Used:
        """What all runs have used, as far as they have said."""
        found = Used()
        for name in self.home.names(f"{self._folder}/runs"):
            its = self.home.read_json(f"{self._folder}/runs/{name}", UsedShape)
            if its is not None:
                found += Used(its["seconds"], its["gpu_seconds"])
        begun: set[tuple[str, str]] = set()
        for name in self.home.names(f"{self._folder}/begun"):
            one = self.home.read_json(f"{self._folder}/begun/{name}", BegunShape) or {"begun": []}
            begun |= {(training, test) for training, _, test in (keys.partition("/") for keys in one["begun"])}
        return found + Used(begun=frozenset(begun))

    def take_tracked(self) -> Mark | None:
        """The mark of its view in MLflow, which is removed: who changes the view and is killed leaves none."""
        path = f"{self._folder}/tracked.json"
        found = self.home.read_json(path, TrackedShape)
        self.home.remove(path)
        return None if found is None else Mark(found["run"], found["digest"])

    def put_tracked(self, mark: Mark) -> None:
        """Stores the mark of its view in MLflow."""
        self.home.put_json(f"{self._folder}/tracked.json", mark._asdict())

    def put_used(self, run: str, used: Used) -> None:
        """Stores the time that a run has used so far."""
        its = {"seconds": used.seconds, "gpu_seconds": used.gpu_seconds}
        self.home.put_json(f"{self._folder}/runs/{run}.json", its)

    def put_begun(self, trial: Begun) -> None:
        """Stores that a trial, with all its tests, has begun: an object of its own, small however many there are."""
        begun = sorted("/".join(keys) for keys in trial)
        self.home.put_json(f"{self._folder}/begun/{begun[0].replace('/', '-')}.json", {"begun": begun})

    def files(self) -> list[StoredFile]:
        """All that the home holds of the sweep but its lock, in the order in which it can be removed.

        The spec comes first: without it there is no such sweep, whatever a crash leaves of the rest.
        """
        found = [file for file in self.home.files(self._folder) if file.path != f"{self._folder}/.lock"]
        # First what says that the sweep is there though its spec is not.
        return [*self._set_aside(), *sorted(found, key=lambda file: file.path != f"{self._folder}/spec.yaml")]

    @property
    def spec_lost(self) -> bool:
        """Whether the spec was damaged and set aside; the sweep is there, and its command makes the spec again."""
        return any("/spec.yaml" in file.path for file in self._set_aside())

    def _set_aside(self) -> list[StoredFile]:
        return self.home.files(f"{DAMAGED}/{self._folder}")

    def forget(self) -> None:
        """Removes all that the home holds of the sweep, but for its trainings, which stay in the store."""
        if self.home.obstructed(spec := f"{self._folder}/spec.yaml"):
            self.home.clear(spec)
        for file in self.files():
            self.home.remove(file.path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held by the one driver of a sweep, on local homes. The lock frees itself when its process dies.

        Raises:
            InputError: another process drives this sweep now.
        """
        if self.home.local is None:
            yield
            return
        folder = self.home.local / self._folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise HomeError(f"{folder}: can't be written ({error.strerror}); name another with --home") from error
        try:
            _take(descriptor, self.name)
            yield
        finally:
            os.close(descriptor)

    @property
    def locked(self) -> bool:
        """Whether a process drives this sweep now (known on local homes only)."""
        if self.home.local is None:
            return False
        try:  # a named pipe would have it wait
            descriptor = os.open(self.home.local / self._folder / ".lock", os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)

    def _read_proposal(self, number: int) -> Proposal | None:
        def parse(data: bytes) -> Proposal:
            proposal = Proposal.from_json(open_json(data))
            if proposal.number != number:
                raise ValueError(f"it says that it is number {proposal.number}")
            return proposal

        return self.home.read_record(self._proposal(number), parse)

    def _proposal(self, number: int) -> str:
        return f"{self._folder}/proposals/{number}.json"


def lost_specs(home: Home) -> list[str]:
    """Names of sweeps whose spec was damaged and set aside, and not made again yet."""
    names = home.names(f"{DAMAGED}/sweeps")
    return [name for name in names if name not in sweep_names(home) and SweepRecord(home, name).spec_lost]


def sweep_names(home: Home) -> list[str]:
    """Names of all sweeps in a home, those whose spec is damaged among them."""

    def has_spec(path: str) -> bool:
        return home.exists(path) or home.obstructed(path)

    return [name for name in home.names("sweeps") if NAME.match(name) and has_spec(f"sweeps/{name}/spec.yaml")]


def _take(descriptor: int, name: str) -> None:
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if time.monotonic() > deadline:
            raise InputError(f"sweep {name!r} is run by another process now; wait for it, or choose another --name")
        time.sleep(0.05)
