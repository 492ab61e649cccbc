"""What two parameters of a search do together: a table of the strongest pairs, and a map of the first of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from orchestrator.insight.bins import CellMean, cell_means, has_levels, levels_of, part_count, part_ends
from orchestrator.insight.importance import Importance
from orchestrator.labels import level_text
from orchestrator.report.part import Figure, Table
from orchestrator.report.shares import share_texts, share_values
from orchestrator.report.style import COLOUR_MAP, figure_files, figure_style, new_figure
from orchestrator.report.tried import Tried, accuracies, names, score_of
from orchestrator.space import Parameter, Space
from trainers.problem import Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

MOST_PAIRS = 10
"""In the table."""
MOST_NUMBERS = 48
"""Cells of a map up to which each has its number."""
MOST_LEVELS = 12
"""Of each of the two parameters of a map: more can't be read."""
WIDEST = 30
"""Letters of the ticks beside each other; longer ones are turned."""
DARK = 0.179
"""Luminance below which white text has more contrast than black."""


def interactions(space: Space, trials: Sequence[Tried], told: Importance) -> list[Table | Figure]:
    """A table, and the map of the strongest pair that can be drawn; nothing for one parameter."""
    pairs = sorted(told.pairs, key=lambda pair: told.pairs[pair].value, reverse=True)
    drawable = [pair for pair in pairs if _small(space[pair[0]]) and _small(space[pair[1]])]
    made: list[Table | Figure] = [_table(trials, told, pairs)] if pairs else []
    if drawable:
        made += _figure(space, trials, drawable[0])
    return made


def _small(parameter: Parameter) -> bool:
    return not has_levels(parameter) or len(levels_of(parameter)) <= MOST_LEVELS


def _table(trials: Sequence[Tried], told: Importance, pairs: Sequence[tuple[str, str]]) -> Table:
    shown = pairs[:MOST_PAIRS]
    acting = {pair: len(_with_both(trials, pair)) for pair in shown}
    notes = [
        "Shares of the same variance as in the table of single parameters: what two do together beyond what each does."
    ]
    if len(shown) < len(pairs):
        notes.append(f"The strongest {len(shown)} of {len(pairs)} pairs.")
    return Table(
        name="interactions",
        title="Interactions of two parameters",
        columns=("parameter", "and", "act in trials", "together, %", "95 %, over resamples"),
        rows=tuple((*pair, str(acting[pair]), *share_texts(told.pairs[pair])) for pair in shown),
        values=tuple((*pair, acting[pair], *share_values(told.pairs[pair])) for pair in shown),
        value_columns=("first", "second", "trials", "together", "together_low95", "together_high95"),
        notes=tuple(notes),
    )


def _with_both(trials: Sequence[Tried], pair: tuple[str, str]) -> list[Tried]:
    return [trial for trial in trials if all(path in trial.point for path in pair)]


def _figure(space: Space, trials: Sequence[Tried], pair: tuple[str, str]) -> list[Figure]:
    both = _with_both(trials, pair)
    if not both:
        return []
    called = names(space)
    svg, png = figure_files(draw_map(space, both, pair))
    caption = (
        f"Mean {score_of(both).axis('validation')} of the trials in each cell, over {pair[0]} and {pair[1]}, the pair "
        f"with the strongest interaction; in brackets how many trials, {len(both)} in all. Cells without a trial are "
        "white."
    )
    title = f"Validation {score_of(both).word} over {called[pair[0]]} and {called[pair[1]]}"
    return [Figure("strongest-interaction", title, caption, svg, png)]


def draw_map(space: Space, trials: Sequence[Tried], pair: tuple[str, str]) -> Drawing:
    """Means in the cells of two parameters, as colours and as numbers: the first across, the second up."""
    across, up = space[pair[0]], space[pair[1]]
    points = [(trial.point[pair[0]], trial.point[pair[1]]) for trial in trials]
    cells = cell_means(across, up, points, accuracies(trials))
    columns, rows = part_count(across, len(trials)), part_count(up, len(trials))
    score = score_of(trials)
    values = np.full((rows, columns), np.nan)
    for cell in cells:
        values[cell.row, cell.column] = score.shown(cell.mean)
    with figure_style():
        drawing, axes = new_figure(height_in=1.0 + 0.34 * max(rows, 4))
        axes.grid(visible=False)
        mesh = axes.pcolormesh(np.ma.masked_invalid(values), cmap=COLOUR_MAP, edgecolors="white", linewidth=1.0)
        bar = drawing.colorbar(mesh, ax=axes, label=score.axis("validation"), aspect=30)
        assert bar.solids is not None
        bar.solids.set(rasterized=False, edgecolor="face")  # a picture in the SVG would be shut out of the page
        if columns * rows <= MOST_NUMBERS:
            shades = mesh.to_rgba(np.array([score.shown(cell.mean) for cell in cells]))
            for cell, luminance in zip(cells, _luminances(shades).tolist(), strict=True):
                _number(axes, cell, score, dark=luminance < DARK, small=columns > 4)
        called = names(space)
        _ticks(axes, "x", pair[0], across, columns)
        _ticks(axes, "y", pair[1], up, rows)
        axes.set_xlabel(called[pair[0]])
        axes.set_ylabel(called[pair[1]])
        return drawing


def _luminances(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Relative luminances of sRGB colours, [colours, 3 or 4], as WCAG 2 defines them."""
    rgb = colours[:, :3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminances: NDArray[np.float64] = linear @ np.array([0.2126, 0.7152, 0.0722])
    return luminances


def _number(axes: Axes, cell: CellMean, score: Score, dark: bool, small: bool) -> None:
    axes.text(
        cell.column + 0.5,
        cell.row + 0.5,
        f"{score.number(cell.mean)}\n({cell.trials})",
        ha="center",
        va="center",
        fontsize=5.5 if small else 6.5,
        linespacing=1.05,
        color="white" if dark else "black",
    )


def _ticks(axes: Axes, axis: str, path: str, parameter: Parameter, count: int) -> None:
    """Names of levels in the middle of their cells, values of ranges at the ends."""
    if has_levels(parameter):
        places, labels = (
            [index + 0.5 for index in range(count)],
            [level_text(path, one) for one in levels_of(parameter)],
        )
    else:
        places, labels = list(range(count + 1)), [f"{value:.3g}" for value in part_ends(parameter, count)]
    wide = sum(map(len, labels)) > WIDEST
    if axis == "x":
        axes.set_xticks(places, labels, rotation=45 if wide else 0, ha="right" if wide else "center")
    else:
        axes.set_yticks(places, labels)
