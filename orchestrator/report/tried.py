"""The trials of a search, as its figures need them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.labels import level_text
from orchestrator.report.words import level_columns
from orchestrator.results import Study
from orchestrator.rows import Row
from orchestrator.space import Space
from trainers.problem import Score


@dataclass(frozen=True)
class Tried:
    """One trial."""

    number: int
    point: Mapping[str, Any]
    """Config path -> value, of the parameters that act."""
    state: str
    accuracy: float | None
    """Validation accuracy, a fraction; of a trial that did not complete the best on its way, if it was validated."""
    started_with: bool
    """One of ``search.start``."""
    score: Score
    """What its problem judges it by."""


def tried(study: Study) -> list[Tried]:
    """The trials of a search by number, whatever came of them; none for a grid."""
    if study.spec.search is None:
        return []
    starts = len(study.spec.search.start)
    return [
        Tried(row.number, cell.levels, row.state, _accuracy(study, row), row.number < starts, row.score)
        for cell in study.cells
        for row in cell.rows[:1]
    ]


def compared(study: Study) -> list[Tried]:
    """The completed trials, each point once: a trial that repeats another says nothing new."""
    found: dict[tuple[tuple[str, Any], ...], Tried] = {}
    for trial in tried(study):
        if trial.state == "completed" and trial.accuracy is not None:
            found.setdefault(tuple(trial.point.items()), trial)
    return list(found.values())


def accuracies(trials: Sequence[Tried]) -> list[float]:
    """Of trials that have one."""
    return [trial.accuracy for trial in trials if trial.accuracy is not None]


def shown(trials: Sequence[Tried]) -> list[float]:
    """The same as an axis has them: per cent, or returns."""
    return [trial.score.shown(trial.accuracy) for trial in trials if trial.accuracy is not None]


def score_of(trials: Sequence[Tried]) -> Score:
    """What the trials of one search, one at least, are judged by."""
    return trials[0].score


def space_of(study: Study) -> Space:
    """The space of a search; empty for a grid."""
    return study.spec.search.space if study.spec.search else {}


def names(space: Space) -> dict[str, str]:
    """Config path -> what it is called in figures."""
    return dict(zip(space, (name.replace("_", " ") for name in level_columns(list(space))), strict=True))


def short_level(path: str, value: Any, widest: int) -> str:
    """A value in a figure: lists a line an element, none longer than ``widest`` letters."""
    lines = level_text(path, value).split("+") if isinstance(value, tuple) else [level_text(path, value)]
    return "\n".join(line if len(line) <= widest else line[: widest - 1] + "…" for line in lines)


def _accuracy(study: Study, row: Row) -> float | None:
    if row.score.validation in row.metrics:
        return row.validation
    head = row.config.algorithm_entry.head
    return max((point["validation_accuracy"][head] for point in study.trainings[row.keys.training].curve), default=None)
