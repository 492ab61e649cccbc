"""Figures: test accuracy against one factor of a grid, a line for each combination of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.config_paths import leaves
from orchestrator.labels import level_text, levels_text
from orchestrator.published import PublishedCell
from orchestrator.report.against_published import published_of, unlike
from orchestrator.report.part import Figure
from orchestrator.report.style import MOST_LINES, draw_legend, figure_files, figure_style, line_style, new_figure
from orchestrator.report.words import count_range
from orchestrator.results import Study
from orchestrator.stats import Estimate
from trainers.problem import Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

FROZEN_LAYERS = ("evaluation.frozen_layers", "algorithm.frozen_layers")
"""Drawn from two levels on: their order is that of the network, even where the levels are lists of layers."""
LEAST_LEVELS = 3
"""Of any other factor, whose levels are numbers: fewer make no curve."""
MOST_TICKS = 8
"""Levels up to which each has its tick."""
HOLLOW: dict[str, Any] = {"linestyle": "", "markerfacecolor": "none", "markersize": 6.5}
"""Published marks; they surround ours where the two are equal."""
LOG_RANGE = 20
"""Highest to lowest level from which the axis is logarithmic."""


@dataclass(frozen=True)
class Point:
    """One cell on a line."""

    level: Any
    estimate: Estimate | None
    """None where nothing is completed."""
    published: PublishedCell | None


@dataclass(frozen=True)
class Line:
    """The cells that differ in the factor alone."""

    label: str
    points: tuple[Point, ...]
    """In the order of the grid."""
    source: str
    """What its tasks are made from."""


def accuracy_by_factor(study: Study) -> list[Figure]:
    """A figure for each factor that has an order; several where there are more lines than one can hold."""
    figures = []
    for path, levels in ordered_factors(study).items():
        found = by_axis(study, factor_lines(study, path))
        parts = [
            (source, its[at : at + MOST_LINES])
            for source, its in found.items()
            for at in range(0, len(its), MOST_LINES)
        ]
        for number, (source, group) in enumerate(parts, start=1):
            part = f", part {number} of {len(parts)}" if len(parts) > 1 else ""
            of = f": {source}" if source else ""
            svg, png = figure_files(draw_lines(group, path, levels, study.score))
            figures.append(
                Figure(
                    name=f"{study.score.word}-by-{path.replace('.', '-').replace('_', '-')}"
                    + (f"-{number}" if part else ""),
                    title=f"Test {study.score.word} against {_words(path)}{of}{part}",
                    caption=_caption(study, group, path),
                    svg=svg,
                    png=png,
                )
            )
    return figures


def ordered_factors(study: Study) -> dict[str, tuple[Any, ...]]:
    """The grid's factors that make an axis: config path -> levels."""
    factors = study.spec.grid.factors if study.spec.grid else {}
    found = {}
    for path, factor in factors.items():
        levels, layers = tuple(factor.domain), path in FROZEN_LAYERS
        if len(levels) >= (2 if layers else LEAST_LEVELS) and (layers or numeric(levels)) and path != "training.seed":
            found[path] = levels
    return found


def by_axis(study: Study, lines: Sequence[Line]) -> dict[str, list[Line]]:
    """The lines that can share an axis, by their source; one group under no name where all of them can."""
    if study.problem.sources_share_a_scale or len({line.source for line in lines}) < 2:
        return {"": list(lines)} if lines else {}
    found: dict[str, list[Line]] = {}
    for line in lines:
        found.setdefault(line.source, []).append(line)
    return found


def factor_lines(study: Study, path: str) -> list[Line]:
    """The cells in which the factor acts, a line for each combination of the other factors, in the order of the grid.

    Factors that move along with it tell no lines apart, nor does the source where each has axes of its own. Lines
    without any completed cell are left out.
    """
    unnamed = () if study.problem.sources_share_a_scale else (f"{study.problem.source_word}.name",)
    tables, along = published_of(study).values(), _moving_with(study, path)
    grouped: dict[tuple[tuple[str, Any], ...], list[Point]] = {}
    sources: dict[tuple[tuple[str, Any], ...], str] = {}
    for cell in study.cells:
        if path in cell.levels:
            others = tuple((other, level) for other, level in cell.levels.items() if other not in (path, *along))
            values = leaves(cell.config)
            published = next((one for table in tables if (one := table.cell(values))), None)
            sources[others] = cell.config.source
            grouped.setdefault(others, []).append(Point(cell.levels[path], cell.estimate, published))
    lines = []
    for others, points in grouped.items():
        named = {other: level for other, level in others if other not in unnamed}
        lines.append(Line(levels_text(named), tuple(points), sources[others]))
    return [line for line in lines if any(point.estimate for point in line.points)]


def draw_lines(lines: Sequence[Line], path: str, levels: Sequence[Any], score: Score) -> Drawing:
    """The score against the factor's levels, with the intervals; published numbers as hollow marks.

    Levels that are numbers have their places on the axis, others stand side by side in their order.
    """
    at = {level: float(level) if numeric(levels) else float(index) for index, level in enumerate(levels)}
    with figure_style():
        drawing, axes = new_figure()
        for index, line in enumerate(lines):
            _draw_line(axes, line, at, line_style(index), 0.26 / max(2, len(lines)), score)
        axes.set_xlabel(_words(path))
        axes.set_ylabel(score.axis("test"))
        _draw_levels(axes, path, at)
        if any(point.published for line in lines for point in line.points):
            axes.plot([], [], color="black", marker="o", label="hollow: published", **HOLLOW)
        draw_legend(drawing, axes)
        return drawing


def _draw_line(
    axes: Axes, line: Line, at: Mapping[Any, float], style: dict[str, Any], band_alpha: float, score: Score
) -> None:
    measured = [(at[point.level], point.estimate) for point in line.points if point.estimate]
    measured.sort(key=lambda one: one[0])
    x = [place for place, _ in measured]
    value, low, high = ([score.shown(getattr(one, name)) for _, one in measured] for name in ("value", "low", "high"))
    axes.fill_between(x, low, high, color=style["color"], alpha=band_alpha, linewidth=0)
    # A bar beside the band: the interval of a line's only point has no width as a band, and bands that overlap blur.
    axes.vlines(x, low, high, color=style["color"], linewidth=0.7)
    axes.plot(x, value, label=line.label or "_", **style)
    for point in line.points:
        if point.published:
            place, alpha = at[point.level], 1.0 if point.published.confirmed else 0.5
            axes.plot([place], [point.published.mean], label="_", alpha=alpha, **(style | HOLLOW))


def _draw_levels(axes: Axes, path: str, at: Mapping[Any, float]) -> None:
    low, high = min(at.values()), max(at.values())
    if numeric(list(at)) and low > 0 and high / low >= LOG_RANGE:
        axes.set_xscale("log")
    if len(at) <= MOST_TICKS or not numeric(list(at)):
        labels = [level_text(path, level).replace("+", "\n") for level in at]
        axes.set_xticks(list(at.values()), labels)
        axes.minorticks_off()


def _caption(study: Study, lines: Sequence[Line], path: str) -> str:
    estimates = [point.estimate for line in lines for point in line.points if point.estimate]
    seeds, episodes = count_range(one.seeds for one in estimates), count_range(one.episodes for one in estimates)
    tests = f"test {study.problem.tasks_word}"
    over = f"training seeds and {tests}" if min(one.seeds for one in estimates) > 1 else tests
    words = [
        f"Mean test {study.score.word} against {path}, with its 95 % interval over {over} (band and bar); "
        f"seeds: {seeds}, test {study.problem.tasks_word}: {episodes}."
    ]
    along = _moving_with(study, path)
    if along:
        words.append(f"{' and '.join(along)} {'moves' if len(along) == 1 else 'move'} along with it.")
    if len(lines) > 1:
        words.append("One line for each combination of the other factors.")
    shown = [point.published for line in lines for point in line.points if point.published]
    tables = published_of(study).values() if shown else ()
    words += [f"Hollow marks: {table.source}." for table in tables]
    if not all(one.confirmed for one in shown):
        words.append("Pale ones are unconfirmed.")
    words += [sentence for table in tables for sentence in unlike(study, table)]
    return " ".join(words)


def _moving_with(study: Study, path: str) -> list[str]:
    groups = study.spec.grid.zip if study.spec.grid else ()
    return [other for group in groups if path in group for other in group if other != path]


def numeric(levels: Sequence[Any]) -> bool:
    """Whether all levels are numbers."""
    return all(isinstance(level, int | float) and not isinstance(level, bool) for level in levels)


def _words(path: str) -> str:
    """``frozen layers in the test``."""
    section, _, key = path.rpartition(".")
    return key.replace("_", " ") + (" in the test" if section == "evaluation" else "")
