"""The best trials of a search again, under seeds that chose none of them: what is left of the accuracy that won."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.report.comparisons import reads
from orchestrator.report.differences import Difference, difference
from orchestrator.report.part import Table
from orchestrator.report.words import (
    ABSENT,
    gap,
    interval,
    level_columns,
    level_texts,
    level_values,
    mean_and_std,
    number,
)
from orchestrator.results import CellResult, Study
from orchestrator.stats import Estimate, estimate_scores
from trainers.problem import Problem


def _notes(problem: Problem[Any]) -> tuple[str, ...]:
    word, task = problem.score.word, problem.task_word
    return (
        f"Won with: the validation {word} for which the trial was chosen, which luck has chosen, too. Again: the same "
        f"config under fresh seeds; ± is the standard deviation over them, and a 95 % interval of a validation {word} "
        "is over seeds. Drop: won with − again, its interval for the number that won as it is.",
        f"Difference: in test {word} from the one that is best by validation under the fresh seeds, paired by {task}; "
        "the simultaneous intervals hold together in at least 95 of 100 experiments.",
    )


@dataclass(frozen=True)
class ConfirmedTrial:
    """A trial and what came of it under fresh seeds."""

    number: int
    won_with: float | None
    """Its validation accuracy in the search; None where that is lost."""
    again: CellResult
    """The same under the fresh seeds."""

    @property
    def validations(self) -> list[float]:
        """Under the fresh seeds that are completed."""
        return [row.validation for row in self.again.completed]

    @property
    def validation(self) -> Estimate | None:
        """Mean over fresh seeds; None where none is completed."""
        return estimate_scores(self.validations, self.again.score_kind.unit) if self.validations else None

    @property
    def drop(self) -> Estimate | None:
        """What luck had added: the accuracy that won minus the mean under fresh seeds; None where one is not there."""
        won = self.won_with
        if won is None or not self.validations:
            return None
        return estimate_scores([won - one for one in self.validations], self.again.score_kind.difference)


def confirmed_trials(study: Study) -> list[ConfirmedTrial]:
    """What confirms a search, best trial of the search first."""
    won = {cell.number: cell.mean(cell.score_kind.validation) for cell in study.cells}
    return [ConfirmedTrial(cell.number, won[cell.number], cell) for cell in study.confirmed]


def best_again(trials: Sequence[ConfirmedTrial]) -> ConfirmedTrial | None:
    """The best by mean validation accuracy under fresh seeds, the first of equals; None where nothing is completed."""
    found = [(its.value, trial) for trial in trials if (its := trial.validation)]
    return max(found, key=lambda one: one[0])[1] if found else None


def confirmed(study: Study) -> Sequence[Table]:
    """One row a confirmed trial; none where ``search.confirm`` asks for nothing, or the search has not ended."""
    trials = confirmed_trials(study)
    if not trials:
        return ()
    best, paths, score = best_again(trials), study.paths, study.score
    points = ", points" * (score.unit == "%")
    found = [difference(its.again, best.again, len(trials) - 1) if best and its is not best else None for its in trials]
    return [
        Table(
            name="confirmed",
            title=f"The best {len(trials)} again under fresh seeds" if len(trials) > 1 else "The best again",
            columns=(
                *(
                    "trial",
                    *level_columns(paths),
                    score.heading("won with"),
                    score.heading("validation again"),
                    "95 % interval",
                ),
                *(f"drop{points}", "95 % interval", score.heading("test"), "95 % interval", "seeds"),
                *(f"difference{points}", "simultaneous 95 % interval", "reads"),
            ),
            rows=tuple(
                (str(its.number), *level_texts(its.again, paths), *_texts(its), *_compared(its is best, other))
                for its, other in zip(trials, found, strict=True)
            ),
            values=tuple(
                (its.number, *level_values(its.again, paths), *_values(its), *_compared_values(its is best, other))
                for its, other in zip(trials, found, strict=True)
            ),
            value_columns=(
                *("trial", *paths, "validation_won", "validation_again", "validation_low95", "validation_high95"),
                *("drop", "drop_low95", "drop_high95", score.test, "test_low95", "test_high95"),
                *("seeds", "seeds_asked", "difference", "low95", "high95", "comparisons", "reads"),
            ),
            notes=_notes(study.problem),
        )
    ]


def _texts(its: ConfirmedTrial) -> tuple[str, ...]:
    done, asked, drop = len(its.again.seeds), len(its.again.rows), its.drop
    return (
        number(its.won_with, its.again.score_kind),
        mean_and_std(its.validation),
        _interval(its.validation),
        ABSENT if drop is None else gap(drop.value, drop.unit),
        _interval(drop),
        mean_and_std(its.again.estimate),
        interval(its.again.estimate),
        str(done) if done == asked else f"{done} of {asked}",
    )


def _values(its: ConfirmedTrial) -> tuple[float | int | None, ...]:
    numbers = (its.validation, its.drop, its.again.estimate)
    flat = [part for one in numbers for part in ((one.value, *_bounds(one)) if one else (None, None, None))]
    return (its.won_with, *flat, len(its.again.seeds), len(its.again.rows))


def _compared(is_best: bool, its: Difference | None) -> tuple[str, str, str]:
    if its is None:
        return ABSENT, ABSENT, "best again" if is_best else "not complete"
    return gap(its.estimate.value, its.estimate.unit), _interval(its.estimate), reads(its.estimate)


def _compared_values(is_best: bool, its: Difference | None) -> tuple[float | int | str | None, ...]:
    if its is None:
        return (None,) * 4 + ("best again" if is_best else "not complete",)
    one = its.estimate
    return one.value, *_bounds(one), one.comparisons, reads(one)


def _bounds(one: Estimate) -> tuple[float | None, float | None]:
    return (None, None) if math.isinf(one.low) else (one.low, one.high)


def _interval(one: Estimate | None) -> str:
    """None of one seed, where there is no telling."""
    return ABSENT if one is None or math.isinf(one.low) else interval(one)
