"""Validation accuracy against each parameter of a search alone: a table of bins, and a figure with every trial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.insight.axis import position
from orchestrator.insight.bins import Bin, bins, has_levels, levels_of
from orchestrator.labels import level_text
from orchestrator.report.part import Figure, Table
from orchestrator.report.style import COLOURS, WIDE_IN, WIDTH_IN, figure_files, figure_style, log_axis
from orchestrator.report.tried import Tried, accuracies, compared, names, score_of, short_level, shown, space_of
from orchestrator.report.words import ABSENT
from orchestrator.results import Study
from orchestrator.space import Parameter
from trainers.problem import Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

ACROSS = 3
"""Panels beside each other."""
MOST_PANELS = 12
"""In one figure."""
PANEL_IN = 1.75
"""Height of one."""
FEW = 100
"""Trials up to which marks are large."""
WIDEST = 12
"""Letters of a level beside its mark."""
GOLDEN = (math.sqrt(5) - 1) / 2
"""Its multiples, but for their whole parts, spread evenly, however many there are."""


def slices(study: Study) -> list[Table | Figure]:
    """One table, and a figure of as many panels as there are parameters; none where no trial is completed."""
    space, trials = space_of(study), compared(study)
    if not space or not trials:
        return []
    paths = [path for path in space if any(path in trial.point for trial in trials)]
    groups = [paths[start : start + MOST_PANELS] for start in range(0, len(paths), MOST_PANELS)]
    made: list[Table | Figure] = [_table(study, paths, trials)]
    for number, group in enumerate(groups, start=1):
        part = f", part {number} of {len(groups)}" if len(groups) > 1 else ""
        svg, png = figure_files(draw_slices(study, group, trials))
        title = f"Validation {study.score.word} against each parameter{part}"
        name = "slices" + (f"-{number}" if part else "")
        made.append(Figure(name, title, _caption(trials), svg, png, wide=len(group) > 1))
    return made


def path_bins(parameter: Parameter, path: str, trials: Sequence[Tried]) -> list[Bin]:
    """The trials in which a parameter acts, along its axis."""
    its = [trial for trial in trials if path in trial.point]
    return bins(parameter, [trial.point[path] for trial in its], accuracies(its))


def draw_slices(study: Study, paths: Sequence[str], trials: Sequence[Tried]) -> Drawing:
    """A panel a parameter: a mark a trial, the median of each bin as a line with its interval; the best ringed."""
    from matplotlib.figure import Figure as Drawing

    space = space_of(study)
    called = names(space)
    across = min(ACROSS, len(paths))
    down = -(-len(paths) // across)
    with figure_style():
        width = WIDE_IN if len(paths) > 1 else WIDTH_IN
        drawing = Drawing(figsize=(width, PANEL_IN * down + 0.3), layout="constrained")
        panels = drawing.subplots(down, across, sharey=True, squeeze=False).ravel().tolist()
        for path, axes in zip(paths, panels, strict=False):
            _panel(axes, space[path], path, trials)
            axes.set_xlabel(called[path])
        for axes in panels[len(paths) :]:
            axes.set_visible(False)
        drawing.supylabel(study.score.axis("validation"), fontsize=8)
        return drawing


def _panel(axes: Axes, parameter: Parameter, path: str, trials: Sequence[Tried]) -> None:
    its = [trial for trial in trials if path in trial.point]
    values = shown(its)
    levels = has_levels(parameter)
    places = [_place(parameter, trial.point[path]) + _aside(trial.number) * levels for trial in its]
    size, alpha = (3.4, 0.6) if len(trials) <= FEW else (1.8, 0.45)
    style: dict[str, Any] = {"linestyle": "", "marker": "o"}
    axes.plot(places, values, markersize=size, markeredgewidth=0, color=COLOURS[0], alpha=alpha, **style)
    best = max(range(len(its)), key=values.__getitem__)
    axes.plot([places[best]], [values[best]], markersize=7, markerfacecolor="none", color=COLOURS[3], **style)
    found = path_bins(parameter, path, trials)
    for one in found:
        _draw_bin(axes, parameter, one, levels, score_of(trials))
    if not levels:
        _draw_range(axes, parameter)
    else:
        known = levels_of(parameter)
        labels = [short_level(path, level, WIDEST) for level in known]
        long = sum(max(map(len, label.split("\n"))) for label in labels) > 2 * WIDEST
        axes.set_xticks(range(len(known)), labels, rotation=30 if long else 0, ha="right" if long else "center")
        axes.set_xlim(-0.6, len(known) - 0.4)


def _draw_range(axes: Axes, parameter: Parameter) -> None:
    """The whole range, tried or not, with a little room; logarithmic where the space is."""
    from matplotlib.ticker import MaxNLocator

    low, high = map(float, parameter.domain)
    if parameter.kind != "loguniform" or low == high:
        room = 0.03 * (high - low) or 0.5
        axes.set_xlim(low - room, high + room)
        if parameter.kind == "int":
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        return
    room = (high / low) ** 0.03
    log_axis(axes, low, high)
    axes.set_xlim(low / room, high * room)


def _draw_bin(axes: Axes, parameter: Parameter, one: Bin, levels: bool, score: Score) -> None:
    first, last = (_place(parameter, value) for value in (one.first, one.last))
    ends = (first - 0.38, last + 0.38) if levels or parameter.kind == "int" else (first, last)
    if one.interval is not None:
        low, high = map(score.shown, one.interval)
        axes.fill_between(ends, low, high, color=COLOURS[4], alpha=0.25, linewidth=0)
        axes.plot(ends, [score.shown(one.median)] * 2, color=COLOURS[4], linewidth=1.4, solid_capstyle="butt")


def _place(parameter: Parameter, value: Any) -> float:
    """On the panel's axis: the value of a range, the index of a level."""
    if has_levels(parameter):
        return position(parameter, value) * len(levels_of(parameter)) - 0.5
    return float(value)


def _aside(number: int) -> float:
    """A shift that keeps marks of one level apart, the same for the same trial: between -0.3 and 0.3, evenly."""
    return 0.6 * (number * GOLDEN % 1 - 0.5)


def _table(study: Study, paths: Sequence[str], trials: Sequence[Tried]) -> Table:
    space = space_of(study)
    found = [(path, one) for path in paths for one in path_bins(space[path], path, trials)]
    return Table(
        name="slices",
        title=f"Validation {study.score.word} along each parameter",
        columns=(
            "parameter",
            "values",
            "trials",
            study.score.heading("median"),
            "95 % interval",
            study.score.heading("best"),
        ),
        rows=tuple(
            (
                *(path, _values_text(path, one), str(one.trials)),
                *(study.score.number(one.median), _interval_text(one, study.score), study.score.number(one.best)),
            )
            for path, one in found
        ),
        values=tuple(
            (
                *(path, _plain(one.first), _plain(one.last), one.trials, one.median),
                *(one.interval or (None, None)),
                one.best,
            )
            for path, one in found
        ),
        value_columns=(
            *("parameter", "first", "last", "trials", "median"),
            *("median_low95", "median_high95", f"best_{study.score.validation}"),
        ),
        notes=(
            "Of the completed trials in which the parameter acts: those of one level, or about equally many with "
            "neighbouring values. The interval is that of the median, by its order statistics; fewer than 6 trials "
            "have none. A search tries good regions more often, so trials of a bin differ in the other parameters too.",
        ),
    )


def _values_text(path: str, one: Bin) -> str:
    first, last = level_text(path, one.first), level_text(path, one.last)
    return first if first == last else f"{first} to {last}"


def _interval_text(one: Bin, score: Score) -> str:
    return " to ".join(map(score.number, one.interval)) if one.interval else ABSENT


def _plain(value: Any) -> Any:
    return "+".join(map(str, value)) if isinstance(value, tuple) else value


def _caption(trials: Sequence[Tried]) -> str:
    return (
        f"Validation {score_of(trials).word} of the {len(trials)} completed trials against each parameter, where it "
        "acts. Line and band: median of neighbouring trials, or of a level, and its 95 % interval, from 6 trials on. "
        "Ring: the best trial in which it acts. Marks of one level lie side by side for the eye alone."
    )
