"""A home with a large search of made-up results, trials of it stopped early or failed: every record, no training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from orchestrator.attempt_record import record_lost
from orchestrator.early_stopping import Standings, cutoffs, decide
from orchestrator.failure import Failure
from orchestrator.home import open_home
from orchestrator.record import SweepRecord
from orchestrator.search.proposals import Proposal
from orchestrator.spec_file import load_spec
from orchestrator.store import Keys, Manifest, Store, keys_of
from trainers.config import TrialConfig
from trainers.snapshots import Progress, Validation

NAME = "made"
DATA = "d" * 20
EVERY = 20
ITERATIONS = 1000
EPISODES = 600
FAILED_EACH = 40
"""One trial in so many has failed."""

QUESTION = "Does the body need the inner loop, and how fast must it learn?"
SPACE: dict[str, Any] = {
    "algorithm.name": {"choice": ["maml", "anil", "nil"]},
    "algorithm.inner_lr": {"loguniform": [0.01, 1.0]},
    "algorithm.inner_steps": {"int": [1, 5]},
    "algorithm.frozen_layers": {"int": [0, 4], "when": {"algorithm.name": "maml"}},
    "training.meta_lr": {"loguniform": [1e-4, 1e-2]},
}
ATTEMPT: dict[str, Any] = {
    "started_ms": 1_764_000_000_000,
    "ended_ms": 1_764_000_030_000,
    "validated_ms": {},
    "train_seconds": 28.0,
    "cpu_seconds": 30.0,
    "environment": {"device": "a processor", "instruction_set": "AVX2", "torch": "2.13.0", "threads": 1},
    "versions": {"python": "3.11.7"},
}


def make_searched_home(folder: Path, trials: int, window: int = 8) -> Path:
    """A home with the search ``made``, as if its ``trials`` had been proposed at random and run one after the other."""
    search: dict[str, Any] = {
        **{"trials": trials, "window": window, "sampler": "random", "space": SPACE},
        "objective": [{"maximize": "validation_accuracy"}, {"minimize": "adapt_flops"}],
        "early_stopping": {"name": "asha", "grace_iterations": 100, "reduction": 3, "metric": "validation_accuracy"},
    }
    training = {"iterations": ITERATIONS, "validate_every": EVERY}
    sections = {"question": QUESTION, "trial": {"training": training}, "search": search}
    path = folder / f"{NAME}.yaml"
    path.write_text(yaml.safe_dump(sections, sort_keys=False))
    spec = load_spec(path)
    home = open_home(str(folder / "home"))
    store, record = Store(home), SweepRecord(home, NAME)
    record.put_spec(spec, {"glyphs": DATA})
    assert spec.search is not None
    assert spec.search.early_stopping is not None
    generator = np.random.default_rng(trials)
    curves: list[tuple[tuple[int, float], ...]] = []
    standings = Standings()
    for number in range(trials):
        point = _point(generator)
        if number >= window:
            standings.add(curves[number - window])
        its = cutoffs(spec.search.early_stopping, spec.trial.training, standings)
        config = record.put_proposal(Proposal(number, point, "told", its)).config(spec.trial)
        if number % FAILED_EACH == FAILED_EACH - 1:
            _fail(store, config, number)
            curves.append(())
            continue
        curve = _curve(point, generator)
        decision = decide(curve, its, ITERATIONS)
        end = decision.iteration if decision.state == "pruned" else ITERATIONS
        curve = tuple(one for one in curve if one[0] <= end)
        _put(store, config, number, curve, generator)
        curves.append(curve)
    record.begin_run()
    return folder / "home"


def _point(generator: np.random.Generator) -> dict[str, Any]:
    point = {
        "algorithm.name": ("maml", "anil", "nil")[generator.integers(3)],
        "algorithm.inner_lr": float(10 ** generator.uniform(-2, 0)),
        "algorithm.inner_steps": int(generator.integers(1, 6)),
        "algorithm.frozen_layers": int(generator.integers(0, 5)),
        "training.meta_lr": float(10 ** generator.uniform(-4, -2)),
    }
    if point["algorithm.name"] != "maml":
        del point["algorithm.frozen_layers"]
    return point


def _top(point: Mapping[str, Any]) -> float:
    """Where the accuracy of a point ends: highest for rates near 0.3 and 0.002."""
    inner, outer = (float(np.log10(point[path])) for path in ("algorithm.inner_lr", "training.meta_lr"))
    own = {"maml": 0.02, "anil": 0.0, "nil": -0.04}[point["algorithm.name"]]
    return (
        0.72 + own - 0.08 * abs(inner + 0.5) - 0.1 * abs(outer + 2.7) - 0.01 * point.get("algorithm.frozen_layers", 0)
    )


def _curve(point: Mapping[str, Any], generator: np.random.Generator) -> tuple[tuple[int, float], ...]:
    """It rises from chance, faster for larger outer rates."""
    steps = np.arange(EVERY, ITERATIONS + 1, EVERY)
    pace_iterations = 250 - 60 * (float(np.log10(point["training.meta_lr"])) + 4)
    values = 0.2 + (_top(point) - 0.2) * (1 - np.exp(-steps / pace_iterations)) + generator.normal(0, 0.008, len(steps))
    return tuple((int(step), float(value)) for step, value in zip(steps, values, strict=True))


def _put(
    store: Store, config: TrialConfig, number: int, curve: tuple[tuple[int, float], ...], generator: np.random.Generator
) -> None:
    """The attempt with its curve; where that is whole, the training and its evaluation too."""
    keys, complete = keys_of(config, DATA), curve[-1][0] == ITERATIONS
    points = tuple(
        Validation(step, 1.0, min(1.0, value + 0.02), 1.0, {"linear": value, "nil": value}) for step, value in curve
    )
    progress = Progress(curve[-1][0], {}, {}, {}, points, flops=2 * 10**9)
    store.put_file(keys.training, "a", "progress.safetensors", progress.to_bytes())
    asked_by = {"sweep": NAME, "number": number, "run": "r", "git_commit": "c" * 40}
    attempt = ATTEMPT | {"attempt": "a", "asked_by": asked_by, "state": "complete" if complete else "pruned"}
    store.put_attempt(keys.training, "a", attempt)
    if complete:
        _complete(store, config, keys, max(curve, key=lambda one: one[1]), generator)


def _complete(
    store: Store, config: TrialConfig, keys: Keys, best: tuple[int, float], generator: np.random.Generator
) -> None:
    its = {"iteration": best[0], "validation_accuracy": best[1]}
    manifest = Manifest("a", {}, ITERATIONS, {"linear": its, "nil": its}, 2 * 10**9 * ITERATIONS)
    manifest.files.update({manifest.snapshot(step): "0" * 64 for step in (best[0], ITERATIONS)})
    manifest = store.put_manifest(keys.training, manifest)
    accuracies = generator.binomial(15, min(1.0, best[1] - 0.02), EPISODES) / 15
    store.put_accuracies(config, keys, manifest, accuracies)


def _fail(store: Store, config: TrialConfig, number: int) -> None:
    key = keys_of(config, DATA).training
    cause = "the training loss is not finite at iteration 42"
    record_lost(store, key, (), {"sweep": NAME, "number": number, "run": "r"}, Failure("diverged", cause))
    store.put_failure(key, "a", cause)
