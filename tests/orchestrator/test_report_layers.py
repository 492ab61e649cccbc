"""Layers before and after the inner loop: the part of a report, and what the paper says of them, against numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_study import made_grid
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import stats

from orchestrator.published import RelationClaim, published_tables
from orchestrator.report import layer_changes as part
from orchestrator.report.against_published import against_published
from orchestrator.report.layer_changes import MOST_CELLS, draw_similarities, layer_changes
from orchestrator.report.part import Figure, Table
from orchestrator.report.relations import judged_relations, relations
from orchestrator.report.style import MARKERS
from orchestrator.results import Study

LAYERS = ("conv1", "conv2", "conv3", "conv4", "head")
KINDS = ("cca", "cka", "distance", "relative_distance")
COLUMNS = [f"{kind}.{layer}" for kind in KINDS for layer in LAYERS]
EPISODES = 30

Score = Callable[[Mapping[str, Any], str], float]
"""Levels and column -> its mean."""


def rising(levels: Mapping[str, Any], column: str) -> float:
    """Other for every cell and column."""
    return 0.1 + 0.03 * COLUMNS.index(column) + 0.1 * (levels.get("episodes.shots") == 5)


def measured(score: Score = rising, columns: list[str] = COLUMNS, **grid: Any) -> Study:
    """A grid in which the columns were measured, around the mean that they should have, by 0.005."""
    grid.setdefault("test", {})["evaluation.measure"] = ["similarity"]
    study = made_grid(seeds=3, **grid)
    cells = []
    for cell in study.cells:
        rng = np.random.default_rng(cell.number)
        shape = (len(cell.seeds), EPISODES)
        scores = {column: score(cell.levels, column) + rng.normal(0, 0.005, shape) for column in columns}
        cells.append(replace(cell, scores={"accuracy": cell.accuracies, **scores} if cell.seeds else {}))
    return replace(study, cells=tuple(cells))


def half_width(matrix: NDArray[np.float64], comparisons: int = 1) -> float:
    """As docs/statistics.md has it: one t quantile for seeds, one for episodes."""
    S, E = matrix.shape
    by_seed, by_episode = matrix.mean(1), matrix.mean(0)
    rest = matrix - by_seed[:, None] - by_episode + matrix.mean()
    of_rest = (rest**2).sum() / ((S - 1) * (E - 1))
    t_seeds, t_episodes = (stats.t.ppf(1 - 0.025 / comparisons, df) for df in (S - 1, E - 1))
    of_seeds = max(0, t_seeds**2 * E * by_seed.var(ddof=1) - t_episodes**2 * of_rest)
    return float(np.sqrt((of_seeds + t_episodes**2 * S * by_episode.var(ddof=1)) / (S * E)))


def table_of(study: Study) -> Table:
    (table,) = [one for one in layer_changes(study) if isinstance(one, Table)]
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert {len(row) for row in table.values} == {len(table.value_columns)}
    return table


def figures_of(study: Study) -> list[Figure]:
    return [one for one in layer_changes(study) if isinstance(one, Figure)]


SHOTS: dict[str, Any] = {"train": {"episodes.shots": [1, 5]}}


def test_the_table_has_every_layer_of_every_cell_with_its_interval() -> None:
    study = measured(**SHOTS)
    table = table_of(study)
    assert table.columns == ("shots", "test_measure", "layer", "CCA", "CKA", "distance", "relative distance")
    assert [row[0] for row in table.rows] == ["1"] * 5 + ["5"] * 5
    assert [row[2] for row in table.rows] == [*LAYERS, *LAYERS]
    for row, values in zip(table.rows, table.values, strict=True):
        cell, found = study.cells[int(row[0] == "5")], dict(zip(table.value_columns, values, strict=True))
        assert found["cell"] == cell.number
        for place, kind in enumerate(KINDS, start=3):
            matrix = cell.scores[f"{kind}.{row[2]}"]
            value, half = matrix.mean(), half_width(matrix)
            expected = (value, value - half, value + half)
            assert (found[kind], found[f"{kind}_low95"], found[f"{kind}_high95"]) == pytest.approx(expected)
            shown = ".3f" if kind in ("cca", "cka") else ".3g"
            assert row[place] == f"{value:{shown}} ({value - half:{shown}} to {value + half:{shown}})"
    assert any("95 % interval" in note for note in table.notes)


def test_lines_bands_and_bars_are_the_estimates() -> None:
    study = measured(**SHOTS)
    axes = draw_similarities(study.cells).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == list(LAYERS)
    lines = [(cell, kind) for cell in study.cells for kind in ("cca", "cka")]
    for index, (line, (cell, kind)) in enumerate(zip(axes.get_lines(), lines, strict=True)):
        matrices = [cell.scores[f"{kind}.{layer}"] for layer in LAYERS]
        assert line.get_marker() == MARKERS[index]
        np.testing.assert_allclose(line.get_ydata(), [one.mean() for one in matrices])
        ends = [(one.mean() - half_width(one), one.mean() + half_width(one)) for one in matrices]
        _, bars = axes.collections[2 * index : 2 * index + 2]
        np.testing.assert_allclose([segment[:, 1] for segment in bars.get_segments()], ends, rtol=1e-6)
    words = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert [word.rpartition(": ")[2] for word in words] == ["CCA", "CKA"] * 2
    (figure,) = figures_of(study)
    assert "over training seeds and test episodes (band and bar); seeds: 3" in figure.caption


def test_where_nothing_was_measured_there_is_no_part() -> None:
    assert layer_changes(made_grid(**SHOTS)) == []
    nothing = measured(absent={(0, seed): None for seed in range(3)})
    assert layer_changes(nothing) == []


def test_what_is_missing_is_a_dash() -> None:
    study = measured(absent={(1, seed): None for seed in range(3)}, **SHOTS)
    table = table_of(study)
    assert [row[3] for row in table.rows[5:]] == ["–"] * 5
    assert any("Not complete" in note for note in table.notes)
    (figure,) = figures_of(study)
    assert "shots=5" not in figure.svg
    without_cca = measured(columns=[column for column in COLUMNS if not column.startswith("cca")])
    assert {row[2] for row in table_of(without_cca).rows} == {"–"}
    assert len(draw_similarities(without_cca.cells).axes[0].get_lines()) == 1


def test_of_many_cells_the_first_are_drawn_and_frozen_bodies_never() -> None:
    test: dict[str, Any] = {"evaluation.frozen_layers": [4, 0], "evaluation.inner_steps": [1, 2, 3, 4, 5]}
    study = measured(test=test)
    (figure,) = figures_of(study)
    assert f"The first {MOST_CELLS} of 5 cells" in figure.caption
    assert "does not adapt in the test are not drawn" in figure.caption
    assert "test_frozen_layers=4" not in figure.svg
    assert figure.svg.count(": CCA") == MOST_CELLS
    assert len(table_of(study).rows) == 10 * len(LAYERS)
    assert figures_of(measured(train={"algorithm.name": ["anil"]})) == []


# --- relation (b) -----------------------------------------------------------------------------------------------------


def as_published(body_cca: float = 0.95, head_cca: float = 0.4, body_cka: float = 0.98) -> Score:
    def score(levels: Mapping[str, Any], column: str) -> float:
        kind, _, layer = column.partition(".")
        if kind == "cka":
            return body_cka
        return head_cca if layer == "head" else body_cca

    return score


@pytest.mark.parametrize(
    ("scores", "cca", "cka"),
    [
        ({}, "holds", "holds"),
        ({"body_cca": 0.85}, "does not hold", "holds"),
        ({"head_cca": 0.55}, "does not hold", "holds"),
        ({"body_cka": 0.85}, "holds", "does not hold"),
        ({"body_cca": 0.9}, "cannot be told at this size", "holds"),
    ],
)
def test_relation_b_is_judged_by_the_scores_as_they_are(scores: Any, cca: str, cka: str) -> None:
    study = measured(as_published(**scores), published="fig2", **SHOTS)
    judged = {one.name: one for one in judged_relations(study)}
    assert {name: one.outcome for name, one in judged.items()} == {"b1": cca, "b1-cka": cka, "b5": cca, "b5-cka": cka}
    for shots, cell in zip((1, 5), study.cells, strict=True):
        for column, estimate in zip(["cca." + layer for layer in LAYERS], judged[f"b{shots}"].estimates, strict=True):
            half = half_width(cell.scores[column], comparisons=5)
            assert (estimate.value, estimate.high - estimate.value) == pytest.approx(
                (cell.scores[column].mean(), half), rel=1e-6
            )
    (table,) = relations(study)
    assert table.columns == ("relation", "published", "ours", "verdict")
    assert table.rows[0][2].startswith(f"{study.cells[0].scores['cca.conv1'].mean():.3f} (")
    assert table.rows[0][1] == "–"
    assert list(against_published(study)) == []  # no numbers are published, only a relation


def test_the_sentence_names_cell_column_and_bound() -> None:
    (b1, *_) = judged_relations(measured(as_published(head_cca=0.55), published="fig2", **SHOTS))
    assert "by 1 of 5: shots=1: cca.head is 0.55 (simultaneous 95 % interval 0.5" in b1.sentence
    assert b1.sentence.endswith("at most 0.5 asked")


def test_what_was_not_measured_or_is_not_complete_is_not_tested() -> None:
    plain = judged_relations(made_grid(published="fig2", seeds=3, **SHOTS))
    assert {one.outcome for one in plain} == {"not tested here"}
    assert plain[0].sentence == ("not tested here: cca.conv1 is not measured; evaluation.measure: similarity does it")
    absent = measured(as_published(), published="fig2", absent={(0, seed): None for seed in range(3)}, **SHOTS)
    b1, _, b5, _ = judged_relations(absent)
    assert (b1.sentence, b5.outcome) == ("not tested here: shots=1 is not complete", "holds")
    without = replace(absent, cells=absent.cells[1:])
    assert judged_relations(without)[0].sentence == "not tested here: no cell has shots=1"


def test_a_claim_is_about_a_difference_or_a_column() -> None:
    cell = {"episodes.shots": 1}
    for given in ({}, {"minus": cell, "column": "cca.head"}):
        with pytest.raises(ValidationError, match="must have exactly one of minus, column, over"):
            RelationClaim.model_validate({"of": cell, "above": 0.9, **given})


def test_claims_name_columns_that_a_test_records() -> None:
    claims = [
        claim for table in published_tables().values() for its in table.relations.values() for claim in its.claims
    ]
    of_pairs = {claim.column for claim in claims if claim.of_with is not None}
    assert of_pairs == {"cca.body", "cka.body"}
    named = {claim.column for claim in claims if claim.column and claim.of_with is None}
    assert named == {f"{kind}.{layer}" for kind in ("cca", "cka") for layer in LAYERS} - {"cka.head"}
    assert set(part.KINDS) == set(KINDS)
