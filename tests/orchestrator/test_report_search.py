"""What a report says of a search: its history, importance, slices, interactions, and all parameters at once."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_points import accuracy, made_points, points
from made_study import made_grid, made_search
from matplotlib.collections import LineCollection

from orchestrator.insight.importance import LEAST_TRIALS, Importance
from orchestrator.insight.importance import importance as estimated
from orchestrator.report.formats import csv_text
from orchestrator.report.history import draw_history, history
from orchestrator.report.importance import IDLE, importance
from orchestrator.report.interactions import draw_map
from orchestrator.report.page import inline_svg
from orchestrator.report.parallel_coordinates import INACTIVE, best_of, draw_coordinates, parallel_coordinates
from orchestrator.report.part import Figure, Table
from orchestrator.report.slices import draw_slices, path_bins, slices
from orchestrator.report.style import COLOURS, WIDE_IN
from orchestrator.report.tried import accuracies, compared, space_of, tried
from orchestrator.results import CellResult, Study

PARTS = (history, importance, slices, parallel_coordinates)
RATE, ALGORITHM, FROZEN = "algorithm.inner_lr", "algorithm.name", "algorithm.frozen_layers"


@pytest.fixture(scope="module")
def sixty() -> Study:
    return made_points(points(60), failed={7: "the loss is not finite"}, start=[{RATE: 0.4}, {RATE: 0.1}])


@pytest.fixture(scope="module")
def parts_of_sixty(sixty: Study) -> list[Any]:
    return importance(sixty)


@pytest.fixture(scope="module")
def told(sixty: Study) -> Importance:
    trials = compared(sixty)
    found = estimated(space_of(sixty), [trial.point for trial in trials], accuracies(trials))
    assert isinstance(found, Importance)
    return found


def marks(axes: Any, marker: str) -> list[tuple[float, float]]:
    return [
        tuple(place)
        for line in axes.get_lines()
        if line.get_marker() == marker
        for place in np.column_stack(line.get_data()).tolist()
    ]


def with_state(study: Study, number: int, state: Any) -> Study:
    """The study with one trial in another state, its metrics gone."""
    changed = [
        replace(cell, rows=(replace(cell.rows[0], state=state, metrics={}),)) if cell.number == number else cell
        for cell in study.cells
    ]
    return replace(study, cells=tuple(changed))


def test_a_grid_and_a_search_without_results_have_none_of_it() -> None:
    grid = made_grid(train={"episodes.shots": [1, 5]})
    nothing = made_search(3, absent={(number, 0): None for number in range(3)})
    for part in PARTS:
        assert part(grid) == []
        assert part(nothing) == []


def test_history_shows_every_trial_and_the_best_so_far(sixty: Study) -> None:
    study = with_state(sixty, 9, "pruned")
    axes = draw_history(tried(study)).axes[0]
    expected = {cell.number: 100 * accuracy(cell.levels) for cell in study.cells if cell.number not in (7, 9)}
    np.testing.assert_allclose(marks(axes, "D"), [(number, expected[number]) for number in (0, 1)])
    np.testing.assert_allclose(marks(axes, "o"), [one for one in expected.items() if one[0] > 1])
    assert [number for number, _ in marks(axes, "x")] == [7]
    ((pruned, best_on_its_way),) = marks(axes, "v")
    key = study.cells[9].rows[0].keys.training
    curve = [point["validation_accuracy"]["linear"] for point in study.trainings[key].curve]
    assert (pruned, best_on_its_way) == (9, pytest.approx(100 * max(curve)))
    (best,) = [line for line in axes.get_lines() if line.get_drawstyle() == "steps-post"]
    np.testing.assert_allclose(best.get_ydata()[:-1], np.maximum.accumulate(list(expected.values())))
    assert list(best.get_xdata()) == [*expected, 59]
    (figure,) = history(study)
    assert "58 completed, 1 pruned, 1 failed" in figure.caption


def test_repeated_failed_and_pruned_trials_are_not_compared(sixty: Study) -> None:
    twins = [*points(30), *points(30)[:5]]
    assert [trial.number for trial in compared(made_points(twins))] == list(range(30))
    left = compared(with_state(sixty, 9, "pruned"))
    assert {trial.number for trial in left} == set(range(60)) - {7, 9}
    few = made_points(points(15), failed={7: "the loss is not finite"})
    (table,) = importance(with_state(few, 9, "pruned"))
    assert isinstance(table, Table)
    assert "1 pruned (shorter trainings do not compare), 1 failed" in table.notes[-2]
    assert "less important here than it is" in table.notes[-1]


def test_importance_is_a_table_of_shares_and_a_figure_of_the_same(
    sixty: Study, told: Importance, parts_of_sixty: list[Any]
) -> None:
    table, figure, *_ = parts_of_sixty
    assert isinstance(table, Table)
    assert isinstance(figure, Figure)
    rows = list(csv.DictReader(io.StringIO(csv_text(table))))
    assert (rows[0]["parameter"], rows[-1]["parameter"]) == (RATE, IDLE)
    for row in rows[:-1]:
        share, total = told.alone[row["parameter"]], told.involved[row["parameter"]]
        assert [float(row[f"alone{end}"]) for end in ("", "_low95", "_high95")] == [share.value, share.low, share.high]
        assert float(row["involved"]) == total.value
    acts = {row["parameter"]: row["trials"] for row in rows}
    assert int(acts[FROZEN]) == sum(FROZEN in trial.point for trial in compared(sixty))
    assert table.rows[0][2] == f"{100 * told.alone[RATE].value:.1f}"
    assert f"{100 * told.skill:.1f} % of the variance" in figure.caption
    assert all(name in figure.svg for name in ("inner lr", "frozen layers", IDLE))


def test_few_trials_get_no_importance_but_the_reason() -> None:
    (table,) = importance(made_points(points(5)))
    assert isinstance(table, Table)
    assert table.notes == (f"Importance cannot be told yet (5 of at least {LEAST_TRIALS} trials).",)
    assert {value for row in table.rows for value in row[2:]} == {"–"}
    assert all(value is None for row in table.values for value in row[2:])


def test_interactions_list_pairs_and_map_the_strongest(
    sixty: Study, told: Importance, parts_of_sixty: list[Any]
) -> None:
    _, _, table, figure = parts_of_sixty
    assert isinstance(table, Table)
    shares = [row[3] for row in table.values]
    assert shares == sorted(shares, reverse=True)
    strongest = (table.values[0][0], table.values[0][1])
    assert strongest == (ALGORITHM, RATE)
    assert shares[0] == told.pairs[ALGORITHM, RATE].value
    assert isinstance(figure, Figure)
    assert RATE in figure.caption
    assert "<image" not in figure.svg  # the page lets none in
    trials = compared(sixty)
    axes = draw_map(space_of(sixty), trials, (ALGORITHM, RATE)).axes[0]
    numbers = [text.get_text().split() for text in axes.texts]
    assert sum(int(count.strip("()")) for _, count in numbers) == len(trials)
    lowest = [one for one in trials if one.point[ALGORITHM] == "boil" and one.point[RATE] < 10 ** (-2 + 2 / 3)]
    (at,) = [text for text in axes.texts if text.get_position() == (2.5, 0.5)]
    assert at.get_text() == f"{100 * np.mean(accuracies(lowest)):.1f}\n({len(lowest)})"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["maml", "anil", "boil"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["0.01", "0.0464", "0.215", "1"]


def test_a_slice_has_every_trial_its_bins_and_the_best(sixty: Study) -> None:
    trials, space = compared(sixty), space_of(sixty)
    table, figure = slices(sixty)
    assert isinstance(figure, Figure)
    assert figure.wide
    panels = draw_slices(sixty, list(space), trials).axes
    assert panels[1].get_xscale() == "log"
    expected = [(trial.point[RATE], 100 * accuracy(trial.point)) for trial in trials]
    *dots, ring = marks(panels[1], "o")
    np.testing.assert_allclose(dots, expected)
    assert ring == pytest.approx(max(expected, key=lambda place: place[1]))
    acting = [trial for trial in trials if FROZEN in trial.point]
    *dots, _ = marks(panels[3], "o")
    assert [round(x) for x, _ in dots] == [trial.point[FROZEN] for trial in acting]
    assert isinstance(table, Table)
    rows = [row for row in table.values if row[0] == RATE]
    found = path_bins(space[RATE], RATE, trials)
    assert [row[1:4] for row in rows] == [(one.first, one.last, one.trials) for one in found]
    medians = [line for line in panels[1].get_lines() if line.get_marker() == "None" and line.get_color() == COLOURS[4]]
    np.testing.assert_allclose([line.get_ydata()[0] for line in medians], [100 * one.median for one in found])


def test_each_line_of_the_parallel_coordinates_is_a_trial(sixty: Study) -> None:
    trials, space = compared(sixty), space_of(sixty)
    axes = draw_coordinates(space, trials).axes[0]
    rest, best = [one for one in axes.collections if isinstance(one, LineCollection) and len(one.get_segments()[0]) > 2]
    assert len(best.get_segments()) == len(best_of(trials)) == 6
    assert len(rest.get_segments()) == len(trials) - 6
    assert best.get_linewidth()[0] > 2 * rest.get_linewidth()[0]
    order = sorted(trials, key=lambda trial: accuracy(trial.point))
    values = [accuracy(trial.point) for trial in order]
    for trial, value, line in zip(order, values, [*rest.get_segments(), *best.get_segments()], strict=True):
        assert line[1][1] == pytest.approx((np.log10(trial.point[RATE]) + 2) / 2)
        assert round(5 * line[2][1] + 0.5) == trial.point["algorithm.inner_steps"]
        assert bool(line[3][1] == INACTIVE) is (FROZEN not in trial.point)
        assert line[5][1] == pytest.approx((value - values[0]) / (values[-1] - values[0]))
    lightness = [sum(colour[:3]) for colour in [*rest.get_colors(), *best.get_colors()]]
    assert lightness[0] > 1.5 * lightness[30] > 2 * lightness[-1]


def test_lists_of_layers_and_fixed_values_are_levels_as_others() -> None:
    space = {
        "algorithm.frozen_layers": {"choice": [0, ["conv1", "head"], ["conv1", "conv2", "conv3"]]},
        "algorithm.inner_lr": {"uniform": [0.4, 0.4]},
    }
    levels = (0, ("conv1", "head"), ("conv1", "conv2", "conv3"))
    tried_points = [{FROZEN: levels[number % 3], RATE: 0.4} for number in range(6)]
    study = made_points(tried_points, space=space)
    table, *_ = slices(study)
    assert isinstance(table, Table)
    # each point once, whatever the number of trials
    assert Counter(row[0] for row in table.values) == {FROZEN: 3, RATE: 1}
    assert [row[1] for row in table.values[:2]] == [0, "conv1+head"]
    assert len(parallel_coordinates(study)) == 1


def test_wide_figures_take_the_page_and_the_others_a_column(sixty: Study) -> None:
    (figure,) = parallel_coordinates(sixty)
    assert f'viewBox="0 0 {72 * WIDE_IN:g} ' in figure.svg
    assert 'class="figure wide"' in inline_svg(figure)
    assert 'class="figure"' in inline_svg(history(sixty)[0])


def test_the_same_search_is_the_same_bytes() -> None:
    study = made_points(points(8))
    for part in (history, parallel_coordinates):
        assert part(study) == part(study)


def test_cells_of_several_trainings_count_once(sixty: Study) -> None:
    """Whatever else a cell holds, a trial is its first row."""
    first = sixty.cells[0]
    doubled: CellResult = replace(first, rows=first.rows * 2)
    assert tried(replace(sixty, cells=(doubled, *sixty.cells[1:]))) == tried(sixty)
