"""Which parameters of a search the accuracy depends on: a table and a figure, and what is told of their pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.insight.importance import Importance, Share, Untold
from orchestrator.insight.importance import importance as estimated
from orchestrator.report.interactions import interactions
from orchestrator.report.part import Figure, Table
from orchestrator.report.shares import share_texts, share_values
from orchestrator.report.style import AXES_HEIGHT_IN, COLOURS, GREY, draw_legend, figure_files, figure_style, new_figure
from orchestrator.report.tried import Tried, accuracies, compared, names, space_of, tried
from orchestrator.report.words import ABSENT, percent
from orchestrator.results import Study
from orchestrator.space import Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

IDLE = "(no effect)"
"""The row of a parameter that is none."""
ROW_IN = 0.26
"""Height of a parameter in the figure."""


def importance(study: Study) -> list[Table | Figure]:
    """Table and figure of the parameters, then of their pairs; the table alone where nothing can be told yet."""
    space, trials = space_of(study), compared(study)
    if not space or not trials:
        return []
    told = estimated(space, [trial.point for trial in trials], accuracies(trials))
    table = _table(study, trials, told)
    if isinstance(told, Untold):
        return [table]
    svg, png = figure_files(draw_importance(space, told))
    figure = Figure("importance", "Importance of each parameter", _caption(told, study.score.word), svg, png)
    return [table, figure, *interactions(space, trials, told)]


def ranked(told: Importance) -> list[str]:
    """Config paths, the most important first."""
    return sorted(told.alone, key=lambda path: told.alone[path].value, reverse=True)


def draw_importance(space: Space, told: Importance) -> Drawing:
    """Shares in per cent, with their intervals: a row a parameter, the most important on top."""
    called, paths = names(space), ranked(told)
    labels = [*(called[path] for path in paths), IDLE]
    alone = [*(told.alone[path] for path in paths), told.idle_alone]
    involved = [*(told.involved[path] for path in paths), told.idle_involved]
    height = 0.5 + ROW_IN * len(labels)
    with figure_style():
        drawing, axes = new_figure(height_in=height)
        _shares(axes, alone, -0.14, "alone", markerfacecolor=COLOURS[0])
        _shares(axes, involved, 0.14, "alone and together with others", markerfacecolor="white")
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.get_yticklabels()[-1].set_color("#555555")
        axes.axhspan(len(paths) - 0.5, len(paths) + 0.5, color=GREY, alpha=0.15, linewidth=0)
        axes.set_xlim(left=0, right=100)
        axes.margins(x=0)
        axes.set_xlabel("share of the variance (%)")
        draw_legend(drawing, axes)
        drawing.set_figheight(drawing.get_figheight() + height - AXES_HEIGHT_IN)
        return drawing


def _shares(axes: Axes, shares: Sequence[Share], shift: float, label: str, markerfacecolor: str) -> None:
    places = [row + shift for row in range(len(shares))]
    axes.hlines(
        places,
        [100 * one.low for one in shares],
        [100 * one.high for one in shares],
        color=COLOURS[0],
        linewidth=1.0,
    )
    axes.plot(
        [100 * one.value for one in shares],
        places,
        marker="o",
        linestyle="",
        color=COLOURS[0],
        markerfacecolor=markerfacecolor,
        label=label,
        clip_on=False,
    )


def _table(study: Study, trials: Sequence[Tried], told: Importance | Untold) -> Table:
    space = space_of(study)
    acting = {path: sum(path in trial.point for trial in trials) for path in space}
    lines: list[tuple[str, int | None, Share | None, Share | None]]
    if isinstance(told, Untold):
        lines = [(path, acting[path], None, None) for path in space]
    else:
        lines = [(path, acting[path], told.alone[path], told.involved[path]) for path in ranked(told)]
        lines.append((IDLE, None, told.idle_alone, told.idle_involved))
    return Table(
        name="importance",
        title=f"Importance of each parameter for validation {study.score.word}",
        columns=(
            "parameter",
            "acts in trials",
            "alone, %",
            "95 %, over resamples",
            "alone and with others, %",
            "95 %, over resamples",
        ),
        rows=tuple(
            (path, ABSENT if count is None else str(count), *share_texts(alone), *share_texts(involved))
            for path, count, alone, involved in lines
        ),
        values=tuple(
            (path, count, *share_values(alone), *share_values(involved)) for path, count, alone, involved in lines
        ),
        value_columns=(
            *("parameter", "trials"),
            *(f"{name}{end}" for name in ("alone", "involved") for end in ("", "_low95", "_high95")),
        ),
        notes=(*_notes(told, study.score.word), *_left_out(study, trials)),
    )


def _notes(told: Importance | Untold, word: str) -> list[str]:
    if isinstance(told, Untold):
        return [f"Importance {told.reason}."]
    return [
        f"Shares of the variance of validation {word} over the whole space, by functional ANOVA of a forest fitted to "
        f"{told.trials} trials. Of trials that it has not seen, it explains {percent(told.skill)} % of the variance.",
        "The interval is over resamples of the trials: what other trials would have told. It knows nothing of what a "
        "forest smooths away: with few trials, what parameters do together is told too small.",
        "A parameter with a condition counts where it acts: elsewhere nothing depends on it.",
        f"{IDLE}: what this method gives a parameter that is random. A share like it is none.",
    ]


def _left_out(study: Study, trials: Sequence[Tried]) -> list[str]:
    states = [trial.state for trial in tried(study)]
    repeated = states.count("completed") - len(trials)
    counts = {
        "pruned (shorter trainings do not compare)": states.count("pruned"),
        "failed": states.count("failed"),
        "that repeat another": repeated,
    }
    words = [f"{count} {what}" for what, count in counts.items() if count]
    bias = ["What gets trials pruned looks less important here than it is."] if states.count("pruned") else []
    return [f"Trials left out: {', '.join(words)}.", *bias] if words else []


def _caption(told: Importance, word: str) -> str:
    return (
        f"Share of the variance of validation {word} over the whole space that each parameter explains, by functional "
        f"ANOVA of a forest fitted to {told.trials} trials, with its 95 % interval over resamples of the trials (bar). "
        f"The last row, {IDLE}, is what a random parameter gets. Of trials that it has not seen, the forest explains "
        f"{percent(told.skill)} % of the variance."
    )
