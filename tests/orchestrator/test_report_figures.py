"""Figures of a report: what is drawn is what was measured, and everyone can tell the lines apart."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from made_study import EPISODES, made_grid, made_search
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from PIL import Image

from orchestrator.published import published_table
from orchestrator.report.accuracy_by_factor import accuracy_by_factor, draw_lines, factor_lines, ordered_factors
from orchestrator.report.learning_curves import draw_curves, highlighted, learning_curves, training_curves
from orchestrator.report.style import (
    COLOURS,
    DASHES,
    MARKERS,
    MOST_LINES,
    MOST_POINTS,
    PNG_DPI,
    WIDTH_IN,
    draw_legend,
    figure_files,
    figure_style,
    line_style,
    new_figure,
    thinned,
)
from orchestrator.results import Study
from orchestrator.stats import estimate_cell

FROZEN = "evaluation.frozen_layers"
TABLE1: dict[str, Any] = {"train": {"episodes.shots": [1, 5]}, "test": {FROZEN: [0, 1, 4]}, "published": "table1"}


def marked(axes: Any, hollow: bool = False) -> dict[str, list[tuple[float, float]]]:
    """Marker -> places of the marks of its line."""
    found: dict[str, list[tuple[float, float]]] = {}
    for line in axes.get_lines():
        if line.get_marker() not in ("None", "") and (line.get_markerfacecolor() == "none") is hollow:
            found.setdefault(str(line.get_marker()), []).extend(map(tuple, np.column_stack(line.get_data())))
    return found


def drawn(study: Study, path: str = FROZEN) -> Any:
    """The axes of a factor's only figure."""
    return draw_lines(factor_lines(study, path), path, ordered_factors(study)[path], study.score).axes[0]


def test_lines_bands_and_bars_are_the_estimates_in_per_cent() -> None:
    study = made_grid(seeds=3, **TABLE1)
    axes = drawn(study)
    for index, shots in enumerate((1, 5)):
        cells = [cell for cell in study.cells if cell.levels["episodes.shots"] == shots]
        estimates = [estimate_cell(cell.accuracies) for cell in cells]
        expected = [(float(cell.levels[FROZEN]), 100 * cell.accuracies.mean()) for cell in cells]
        np.testing.assert_allclose(marked(axes)[MARKERS[index]], expected)
        band, bars = axes.collections[2 * index : 2 * index + 2]
        low, high = [100 * one.low for one in estimates], [100 * one.high for one in estimates]
        corners = band.get_paths()[0].vertices
        for place, ends in zip((0, 1, 4), zip(low, high, strict=True), strict=True):
            assert set(np.round(corners[corners[:, 0] == place][:, 1], 9)) == set(np.round(ends, 9))
        np.testing.assert_allclose([segment[:, 1] for segment in bars.get_segments()], np.column_stack([low, high]))
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == [
        "shots=1",
        "shots=5",
        "hollow: published",
    ]


def test_published_numbers_are_hollow_and_pale_where_unconfirmed() -> None:
    study = made_grid(**TABLE1)
    axes = drawn(study)
    table = published_table("table1")
    by_at = {(cell.at["episodes.shots"], cell.at[FROZEN]): cell for cell in table.cells}
    for marker, shots in ((MARKERS[0], 1), (MARKERS[1], 5)):
        assert marked(axes, hollow=True)[marker] == [(k, by_at[shots, k].mean) for k in (0, 1, 4)]
    pale = [line for line in axes.get_lines() if line.get_alpha() == 0.5]
    assert [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in pale] == [(1.0, by_at[5, 1].mean)]
    (figure,) = accuracy_by_factor(study)
    assert table.source in figure.caption
    assert "mini_imagenet" in figure.caption
    assert "unconfirmed" in figure.caption
    assert not marked(drawn(made_grid(**{**TABLE1, "published": None})), hollow=True)


def test_the_caption_says_what_the_interval_is_over() -> None:
    (several,) = accuracy_by_factor(made_grid(seeds=3, **TABLE1))
    assert (
        f"over training seeds and test episodes (band and bar); seeds: 3, test episodes: {EPISODES}" in several.caption
    )
    (one,) = accuracy_by_factor(made_grid(**TABLE1))
    assert "95 % interval over test episodes (band and bar); seeds: 1" in one.caption


def test_cells_that_are_not_complete_leave_a_gap() -> None:
    study = made_grid(absent={(1, 0): None, (3, 0): "lost", (4, 0): "lost", (5, 0): "lost"}, **TABLE1)
    lines = factor_lines(study, FROZEN)
    assert [line.label for line in lines] == ["shots=1"]
    assert [place for place, _ in marked(drawn(study))[MARKERS[0]]] == [0, 4]
    nothing = made_grid(absent={(cell, 0): None for cell in range(6)}, **TABLE1)
    assert accuracy_by_factor(nothing) == []


def test_layers_by_name_stand_side_by_side_in_the_order_of_the_file() -> None:
    levels = [["head"], 0, ["conv1", "conv2"]]
    study = made_grid(train={"algorithm.frozen_layers": levels})
    axes = drawn(study, "algorithm.frozen_layers")
    assert [text.get_text() for text in axes.get_xticklabels()] == ["head", "0", "conv1\nconv2"]
    assert [place for place, _ in marked(axes)[MARKERS[0]]] == [0, 1, 2]


def test_other_factors_need_numbers_and_three_levels() -> None:
    study = made_grid(
        train={
            "algorithm.inner_lr": [0.01, 0.1, 1.0],
            "algorithm.name": ["maml", "anil", "nil"],
            "episodes.shots": [1, 5],
            "algorithm.first_order": [True, False],
        }
    )
    assert list(ordered_factors(study)) == ["algorithm.inner_lr"]
    assert len(factor_lines(study, "algorithm.inner_lr")) == 12
    first, second = accuracy_by_factor(study)
    assert (first.name, second.name) == ("accuracy-by-algorithm-inner-lr-1", "accuracy-by-algorithm-inner-lr-2")
    assert "part 2 of 2" in second.title
    assert drawn(made_grid(train={"algorithm.inner_lr": [0.01, 0.1, 1.0]}), "algorithm.inner_lr").get_xscale() == "log"
    assert drawn(made_grid(train={"episodes.shots": [1, 2, 5]}), "episodes.shots").get_xscale() == "linear"
    assert accuracy_by_factor(made_search(5)) == []


def test_factors_that_move_together_make_one_line() -> None:
    study = made_grid(
        train={"episodes.shots": [1, 2, 5], "episodes.queries": [5, 10, 15]}, zip=["episodes.shots", "episodes.queries"]
    )
    (line,) = factor_lines(study, "episodes.shots")
    assert [point.level for point in line.points] == [1, 2, 5]
    assert "episodes.queries moves along" in accuracy_by_factor(study)[0].caption


def test_a_factor_that_does_not_act_everywhere_has_lines_where_it_does() -> None:
    study = made_grid(
        train={
            "algorithm.name": ["anil", "maml"],
            "algorithm.frozen_layers": {"choice": [0, 2], "when": {"algorithm.name": "maml"}},
        }
    )
    assert [line.label for line in factor_lines(study, "algorithm.frozen_layers")] == ["maml"]


def test_a_learning_curve_is_the_mean_over_seeds_with_its_range() -> None:
    study = made_grid(train={"episodes.shots": [1, 5]}, test={FROZEN: [0, 4]}, seeds=3)
    curves = training_curves(study)
    assert [curve.label for curve in curves] == ["shots=1", "shots=5"]
    axes = draw_curves(curves, curves).axes[0]
    for index, shots in enumerate((1, 5)):
        keys = {row.keys.training for row in study.rows if row.config.episodes.shots == shots}
        by_seed = np.array([[p["validation_accuracy"]["linear"] for p in study.trainings[key].curve] for key in keys])
        trained = np.array([[p["train_accuracy"] for p in study.trainings[key].curve] for key in keys])
        assert by_seed.shape == (3, 4)
        steps = [125, 250, 375, 500]
        np.testing.assert_allclose(
            marked(axes)[MARKERS[index]], np.column_stack([steps, 100 * by_seed.mean(0)]), rtol=1e-12
        )
        corners = axes.collections[index].get_paths()[0].vertices
        for place, low, high in zip(steps, by_seed.min(0), by_seed.max(0), strict=True):
            assert set(np.round(corners[corners[:, 0] == place][:, 1], 9)) == set(np.round([100 * low, 100 * high], 9))
        dotted = [
            line for line in axes.get_lines() if line.get_color() == COLOURS[index] and line.get_linestyle() == ":"
        ]
        np.testing.assert_allclose(dotted[0].get_ydata(), 100 * trained.mean(0))


def test_a_curve_is_of_the_head_that_predicts() -> None:
    (curve,) = training_curves(made_grid(train={"algorithm.name": ["nil"]}))
    assert set(curve.mean) == {0.25}


def test_a_failed_seed_cuts_no_curve_short() -> None:
    study = made_grid(train={"episodes.shots": [1]}, seeds=2, absent={(0, 1): "the loss is not finite"})
    failed = study.rows[1].keys.training
    trainings = {
        key: its if key != failed else type(its)(key, its.curve[:1], ()) for key, its in study.trainings.items()
    }
    (curve,) = training_curves(Study(study.spec, study.cells, trainings, study.fingerprints, "done"))
    assert (len(curve.iterations), curve.seeds) == (4, 1)


def test_of_many_configs_the_best_stand_out() -> None:
    curves = training_curves(made_grid(train={"episodes.shots": list(range(1, 13))}))
    chosen = highlighted(curves, 5, all_up_to=MOST_LINES)
    assert [max(one.mean) for one in chosen] == sorted((max(one.mean) for one in curves), reverse=True)[:5]
    axes = draw_curves(curves, chosen).axes[0]
    (grey,) = [one for one in axes.collections if isinstance(one, LineCollection)]
    rest = [curve for curve in curves if curve not in chosen]
    for segment, curve in zip(grey.get_segments(), rest, strict=True):
        np.testing.assert_allclose(segment[:, 0], curve.iterations)
        np.testing.assert_allclose(segment[:, 1], 100 * np.array(curve.mean))
    assert axes.get_ylim()[0] <= min(100 * min(curve.mean) for curve in curves)
    assert "the other 7" in [text.get_text() for text in axes.figure.legends[0].get_texts()]
    (of_search,) = learning_curves(made_search(9))
    assert "The best one is in colour" in of_search.caption


def test_without_a_validation_there_is_no_figure() -> None:
    study = made_grid(train={"episodes.shots": [1, 5]})
    bare = {key: type(its)(key, (), ()) for key, its in study.trainings.items()}
    assert learning_curves(Study(study.spec, study.cells, bare, study.fingerprints, "interrupted")) == []


def test_long_labels_stay_in_the_figure() -> None:
    with figure_style():
        drawing, axes = new_figure()
        axes.plot([0, 1], [0, 1], label="trial 17: " + " ".join(f"parameter_{number}=0.123" for number in range(9)))
        draw_legend(drawing, axes)
        drawing.draw_without_rendering()
        box = drawing.legends[0].get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= drawing.bbox.x1
        assert axes.get_window_extent().height > drawing.dpi


# --- files ---


def test_svg_keeps_its_text_and_names_no_other_place() -> None:
    (figure,) = accuracy_by_factor(made_grid(seeds=2, **TABLE1))
    root = ElementTree.fromstring(figure.svg)
    texts = ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"shots=1", "shots=5", "test accuracy (%)", "frozen layers in the test"} <= set(texts)
    fonts = [element.get("style", "") for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert all("'DejaVu Sans', Verdana, sans-serif" in style for style in fonts)
    links = [value for element in root.iter() for name, value in element.attrib.items() if name.endswith("href")]
    assert links
    assert all(link.startswith("#") for link in links)
    assert "DOCTYPE" not in figure.svg
    picture = Image.open(io.BytesIO(figure.png))
    assert picture.width == int(WIDTH_IN * PNG_DPI)


def test_the_same_figure_is_the_same_bytes() -> None:
    study = made_grid(seeds=2, **TABLE1)
    with matplotlib.rc_context({"font.size": 20, "svg.fonttype": "path", "savefig.bbox": "tight"}):
        assert accuracy_by_factor(study) == accuracy_by_factor(study)
        of_this_user = accuracy_by_factor(study)[0]
    assert accuracy_by_factor(study)[0] == of_this_user
    code = (
        "import hashlib\nfrom made_study import made_grid\n"
        "from orchestrator.report.accuracy_by_factor import accuracy_by_factor\n"
        f"one = accuracy_by_factor(made_grid(seeds=2, **{TABLE1!r}))[0]\n"
        "print(hashlib.sha256(one.svg.encode() + one.png).hexdigest())"
    )
    root = Path(__file__).parents[2]
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": f"{root}:{Path(__file__).parent}", "HOME": "/nowhere"},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_a_figure_saved_twice_is_the_same() -> None:
    with figure_style():
        drawing, axes = new_figure()
        axes.plot([0, 1], [0, 1], label="a", **line_style(0))
        draw_legend(drawing, axes)
    assert figure_files(drawing) == figure_files(drawing)


def test_thinned_keeps_the_ends() -> None:
    for count in (1, 2, MOST_POINTS, MOST_POINTS + 1, 1000):
        kept = thinned(list(range(count)))
        assert (kept[0], kept[-1]) == (0, count - 1)
        assert len(kept) <= MOST_POINTS + 1
        assert len(set(kept)) == len(kept)


# --- who can read it ---

# Linear RGB as seen with each kind of dichromacy: Machado, Oliveira and Fernandes (2009), severity 1.
SIGHTS = {
    "usual": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def linear(colour: str) -> NDArray[np.float64]:
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE L*a*b* of linear RGB, with white as its white point."""
    ratio = TO_XYZ @ np.clip(rgb, 0, 1) / TO_XYZ.sum(1)
    f = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SIGHTS)
def test_colours_differ_for_every_sight(sight: str) -> None:
    seen = [lab(np.array(SIGHTS[sight]) @ linear(colour)) for colour in COLOURS]
    assert min(float(np.linalg.norm(one - other)) for one, other in itertools.combinations(seen, 2)) > 25


def test_colours_differ_in_greyscale_and_from_the_paper() -> None:
    lightness = sorted(lab(linear(colour))[0] for colour in COLOURS)
    assert min(np.diff(lightness)) > 8
    for colour in COLOURS:
        assert 1.05 / (TO_XYZ[1] @ linear(colour) + 0.05) >= 3


def test_lines_differ_without_any_colour() -> None:
    styles = [line_style(index) for index in range(MOST_LINES)]
    assert len({style["marker"] for style in styles}) == MOST_LINES
    for one, other in itertools.combinations(styles, 2):
        assert (one["color"], one["linestyle"]) != (other["color"], other["linestyle"])
    assert all(isinstance(Line2D([], [], linestyle=dash), Line2D) for dash in DASHES)
