"""Figure: every trial of a search as a line over all parameters, coloured by its accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.insight.axis import position
from orchestrator.insight.bins import has_levels, levels_of
from orchestrator.report.part import Figure
from orchestrator.report.slices import GOLDEN
from orchestrator.report.style import COLOUR_MAP, WIDE_IN, figure_files, figure_style, new_figure
from orchestrator.report.tried import Tried, accuracies, compared, names, score_of, short_level, space_of
from orchestrator.results import Study
from orchestrator.space import Parameter, Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

BEST = 0.1
"""Share of the trials that stand out, the best of them; one at least."""
MOST_AXES = 10
"""Parameters that are drawn."""
MOST_LABELS = 8
"""Levels of a parameter up to which each has its name."""
INACTIVE = -0.12
"""Height at which lines cross the axis of a parameter that does not act."""
HEIGHT_IN = 2.9
WIDEST = 12
"""Letters of a level."""
VERY_FEW, FEW = 20, 100
"""Trials up to which lines are strong, and up to which they are not faint."""
RGBA = tuple[float, float, float, float]


def parallel_coordinates(study: Study) -> list[Figure]:
    """One figure; none where no trial is completed, or the space has one parameter: its slice says all."""
    space, trials = space_of(study), compared(study)
    if len(space) < 2 or not trials:
        return []
    shown = {path: space[path] for path in list(space)[:MOST_AXES]}
    svg, png = figure_files(draw_coordinates(shown, trials))
    caption = _caption(trials, len(shown), len(space))
    return [Figure("parallel-coordinates", "Parameters of all trials at once", caption, svg, png, wide=True)]


def best_of(trials: Sequence[Tried]) -> list[Tried]:
    """The tenth of the trials with the highest accuracy, best last; one at least."""
    ordered = sorted(trials, key=lambda trial: (accuracies([trial])[0], -trial.number))
    return ordered[-max(1, round(BEST * len(trials))) :]


def heights(space: Space, trial: Tried) -> list[float]:
    """Where the line of a trial crosses each axis, 0 to 1; ``INACTIVE`` where the parameter does not act.

    Lines through one level are spread over its part of the axis, the same for the same trial.
    """
    found = []
    for index, (path, parameter) in enumerate(space.items()):
        if path not in trial.point:
            found.append(INACTIVE)
            continue
        spread = ((trial.number + 1) * GOLDEN * (index + 1)) % 1 - 0.5
        room = 0.5 / len(levels_of(parameter)) if has_levels(parameter) else 0.0
        found.append(position(parameter, trial.point[path]) + spread * room)
    return found


def draw_coordinates(space: Space, trials: Sequence[Tried]) -> Drawing:
    """An axis a parameter, and accuracy as the last; the best tenth is drawn thick and last."""
    values, score = accuracies(trials), score_of(trials)
    low, high = min(values), max(values)
    best = best_of(trials)
    rest = [trial for trial in trials if trial not in best]
    with figure_style():
        drawing, axes = new_figure(WIDE_IN, HEIGHT_IN)
        colours = ranked_colours(values)
        width, alpha = (1.0, 0.8) if len(trials) <= VERY_FEW else (0.6, 0.6) if len(trials) <= FEW else (0.6, 0.3)
        _lines(axes, space, rest, colours, (low, high), linewidth=width, alpha=alpha)
        _lines(axes, space, best, colours, (low, high), linewidth=1.8, alpha=0.95)
        for index, (path, parameter) in enumerate(space.items()):
            acts = all(path in trial.point for trial in trials)
            _axis(axes, index, _marks(path, parameter), inactive=not acts)
        _axis(axes, len(space), [(0.0, score.number(low)), (1.0, score.number(high))], inactive=False)
        labels = [
            *(name.replace(" ", "\n") for name in names(space).values()),
            f"validation\n{score.heading(score.word) if score.unit == '%' else score.word}",
        ]
        axes.set_xticks(range(len(labels)), labels)
        axes.xaxis.tick_top()
        axes.tick_params(axis="x", length=0, pad=5)
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_xlim(-0.1, len(space) + 0.45)
        axes.set_ylim(INACTIVE - 0.05, 1.05)
        return drawing


def ranked_colours(values: Sequence[float]) -> dict[float, RGBA]:
    """Accuracy -> colour, by rank: a few trials far below the others take no colours from them."""
    import matplotlib

    ordered = sorted(set(values))
    shades = matplotlib.colormaps[COLOUR_MAP]
    steps = max(1, len(ordered) - 1)
    return {value: shades(index / steps if len(ordered) > 1 else 1.0) for index, value in enumerate(ordered)}


def _lines(
    axes: Axes,
    space: Space,
    trials: Sequence[Tried],
    colours: Mapping[float, RGBA],
    ends: tuple[float, float],
    linewidth: float,
    alpha: float,
) -> None:
    """All of them as one object, the least accurate first."""
    from matplotlib.collections import LineCollection

    low, high = ends
    ordered = sorted(trials, key=lambda trial: accuracies([trial])[0])
    paths, values = [], accuracies(ordered)
    for trial, value in zip(ordered, values, strict=True):
        last = (value - low) / (high - low) if high > low else 0.5
        paths.append(list(enumerate([*heights(space, trial), last])))
    shades = [colours[value] for value in values]
    axes.add_collection(LineCollection(paths, colors=shades, linewidths=linewidth, alpha=alpha))


def _marks(path: str, parameter: Parameter) -> list[tuple[float, str]]:
    """Heights and texts along an axis: its levels, or its ends."""
    values = levels_of(parameter) if has_levels(parameter) else parameter.domain
    if len(values) > MOST_LABELS:
        values = (values[0], values[-1])
    return [(position(parameter, value), short_level(path, value, WIDEST)) for value in values]


def _axis(axes: Axes, index: int, marks: Sequence[tuple[float, str]], inactive: bool) -> None:
    axes.vlines(index, 0, 1, color="black", linewidth=0.8, zorder=3)
    for place, label in [*marks, *([(INACTIVE, "does not act")] if inactive else [])]:
        axes.plot([index], [place], marker="_", color="black", markersize=4, markeredgewidth=0.8, zorder=3)
        text = axes.text(index + 0.04, place, label, fontsize=6, linespacing=0.95, va="center", ha="left", zorder=4)
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6})


def _caption(trials: Sequence[Tried], shown: int, known: int) -> str:
    score, best = score_of(trials), best_of(trials)
    words = [
        f"Each of the {len(trials)} completed trials is a line; where it crosses an axis is its value, logarithmic "
        f"where the space is. Darker is a higher {score.word}, by rank; thick: the best {len(best)}. Lines through "
        "one level are spread for the eye alone."
    ]
    if shown < known:
        words.append(f"The first {shown} of {known} parameters.")
    return " ".join(words)
