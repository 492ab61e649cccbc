"""What of a home can go: which files nothing refers to, in an order that leaves a valid home wherever it stops.

A sweep that runs must lose nothing. On local disks ``home_lock`` tells whether one runs: if so, whatever a sweep could
find and rely on stays. On object stores nobody can tell; there, what was written lately stays.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from orchestrator.data import FOLDER, superseded_files
from orchestrator.download import DOWNLOADS
from orchestrator.errors import InputError
from orchestrator.home_objects import DAMAGED as ASIDE
from orchestrator.home_objects import Home, StoredFile
from orchestrator.record import lost_specs, sweep_names
from orchestrator.record_shapes import ConfigShape
from orchestrator.references import References, references_of
from orchestrator.store import Keys, Store

GRACE_S = 3600.0
"""Age from which on a file counts as left, where something may still be writing."""
LEAST_GRACE_S = 60.0
"""Shorter is never right there, whatever the user asks for: a trial may be putting its files."""
ORPHAN_S = 10.0
"""How long a worker may outlive a driver that was killed, with some to spare."""

TRAININGS = "trainings that no sweep asks for"
EVALUATIONS = "evaluations that no sweep asks for"
ANALYSES = "comparisons of trainings that no sweep asks for"
SUPERSEDED = "attempts that another has passed"
SWEEPS = "remains of forgotten sweeps"
DATASETS = "old versions of datasets"
DAMAGED = "damaged records, set aside"
UNFINISHED = "unfinished files"

OF_TRIALS = "of `orchestrate trial`; --trials removes them"
NEEDED = "a longer training goes on from them"
RUNNING = "a sweep runs in this home now"
RECENT = "written too lately, see --older-than"

_UNFINISHED = re.compile(rf"(.*/)?\.[^/]+[.-][0-9a-f]{{32}}(\.tmp)?|{FOLDER}/{DOWNLOADS}/tmp[a-z0-9_]{{8}}", re.DOTALL)
"""What writers that were killed leave: temporary files of a home, of its datasets, of downloads."""
_TRAINING = re.compile(r"trainings/(?P<key>(?P<digest>[0-9a-f]{20})-(?P<iterations>\d+))/(?P<rest>.+)", re.DOTALL)


@dataclass(frozen=True)
class Part:
    """Files that go together, or stay together."""

    kind: str
    files: tuple[StoredFile, ...]
    """In the order of their removal."""
    kept: str | None = None
    """Why they stay; None where they go."""


@dataclass(frozen=True)
class Limits:
    """What may be removed now."""

    now_s: float
    """Since 1970."""
    alone: bool
    """Whether it is known that no sweep or trial runs."""
    older_than_s: float | None = None
    """What the user asks for."""
    trials: bool = False
    """Whether trainings of ``orchestrate trial`` go too."""

    def grace_s(self, usual_s: float) -> float:
        """Age at which files may go; ``usual_s`` where nothing runs."""
        if self.alone:
            return usual_s if self.older_than_s is None else self.older_than_s
        return max(LEAST_GRACE_S, GRACE_S if self.older_than_s is None else self.older_than_s)


def plan_cleanup(home: Home, limits: Limits) -> list[Part]:
    """All that nothing refers to: what goes, and what of it stays for now, with the reason.

    Of a complete training the committing attempt is kept, of one that is not the attempt to go on from; of the others
    what ``attempt.json`` says of time and failures. Of every dataset the newest version stays.

    Raises:
        InputError: the record of a sweep or of a training can't be read, so nobody knows what it refers to.
    """
    return _Search(home, limits).parts()


def remove_parts(home: Home, parts: Iterable[Part], alone: bool) -> None:
    """Removes what is to go; folders that are empty then, too, where nobody else can be making files in them."""
    for part in parts:
        if part.kept is None:
            for file in part.files:
                home.remove(file.path)
            if alone:
                for folder in {str(PurePosixPath(file.path).parent) for file in part.files}:
                    home.prune(folder)


@dataclass
class _Training:
    """Files of a training, as listed."""

    key: str
    digest: str
    iterations: int
    files: dict[str, StoredFile] = field(default_factory=dict)
    """By path below the training's folder."""

    def below(self, folder: str) -> dict[str, StoredFile]:
        return {path: file for path, file in self.files.items() if path.startswith(f"{folder}/")}

    @property
    def attempts(self) -> list[str]:
        return sorted({path.split("/")[1] for path in self.below("attempts")})

    def in_order(self) -> tuple[StoredFile, ...]:
        """What makes it count goes first, what says which training it was last."""
        ranks = {"manifest.json": 0, "failure.json": 0, "config.json": 2}
        return tuple(self.files[path] for path in sorted(self.files, key=lambda path: ranks.get(path, 1)))


class _Search:
    def __init__(self, home: Home, limits: Limits) -> None:
        self._home, self._store, self._limits = home, Store(home), limits
        self._may_run = home.local is not None and not limits.alone
        self._sweeps = set(sweep_names(home))
        for name in lost_specs(home):
            raise InputError(
                f"sweep {name!r}: its spec.yaml was damaged and set aside, so nobody knows what it refers to; run its "
                f"command again, or forget it: orchestrate rm {name}"
            )
        self._asked = _asked(home, sorted(self._sweeps))
        self._pinned: set[str | None] = set(self._asked.fingerprints)

    def parts(self) -> list[Part]:
        listed = self._home.files("", recursive=False)
        for folder in ("sweeps", "trainings", "analyses", FOLDER, ASIDE):
            listed += self._home.files(folder)
        unfinished = [file for file in listed if _UNFINISHED.fullmatch(file.path)]
        whole = {file.path: file for file in listed if not _UNFINISHED.fullmatch(file.path)}
        return [
            *self._trainings(whole.values()),  # first: those that stay may pin a dataset
            *self._analyses(whole.values()),
            *self._remains(whole.values()),
            *self._datasets(whole),
            *(self._part(DAMAGED, [file]) for file in whole.values() if file.path.startswith(f"{ASIDE}/")),
            *(self._unfinished(file) for file in unfinished),
        ]

    def _part(self, kind: str, files: Iterable[StoredFile], usual_s: float = 0.0, kept: str | None = None) -> Part:
        files = tuple(files)
        if kept is None and max(file.modified_s for file in files) > self._limits.now_s - self._limits.grace_s(usual_s):
            kept = RECENT
        return Part(kind, files, kept)

    def _unfinished(self, file: StoredFile) -> Part:
        # Whoever imports or fetches a dataset is not known to be at work.
        return self._part(UNFINISHED, [file], GRACE_S if file.path.startswith(f"{FOLDER}/") else ORPHAN_S)

    def _trainings(self, files: Iterable[StoredFile]) -> Iterator[Part]:
        found: dict[str, _Training] = {}
        for file in files:
            if match := _TRAINING.fullmatch(file.path):
                key, digest, iterations = match["key"], match["digest"], int(match["iterations"])
                found.setdefault(key, _Training(key, digest, iterations)).files[match["rest"]] = file
        starts = self._starts(found)
        for training in found.values():
            if training.key in self._asked.trainings:
                yield from self._superseded(training, starts)
                yield from self._evaluations(training)
            else:
                kept = RUNNING if self._may_run else None
                if any(key == training.key for key, _ in starts):
                    kept = NEEDED
                elif self._of_trial(training) and not self._limits.trials:
                    kept = OF_TRIALS
                part = self._part(TRAININGS, training.in_order(), self._usual_s(training, training.attempts), kept)
                if part.kept is not None:
                    config = self._home.read_json(f"trainings/{training.key}/config.json", ConfigShape) or {}
                    self._pinned.add(config.get("dataset_fingerprint"))
                yield part

    def _starts(self, found: dict[str, _Training]) -> set[tuple[str, str]]:
        """(key, attempt) from which each training that is asked for and not complete goes on."""
        by_digest: dict[str, list[_Training]] = defaultdict(list)
        for training in found.values():
            by_digest[training.digest].append(training)
        starts = set()
        for key in self._asked.trainings:
            if key not in found or "manifest.json" not in found[key].files:
                digest, _, iterations = key.rpartition("-")
                candidates = [
                    (training, attempt)
                    for training in by_digest[digest]
                    if training.iterations <= int(iterations)
                    for attempt in training.attempts
                    if _progress(attempt) in training.files
                ]
                starts |= self._longest(candidates)
        return starts

    def _longest(self, candidates: list[tuple[_Training, str]]) -> set[tuple[str, str]]:
        """Of these attempts the one with the longest progress that can be read, the latest of equals."""
        if len(candidates) < 2:  # nothing to choose, nor to import torch for
            return {(training.key, attempt) for training, attempt in candidates}
        from trainers.snapshots import DamagedSnapshot, Progress

        reached = []
        for training, attempt in candidates:
            file = training.files[_progress(attempt)]
            try:
                progress = Progress.from_bytes(self._home.read(file.path) or b"")
            except DamagedSnapshot:
                continue
            reached.append((progress.iteration, file.modified_s, training.key, attempt))
        return {best[2:] for best in [max(reached, default=None)] if best is not None}

    def _superseded(self, training: _Training, starts: set[tuple[str, str]]) -> Iterator[Part]:
        manifest = self._store.manifest(training.key)
        needed = {attempt for key, attempt in starts if key == training.key}
        if manifest is not None:
            needed.add(manifest.attempt)
        for attempt in training.attempts:
            folder = f"attempts/{attempt}"
            files = [file for path, file in training.below(folder).items() if path != f"{folder}/attempt.json"]
            if needed and attempt not in needed and files:
                yield self._part(SUPERSEDED, files, self._usual_s(training, [attempt]))

    def _evaluations(self, training: _Training) -> Iterator[Part]:
        for path, file in training.below("evaluations").items():
            if Keys(training.key, PurePosixPath(path).stem) not in self._asked.evaluations:
                kept = RUNNING if self._may_run else None
                if self._of_trial(training) and not self._limits.trials:
                    kept = OF_TRIALS
                yield self._part(EVALUATIONS, [file], kept=kept)

    def _analyses(self, files: Iterable[StoredFile]) -> Iterator[Part]:
        for file in files:
            folder, _, rest = file.path.partition("/")
            if folder == "analyses" and rest.partition("/")[0] not in self._asked.analyses:
                yield self._part(ANALYSES, [file], kept=RUNNING if self._may_run else None)

    def _of_trial(self, training: _Training) -> bool:
        """Whether ``orchestrate trial`` had a hand in it."""
        records = [self._store.attempt(training.key, attempt) for attempt in training.attempts]
        return any(record and record["asked_by"].get("sweep") is None for record in records)

    def _usual_s(self, training: _Training, attempts: list[str]) -> float:
        """How old files must be where nothing runs: a worker whose driver was killed may write for a while."""
        records = [self._store.attempt(training.key, attempt) for attempt in attempts]
        return ORPHAN_S if any(record.get("state") == "running" for record in records) else 0.0

    def _remains(self, files: Iterable[StoredFile]) -> Iterator[Part]:
        remains: dict[str, list[StoredFile]] = defaultdict(list)
        for file in files:
            top, _, rest = file.path.partition("/")
            name, below, _ = rest.partition("/")
            if top == "sweeps" and below and name not in self._sweeps:
                remains[name].append(file)
        for its in remains.values():
            yield self._part(SWEEPS, its, kept=RUNNING if self._may_run else None)

    def _datasets(self, listed: dict[str, StoredFile]) -> Iterator[Part]:
        if self._home.local is not None:  # else they lie in a cache that all homes share
            for path in superseded_files(self._home.local, self._pinned):
                file = listed.get(f"{FOLDER}/{path.name}")
                if file is not None:
                    yield self._part(DATASETS, [file], GRACE_S, RUNNING if self._may_run else None)


def _progress(attempt: str) -> str:
    return f"attempts/{attempt}/progress.safetensors"


def _asked(home: Home, names: Iterable[str]) -> References:
    asked = References()
    for name in names:
        try:
            asked |= references_of(home, [name])
        except InputError as error:
            way_out = (
                f"nothing is removed while it is not known what sweep {name!r} asks for; mend its record, or forget "
                f"it: orchestrate rm {name}"
            )
            raise InputError(*error.args, way_out) from error
    return asked
