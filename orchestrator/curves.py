"""The curve of a training as the store has it: what a sweep with early stopping judges trials by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.early_stopping import Curve
from orchestrator.store import Manifest, Store
from orchestrator.stored_progress import progress_header


@dataclass(frozen=True)
class StoredCurve:
    """Of one attempt; it begins at the training's start, whichever attempt that was."""

    validations: tuple[Mapping[str, Any], ...] = ()
    """Oldest first, as ``trainers.snapshots.Validation`` has them."""
    flops: int = 0
    """Counted floating-point operations of one iteration."""
    attempt: str | None = None
    """Its id; None where no attempt has come to a validation."""

    @property
    def reached(self) -> int:
        """Iterations up to the last validation."""
        return int(self.validations[-1]["iteration"]) if self.validations else 0

    def by(self, head: str) -> Curve:
        """The validation accuracies of one head."""
        return tuple((int(one["iteration"]), float(one["validation_accuracy"][head])) for one in self.validations)


def stored_curve(store: Store, key: str, manifest: Manifest | None = None) -> StoredCurve:
    """The curve of the attempt that completed a training; else, or where that is gone, the longest of its attempts'.

    Within one environment they are beginnings of one another. ``manifest``: of the training, where it is read already.
    """
    manifest = manifest or store.manifest(key)
    if manifest is not None:
        its = _of(store, key, manifest.attempt)
        if its.reached >= manifest.final:
            return its
    found = (_of(store, key, attempt) for attempt in store.home.names(f"trainings/{key}/attempts"))
    return max(found, key=lambda its: its.reached, default=StoredCurve())


def _of(store: Store, key: str, attempt: str) -> StoredCurve:
    header = progress_header(store, key, attempt)
    curve = tuple(header["curve"]) if header else ()
    return StoredCurve(curve, header.get("flops", 0), attempt) if header and curve else StoredCurve()
