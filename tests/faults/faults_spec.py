"""What sweeps with faults run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

TRIAL: dict[str, Any] = {
    "dataset": {"name": "glyphs"},
    "episodes": {"ways": 3, "shots": 1, "queries": 2},
    "backbone": {"width": 8, "pooling": "stride"},
    "algorithm": {"name": "anil"},
    "training": {"iterations": 100, "validate_every": 10, "meta_batch": 2, "validation_episodes": 5},
    "evaluation": {"episodes": 20},
}

VALIDATED = list(range(10, 101, 10))
"""Its validations."""

SEARCH = {"trials": 4, "window": 2, "space": {"algorithm.inner_lr": {"loguniform": [0.05, 1.0]}}}


def write_spec(folder: Path, name: str, training: dict[str, Any] | None = None, **sections: Any) -> Path:
    """A sweep file of ``TRIAL``."""
    trial = TRIAL | {"training": TRIAL["training"] | (training or {})}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"trial": trial, **sections}, sort_keys=False))
    return path
