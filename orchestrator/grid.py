"""Lays out the cells of an ablation grid, and groups them into units of work."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from orchestrator.config_paths import with_values
from orchestrator.errors import SpecError
from orchestrator.spec import SweepSpec
from trainers.config import TrialConfig


@dataclass(frozen=True)
class Cell:
    """One point of a grid under one seed."""

    number: int
    config: TrialConfig
    levels: dict[str, Any]
    """Config path -> level, as asked, in the order of the factors."""
    seed: int


def expand(spec: SweepSpec) -> tuple[Cell, ...]:
    """All cells of a grid, in file order: the first factor slowest, the seeds fastest.

    Raises:
        SpecError: the sweep has no grid.
    """
    if spec.grid is None:
        raise SpecError(f"{spec.name}: has no grid; add grid: to its file")
    cells: list[Cell] = []
    for levels in spec.grid.combinations():
        config = with_values(spec.trial, levels)
        for seed in spec.grid.seeds_of(config):  # seeds were checked with the spec
            seeded = config.model_copy(update={"training": config.training.model_copy(update={"seed": seed})})
            cells.append(Cell(len(cells), seeded, levels, seed))
    return tuple(cells)


def group_by_training(cells: Iterable[Cell], key: Callable[[TrialConfig], str]) -> list[tuple[str, list[Cell]]]:
    """Cells by training key, both in first-seen order: the cells of one key are one training and its evaluations."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(key(cell.config), []).append(cell)
    return list(groups.items())
