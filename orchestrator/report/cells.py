"""The cells of a study, one a row; and two factors across each other, as papers print them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.labels import level_text, levels_text, short_name
from orchestrator.report.part import Table
from orchestrator.report.provenance import Provenance, provenance
from orchestrator.report.words import ABSENT, interval, level_columns, level_texts, mean_and_std, number
from orchestrator.results import CellResult, Study, cells_table
from trainers.problem import Score

STD = "±: standard deviation over seeds, divided by seeds − 1."


def cells(study: Study) -> Sequence[Table]:
    """Every cell with its accuracy, in the order of the file; the trials of a search best first."""
    if not study.cells:
        return ()
    order = study.cells if study.spec.search is None else sorted(study.cells, key=_rank)
    paths, problem = study.paths, study.problem
    others = [(mean.replace("_", " "), mean) for mean, _ in problem.tested.values() if mean != problem.score.test]
    cost, heading, unit = problem.cost
    values = cells_table(study).to_pylist()
    by_number = {record["cell"]: tuple(record.values()) for record in values}
    return [
        Table(
            name="cells",
            title=f"Test {study.score.word}"
            + (" of each trial, best validation first" if study.spec.search else " of each cell"),
            columns=(
                *(("trial",) if study.spec.search else ()),
                *level_columns(paths),
                *(study.score.heading("test"), "95 % interval", *(name for name, _ in others)),
                *(study.score.heading("validation"), "seeds", heading, "training, s"),
            ),
            rows=tuple(
                (
                    *((str(cell.number),) if study.spec.search else ()),
                    *level_texts(cell, paths),
                    mean_and_std(cell.estimate),
                    interval(cell.estimate),
                    *(number(cell.mean(metric), study.score) for _, metric in others),
                    number(cell.mean(study.score.validation), study.score),
                    _seeds(cell),
                    _short(cell.mean(cost), unit),
                    _short(cell.mean("train_seconds")),
                )
                for cell in order
            ),
            values=tuple(by_number[cell.number] for cell in order),
            value_columns=tuple(values[0]),
            notes=_notes(study, intervals=True),
        )
    ]


def pivot(study: Study) -> Sequence[Table]:
    """The cells as a rectangle, where two factors vary and have all their combinations: the longer one downwards.

    Factors that move together are one.
    """
    plane = _plane(study)
    if plane is None:
        return ()
    down, across = plane
    found = {(down.of(cell), across.of(cell)): cell for cell in study.cells}
    return [
        Table(
            name="pivot",
            title=f"{_pivot_title(study.score)}: {down.name} by {across.name}",
            columns=(down.name, *(levels_text(dict(level)) for level in across.levels)),
            rows=tuple(
                (down.text(row), *(mean_and_std(found[row, column].estimate) for column in across.levels))
                for row in down.levels
            ),
            values=tuple(
                (down.text(row), *(_mean(found[row, column]) for column in across.levels)) for row in down.levels
            ),
            value_columns=(down.name, *(levels_text(dict(level)) for level in across.levels)),
            notes=_notes(study, intervals=False),
        )
    ]


Level = tuple[tuple[str, Any], ...]
"""(config path, value) of the factors of a side."""


@dataclass(frozen=True)
class _Side:
    """One side of a rectangle: a factor, with those that move along with it."""

    paths: tuple[str, ...]
    levels: tuple[Level, ...]

    @property
    def name(self) -> str:
        return ", ".join(map(short_name, self.paths))

    def of(self, cell: CellResult) -> Level:
        return tuple((path, cell.levels[path]) for path in self.paths)

    def text(self, level: Level) -> str:
        return ", ".join(level_text(path, value) for path, value in level)


def _plane(study: Study) -> tuple[_Side, _Side] | None:
    grid = study.spec.grid
    if grid is None or any(path not in cell.levels for cell in study.cells for path in study.paths):
        return None
    together = {path: tuple(sorted(group, key=study.paths.index)) for group in grid.zip for path in group}
    groups = dict.fromkeys(together.get(path, (path,)) for path in study.paths)
    sides = []
    for paths in groups:
        levels = tuple(dict.fromkeys(tuple((path, cell.levels[path]) for path in paths) for cell in study.cells))
        if len(levels) > 1:
            sides.append(_Side(paths, levels))
    if len(sides) != 2 or len(sides[0].levels) * len(sides[1].levels) != len(study.cells):
        return None
    down, across = sorted(sides, key=lambda side: -len(side.levels))
    return down, across


def _rank(cell: CellResult) -> tuple[float, int]:
    validation = cell.mean(cell.score_kind.validation)
    return (math.inf if validation is None else -validation, cell.number)


def _pivot_title(score: Score) -> str:
    return score.heading(f"Test {score.word}" if score.unit == "%" else "Test")


def _mean(cell: CellResult) -> float | None:
    return cell.estimate.value if cell.estimate else None


def _seeds(cell: CellResult) -> str:
    done, asked = len(cell.seeds), len(cell.rows)
    return str(done) if done == asked else f"{done} of {asked}"


def _short(value: float | None, unit: float = 1.0) -> str:
    return ABSENT if value is None else f"{value / unit:.3g}" if value < 1000 * unit else f"{value / unit:,.0f}"


def _notes(study: Study, intervals: bool) -> tuple[str, ...]:
    """What ± and, where they are shown, the intervals mean, and what is missing."""
    seeds = [len(cell.seeds) for cell in study.cells if cell.seeds]
    notes = []
    if max(seeds, default=0) > 1:
        notes.append(STD)
        if intervals:
            notes.append(f"95 % interval: for other seeds and other {study.problem.other_tasks}.")
    if 1 in seeds and intervals:
        notes.append(
            f"Where there is one seed, the 95 % interval is over {study.problem.tasks_word} of that training only."
        )
    return (*notes, *completeness(provenance(study)))


def completeness(source: Provenance) -> list[str]:
    """What a reader of any number must know: that some are missing, that they come from different machines."""
    notes = []
    if source.missing or source.failed:
        counts = f"{source.missing} results are missing, {len(source.failed)} failed"
        counts += f"; {source.left_out}" if source.left_out else ""
        notes.append(f"Not complete: {counts}; {ABSENT} is a number that is not there.")
    if source.mixed:
        notes.append("Trainings ran in more than one environment: their numbers agree only statistically.")
    return notes
