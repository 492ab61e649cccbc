"""A sweep of MetaSweep with everything on: TPE, its records, MLflow. Its trainings sleep, and are as small as can be.

Arguments: trials, how many at once, folder.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from orchestrator.environment import cpu_count
from orchestrator.inputs import Where
from orchestrator.spec_file import load_spec
from orchestrator.sweep import run_sweep

TRIAL: dict[str, Any] = {
    "dataset": {"name": "glyphs"},
    "episodes": {"ways": 2, "shots": 1, "queries": 1},
    "backbone": {"width": 2, "pooling": "stride"},
    "algorithm": {"name": "anil"},
    "training": {"iterations": 1, "validate_every": 1, "meta_batch": 1, "validation_episodes": 2},
    "evaluation": {"episodes": 2},
}


def write_sweep(folder: Path, concurrent: int, **plan: Any) -> Path:
    """The file of a sweep of such trials, so many of which fit on this machine at once."""
    path = folder / "sleeping.yaml"
    resources = {"cpu": min(1.0, cpu_count() / concurrent), "gpu": 0, "max_concurrent": concurrent}
    path.write_text(yaml.safe_dump({"trial": TRIAL, "resources": resources, **plan}))
    return path


def main() -> None:
    """Runs it."""
    trials, concurrent, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    space = {"algorithm.inner_lr": {"loguniform": [0.01, 1.0]}, "training.meta_lr": {"loguniform": [1e-4, 1e-2]}}
    path = write_sweep(folder, concurrent, search={"trials": trials, "space": space})
    status = run_sweep(load_spec(path), Where(home=str(folder / "home")))
    assert status["trials"]["completed"] == trials, status


if __name__ == "__main__":
    main()
