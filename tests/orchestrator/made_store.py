"""Homes with sweeps of made-up accuracies: no training, but every record that one leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.attempt_record import record_lost
from orchestrator.failure import Failure
from orchestrator.grid import expand
from orchestrator.home import open_home
from orchestrator.record import SweepRecord
from orchestrator.results import Study, load_study
from orchestrator.search.proposals import Proposal
from orchestrator.spec import SweepSpec
from orchestrator.spec_file import load_spec
from orchestrator.store import Keys, Manifest, Store, keys_of
from trainers.config import TrialConfig
from trainers.snapshots import Progress, Validation

DATA = "d" * 20
EPISODES = 40

Accuracies = Callable[[Mapping[str, Any], int], NDArray[np.float64] | None]
"""(levels, seed) -> accuracy of every episode; None where the trial has not run."""

ENVIRONMENT = {"device": "a processor", "instruction_set": "AVX2", "torch": "2.13.0", "threads": 2}


def random_accuracies(levels: Mapping[str, Any], seed: int) -> NDArray[np.float64]:
    """The same for the same levels and seed; fifths, as of five queries."""
    words = "|".join([*map(str, levels.values()), str(seed)])
    return np.random.default_rng([ord(letter) for letter in words]).integers(1, 5, EPISODES) / 5


def put_trial(store: Store, config: TrialConfig, accuracies: NDArray[np.float64], validation: float = 0.5) -> Keys:
    """Records a training, its attempt of 10 s on 2 threads, and one evaluation."""
    keys = keys_of(config, DATA)
    best = {"iteration": config.training.iterations, "validation_accuracy": validation}
    manifest = Manifest("a", {}, config.training.iterations, {"linear": best, "nil": best}, 2 * 10**9)
    manifest.files[manifest.weights(config)] = "0" * 64
    manifest = store.put_manifest(keys.training, manifest)
    attempt = {
        "attempt": "a",
        "asked_by": {"sweep": "made", "number": 0, "run": "r", "git_commit": "c" * 40},
        "state": "complete",
        "started_ms": 1_764_000_000_000,
        "ended_ms": 1_764_000_010_000,
        "validated_ms": {},
        "train_seconds": 8.0,
        "environment": ENVIRONMENT,
        "versions": {"python": "3.11.7"},
    }
    store.put_attempt(keys.training, "a", attempt)
    store.put_accuracies(config, keys, manifest, accuracies)
    return keys


def put_curve(store: Store, config: TrialConfig, accuracies: Sequence[float] = (0.1, 0.2)) -> None:
    """The progress that the attempt of ``put_trial`` leaves: a validation every hundred iterations."""
    points = tuple(
        Validation(100 * number, 1.0, 0.5, 1.0, {"linear": value, "nil": 0.2})
        for number, value in enumerate(accuracies, start=1)
    )
    progress = Progress(100 * len(points), {}, {}, {}, points)
    store.put_file(keys_of(config, DATA).training, "a", "progress.safetensors", progress.to_bytes())


def fail_trial(store: Store, config: TrialConfig, cause: str) -> None:
    """Records that a training fails, for good."""
    key = keys_of(config, DATA).training
    record_lost(store, key, (), {"sweep": "made", "number": 0, "run": "r"}, Failure("diverged", cause))
    store.put_failure(key, "a", cause)


def made_grid(folder: Path, text: str, accuracies: Accuracies = random_accuracies) -> Study:
    """The study of a grid, from a home in ``folder`` that holds its accuracies; ``text`` is that of the sweep file."""
    spec, store = _begin(folder, text)
    for point in expand(spec):
        values = accuracies(point.levels, point.seed)
        if values is not None:
            put_trial(store, point.config, values)
    return load_study("made", str(folder / "home"))


def made_search(folder: Path, text: str, points: list[Mapping[str, Any]], validations: list[float]) -> Study:
    """The study of a search that proposed these points; trial n has validation accuracy ``validations[n]``."""
    spec, store = _begin(folder, text)
    record = SweepRecord(store.home, "made")
    for number, point in enumerate(points):
        proposal = record.put_proposal(Proposal(number, dict(point), "told"))
        if number < len(validations):
            values = random_accuracies(point, 0)
            put_trial(store, proposal.config(spec.trial), values, validations[number])
    return load_study("made", str(folder / "home"))


def _begin(folder: Path, text: str) -> tuple[SweepSpec, Store]:
    path = folder / "made.yaml"
    path.write_text(text)
    spec = load_spec(path)
    home = open_home(str(folder / "home"))
    SweepRecord(home, spec.name).put_spec(spec, {"glyphs": DATA})
    return spec, Store(home)
