"""The trial of known length that ``benchmarks/orchestration.py`` runs: trainings of ours do sleep."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from processes import SERIAL, run

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "orchestrators"

TRIAL: dict[str, Any] = {
    "dataset": {"name": "glyphs"},
    "episodes": {"ways": 2, "shots": 1, "queries": 1},
    "backbone": {"width": 2, "pooling": "stride"},
    "algorithm": {"name": "anil"},
    "training": {"iterations": 1, "validate_every": 1, "meta_batch": 1, "validation_episodes": 2},
    "evaluation": {"episodes": 2},
}


def test_every_training_sleeps_as_long_as_asked(fresh_glyphs_home: Path, tmp_path: Path) -> None:
    path, log = tmp_path / "s.yaml", tmp_path / "sleeps"
    path.write_text(yaml.safe_dump({"trial": TRIAL, "grid": {"seeds": 2}}))
    paths = os.pathsep.join(filter(None, [str(BENCHMARK / "sleeping"), os.environ.get("PYTHONPATH", "")]))
    variables = {"PYTHONPATH": paths, "SLEEP_S": "0.2", "SLEEP_LOG": str(log)}
    done = run(SERIAL, "sweep", path, "--home", fresh_glyphs_home, **variables)
    assert done.returncode == 0, done.stderr
    sleeps = [[float(value) for value in line.split()] for line in log.read_text().splitlines()]
    assert len(sleeps) == 2
    assert all(end - began >= 0.2 for began, end in sleeps)
