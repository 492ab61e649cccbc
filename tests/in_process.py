"""Whole sweeps in this process: all of ``run_sweep`` but Ray and MLflow, small and fast enough to be run hundreds of
times, and what came of them in a form that can be compared."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from orchestrator import attempt_record, continuing, data, place, sweep_run, trial_run
from orchestrator import sweep as sweep_module
from orchestrator.cluster import sharing
from orchestrator.cluster.execute import Event, NextTrial, OnEvent, run_request
from orchestrator.cluster.tune_failure import WORKER_LOST
from orchestrator.curves import stored_curve
from orchestrator.failure import Failure, FailurePolicy
from orchestrator.home import open_home
from orchestrator.home_objects import Home
from orchestrator.inputs import Where
from orchestrator.rows import load_rows
from orchestrator.spec import Resources
from orchestrator.spec_file import load_spec
from orchestrator.store import Store
from orchestrator.sweep import NO_POLICY, run_sweep
from orchestrator.sweep_state import status
from trainers import trial
from trainers.datasets.image_file import ImageTable, open_image_file
from trainers.few_shot import FewShot

TINY = {
    "dataset": {"name": "glyphs"},
    "episodes": {"ways": 2, "shots": 1, "queries": 1},
    "backbone": {"width": 2, "pooling": "stride"},
    "training": {"iterations": 4, "validate_every": 2, "meta_batch": 1, "validation_episodes": 2},
    "evaluation": {"episodes": 2},
}
GRID = {
    "trial": TINY | {"training": TINY["training"] | {"snapshots": [2]}},
    "grid": {"test": {"evaluation.weights": [2, "final"]}},
}
"""One training with a snapshot, and a test of each."""
BETWEEN = {
    "trial": TINY | {"training": TINY["training"] | {"iterations": 2}},
    "grid": {
        "test": {"evaluation.inner_steps": [1, 2]},
        "seeds": 2,
        "between": {"measure": "cka", "adapted": True},
    },
}
"""Two trainings, and four comparisons between them."""
SEARCH = {
    "trial": TINY | {"training": TINY["training"] | {"iterations": 2, "validate_every": 1}},
    "search": {
        "seed": 3,
        "trials": 3,
        "window": 1,  # each proposal is told all results before it
        "sampler": "random",
        "space": {"algorithm.inner_lr": {"loguniform": [0.1, 1.0]}},
        "early_stopping": {"name": "asha", "grace_iterations": 1, "reduction": 2},
    },
}
"""Two trials complete, and with their curves the third is pruned after an iteration."""

STOPPED = {
    "trial": TINY
    | {
        "episodes": {"ways": 3, "shots": 1, "queries": 2},
        "training": TINY["training"] | {"validate_every": 1, "validation_episodes": 8},
    },
    "search": {
        "seed": 5,
        "trials": 9,
        "window": 4,
        "sampler": "random",
        "space": {
            "algorithm.inner_lr": {"loguniform": [0.01, 2.0]},
            "training.meta_lr": {"loguniform": [0.001, 0.3]},
        },
        "early_stopping": {"name": "asha", "grace_iterations": 1, "reduction": 2},
    },
}
"""A search that stops trials early, at each of two rungs."""

TIMELESS = [name for name in FewShot.metrics if name != "train_seconds"]

NO_TRACKING = "http://127.0.0.1:9"
"""Nothing listens there."""


LOST = Failure("lost", WORKER_LOST)

_tables: dict[str, ImageTable] = {}


def _open_once(path: Path) -> ImageTable:
    """Of the same name is the same data, in whatever home."""
    if path.name not in _tables:
        _tables[path.name] = open_image_file(path)
    return _tables[path.name]


def sweep_file(folder: Path, name: str, content: dict[str, Any]) -> Path:
    """The sweep as a file."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@contextmanager
def one_node(address: str | None) -> Iterator[list[dict[str, float]]]:
    """In place of a cluster."""
    yield [{"CPU": 1.0}]


def run_here(
    file: Path,
    home: str,
    events: list[Event] | None = None,
    at_once: int = 1,
    order: random.Random | None = None,
    policy: FailurePolicy = NO_POLICY,
    tracking_uri: str = NO_TRACKING,
    said: list[str] | None = None,
    count_flops: bool = False,
    losses: dict[int, int] | None = None,
    loss: Failure = LOST,
) -> list[str]:
    """Runs a sweep, trial after trial, or several in turns; ``events`` gets what they say. Gives what the sweep warned
    of, but for tracking; ``said`` gets that, too. ``order`` decides whose turn it is. ``count_flops``: else there are
    none, and progress has other bytes than ``orchestrate`` writes. ``losses``: how often the worker of a trial is
    lost, each time at its first event; counted down. ``loss``: why."""
    to_lose = losses or {}

    def execute(
        next_trial: NextTrial,
        on_event: OnEvent,
        resources: Resources,
        max_concurrent: int,
        tables: Collection[ImageTable] = (),
        capacity: Callable[[], int] | None = None,
    ) -> None:
        running: list[tuple[int, Iterator[Event]]] = []
        while True:
            with suppress(StopIteration):
                while len(running) < at_once and (request := next_trial()) is not None:
                    running.append((request.number, run_request(request, {})))
            if not running:
                return
            turn = order.randrange(len(running)) if order else 0
            number, its = running[turn]
            event = next(its, None)
            if event is not None and to_lose.get(number, 0) > 0:
                to_lose[number] -= 1
                event, running[turn] = loss.event("lost"), (number, iter(()))
            if event is None:
                del running[turn]
            elif events is not None:
                events.append(event)
            on_event(number, event or {"kind": "ended"})

    warned = [] if said is None else said
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep_run, "execute", execute)
        patch.setattr(place, "cluster", one_node)
        # what takes long, and decides nothing here
        for module in (sweep_module, trial_run):
            patch.setattr(module, "git_commit", lambda folder: None)
        patch.setattr(attempt_record, "versions", dict)
        patch.setattr(sweep_module, "versions", dict)
        for module in (continuing, data, sharing):
            patch.setattr(module, "open_image_file", _open_once)
        if not count_flops:
            patch.setattr(trial, "count_flops", lambda *_: 1)
        patch.setattr(os, "fsync", lambda descriptor: None)
        try:
            run_sweep(load_spec(file), Where(home, tracking_uri=tracking_uri), policy, on_warning=warned.append)
        finally:
            torch.set_num_threads(threads)
    return [line for line in warned if not line.startswith("tracking: ")]


def outcome(home: Home, name: str, whole: bool = True) -> dict[str, Any]:
    """All that a sweep leaves and that must not depend on what happened on the way: by path, without ids of attempts.

    Checks on the way that the sweep is done, each trial once; if ``whole``, also what only people and further tests
    would miss: configs, and the files that manifests name.
    """
    store = Store(home)
    found: dict[str, Any] = {}
    for key in home.names("trainings"):
        manifest = store.manifest(key)
        if manifest is None:  # then some trial is pruned, see below
            found[f"{key}/curve"] = stored_curve(store, key).validations
            continue
        for path, sha256 in manifest.files.items() if whole else ():
            assert store.read_file(key, path, sha256) is not None, path
        its = sorted((Path(path).name, sha256) for path, sha256 in manifest.files.items())
        found[f"{key}/manifest"] = [its, manifest.final, manifest.best, manifest.train_flops]
        if whole:
            found[f"{key}/config"] = home.read(f"trainings/{key}/config.json")
        for test in home.names(f"trainings/{key}/evaluations"):
            found[f"{key}/{test}"] = home.read(f"trainings/{key}/evaluations/{test}")
        assert store.failure(key) is None
    record = sweep_module.SweepRecord(home, name)
    for path in ("spec.yaml", "datasets.json"):
        found[path] = home.read(f"sweeps/{name}/{path}")
    found["proposals"] = [home.read(f"sweeps/{name}/proposals/{one.number}.json") for one in record.proposals()]
    spec = record.spec
    assert spec is not None
    rows = load_rows(store, record, spec)
    assert {row.state for row in rows} <= {"completed", "pruned"}
    pruned = {row.keys.training for row in rows if row.state == "pruned"}
    assert {path.removesuffix("/curve") for path in found if path.endswith("/curve")} <= pruned
    found["rows"] = [(row.number, row.state, row.keys, [row.metrics.get(name) for name in TIMELESS]) for row in rows]
    for key in home.names("analyses"):
        found[f"analyses/{key}"] = home.read(f"analyses/{key}/scores.arrow")
    state = status(home, name)
    assert state["state"] == "done"
    assert state["analyses"]["completed"] == state["analyses"]["planned"]
    assert state["trials"]["completed"] + state["trials"]["pruned"] == state["trials"]["planned"]
    assert state["trials"]["failed"] == 0
    return found


def files(home: Path) -> dict[str, bytes]:
    """Every file of a home by its path."""
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def validations(events: list[Event]) -> int:
    """How many validations were said."""
    return sum(event["kind"] == "validated" for event in events)


def opened(home: Path | str) -> Home:
    """A home as who reads sees it."""
    return open_home(str(home), create=False)
