"""Lays out an ablation grid: its cells, the points of each under every seed, and the trainings that these share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from orchestrator.config_paths import with_values
from orchestrator.errors import SpecError
from orchestrator.factors import MAX_CELLS
from orchestrator.spec import SweepSpec
from trainers.canonical import evaluation_key, training_key
from trainers.problems import Config


@dataclass(frozen=True)
class GridPoint:
    """One cell of a grid under one seed: one evaluation, and a row of an export."""

    number: int
    cell: int
    """Number of its cell; the points of a cell follow each other."""
    config: Config
    levels: dict[str, Any]
    """Factor (a config path, or ``setting``) -> level, as asked, in the order of the factors; what does not act here is
    absent."""
    seed: int


def points(spec: SweepSpec) -> Iterator[GridPoint]:
    """All points of a grid, in file order: the first factor slowest, the seeds fastest.

    Raises:
        SpecError: the sweep has no grid.
    """
    if spec.grid is None:
        raise SpecError(f"{spec.name}: has no grid; add grid: to its file")
    number = 0
    for cell, levels in enumerate(spec.grid.combinations(spec.trial)):
        config = with_values(spec.trial, spec.grid.values(levels))
        for seed in spec.grid.seeds_of(config):  # seeds were checked with the spec
            seeded = config.model_copy(update={"training": config.training.model_copy(update={"seed": seed})})
            yield GridPoint(number, cell, seeded, levels, seed)
            number += 1


def check_size(spec: SweepSpec) -> None:
    """Refuses a grid that is larger than is likely meant.

    Raises:
        SpecError: more than ``MAX_CELLS`` evaluations, cells times seeds.
    """
    assert spec.grid is not None
    limit = MAX_CELLS // spec.grid.seed_count
    if spec.grid.most > limit and next(islice(spec.grid.combinations(spec.trial), limit, None), None) is not None:
        fewer = spec.grid.exclude or any(factor.when for factor in spec.grid.factors.values())
        count = f"{'up to ' if fewer else ''}{spec.grid.most:,} cells"
        seeds = spec.grid.seed_count
        with_seeds = f" times {seeds:,} seeds" if seeds > 1 else ""
        raise SpecError(
            f"{spec.name}: grid: has {count}{with_seeds}, more than {MAX_CELLS:,}; leave out levels, factors or seeds, "
            "or say --yes if it is meant"
        )


def expand(spec: SweepSpec) -> tuple[GridPoint, ...]:
    """All points of a grid, as ``points``. Those of the last spec are kept: a large grid takes seconds."""
    if not (_last and _last[0][0] is spec):
        _last[:] = [(spec, tuple(points(spec)))]
    return _last[0][1]


_last: list[tuple[SweepSpec, tuple[GridPoint, ...]]] = []


def group_by_training(points: Iterable[GridPoint], key: Callable[[Config], str]) -> list[tuple[str, list[GridPoint]]]:
    """Points by training key, both in first-seen order: those of one key are one training and its evaluations."""
    groups: dict[str, list[GridPoint]] = {}
    for point in points:
        groups.setdefault(key(point.config), []).append(point)
    return list(groups.items())


def meaning(config: Config) -> tuple[str, str]:
    """(training, evaluation), equal where two configs of a grid mean the same.

    Needs no data: within a grid a dataset's name tells as much as its fingerprint.
    """
    name = config.source
    return training_key(config, name), evaluation_key(config, name)


def distinct(points: Iterable[GridPoint], key: Callable[[Config], Hashable] = meaning) -> list[tuple[int, ...]]:
    """Numbers of the cells that mean the same, in first-seen order: each tuple is one cell, however often asked."""
    meanings: dict[int, list[Hashable]] = {}
    for point in points:
        meanings.setdefault(point.cell, []).append(key(point.config))
    same: dict[tuple[Hashable, ...], list[int]] = {}
    for cell, its in meanings.items():
        same.setdefault(tuple(its), []).append(cell)
    return [tuple(cells) for cells in same.values()]


def baseline_cells(spec: SweepSpec, levels: Mapping[int, Mapping[str, Any]]) -> dict[int, int]:
    """Cell -> the cell that ``grid.compare.baseline`` compares it with; the baselines themselves, and cells whose
    baseline is excluded, are absent.

    Args:
        spec: of the sweep.
        levels: of every cell, by its number.
    """
    baseline = spec.grid.baseline if spec.grid else {}
    if not baseline:
        return {}

    def rest(its: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
        return frozenset((path, level) for path, level in its.items() if path not in baseline)

    candidates = {
        rest(its): cell
        for cell, its in levels.items()
        if all(path in its and its[path] == level for path, level in baseline.items())
    }
    found = {cell: candidates.get(rest(its)) for cell, its in levels.items()}
    return {cell: other for cell, other in found.items() if other is not None and other != cell}
