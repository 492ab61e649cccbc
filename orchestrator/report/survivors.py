"""How far the trials of a search with early stopping came: a table of rungs, and a figure of them and of curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.early_stopping import best_until, rungs
from orchestrator.report.part import Figure, Table
from orchestrator.report.style import COLOURS, GREY, LEGEND_ROW_IN, WIDE_IN, figure_files, figure_style, thinned
from orchestrator.report.words import ABSENT, number
from orchestrator.results import Study
from orchestrator.rows import Row, without_confirmations
from trainers.problem import Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

HEIGHT_IN = 2.6
FEW = 100
"""Trials up to which curves are strong."""
END = "end"
"""The row of the trials that were not stopped."""


@dataclass(frozen=True)
class Rung:
    """What became of the trials that came to a rung below their end. Accuracies are fractions."""

    iteration: int
    reached: int
    judged: int
    """Of those, how many had a cut-off there."""
    stopped: int
    cutoffs: tuple[float, ...]
    """Of those judged, in the order of the trials."""
    best: float
    """Highest of the best validations up to there."""


def survivors(study: Study) -> list[Table | Figure]:
    """A table and a figure; none where the search stops no trial early, or none has ended."""
    rows = judged_rows(study)
    if not rows:
        return []
    found = rung_list(study, rows)
    svg, png = figure_files(draw_survivors(found, rows))
    figure = Figure("survivors", "Early stopping: who came how far", _caption(rows), svg, png, wide=True)
    return [_table(found, rows), figure]


def judged_rows(study: Study) -> list[Row]:
    """The trials that early stopping has judged and that have ended, with their curves; failed ones count nowhere."""
    if study.spec.search is None or study.spec.search.early_stopping is None:
        return []
    return [row for row in without_confirmations(study.rows) if row.state in ("completed", "pruned") and row.curve]


def rung_list(study: Study, rows: Sequence[Row]) -> list[Rung]:
    """The rungs of all trials, upwards; the end of a training is none."""
    stopping = study.spec.search.early_stopping if study.spec.search else None
    assert stopping is not None
    passed: dict[int, list[Row]] = {}
    for row in rows:
        for iteration in rungs(stopping, row.config.training):
            if iteration <= row.metrics["iterations"]:
                passed.setdefault(iteration, []).append(row)
    return [_rung(iteration, passed[iteration]) for iteration in sorted(passed)]


def draw_survivors(found: Sequence[Rung], rows: Sequence[Row]) -> Drawing:
    """Left: trials at each rung, those that were stopped there on top. Right: their curves, and the cut-offs."""
    from matplotlib.figure import Figure as Drawing

    with figure_style():
        drawing = Drawing(figsize=(WIDE_IN, HEIGHT_IN + 2 * LEGEND_ROW_IN), layout="constrained")
        left, right = drawing.subplots(1, 2, width_ratios=(1, 1.7))
        _draw_counts(left, found, rows)
        _draw_curves(right, found, rows)
        handles, labels = right.get_legend_handles_labels()
        drawing.legend(handles, labels, loc="outside lower right", ncols=2)
        return drawing


def _rung(iteration: int, rows: Sequence[Row]) -> Rung:
    values = [value for row in rows for rung, value in row.cutoffs or () if rung == iteration]
    stopped = sum(row.state == "pruned" and row.metrics["iterations"] == iteration for row in rows)
    best = max(best_until(row.curve, iteration) for row in rows)
    return Rung(iteration, len(rows), len(values), stopped, tuple(values), best)


def _draw_counts(axes: Axes, found: Sequence[Rung], rows: Sequence[Row]) -> None:
    from matplotlib.ticker import MaxNLocator

    ended = sum(row.state == "completed" for row in rows)
    went_on = [*(one.reached - one.stopped for one in found), ended]
    stopped = [*(one.stopped for one in found), 0]
    places = range(len(went_on))
    axes.bar(places, went_on, width=0.7, color=COLOURS[0], linewidth=0)
    tops = [place for place in places if stopped[place]]
    heights, below = ([its[place] for place in tops] for its in (stopped, went_on))
    axes.bar(tops, heights, width=0.7, bottom=below, color="white", edgecolor=COLOURS[3], hatch="////")
    for place, on, off in zip(places, went_on, stopped, strict=True):
        text = f"{on}" if not off else f"{on} on\n{off} off"
        axes.annotate(
            text, (place, on + off), (0, 2), textcoords="offset points", ha="center", va="bottom", fontsize=6.5
        )
    axes.set_xticks(places, [*(f"{one.iteration:,}" for one in found), END])
    axes.set_xlabel("rung (iterations)")
    axes.set_ylabel("trials")
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axes.margins(y=0.18)
    axes.grid(visible=False, axis="x")


def _draw_curves(axes: Axes, found: Sequence[Rung], rows: Sequence[Row]) -> None:
    from matplotlib.collections import LineCollection

    few = len(rows) <= FEW
    kinds: Sequence[tuple[str, str, str, Any]] = (
        ("pruned", "stopped at a rung", COLOURS[3], (0, (2.5, 1))),
        ("completed", "came to its end", COLOURS[0], "-"),
    )
    for state, name, colour, dash in kinds:
        its = [row for row in rows if row.state == state]
        paths = [[(at, row.score.shown(value)) for at, value in thinned(row.curve)] for row in its]
        if paths:
            width, alpha = (0.9, 0.75) if few else (0.5, 0.35)
            lines = LineCollection(paths, colors=colour, linewidths=width, linestyles=[dash], alpha=alpha)
            axes.add_collection(lines)
            axes.plot([], [], color=colour, linestyle=dash, label=f"{name} ({len(its)})")
        if state == "pruned" and paths:
            ends = [path[-1] for path in paths]
            axes.plot(*zip(*ends, strict=True), color=colour, marker="v", linestyle="", markersize=3 if few else 1.8)
    marks = [(one.iteration, rows[0].score.shown(value)) for one in found for value in one.cutoffs]
    if marks:
        size, alpha = (9, 1.0) if few else (7, 0.5)
        style: dict[str, Any] = {"color": "black", "marker": "_", "linestyle": "", "markersize": size}
        axes.plot(*zip(*marks, strict=True), **style, alpha=alpha, markeredgewidth=0.8, label="cut-off of a trial")
    for one in found:
        axes.axvline(one.iteration, color=GREY, linewidth=0.6, zorder=0.5)
    axes.autoscale_view()
    axes.set_xlabel("iteration")
    axes.set_ylabel(rows[0].score.axis("validation"))


def _table(found: Sequence[Rung], rows: Sequence[Row]) -> Table:
    score = rows[0].score
    ended = [row for row in rows if row.state == "completed"]
    best = max((row.validation for row in ended), default=None)
    last = (END, str(len(ended)), ABSENT, ABSENT, ABSENT, number(best, score))
    return Table(
        name="survivors",
        title="Early stopping: trials at each rung",
        columns=(
            "rung, iterations",
            "came there",
            "had a cut-off",
            "stopped there",
            score.heading("cut-offs"),
            score.heading("best so far"),
        ),
        rows=(
            *(
                (
                    *(str(one.iteration), str(one.reached), str(one.judged), str(one.stopped)),
                    *(_range(one.cutoffs, score), number(one.best, score)),
                )
                for one in found
            ),
            last,
        ),
        values=(
            *(
                (one.iteration, one.reached, one.judged, one.stopped)
                + ((min(one.cutoffs), max(one.cutoffs)) if one.cutoffs else (None, None))
                + (one.best,)
                for one in found
            ),
            (END, len(ended), None, None, None, None, best),
        ),
        value_columns=(
            *("rung", "reached", "with_cutoff", "stopped", "cutoff_low", "cutoff_high"),
            f"best_{score.validation}",
        ),
        notes=(
            _savings(rows),
            "The cut-off of a trial follows from the trials that its proposal knew. With a best validation up to the "
            "rung below it, it is stopped; without a cut-off it goes on. Failed trials count nowhere.",
        ),
    )


def _range(values: Sequence[float], score: Score) -> str:
    if not values:
        return ABSENT
    low, high = score.number(min(values)), score.number(max(values))
    return low if low == high else f"{low} to {high}"


def _savings(rows: Sequence[Row]) -> str:
    done = sum(int(row.metrics["iterations"]) for row in rows)
    asked = sum(row.config.training.iterations for row in rows)
    stopped = sum(row.state == "pruned" for row in rows)
    return (
        f"{stopped} of {len(rows)} trials were stopped; all together took {done:,} of {asked:,} iterations, "
        f"{100 * done / asked:.0f} %."
    )


def _caption(rows: Sequence[Row]) -> str:
    return (
        f"Left: how many of the {len(rows)} trials that were completed or pruned came to each rung: filled those that "
        f"went on from it, hatched those that were stopped there. Right: their validation {rows[0].score.word} up to "
        "where they ended, the cut-offs that they met (bars) and the rungs (grey)."
    )
