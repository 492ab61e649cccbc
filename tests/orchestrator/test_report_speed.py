"""Times of cells and their ratios in a report, and what the paper says of them, against scipy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_study import made_grid
from pydantic import ValidationError
from scipy import stats

from orchestrator.published import RelationClaim
from orchestrator.report.comparisons import comparisons
from orchestrator.report.layer_changes import layer_changes
from orchestrator.report.part import Table
from orchestrator.report.relations import judged_relations, relations
from orchestrator.report.speed import speed
from orchestrator.results import CellResult, Study

ROUNDS = 11
PLACE = {"device": "a processor", "instruction_set": "AVX2", "torch": "2.13.0", "threads": 1}
GRID: dict[str, Any] = {
    "train": {
        "algorithm.name": ["maml", "anil"],
        "algorithm.first_order": {"choice": [False, True], "when": {"algorithm.name": "maml"}},
    },
    "seeds": 3,
    "compare": {"baseline": {"algorithm.name": "maml", "algorithm.first_order": False}},
    "published": "speed",
}
MS = {"train_ms": [(40, 44, 41), (20, 22, 21), (12, 13, 14)], "infer_ms": [(30, 33, 31), (30, 31, 32), (5, 6, 5)]}
"""Of MAML, first-order MAML and ANIL under each seed: all but the slow rounds."""


def timed(
    ms: Mapping[str, Any] = MS, places: Mapping[int, Any] | None = None, absent: Any = None, seeds: int = 3
) -> Study:
    """Two thirds of the rounds take ten times as long, as on a busy machine."""
    study = made_grid(absent=absent, **GRID | {"seeds": seeds})
    slow = np.where(np.arange(ROUNDS) % 3 == 0, 1, 10)
    cells = []
    for cell in study.cells:
        scores = {name: np.array(its[cell.number])[: len(cell.seeds), None] * slow for name, its in ms.items()}
        cells.append(timed_cell(cell, scores if cell.seeds else {}, (places or {}).get(cell.number, PLACE)))
    return replace(study, cells=tuple(cells))


def timed_cell(cell: CellResult, scores: Any, place: Any) -> CellResult:
    test = cell.config.evaluation.model_copy(update={"measure": "speed"})
    config = cell.config.model_copy(update={"evaluation": test})
    return replace(cell, config=config, scores={**scores}, timed_on=(place,) if scores else ())


def table_of(study: Study) -> tuple[Table, list[dict[str, Any]]]:
    (table,) = speed(study)
    assert {len(row) for row in table.rows} == {len(table.columns)}
    return table, [dict(zip(table.value_columns, row, strict=True)) for row in table.values]


def test_times_and_ratios_are_what_scipy_says() -> None:
    table, values = table_of(timed())
    for number, row in enumerate(values):
        for column, kind in (("train_ms", "training"), ("infer_ms", "inference")):
            logs = np.log(MS[column][number])
            half = stats.t.ppf(0.975, 2) * logs.std(ddof=1) / math.sqrt(3)
            ends = np.exp([logs.mean(), logs.mean() - half, logs.mean() + half])
            assert [row[f"{column}{end}"] for end in ("", "_low95", "_high95")] == pytest.approx(list(ends), rel=1e-6)
            gain = [row[f"{kind}_gain{end}"] for end in ("", "_low95", "_high95")]
            if number == 0:
                assert gain == [None] * 3
                continue
            test = stats.ttest_ind(np.log(MS[column][0]), logs, equal_var=False)
            its = test.confidence_interval(1 - 0.05 / 4)  # two cells, two ratios each
            expected = np.exp([np.log(MS[column][0]).mean() - logs.mean(), its.low, its.high])
            assert gain == pytest.approx(list(expected), rel=1e-6)
    assert [row["baseline_cell"] for row in values] == [None, 0, 0]
    published = [(row["training_gain_published"], row["inference_gain_published"]) for row in values]
    assert published == [(None, None), (1.7, None), (1.7, 4.1)]
    assert table.rows[2][:2] == ("anil", "–")
    assert table.rows[2][4:6] == ("maml first_order=false", "3.21 (2.48 to 4.14)")
    assert (table.rows[1][6], table.rows[2][6], table.rows[2][8]) == ("1.7†", "1.7", "4.1")
    assert "† quoted from memory, not read in the text." in table.notes
    assert "Timed on: a processor, AVX2, 1 thread, torch 2.13.0." in table.notes


def test_one_seed_has_times_and_no_interval() -> None:
    _, (maml, _, anil) = table_of(timed(seeds=1))
    assert maml["train_ms"] == pytest.approx(40)
    assert anil["inference_gain"] == pytest.approx(6)
    assert {anil[f"{name}{end}"] for name in ("train_ms", "training_gain") for end in ("_low95", "_high95")} == {None}


def test_times_of_several_machines_are_not_compared() -> None:
    study = timed(places={2: PLACE | {"device": "another"}})
    table, (_, first_order, anil) = table_of(study)
    assert first_order["training_gain"] is not None
    assert (anil["training_gain"], anil["inference_gain"]) == (None, None)
    assert anil["train_ms"] is not None
    assert "Times of more than one environment are not compared." in table.notes
    (judged,) = judged_relations(study)
    assert judged.sentence == "not tested here: the cells were timed in different environments"


def test_only_what_was_timed_is_in_it() -> None:
    assert list(speed(made_grid(**GRID))) == []
    assert list(speed(timed(absent={(cell, seed): None for cell in range(3) for seed in range(3)}))) == []
    _, values = table_of(timed(absent={(0, seed): None for seed in range(3)}))
    assert (values[2]["train_ms"] is None, values[2]["training_gain"]) == (False, None)


def test_of_timed_cells_neither_accuracies_nor_layers_are_compared() -> None:
    assert len(comparisons(made_grid(**GRID))) == 1
    assert list(comparisons(timed())) == []
    assert layer_changes(timed()) == []


@pytest.mark.parametrize(
    ("anil_infer", "outcome"),
    [((5, 6, 5), "holds"), ((15, 16, 17), "does not hold"), ((9, 10, 10), "cannot be told at this size")],
)
def test_relation_f_is_the_ratio_of_two_gains(anil_infer: Any, outcome: str) -> None:
    study = timed(MS | {"infer_ms": [*MS["infer_ms"][:2], anil_infer]})
    (judged,) = judged_relations(study)
    assert (judged.name, judged.outcome, judged.published) == ("f", outcome, "2.4")
    maml, anil = (
        np.log(np.divide(one, other))
        for one, other in ((MS["infer_ms"][0], MS["train_ms"][0]), (anil_infer, MS["train_ms"][2]))
    )
    interval = stats.ttest_ind(maml, anil, equal_var=False).confidence_interval(0.95)
    (estimate,) = judged.estimates
    assert (estimate.low, estimate.high) == pytest.approx((interval.low, interval.high), rel=1e-6)
    subject = "anil over maml first_order=false: gain in inference over training is"
    assert judged.sentence.startswith(
        f"{outcome}: {subject} {math.exp(estimate.value):.2f}× (95 % interval over seeds, "
    )
    (table,) = relations(study)
    assert table.columns[1:3] == ("published", "ours")
    assert table.rows[0][2].startswith(f"{math.exp(estimate.value):.2f} (")
    assert table.values[0][4:] == (None, None, None)  # no difference of accuracies


def test_what_was_not_timed_or_is_not_complete_is_not_tested() -> None:
    (plain,) = judged_relations(made_grid(**GRID))
    assert plain.sentence == "not tested here: anil is not timed; evaluation.measure: speed does it"
    (absent,) = judged_relations(timed(absent={(0, seed): None for seed in range(3)}))
    assert absent.sentence == "not tested here: maml first_order=false is not complete"
    (few,) = judged_relations(timed(absent={(0, 0): None}))
    assert few.outcome == "cannot be told at this size"
    assert few.sentence.endswith("2 seeds, where a verdict on trainings needs 3")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"gain": "training", "above": 1}, "must have exactly one of minus, column, over"),
        ({"over": {}, "above": 1}, "over and gain stand together"),
        ({"minus": {}, "gain": "training", "above": 1}, "over and gain stand together"),
        ({"over": {}, "gain": "training", "above": 0}, "a gain is a ratio"),
        ({"over": {}, "gain": "training", "within": 1}, "a gain is a ratio"),
    ],
)
def test_a_claim_on_a_gain_is_whole(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        RelationClaim.model_validate({"of": {}, **wrong})
