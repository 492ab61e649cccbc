"""Studies with made-up results, for the parts of a report: no training, no home."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.config_paths import with_values
from orchestrator.grid import baseline_cells, expand
from orchestrator.results import CellResult, Study, Training
from orchestrator.rows import Row, State
from orchestrator.spec import SweepSpec
from orchestrator.store import keys_of
from trainers.config import TrialConfig

DATA = "d" * 20
EPISODES = 12

Accuracies = Callable[[Mapping[str, Any], int], NDArray[np.float64]]
"""Levels and seed -> accuracy of each test episode, [episodes]."""
ATTEMPT = {
    "started_ms": 1_764_000_000_000,
    "ended_ms": 1_764_000_012_000,
    "validated_ms": {},
    "asked_by": {"git_commit": "c" * 40},
    "environment": {"device": "a <fast> one", "instruction_set": "AVX2", "torch": "2.13.0", "threads": 2},
    "versions": {"python": "3.11.7", "numpy": "2.4.6"},
}


def random_accuracies(levels: Mapping[str, Any], seed: int) -> NDArray[np.float64]:
    """The same for the same levels and seed."""
    words = [*map(str, levels.values()), str(seed)]
    return np.random.default_rng([ord(letter) for letter in "|".join(words)]).integers(5, 10, EPISODES) / 10


def made_row(number: int, config: TrialConfig, values: NDArray[np.float64] | None, error: str | None = None) -> Row:
    """A completed row; planned where there are no values, failed where there is an error."""
    state: State = "failed" if error else "completed" if values is not None else "planned"
    metrics = {}
    if state == "completed":
        assert values is not None
        mean = float(values.mean())
        metrics = {"validation_accuracy": mean, "test_accuracy": mean, "test_ci95": 0.02, "test_episodes": len(values)}
        metrics |= {"iterations": config.training.iterations, "train_flops": 10**9, "train_seconds": 4.5}
    return Row(number, config, keys_of(config, DATA), state, metrics, error)


def made_curve(row: Row, validations: int) -> tuple[dict[str, Any], ...]:
    """Accuracy rises to about the test's; the same for the same training."""
    top = row.metrics.get("validation_accuracy", 0.5)
    own = int(row.keys.training[:4], 16) / 16**4
    every = row.config.training.iterations // validations
    return tuple(
        {
            "iteration": every * step,
            "train_accuracy": top * step / validations,
            "validation_accuracy": {"linear": top * step / validations * (0.8 + 0.2 * own), "nil": 0.25},
        }
        for step in range(1, validations + 1)
    )


def made_study(
    cells: Sequence[tuple[int, Mapping[str, Any], Sequence[TrialConfig]]],
    spec: SweepSpec,
    accuracies: Accuracies,
    absent: Mapping[tuple[int, int], str | None],
    validations: int,
) -> Study:
    """A study of (number, levels, config of each seed); ``absent``: (cell, seed) -> cause of failure, or None."""
    made, trainings, number = [], {}, 0
    baselines = baseline_cells(spec, {cell: levels for cell, levels, _ in cells})
    for cell, levels, configs in cells:
        rows, matrix = [], []
        for config in configs:
            place = (cell, config.training.seed)
            values = None if place in absent else accuracies(levels, config.training.seed)
            rows.append(made_row(number, config, values, absent.get(place)))
            matrix += [] if values is None else [values]
            key = rows[-1].keys.training
            trainings.setdefault(key, Training(key, made_curve(rows[-1], validations), (ATTEMPT,)))
            number += 1
        tested = np.stack(matrix) if matrix else np.zeros((0, 0))
        made.append(CellResult(cell, levels, configs[0], tuple(rows), tested, baselines.get(cell)))
    state = "interrupted" if any(cause is None for cause in absent.values()) else "done"
    return Study(spec, tuple(made), trainings, {"glyphs": DATA}, state)


def made_grid(
    accuracies: Accuracies = random_accuracies,
    absent: Mapping[tuple[int, int], str | None] | None = None,
    validations: int = 4,
    question: str | None = None,
    **grid: Any,
) -> Study:
    """A grid with results."""
    spec = SweepSpec.model_validate({"name": "made", "question": question, "grid": grid})
    grouped: dict[int, tuple[int, Mapping[str, Any], list[TrialConfig]]] = {}
    for point in expand(spec):
        grouped.setdefault(point.cell, (point.cell, point.levels, []))[2].append(point.config)
    return made_study(list(grouped.values()), spec, accuracies, absent or {}, validations)


def made_search(trials: int, validations: int = 4, **absent: Any) -> Study:
    """A search over ``algorithm.inner_lr`` with results."""
    search = {"trials": trials, "space": {"algorithm.inner_lr": {"uniform": [0.001, 1.0]}}}
    spec = SweepSpec.model_validate({"name": "made", "search": search})
    levels = [{"algorithm.inner_lr": (number + 1) / trials} for number in range(trials)]
    cells = [(number, its, [with_values(spec.trial, its)]) for number, its in enumerate(levels)]
    return made_study(cells, spec, random_accuracies, absent.get("absent", {}), validations)
