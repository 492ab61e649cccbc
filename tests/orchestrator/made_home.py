"""Homes with whole records of made-up content: every file that a manifest names is there."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from pyarrow import fs

from orchestrator.home import open_home
from orchestrator.home_objects import Home, StoredFile
from orchestrator.record import SweepRecord
from orchestrator.rows import asked_configs
from orchestrator.seal import seal_json
from orchestrator.spec import SweepSpec
from orchestrator.spec_file import load_spec
from orchestrator.store import Keys, Manifest, Store, keys_of
from trainers.config import TrialConfig
from trainers.snapshots import Progress

DATA = "d" * 20


def local_home(folder: Path) -> Home:
    """A home on a local disk."""
    return open_home(str(folder / "home"))


def remote_home(folder: Path) -> Home:
    """A home that takes the path of object stores: nothing says that it is local."""
    for name in ("sweeps", "trainings"):
        (folder / "home" / name).mkdir(parents=True)
    home = Home(fs.SubTreeFileSystem(str(folder), fs.LocalFileSystem()), "home", "memory://home")
    home.put("home.json", seal_json({"schema": 1, "id": "i"}))
    return home


def put_sweep(home: Home, folder: Path, name: str, trial: dict[str, Any], **sections: Any) -> SweepSpec:
    """Stores a sweep."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"trial": trial, **sections}))
    spec = load_spec(path)
    for part in ("proposals", "report/tables"):  # object stores have no folders to make; this stand-in has
        (folder / "home" / "sweeps" / name / part).mkdir(parents=True, exist_ok=True)
    SweepRecord(home, name).put_spec(spec, {"glyphs": DATA})
    home.put(f"sweeps/{name}/report/tables/cells.md", b"a table")
    return spec


def put_trainings(home: Home, folder: Path, spec: SweepSpec) -> list[Keys]:
    """Stores everything that a sweep asks for."""
    asked = asked_configs(SweepRecord(home, spec.name), spec)
    return [put_training(home, folder, config, spec.name) for _, config in asked]


def put_training(home: Home, folder: Path, config: TrialConfig, sweep: str | None) -> Keys:
    """Stores a training, unless it is there, with one evaluation of it."""
    store, keys = Store(home), keys_of(config, DATA)
    iterations = config.training.iterations
    manifest = store.manifest(keys.training)
    if manifest is None:
        attempt = f"first{keys.training[:6]}"
        files = dict(
            [
                put_progress(home, folder, keys.training, attempt, iterations, sweep, "complete"),
                store.put_file(keys.training, attempt, f"snapshots/{iterations}.safetensors", b"weights"),
            ]
        )
        store.put_config(config, keys, DATA)
        best = {"iteration": iterations, "validation_accuracy": 0.5}
        made = Manifest(attempt, files, iterations, {"linear": best, "nil": best}, 10)
        manifest = store.put_manifest(keys.training, made)
    store.put_accuracies(config, keys, manifest, np.array([0.2, 0.4, 0.6]))
    return keys


def put_progress(
    home: Home, folder: Path, key: str, attempt: str, iteration: int, sweep: str | None, state: str = "failed"
) -> tuple[str, str]:
    """Stores an attempt that came so far; gives path and sha256 of its progress."""
    for part in (f"attempts/{attempt}/snapshots", "evaluations"):
        (folder / "home" / "trainings" / key / part).mkdir(parents=True, exist_ok=True)
    asked_by = {"sweep": sweep, "run": "r", "number": 0}
    record = {
        **{"attempt": attempt, "asked_by": asked_by, "state": state, "cause": None},
        **{"started_ms": iteration, "ended_ms": None, "validated_ms": {}, "environment": None, "versions": {}},
    }
    Store(home).put_attempt(key, attempt, record)
    content = Progress(iteration, {"w": torch.full((3,), float(iteration))}, {}, {}).to_bytes()
    return Store(home).put_file(key, attempt, "progress.safetensors", content)


def age(folder: Path, seconds: float, paths: Iterable[str] | None = None) -> None:
    """Makes files of the home older than they are: all of them, or those at these paths."""
    root = folder / "home"
    for path in root.rglob("*") if paths is None else [root / path for path in paths]:
        if path.is_file():
            modified_s = path.stat().st_mtime - seconds
            os.utime(path, (modified_s, modified_s))


def listing(folder: Path) -> dict[str, bytes]:
    """Path -> content of all files of the home, hidden ones too."""
    root = folder / "home"
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def paths(files: Iterable[StoredFile]) -> set[str]:
    """The paths of listed files."""
    return {file.path for file in files}
