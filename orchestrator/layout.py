"""What a grid amounts to: its cells, the trainings, evaluations and comparisons behind them, what is stored, what the
rest costs.

Writes nothing and needs no data.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.analyses import Analysis, cell_pairs, distinct_analyses, in_blocks, read_scores
from orchestrator.budget import Used, budget_json
from orchestrator.data import data_folder, find_dataset, known_data
from orchestrator.environment import cpu_count
from orchestrator.estimate import comparisons_core_s, estimate_any_core_s
from orchestrator.grid import GridPoint, distinct, expand, group_by_training
from orchestrator.home import existing_home
from orchestrator.record import SweepRecord
from orchestrator.spec import SweepSpec
from orchestrator.store import Keys, Store, keys_of
from orchestrator.wording import shown
from trainers.config import Between, TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.datasets.recipe import Recipe
from trainers.episodes import check_data
from trainers.errors import DatasetError, EnvironmentAbsent, InputError
from trainers.problems import Config, problem_of

if TYPE_CHECKING:
    from trainers.adapt_cost import ImageShape


@dataclass(frozen=True)
class Layout:
    """A grid, laid out."""

    spec: SweepSpec
    points: tuple[GridPoint, ...]
    cells: tuple[tuple[int, ...], ...]
    """The distinct cells, each with the numbers of all that mean the same."""
    trainings: int
    evaluations: int
    """Distinct ones, over all trainings."""
    comparisons: int
    """Distinct ones, between two trainings each."""
    stored: int | None
    """Trainings that the store has; None where there is no home yet, or not its data."""
    stored_evaluations: int | None
    stored_comparisons: int | None
    estimate_core_s: int | None
    """Of what is not stored, on one core of this machine; None where this machine can't measure it."""
    unmeasured: str
    """Why it can't, and the way out; empty where it can."""
    to_begin: int
    """Trials with work left that have not begun."""
    used: Used
    """Of the sweep's budget."""

    def to_json(self) -> dict[str, Any]:
        """The object that ``orchestrate grid --json`` prints."""
        return {
            "name": self.spec.name,
            "cells": len(self.cells),
            "trainings": self.trainings,
            "evaluations": self.evaluations,
            "comparisons": self.comparisons,
            "stored": self.stored,
            "stored_evaluations": self.stored_evaluations,
            "stored_comparisons": self.stored_comparisons,
            "estimate_core_s": self.estimate_core_s,
        }


def lay_out(spec: SweepSpec, home_url: str) -> Layout:
    """A grid laid out, with what the home's store has of it.

    Raises:
        SpecError: the sweep has no grid.
        DatasetError: a dataset is too small for the episodes.
    """
    points = expand(spec)
    folder = data_folder(home_url)
    names = [name for name, _ in _by_source(points)]
    datasets = [name for name, point in _by_source(points) if problem_of(point.config).needs_dataset]
    data = {name: known_data(folder, name) for name in datasets}
    check_points(points, data, spec.grid.between if spec.grid else None)
    keys = _stored_keys(spec, home_url, points)
    groups = group_by_training(points, lambda config: keys(config).training)
    wanted = [{keys(point.config).evaluation: point.config for point in group} for _, group in groups]
    home = existing_home(home_url)
    known = home is not None and all(name in keys.fingerprints for name in names)
    done = _done(Store(home), keys, groups, wanted) if home is not None and known else [(False, set())] * len(groups)
    left = [
        (None if trained else group[0].config, [config for key, config in tests.items() if key not in tested])
        for (_, group), tests, (trained, tested) in zip(groups, wanted, done, strict=True)
    ]
    shapes = {name: its.image_shape for name, its in data.items()}
    used = SweepRecord(home, spec.name).used if home is not None and spec.budget else Used()
    begun = {training for training, _ in used.begun}
    to_begin = [
        key for (key, _), (config, tests) in zip(groups, left, strict=True) if (config or tests) and key not in begun
    ]
    asked = distinct_analyses(cell_pairs(spec, {name: name for name in names} | keys.fingerprints))
    lacking = [one for one in asked if home is None or not known or read_scores(Store(home), one) is None]
    seconds, unmeasured = _seconds(left, shapes)
    return Layout(
        spec,
        points,
        tuple(distinct(points, keys)),
        trainings=len(groups),
        evaluations=sum(map(len, wanted)),
        comparisons=len(asked),
        stored=sum(trained for trained, _ in done) if known else None,
        stored_evaluations=sum(len(tested) for _, tested in done) if known else None,
        stored_comparisons=len(asked) - len(lacking) if known else None,
        estimate_core_s=None if seconds is None else round(seconds + _comparing_s(spec, lacking, shapes)),
        unmeasured=unmeasured,
        to_begin=len(to_begin),
        used=used,
    )


def _seconds(
    left: Sequence[tuple[Config | None, Sequence[Config]]], shapes: Mapping[str, ImageShape]
) -> tuple[float | None, str]:
    """An estimate, or why there is none."""
    try:
        return estimate_any_core_s(left, shapes), ""
    except EnvironmentAbsent as error:
        return None, str(error)


def _comparing_s(spec: SweepSpec, analyses: Sequence[Analysis], shapes: Mapping[str, ImageShape]) -> float:
    if spec.grid is None or spec.grid.between is None:
        return 0.0
    blocks = []
    for block in in_blocks(analyses):
        networks = {name: config for analysis in block for name, config in analysis.networks.items()}
        blocks.append((list(networks.values()), len(block)))
    return comparisons_core_s(blocks, spec.grid.between, shapes)


@dataclass(frozen=True)
class _StoredKeys:
    """Keys of configs, each made once: those of the home's data where it is there, else by the dataset's name alone."""

    fingerprints: dict[str, str]
    _made: dict[Config, Keys] = field(default_factory=dict)

    def __call__(self, config: Config) -> Keys:
        if config not in self._made:
            name = config.source
            self._made[config] = keys_of(config, self.fingerprints.get(name, name))
        return self._made[config]


def _by_source(points: Iterable[GridPoint]) -> list[tuple[str, GridPoint]]:
    """Datasets and environments, each with the first point that is of it."""
    return list({point.config.source: point for point in reversed(tuple(points))}.items())[::-1]


def _stored_keys(spec: SweepSpec, home_url: str, points: Sequence[GridPoint]) -> _StoredKeys:
    home = existing_home(home_url)
    pinned = SweepRecord(home, spec.name).fingerprints if home else {}
    found = {}
    for name, point in _by_source(points):
        problem = problem_of(point.config)
        if not problem.needs_dataset:
            with suppress(InputError):  # its packages are not installed here
                found[name] = problem.source(name).fingerprint
        elif (path := find_dataset(data_folder(home_url), name)) is not None:
            found[name] = path.stem.rpartition("-")[2]
    return _StoredKeys({**found, **pinned})


def _done(
    store: Store, keys: _StoredKeys, groups: list[tuple[str, list[GridPoint]]], wanted: list[dict[str, Config]]
) -> list[tuple[bool, set[str]]]:
    """For each training, whether the store has it and its snapshots, and the keys of its evaluations that it has."""
    there = set(store.home.names("trainings"))
    found = []
    for (key, _), tests in zip(groups, wanted, strict=True):
        config = next(iter(tests.values()))
        manifest = store.trained(config, keys(config)) if key in there else None
        tested = (
            {one for one, config in tests.items() if store.accuracies(config, keys(config), manifest) is not None}
            if manifest
            else set()
        )
        found.append((manifest is not None, tested))
    return found


def check_points(
    points: Sequence[GridPoint], data: Mapping[str, ImageTable | Recipe], between: Between | None = None
) -> None:
    """Checks that the data can fill every kind of episode, and of comparison on it, that the points ask for.

    Args:
        points: of a grid.
        data: what is known of its datasets, by name.
        between: what the grid compares between trainings, if anything.

    Raises:
        DatasetError: it can't; names the levels of the first cell that asks for it.
    """
    seen = set()
    for point in points:
        config = point.config
        if not isinstance(config, TrialConfig):
            continue
        test = config.evaluation
        kind = (config.dataset, config.episodes, config.backbone, test.queries, test.measure, test.flattening)
        if kind not in seen:
            seen.add(kind)
            try:
                check_data(config, data[config.source], between)
            except DatasetError as error:
                levels = f"grid: the cell {shown(point.levels)}: " if point.levels else ""
                raise DatasetError(f"{levels}{error}") from None


def cells_csv(layout: Layout) -> str:
    """The cells as CSV: number, levels, and the numbers of the cells that mean the same."""
    paths = list(layout.spec.grid.levels) if layout.spec.grid else []
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(["cell", *paths, "seeds", "same_as"])
    for cell, levels, seeds, same in _cell_rows(layout):
        writer.writerow([cell, *(_text(levels[path]) if path in levels else "" for path in paths), seeds, same])
    return sink.getvalue()


def layout_text(layout: Layout) -> str:
    """A grid in four lines, and what in it never acts."""
    spec, grid = layout.spec, layout.spec.grid
    assert grid is not None
    asked = sum(map(len, layout.cells))
    same = f" ({asked} asked, the others mean the same)" if asked > len(layout.cells) else ""
    stored = (
        "not known: the home or its data is not there yet"
        if layout.stored is None
        else f"{layout.stored} of the trainings, {layout.stored_evaluations} of the evaluations"
        + (f", {layout.stored_comparisons} of the comparisons" if layout.comparisons else "")
    )
    compared = f", {_count(layout.comparisons, 'comparison')} between trainings" if layout.comparisons else ""
    return "\n".join(
        [
            f"{spec.name}: {_count(len(layout.cells), 'cell')}{same}, {_count(grid.seed_count, 'seed')}",
            f"work:   {_count(layout.trainings, 'training')}, {_count(layout.evaluations, 'evaluation')}{compared}",
            f"stored: {stored}",
            f"left:   {_left(layout)}",
            *_beyond_budget(layout),
            *(f"never acts: {path}, whose condition holds in no cell" for path in _idle(layout)),
        ]
    )


def _left(layout: Layout) -> str:
    if layout.estimate_core_s is None:
        return f"not known: {layout.unmeasured}"
    return f"about {_duration(layout.estimate_core_s)} on one core of this machine"


def _beyond_budget(layout: Layout) -> list[str]:
    """A line where what is left of the budget can't do for what is left to run, all cores of this machine at work."""
    budget, resources, cores = layout.spec.budget, layout.spec.resources, cpu_count()
    if budget is None:
        return []
    core_s = layout.estimate_core_s or 0  # what is not known does not go beyond it
    # A trial takes its GPUs for as long as its cores.
    needed = {
        "hours": core_s / cores / 3600,
        "gpu_hours": core_s / resources.cpu * (resources.gpu or 0.0) / 3600,
        "trials": layout.to_begin,
    }
    its = budget_json(budget, layout.used, 0)
    words = {"hours": f"h of {_count(cores, 'core')}", "gpu_hours": "GPU-h at the speed of this machine's cores"}
    over = [
        _count(left, "training") if name == "trials" else f"{left:.3g} {words[name]}"
        for name, left in its["left"].items()
        if needed[name] > left
    ]
    return [f"budget: {' and '.join(over)} left, which will not do"] if over else []


def _idle(layout: Layout) -> list[str]:
    acting = {path for point in layout.points for path in point.levels}
    return [path for path in (layout.spec.grid.levels if layout.spec.grid else ()) if path not in acting]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def cells_text(layout: Layout) -> str:
    """One line a cell."""
    lines = []
    for cell, levels, _, same in _cell_rows(layout):
        words = " ".join(f"{path}={_text(level)}" for path, level in levels.items()) or "the base config"
        lines.append(f"{cell:>6}  {words}" + (f"  (the same as {same})" if same != "" else ""))
    return "\n".join(lines)


def _cell_rows(layout: Layout) -> Iterator[tuple[int, dict[str, Any], int, int | str]]:
    """(cell, levels, seeds, the first cell that means the same or nothing) of every cell as asked."""
    first = {cell: cells[0] for cells in layout.cells for cell in cells}
    seeds: dict[int, int] = {}
    for point in layout.points:
        seeds[point.cell] = seeds.get(point.cell, 0) + 1
    shown = set()
    for point in layout.points:
        if point.cell not in shown:
            shown.add(point.cell)
            same = first[point.cell]
            yield point.cell, point.levels, seeds[point.cell], "" if same == point.cell else same


def _text(level: Any) -> str:
    return (
        shown(level)
        if level is None or level == ()
        else "+".join(map(str, level))
        if isinstance(level, tuple)
        else str(level)
    )


def _duration(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
