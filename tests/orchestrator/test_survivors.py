"""What a report says of early stopping: who came to which rung, who was stopped there, and by which cut-off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_points import made_points, points
from made_study import made_grid
from matplotlib.collections import LineCollection
from searched_home import EVERY, ITERATIONS, NAME, make_searched_home

from orchestrator.early_stopping import best_until
from orchestrator.report.part import Figure, Table
from orchestrator.report.survivors import draw_survivors, judged_rows, rung_list, survivors
from orchestrator.results import Study, load_study
from orchestrator.rows import Row

TRIALS = 41


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("searched")
    return load_study(NAME, str(make_searched_home(folder, TRIALS)))


def end_of(row: Row) -> int:
    return int(row.metrics["iterations"])


def test_without_early_stopping_there_is_nothing(study: Study) -> None:
    assert survivors(made_grid(train={"episodes.shots": [1, 5]})) == []
    assert survivors(made_points(points(5))) == []
    unfinished = [replace(cell, rows=(replace(cell.rows[0], state="running"),)) for cell in study.cells]
    assert survivors(replace(study, cells=tuple(unfinished))) == []


def test_the_table_counts_each_trial_at_each_rung(study: Study) -> None:
    table, _ = survivors(study)
    assert isinstance(table, Table)
    ended = [row for row in study.rows if row.state != "failed"]
    assert len(ended) == TRIALS - 1
    for values, rung in zip(table.values, (100, 300, 900), strict=False):
        there = [row for row in ended if end_of(row) >= rung]
        cutoffs = [value for row in there for at, value in row.cutoffs or () if at == rung]
        stopped = [row for row in there if end_of(row) == rung]
        assert values[:4] == (rung, len(there), len(cutoffs), len(stopped))
        assert values[4:6] == (min(cutoffs), max(cutoffs))
        assert values[6] == max(best_until(row.curve, rung) for row in there)
        assert all(best_until(row.curve, rung) < dict(row.cutoffs or ())[rung] for row in stopped)
    completed = [row for row in ended if row.state == "completed"]
    assert table.values[-1][:2] == ("end", len(completed))
    assert table.values[0][1] > table.values[1][1] > table.values[2][1] > 0
    assert table.values[0][3] > 0
    done = sum(map(end_of, ended))
    assert f"{len(ended) - len(completed)} of {len(ended)} trials were stopped" in table.notes[0]
    assert f"took {done:,} of {ITERATIONS * len(ended):,} iterations" in table.notes[0]


def test_the_figure_shows_counts_curves_and_cutoffs(study: Study) -> None:
    rows = judged_rows(study)
    rungs = rung_list(study, rows)
    left, right = draw_survivors(rungs, rows).axes
    went_on, stopped = left.containers
    assert [bar.get_height() for bar in went_on] == [one.reached - one.stopped for one in rungs] + [
        sum(row.state == "completed" for row in rows)
    ]
    assert [bar.get_height() for bar in stopped] == [one.stopped for one in rungs if one.stopped]
    pruned, complete = [one for one in right.collections if isinstance(one, LineCollection)]
    for drawn, state in ((pruned, "pruned"), (complete, "completed")):
        expected = [row.curve for row in rows if row.state == state]
        assert [len(line) for line in drawn.get_segments()] == [len(curve) for curve in expected]
        np.testing.assert_allclose(drawn.get_segments()[0][-1], (expected[0][-1][0], 100 * expected[0][-1][1]))
    marks = {
        tuple(place) for line in right.get_lines() if line.get_marker() == "_" for place in line.get_xydata().tolist()
    }
    assert marks == {(at, 100 * value) for row in rows for at, value in row.cutoffs or () if end_of(row) >= at}
    assert {end_of(row) % EVERY for row in rows} == {0}


def test_the_figure_is_of_the_page(study: Study) -> None:
    _, figure = survivors(study)
    assert isinstance(figure, Figure)
    assert figure.wide
    assert f"the {TRIALS - 1} trials" in figure.caption
    assert "<image" not in figure.svg
