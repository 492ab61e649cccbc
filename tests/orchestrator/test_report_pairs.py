"""Trainings compared with each other in a report: both tables, the published numbers beside them, and verdicts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_study import made_grid
from pydantic import ValidationError

from orchestrator.published import RelationClaim, published_table
from orchestrator.report.between_trainings import between_trainings
from orchestrator.report.layer_lines import draw_layers
from orchestrator.report.part import Figure, Table
from orchestrator.report.relations import judged_relations
from orchestrator.results import PairResult, Study

COLUMNS = [
    f"{kind}.{layer}" for kind in ("cca", "cka") for layer in ("conv1", "conv2", "conv3", "conv4", "head", "body")
]
NAMES = ("maml", "anil")


def compared(means: Mapping[tuple[str, str], float], **grid: Any) -> Study:
    """A grid of MAML and ANIL whose pairs have these means in every column, by 0.002."""
    study = made_grid(train={"algorithm.name": list(NAMES)}, seeds=3, between={}, **grid)
    pairs = []
    for one, other in itertools.combinations_with_replacement(study.cells, 2):
        make = itertools.combinations if one is other else itertools.permutations
        seeds = tuple(make(range(3), 2))
        mean = means.get((one.levels["algorithm.name"], other.levels["algorithm.name"]))
        rng = np.random.default_rng([one.number, other.number])
        scores = {column: mean + rng.normal(0, 0.002, (len(seeds), 30)) for column in COLUMNS} if mean else {}
        pairs.append(PairResult(one, other, seeds if mean else (), scores))
    return replace(study, pairs=tuple(pairs))


ALL = {("maml", "maml"): 0.8, ("maml", "anil"): 0.79, ("anil", "anil"): 0.7}


def tables(study: Study) -> dict[str, Table]:
    found = {table.name: table for table in between_trainings(study) if isinstance(table, Table)}
    for table in found.values():
        assert {len(row) for row in table.rows} == {len(table.columns)}
        assert {len(row) for row in table.values} == {len(table.value_columns)}
    return found


def test_means_over_the_body_stand_beside_the_published_ones() -> None:
    study = compared(ALL, published=["table3"])
    table = tables(study)["between_trainings"]
    assert [row[:2] for row in table.rows] == [("maml – maml", "3"), ("maml – anil", "6"), ("anil – anil", "3")]
    assert [row[-2:] for row in table.rows] == [("0.51", "0.83"), ("0.50", "0.83"), ("0.51", "0.86")]
    estimate = study.pairs[1].score("cca.body")
    assert estimate is not None
    assert table.rows[1][2] == f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
    row = dict(zip(table.value_columns, table.values[1], strict=True))
    assert (row["cell"], row["other_cell"], row["cca_low95"], row["published_cka"]) == (0, 1, estimate.low, 0.83)
    assert any("Not like for like" in note for note in table.notes)


def test_numbers_from_memory_are_marked() -> None:
    published = published_table("regimes-alike").pair({"algorithm.name": "random"}, {"algorithm.name": "maml"})
    assert published is not None
    assert (published.scores, published.confirmed) == ({"cca.body": 0.40, "cka.body": 0.72}, False)


def test_every_layer_has_a_row() -> None:
    table = tables(compared(ALL))["between_trainings_by_layer"]
    assert [row[:2] for row in table.rows[:6]] == [
        *(("maml – maml", layer) for layer in ("conv1", "conv2", "conv3", "conv4", "head")),
        ("maml – anil", "conv1"),
    ]


def test_figures_draw_every_pair_at_its_value() -> None:
    study = compared(ALL)
    figures = [one for one in between_trainings(study) if isinstance(one, Figure)]
    assert [one.name for one in figures] == ["between-trainings-cca", "between-trainings-cka"]
    for figure in figures:
        assert all(name in figure.svg for name in ("maml – maml", "maml – anil", "anil – anil", "conv3"))
        assert "95 % interval" in figure.caption
        assert figure.png.startswith(b"\x89PNG")
    layers = study.cells[0].config.layers
    lines = {"maml – anil": [study.pairs[1].score(f"cca.{layer}") for layer in layers]}
    (line,) = draw_layers(layers, lines, "CCA").axes[0].get_lines()
    values = [study.pairs[1].scores[f"cca.{layer}"].mean() for layer in layers]
    np.testing.assert_allclose(line.get_ydata(), values)


def test_without_published_numbers_there_are_no_columns_for_them() -> None:
    assert tables(compared(ALL))["between_trainings"].columns == ("trainings", "pairs", "CCA", "CKA")


def test_what_is_not_compared_yet_is_said() -> None:
    study = compared({("maml", "maml"): 0.8}, published=["table3"])
    table = tables(study)["between_trainings"]
    assert table.rows[1][1:4] == ("0", "–", "–")
    assert any(note == "Not compared yet: maml – anil; anil – anil." for note in table.notes)
    assert between_trainings(compared({})) == ()
    judged = judged_relations(study)
    assert {one.outcome for one in judged} == {"not tested here"}
    assert "cca.body of maml and anil is not complete" in judged[0].sentence


@pytest.mark.parametrize(("anil", "outcome"), [(0.79, "holds"), (0.6, "does not hold")])
def test_the_relations_are_judged_by_differences_of_pairs(anil: float, outcome: str) -> None:
    study = compared({**ALL, ("maml", "anil"): anil}, published=["table3"])
    for one in judged_relations(study):
        assert one.outcome == outcome
        (estimate,) = one.estimates
        assert estimate.value == pytest.approx(anil - 0.8, abs=0.002)
        assert estimate.seeds == 3
    cca, cka = judged_relations(study)
    assert cca.published == "0.50 minus 0.51: −0.01"
    assert cka.published == "0.83 minus 0.83: +0.00"


def test_relations_on_pairs_that_are_not_there() -> None:
    study = made_grid(train={"algorithm.name": ["maml", "boil"]}, seeds=3, published=["table3"])
    assert all("no pair of maml and anil" in one.sentence for one in judged_relations(study))


@pytest.mark.parametrize(
    "claim",
    [
        {"of": {}, "of_with": {}, "above": 0.5},
        {"of": {}, "of_with": {}, "column": "cca.body", "minus": {}, "above": 0.5},
        {"of": {}, "of_with": {}, "column": "cca.body", "minus_with": {}, "above": 0.5},
        {"of": {}, "minus": {}, "minus_with": {}, "above": 0.5},
    ],
)
def test_a_claim_on_a_pair_is_whole(claim: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"of_with needs|exactly one of minus"):
        RelationClaim.model_validate(claim)
