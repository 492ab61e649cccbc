"""Figures: test accuracy against one factor of a grid, a line for each combination of the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.config_paths import leaves
from orchestrator.labels import levels_label, short_value
from orchestrator.published import PublishedCell, PublishedTable, published_table
from orchestrator.report.part import Figure
from orchestrator.report.style import MOST_LINES, draw_legend, figure_files, figure_style, line_style, new_figure
from orchestrator.results import CellResult, Study
from orchestrator.stats import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

FROZEN_LAYERS = ("evaluation.frozen_layers", "algorithm.frozen_layers")
"""Drawn from two levels on: their order is that of the network, even where the levels are lists of layers."""
LEAST_LEVELS = 3
"""Of any other factor, whose levels are numbers: fewer make no curve."""
PUBLISHED_SIZE = 6.5
"""Of hollow marks, in points; they surround ours where the two are equal."""
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
    """In the order of the factor's levels."""


def accuracy_by_factor(study: Study) -> list[Figure]:
    """A figure for each factor that has an order; several where there are more lines than one can hold."""
    figures = []
    for path in ordered_factors(study):
        lines = factor_lines(study, path)
        groups = [lines[start : start + MOST_LINES] for start in range(0, len(lines), MOST_LINES)]
        for number, group in enumerate(groups, start=1):
            part = f", part {number} of {len(groups)}" if len(groups) > 1 else ""
            svg, png = figure_files(draw_lines(group, path))
            figures.append(
                Figure(
                    name=f"accuracy-by-{path.replace('.', '-').replace('_', '-')}" + (f"-{number}" if part else ""),
                    title=f"Test accuracy against {_words(path)}{part}",
                    caption=_caption(group, path, _published(study)),
                    svg=svg,
                    png=png,
                )
            )
    return figures


def ordered_factors(study: Study) -> list[str]:
    """Config paths of the grid's factors that make an axis."""
    factors = study.spec.grid.factors if study.spec.grid else {}
    found = []
    for path, factor in factors.items():
        least = 2 if path in FROZEN_LAYERS else LEAST_LEVELS
        if len(factor.domain) >= least and (path in FROZEN_LAYERS or _numbers(factor.domain)):
            found.append(path)
    return found


def factor_lines(study: Study, path: str) -> list[Line]:
    """The cells in which the factor acts, one line for each combination of the other levels, in the order of the grid.

    Lines without any completed cell are left out.
    """
    table = _published(study)
    grouped: dict[tuple[tuple[str, Any], ...], list[CellResult]] = {}
    for cell in study.cells:
        if path in cell.levels:
            others = tuple((other, level) for other, level in cell.levels.items() if other != path)
            grouped.setdefault(others, []).append(cell)
    lines = []
    for others, cells in grouped.items():
        levels = [cell.levels[path] for cell in cells]
        if _numbers(levels):
            cells = sorted(cells, key=lambda cell: float(cell.levels[path]))
        points = [
            Point(cell.levels[path], cell.estimate, table.cell(leaves(cell.config)) if table else None)
            for cell in cells
        ]
        if any(point.estimate for point in points):
            lines.append(Line(levels_label(dict(others)), tuple(points)))
    return lines


def draw_lines(lines: Sequence[Line], path: str) -> Drawing:
    """Per cent against the factor's levels, with the intervals; published numbers as hollow marks."""
    levels = list(dict.fromkeys(point.level for line in lines for point in line.points))
    numbers = _numbers(levels)
    at = {level: float(level) if numbers else index for index, level in enumerate(levels)}
    with figure_style():
        drawing, axes = new_figure()
        for index, line in enumerate(lines):
            _draw_line(axes, line, at, index)
        axes.set_xlabel(_words(path))
        axes.set_ylabel("test accuracy (%)")
        _draw_levels(axes, levels, at)
        if any(point.published for line in lines for point in line.points):
            hollow: dict[str, Any] = {
                "linestyle": "",
                "marker": "o",
                "markerfacecolor": "none",
                "markersize": PUBLISHED_SIZE,
            }
            axes.plot([], [], color="black", label="hollow: published", **hollow)
        draw_legend(drawing, axes)
        return drawing


def _draw_line(axes: Axes, line: Line, at: dict[Any, float], index: int) -> None:
    style = line_style(index)
    measured = [(at[point.level], point.estimate) for point in line.points if point.estimate]
    x = [place for place, _ in measured]
    value, low, high = (
        [100 * getattr(estimate, name) for _, estimate in measured] for name in ("value", "low", "high")
    )
    axes.fill_between(x, low, high, color=style["color"], alpha=0.13, linewidth=0)
    # A bar beside the band: the interval of a line's only point has no width as a band, and bands that overlap blur.
    axes.vlines(x, low, high, color=style["color"], linewidth=0.7)
    axes.plot(x, value, label=line.label or "_", **style)
    for point in line.points:
        if point.published:
            axes.plot(
                *(at[point.level], point.published.mean),
                **{**style, "linestyle": "", "markerfacecolor": "none", "markersize": PUBLISHED_SIZE},
                alpha=1.0 if point.published.confirmed else 0.5,
            )


def _draw_levels(axes: Axes, levels: Sequence[Any], at: dict[Any, float]) -> None:
    if _numbers(levels):
        low, high = min(at.values()), max(at.values())
        if low > 0 and high / low >= LOG_RANGE:
            axes.set_xscale("log")
    axes.set_xticks(list(at.values()), [short_value(level).replace("+", "\n") for level in levels])
    axes.minorticks_off()


def _caption(lines: Sequence[Line], path: str, table: PublishedTable | None) -> str:
    estimates = [point.estimate for line in lines for point in line.points if point.estimate]
    seeds, episodes = _range(one.seeds for one in estimates), _range(one.episodes for one in estimates)
    over = "training seeds and test episodes" if min(one.seeds for one in estimates) > 1 else "test episodes"
    words = [
        f"Mean test accuracy against {path}, with its 95 % interval over {over} (band and bar); seeds: {seeds}, test "
        f"episodes: {episodes}.",
    ]
    if any(line.label for line in lines):
        words.append("One line for each combination of the other factors.")
    shown = [point.published for line in lines for point in line.points if point.published]
    if table and shown:
        words.append(f"Hollow marks: {table.source} ({table.dataset}).")
        if not all(one.confirmed for one in shown):
            words.append("Pale ones are unconfirmed.")
    return " ".join(words)


def _range(counts: Iterable[int]) -> str:
    values = sorted(counts)
    return f"{values[0]}" if values[0] == values[-1] else f"{values[0]} to {values[-1]}"


def _published(study: Study) -> PublishedTable | None:
    grid = study.spec.grid
    return published_table(grid.published) if grid and grid.published else None


def _numbers(levels: Sequence[Any]) -> bool:
    return all(isinstance(level, int | float) and not isinstance(level, bool) for level in levels)


def _words(path: str) -> str:
    """``frozen layers in the test``."""
    section, _, key = path.rpartition(".")
    return key.replace("_", " ") + (" in the test" if section == "evaluation" else "")
