"""Sweeps small enough to be run many times."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

TINY_TRIAL: dict[str, Any] = {
    "dataset": {"name": "glyphs"},
    "episodes": {"ways": 3, "shots": 1, "queries": 2},
    "backbone": {"width": 4, "pooling": "stride"},
    "training": {"iterations": 8, "validate_every": 4, "meta_batch": 1, "validation_episodes": 4},
    "evaluation": {"episodes": 6},
}


@pytest.fixture
def tiny_trial() -> dict[str, Any]:
    """A trial that takes well under a second."""
    return {section: dict(values) for section, values in TINY_TRIAL.items()}


@pytest.fixture
def spec_file(tmp_path: Path) -> Any:
    """Writes a sweep file: ``spec_file(search=…)`` or ``spec_file(grid=…)``; gives its path."""

    def write(name: str = "tiny", **sections: Any) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"trial": TINY_TRIAL, **sections}, sort_keys=False))
        return path

    return write


@pytest.fixture
def every_iteration_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings save their progress after each iteration, whatever that costs; and a driver says how it stands at its
    start and its end alone: which writes there are does not depend on time."""
    monkeypatch.setattr("orchestrator.live_record.EVERY_S", 1e6)
    monkeypatch.setattr("orchestrator.live_record.EVERY_IN_BUCKET_S", 1e6)
    monkeypatch.setattr("orchestrator.saving.EVERY_S", 0.0)  # FIRST_S is within it
    monkeypatch.setattr("orchestrator.saving.SHARE", math.inf)


@pytest.fixture
def fresh(glyphs_file: Path, tmp_path: Path) -> Callable[[Any], Path]:
    """Makes homes that hold the embedded dataset and nothing else."""

    def make(name: Any) -> Path:
        home = tmp_path / f"home-{name}"
        (home / "datasets").mkdir(parents=True)
        os.link(glyphs_file, home / "datasets" / glyphs_file.name)
        return home

    return make
