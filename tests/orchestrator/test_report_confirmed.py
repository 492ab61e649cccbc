"""What is left of the accuracy that won, against scipy and by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_study import made_row, made_search
from numpy.typing import NDArray
from scipy import stats

from orchestrator.config_paths import with_values
from orchestrator.report.confirmed import best_again, confirmed, confirmed_trials
from orchestrator.report.provenance import provenance
from orchestrator.report.trial_list import trial_list
from orchestrator.results import CellResult, Study, Training
from orchestrator.stats import estimate_cell, estimate_difference
from orchestrator.trial_numbers import repeat_number

SEEDS = 4


def study_of(again: dict[int, tuple[list[float], NDArray[np.float64]]], failed: int = 0) -> Study:
    """A search of three trials with these validations and test accuracies [seeds, episodes] under fresh seeds; of each
    the last ``failed`` seeds have failed."""
    study = made_search(3)
    cells, trainings = [], dict(study.trainings)
    for number, (validations, tests) in again.items():
        found = study.cells[number]
        rows = []
        for k in range(len(tests)):
            config = with_values(found.config, {"training.seed": 1 + k})
            cause = "diverged" if k >= len(tests) - failed else None
            row = made_row(repeat_number(number, 1 + k), config, tests[k], cause)
            metrics = {} if cause else {**row.metrics, "validation_accuracy": validations[k]}
            rows.append(replace(row, metrics=metrics, confirms=number))
            trainings[row.keys.training] = Training(row.keys.training, (), ())
        cells.append(CellResult(number, found.levels, rows[0].config, tuple(rows), tests[: len(tests) - failed], None))
    return replace(study, confirmed=tuple(cells), trainings=trainings)


def accuracies_of(seed: int, mean: float) -> NDArray[np.float64]:
    """Accuracies [seeds, episodes]."""
    return np.clip(np.random.default_rng(seed).normal(mean, 0.1, (SEEDS, 50)), 0, 1)


VALIDATIONS = {2: [0.60, 0.62, 0.58, 0.60], 0: [0.70, 0.66, 0.69, 0.71], 1: [0.40, 0.41, 0.39, 0.40]}
TESTS = {number: accuracies_of(number, mean) for number, mean in {2: 0.55, 0: 0.56, 1: 0.3}.items()}


def test_what_is_left_of_the_accuracy_that_won() -> None:
    study = study_of({number: (VALIDATIONS[number], TESTS[number]) for number in VALIDATIONS})
    (table,) = confirmed(study)
    rows = [dict(zip(table.value_columns, row, strict=True)) for row in table.values]
    assert [row["trial"] for row in rows] == [2, 0, 1]
    for row in rows:
        again, won = VALIDATIONS[row["trial"]], row["validation_won"]
        assert won == study.cells[row["trial"]].mean("validation_accuracy")
        interval = stats.t.interval(0.95, SEEDS - 1, loc=np.mean(again), scale=stats.sem(again))
        assert (row["validation_low95"], row["validation_high95"]) == pytest.approx(interval)
        assert row["drop"] == pytest.approx(won - np.mean(again))
        assert (row["drop_low95"], row["drop_high95"]) == pytest.approx((won - interval[1], won - interval[0]))
        test = estimate_cell(TESTS[row["trial"]])
        assert (row["test_accuracy"], row["test_low95"], row["test_high95"]) == (test.value, test.low, test.high)
        assert (row["seeds"], row["seeds_asked"]) == (SEEDS, SEEDS)
        if row["trial"] == 0:  # the highest mean of validation, though it came second
            assert (row["difference"], row["reads"]) == (None, "best again")
            continue
        found = estimate_difference(
            TESTS[row["trial"]], TESTS[0], same_trainings=False, same_episodes=True, comparisons=2
        )
        assert (row["difference"], row["low95"], row["high95"]) == (found.value, found.low, found.high)
        assert row["comparisons"] == 2
        assert row["reads"] == ("lower" if row["trial"] == 1 else "cannot be told at this size")
    assert table.rows[1][2] == f"{100 * rows[1]['validation_won']:.1f}"
    assert table.rows[1][3].startswith("69.0 ± 2.2")


def test_failed_ones_are_shown_and_one_seed_has_no_interval() -> None:
    study = study_of({0: (VALIDATIONS[0], TESTS[0]), 1: (VALIDATIONS[1], TESTS[1])}, failed=SEEDS - 1)
    (table,) = confirmed(study)
    assert [row[-4] for row in table.rows] == ["1 of 4", "1 of 4"]
    assert table.rows[0][4] == table.rows[0][6] == "–"
    assert table.rows[1][-1].startswith("no verdict: 1 seed")
    source = provenance(study)
    assert (source.trainings, len(source.failed), source.missing) == (3 + 2, 2 * (SEEDS - 1), 0)
    assert [trial.number for trial in trial_list(study)[0]][:5] == ["0", "1", "2", "0.1", "0.2"]
    nothing = study_of({0: (VALIDATIONS[0], TESTS[0])}, failed=SEEDS)
    assert best_again(confirmed_trials(nothing)) is None
    assert confirmed(nothing)[0].rows[0][-1] == "not complete"
    assert confirmed(made_search(3)) == ()
