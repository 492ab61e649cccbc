"""Puts the progress of a training into the home: as often as costs next to nothing, and at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from orchestrator.attempt_record import AttemptRecord
from trainers.snapshots import Progress

SHARE = 0.02
"""Of an attempt's time, what saving may take before its end."""

FIRST_S, EVERY_S = 0.5, 5.0
"""Shortest time between two saves, at first and later, since disks wear out and seconds of an hour are no loss. In
between it is a quarter of the attempt's age, so that short trials lose little too."""


@dataclass
class SavePace:
    """Says when to save: so that all saves together, and the next one, stay within ``SHARE`` of the time so far.

    Measured, not assumed: a save takes milliseconds on a local disk, and may take seconds on a far object store. What a
    kill costs is thus seconds, or fifty times a save.
    """

    clock: Callable[[], float]
    """Seconds; never goes back."""
    _spent_s: float = 0.0
    _saves: int = 0

    def __post_init__(self) -> None:
        self._began = self._last = self.clock()

    def due(self) -> bool:
        """Whether it is time for a save."""
        now = self.clock()
        age_s = now - self._began
        expected_s = self._spent_s / self._saves if self._saves else 0.0
        waited = now - self._last >= min(EVERY_S, max(FIRST_S, age_s / 4))
        return waited and self._spent_s + expected_s <= SHARE * age_s

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Measures a save."""
        before = self.clock()
        yield
        self._last = self.clock()
        self._spent_s += self._last - before
        self._saves += 1


@dataclass
class ProgressSaver:
    """Puts the progress of one attempt, and its record beside it."""

    attempt: AttemptRecord
    train_seconds: float
    """Spent by the attempts that this one goes on from."""
    clock: Callable[[], float]
    file: tuple[str, str] | None = None
    """Path below the training's folder and sha256 of what was put last."""
    _unsaved: Progress | None = None
    pace: SavePace = field(init=False)

    def __post_init__(self) -> None:
        self.pace = SavePace(self.clock)
        self._began = self.clock()

    def take(self, progress: Progress) -> None:
        """Puts the progress if it is time to."""
        self._unsaved = progress
        if self.pace.due():
            self.save()

    def save(self) -> None:
        """Puts what was taken last, unless that has been done."""
        if self._unsaved is None:
            return
        with self.pace.saving():
            its = self.attempt
            self.file = its.store.put_file(its.key, its.id, "progress.safetensors", self._unsaved.to_bytes())
            its.reached(self.train_seconds + self.clock() - self._began)
        self._unsaved = None
