"""Every cell minus its baseline, with intervals that hold together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from orchestrator.labels import levels_text
from orchestrator.report.differences import Difference, difference
from orchestrator.report.part import Table
from orchestrator.report.words import ABSENT, gap, interval, level_columns, level_texts, level_values, number
from orchestrator.results import CellResult, Study
from orchestrator.stats import Estimate
from trainers.problem import Problem
from trainers.problems import problem_of


def _notes(problem: Problem[Any]) -> tuple[str, ...]:
    task, tasks = problem.task_word, problem.tasks_word
    return (
        f"Difference: the cell minus its baseline{', in points' * (problem.score.unit == '%')}. The intervals of cells "
        "with the same baseline hold together in at least 95 of 100 experiments.",
        f"Paired by seed: both test the same trainings. Paired by {task}: both were tested on the same {tasks}.",
    )


def comparisons(study: Study) -> Sequence[Table]:
    """The cells that have a baseline; none where ``grid.compare`` names none. Timed cells are compared by speed."""
    by_number = {cell.number: cell for cell in study.cells if not problem_of(cell.config).is_timed(cell.config)}
    pairs = [(cell, by_number[cell.baseline]) for cell in by_number.values() if cell.baseline in by_number]
    if not pairs:
        return ()
    paths = study.paths
    one_seed = f"One seed: the interval is over {study.problem.tasks_word} of this training only."
    family = Counter(baseline.number for _, baseline in pairs)
    found = [(cell, baseline, difference(cell, baseline, family[baseline.number])) for cell, baseline in pairs]
    alone = any(its and not its.estimate.spread.seeds_df and not its.estimate.no_verdict for *_, its in found)
    return [
        Table(
            name="comparisons",
            title=f"Differences from the baseline{', in points' * (study.score.unit == '%')}",
            columns=(
                *level_columns(paths),
                *(
                    "minus",
                    study.score.heading("test"),
                    study.score.heading("baseline"),
                    "difference",
                    "simultaneous 95 % interval",
                ),
                *("paired by", "reads"),
            ),
            rows=tuple((*level_texts(cell, paths), *_texts(cell, baseline, its)) for cell, baseline, its in found),
            values=tuple(
                (cell.number, *level_values(cell, paths), baseline.number, *_values(its))
                for cell, baseline, its in found
            ),
            value_columns=(
                *("cell", *paths, "baseline_cell", "difference", "low95", "high95"),
                *("comparisons", "seeds", study.problem.tasks_word, "paired_by", "reads"),
            ),
            notes=(
                *_notes(study.problem),
                *((one_seed,) if alone else ()),
            ),
        )
    ]


def _texts(cell: CellResult, baseline: CellResult, its: Difference | None) -> tuple[str, ...]:
    other = {path: level for path, level in baseline.levels.items() if cell.levels.get(path) != level}
    means = [number(one.estimate.value if one.estimate else None, one.score_kind) for one in (cell, baseline)]
    if its is None:
        return levels_text(other), *means, ABSENT, ABSENT, ABSENT, "not complete"
    estimate = its.estimate
    return (
        levels_text(other),
        *means,
        gap(estimate.value, estimate.unit),
        interval(estimate),
        its.paired_by,
        reads(estimate),
    )


def _values(its: Difference | None) -> tuple[str | float | None, ...]:
    if its is None:
        return (None,) * 7 + ("not complete",)
    one = its.estimate
    numbers = one.value, one.low, one.high, one.comparisons, one.seeds, one.episodes
    return *numbers, its.paired_by, reads(one)


def reads(estimate: Estimate) -> str:
    """What the interval says of 0, in a word."""
    if estimate.no_verdict:
        return f"no verdict: {estimate.no_verdict}"
    if estimate.low == estimate.high == 0:
        return "the same"
    if estimate.low > 0:
        return "higher"
    return "lower" if estimate.high < 0 else "cannot be told at this size"
