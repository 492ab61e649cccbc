"""The table: one row a training of ``search_table.yaml``, with its levels and the curve of its validations."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from orchestrator.results import load_study

FOLDER = Path(__file__).resolve().parents[1]
SWEEP = FOLDER / "search_table.yaml"
FILE = FOLDER / "search_table.parquet"
MEASURED = ("validation_accuracy", "iterations", "train_flops")
"""Columns of the table that are no levels."""


@dataclass(frozen=True)
class Table:
    """All points of a space. A value between two levels is the nearer one's, by its logarithm where they are rates."""

    levels: Mapping[str, tuple[float, ...]]
    """Config path -> levels, upwards."""
    curves: Mapping[tuple[float, ...], tuple[float, ...]]
    """Levels in the order of the paths -> accuracies of the validations."""
    validate_every: int
    """Iterations."""

    @cached_property
    def iterations(self) -> int:
        """Of every training."""
        return self.validate_every * len(next(iter(self.curves.values())))

    @cached_property
    def best(self) -> float:
        """Of all points."""
        return max(map(max, self.curves.values()))

    @cached_property
    def _borders(self) -> dict[str, list[float]]:
        return {path: [math.sqrt(a * b) for a, b in pairwise(its)] for path, its in self._rates}

    @property
    def _rates(self) -> list[tuple[str, tuple[float, ...]]]:
        return [(path, levels) for path, levels in self.levels.items() if path.endswith("_lr")]

    def space(self) -> dict[str, dict[str, Any]]:
        """The space as a sweep file says it: levels of rates are equal parts of it, others are whole numbers."""
        space: dict[str, dict[str, Any]] = {
            path: {"int": [int(levels[0]), int(levels[-1])]} for path, levels in self.levels.items()
        }
        for path, levels in self._rates:
            low, high = levels[0] ** 1.5 / levels[1] ** 0.5, levels[-1] ** 1.5 / levels[-2] ** 0.5
            space[path] = {"loguniform": [low, high]}
        return space

    def curve(self, values: Mapping[str, float]) -> tuple[float, ...]:
        """Accuracies of the validations of the training at these values."""
        borders = self._borders
        point = tuple(
            levels[bisect_left(borders[path], values[path])] if path in borders else values[path]
            for path, levels in self.levels.items()
        )
        return self.curves[point]


def write_table(home: str, file: Path = FILE) -> int:
    """Writes the trainings that a home has of the sweep, in the order of the grid; gives their number."""
    study = load_study(SWEEP.stem, home)
    rows = []
    for cell in study.cells:
        (row,) = cell.rows
        if row.state != "completed":
            raise SystemExit(f"training {row.number} is {row.state}: run `orchestrate sweep {SWEEP}` to its end first")
        head, curve = cell.config.algorithm_entry.head, study.trainings[row.keys.training].curve
        rows.append(
            {path: cell.levels[path] for path in study.paths}
            | {
                "validation_accuracy": [one["validation_accuracy"][head] for one in curve],
                "iterations": row.metrics["iterations"],
                "train_flops": row.metrics["train_flops"],
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), file, compression="zstd", store_schema=False)
    return len(rows)


def read_table(file: Path = FILE) -> Table:
    """The table as it lies beside the benchmark."""
    rows = pq.read_table(file).to_pylist()
    paths = [path for path in rows[0] if path not in MEASURED]
    levels = {path: tuple(sorted({float(row[path]) for row in rows})) for path in paths}
    curves = {tuple(float(row[path]) for path in paths): tuple(row["validation_accuracy"]) for row in rows}
    return Table(levels, curves, rows[0]["iterations"] // len(rows[0]["validation_accuracy"]))


def table_trial() -> dict[str, Any]:
    """The base config of the trainings, as their sweep file says it."""
    text: dict[str, Any] = yaml.safe_load(SWEEP.read_text())
    trial: dict[str, Any] = text["trial"]
    return trial
