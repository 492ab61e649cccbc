"""Figure: what each trial of a search came to, in their order, and the best so far."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from orchestrator.report.part import Figure
from orchestrator.report.style import COLOURS, GREY, draw_legend, figure_files, figure_style, new_figure
from orchestrator.report.tried import Tried, score_of, shown, tried
from orchestrator.results import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

FEW = 100
"""Trials up to which marks are large."""


def history(study: Study) -> list[Figure]:
    """One figure; none where no trial is completed."""
    trials = tried(study)
    if not any(trial.state == "completed" for trial in trials):
        return []
    svg, png = figure_files(draw_history(trials))
    return [Figure("history", f"Validation {study.score.word} of each trial", _caption(trials), svg, png)]


def draw_history(trials: Sequence[Tried]) -> Drawing:
    """Score against number; failed trials stand on the axis, since they have no value."""
    from matplotlib.ticker import MaxNLocator

    completed = [trial for trial in trials if trial.state == "completed"]
    chosen = [trial for trial in completed if not trial.started_with]
    starts = [trial for trial in completed if trial.started_with]
    pruned = [trial for trial in trials if trial.state == "pruned" and trial.accuracy is not None]
    failed = [trial for trial in trials if trial.state == "failed"]
    size = 4.0 if len(trials) <= FEW else 2.4
    with figure_style():
        drawing, axes = new_figure()
        _marks(axes, chosen, "completed", color=COLOURS[0], marker="o", markersize=size, alpha=0.7)
        _marks(axes, starts, "completed, given at the start", color=COLOURS[3], marker="D", markersize=size + 0.5)
        hollow: dict[str, Any] = {"markerfacecolor": "none", "markeredgewidth": 0.7}
        _marks(axes, pruned, "pruned, best on its way", color=GREY, marker="v", markersize=size, **hollow)
        best = list(accumulate(shown(completed), max))
        last = trials[-1].number
        axes.plot(
            [*(trial.number for trial in completed), last],
            [*best, best[-1]],
            color="black",
            drawstyle="steps-post",
            label="best so far",
            zorder=1.9,  # below the marks
        )
        if failed:
            axes.plot(
                [trial.number for trial in failed],
                [0.03] * len(failed),
                transform=axes.get_xaxis_transform(),
                color=COLOURS[4],
                marker="x",
                markersize=size + 0.5,
                linestyle="",
                label="failed, without a value",
            )
        axes.set_xlabel("trial")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel(score_of(trials).axis("validation"))
        axes.margins(y=0.08)
        if failed:  # room below the values
            low, high = axes.get_ylim()
            axes.set_ylim(bottom=low - 0.08 * (high - low))
        draw_legend(drawing, axes)
        return drawing


def _marks(axes: Axes, trials: Sequence[Tried], label: str, **style: Any) -> None:
    if trials:
        numbers = [trial.number for trial in trials]
        its: dict[str, Any] = {"linestyle": "", "markeredgewidth": 0} | style
        axes.plot(numbers, shown(trials), label=label, **its)


def _caption(trials: Sequence[Tried]) -> str:
    states = [trial.state for trial in trials]
    counts = [f"{states.count(state)} {state}" for state in ("completed", "pruned", "failed") if state in states]
    words = (
        f"Validation {score_of(trials).word} of every trial in the order of their numbers, and the best so far: "
        f"{', '.join(counts)}."
    )
    return words + (
        " Pruned trials count with the best on their way, and not for the best so far." * ("pruned" in states)
    )
