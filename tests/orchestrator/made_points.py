"""Searches with made-up results over a space of several parameters, one of them conditional."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from made_study import made_study

from orchestrator.config_paths import with_values
from orchestrator.results import Study
from orchestrator.spec import SweepSpec

SPACE: dict[str, Any] = {
    "algorithm.name": {"choice": ["maml", "anil", "boil"]},
    "algorithm.inner_lr": {"loguniform": [0.01, 1.0]},
    "algorithm.inner_steps": {"int": [1, 5]},
    "algorithm.frozen_layers": {"int": [0, 4], "when": {"algorithm.name": "maml"}},
    "training.clip": {"uniform": [1.0, 9.0]},
}


def points(count: int) -> list[dict[str, Any]]:
    """Uniform on every axis."""
    generator, found = np.random.default_rng(count), []
    for _ in range(count):
        point = {
            "algorithm.name": ("maml", "anil", "boil")[generator.integers(3)],
            "algorithm.inner_lr": float(10 ** generator.uniform(-2, 0)),
            "algorithm.inner_steps": int(generator.integers(1, 6)),
            "algorithm.frozen_layers": int(generator.integers(0, 5)),
            "training.clip": float(generator.uniform(1, 9)),
        }
        if point["algorithm.name"] != "maml":
            del point["algorithm.frozen_layers"]
        found.append(point)
    return found


def accuracy(point: Mapping[str, Any]) -> float:
    """Highest at a rate near 0.3; that matters most for boil. Frozen layers cost a little."""
    far = abs(float(np.log10(point["algorithm.inner_lr"])) + 0.5)
    frozen = point.get("algorithm.frozen_layers", 0)
    return (
        0.9
        - (0.3 if point.get("algorithm.name") == "boil" else 0.15) * far
        - 0.01 * (len(frozen) if isinstance(frozen, tuple) else frozen)
    )


def made_points(
    tried: Sequence[Mapping[str, Any]],
    failed: Mapping[int, str] | None = None,
    space: Mapping[str, Any] = SPACE,
    start: Sequence[Mapping[str, Any]] = (),
) -> Study:
    """A search whose trials have these points; ``failed``: number -> cause."""
    search = {"trials": len(tried), "space": space, "start": [dict(one) for one in start]}
    spec = SweepSpec.model_validate({"name": "made", "search": search})
    cells = [(number, point, [with_values(spec.trial, dict(point))]) for number, point in enumerate(tried)]
    absent = {(number, 0): cause for number, cause in (failed or {}).items()}
    return made_study(cells, spec, lambda levels, seed: np.full(12, accuracy(levels)), absent, 4)
