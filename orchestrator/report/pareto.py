"""The Pareto front of a search with several objectives: a table of its trials, and the score against each cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.pareto import pareto_front
from orchestrator.report.cells import completeness
from orchestrator.report.part import Figure, Table
from orchestrator.report.provenance import provenance
from orchestrator.report.style import COLOURS, GREY, draw_legend, figure_files, figure_style, log_axis, new_figure
from orchestrator.report.words import flop_unit, flops, interval, level_columns, level_texts, level_values, number
from orchestrator.results import CellResult, Study
from orchestrator.rows import Row, front_rows, front_unknown, without_confirmations

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

COSTS = {"train_flops": "training", "adapt_flops": "adapting to a test episode"}
"""What a trial costs -> its name for people."""
TITLE = "Pareto front: trials that no other beats in all objectives"


def pareto(study: Study) -> Sequence[Table | Figure]:
    """A table, and a figure for each cost; nothing where the study has one objective or no completed trial.

    Where the front is not known: a table without rows, and why.
    """
    objectives = study.spec.search.objective if study.spec.search else ()
    front = front_rows(study.rows, objectives)
    if front is None:
        note = f"Not known: {front_unknown(study.rows, objectives)}."
        return [Table("pareto-front", TITLE, ("trial",), (), (), ("cell",), (note,))]
    if not front:
        return ()
    costs = [one.metric for one in objectives if one.metric in COSTS]
    return [_table(study, front, costs), *(_figure(study, front, cost, len(costs) > 1) for cost in costs)]


def _table(study: Study, front: Sequence[Row], costs: Sequence[str]) -> Table:
    paths, by_number = study.paths, {cell.rows[0].number: cell for cell in study.cells}
    cells = [by_number[row.number] for row in front]
    completed = sum(row.state == "completed" for row in without_confirmations(study.rows))
    problem, score = study.problem, study.score
    ends = (score.test, "test_low95", "test_high95")
    return Table(
        name="pareto-front",
        title=TITLE,
        columns=(
            "trial",
            *level_columns(paths),
            *(score.heading("validation"), score.heading("test"), "95 % interval"),
            *(f"{COSTS[cost]}" for cost in costs),
        ),
        rows=tuple(
            (
                str(cell.number),
                *level_texts(cell, paths),
                *(number(cell.mean(metric), score) for metric in (score.validation, score.test)),
                interval(cell.estimate),
                *(flops(cell.rows[0].metrics[cost]) for cost in costs),
            )
            for cell in cells
        ),
        values=tuple(
            (
                cell.number,
                *level_values(cell, paths),
                cell.mean(score.validation),
                *_ends(cell),
                *(cell.rows[0].metrics[cost] for cost in costs),
            )
            for cell in cells
        ),
        value_columns=("cell", *paths, score.validation, *ends, *costs),
        notes=(
            f"Of {completed} completed trials, by validation {score.word} and counted floating-point operations of "
            f"{' and of '.join(COSTS[cost] for cost in costs)}.",
            f"Trials were chosen by validation; the test, on {problem.held_back}, has no part in it. The 95 % interval "
            f"is over {problem.tasks_word} of one training.",
            *completeness(provenance(study)),
        ),
    )


def _ends(cell: CellResult) -> tuple[float | None, ...]:
    its = cell.estimate
    return (its.value, its.low, its.high) if its else (None,) * 3


def _figure(study: Study, front: Sequence[Row], cost: str, others: bool) -> Figure:
    word = study.score.word
    svg, png = figure_files(draw_front(without_confirmations(study.rows), front, cost, others))
    caption = (
        f"Validation {word} against counted operations of {COSTS[cost]}, a point a completed trial; up and to the "
        f"left is better. The step line is the best {word} that a trial of at most so many operations reached."
    )
    if others:
        caption += " Filled: the front of all objectives, which may lie below the line."
    return Figure(f"pareto-{cost.replace('_', '-')}", f"{word.capitalize()} against {COSTS[cost]}", caption, svg, png)


def draw_front(rows: Sequence[Row], front: Sequence[Row], cost: str, others: bool) -> Drawing:
    """The score against operations: all completed trials hollow, those of ``front`` filled, and the best one up to
    each cost as a step line.

    Args:
        rows: of all that was tried.
        front: those of them on the Pareto front of all objectives.
        cost: a key of ``COSTS``.
        others: whether there are objectives beside the score and this cost.
    """
    known = [row for row in rows if row.state == "completed" and cost in row.metrics]
    score = known[0].score
    size, unit = flop_unit(max(row.metrics[cost] for row in known))

    def places(of: Sequence[Row]) -> tuple[list[float], list[float]]:
        return [row.metrics[cost] / size for row in of], [score.shown(row.validation) for row in of]

    points = list(zip(*places(known), strict=True))
    steps = sorted({points[index] for index in pareto_front(points, ("minimize", "maximize"))})
    with figure_style():
        drawing, axes = new_figure()
        if _far_apart(known, cost):
            log_axis(axes, *(end(x for x, _ in points) for end in (min, max)))
        inside = {row.number for row in front}
        rest = [row for row in known if row.number not in inside]
        if rest:
            axes.plot(*places(rest), "o", color=GREY, markerfacecolor="none", label="other trials")
        right = max(x for x, _ in points)
        axes.plot(
            [*(x for x, _ in steps), right],
            [*(y for _, y in steps), steps[-1][1]],
            color=COLOURS[0],
            drawstyle="steps-post",
            label="best at this cost or less" if others else "Pareto front",
        )
        axes.plot(*places(front), "o", color=COLOURS[0], label="on the front of all objectives" if others else "_")
        axes.set_xlabel(f"{COSTS[cost]} ({unit})")
        axes.set_ylabel(score.axis("validation"))
        draw_legend(drawing, axes)
        return drawing


def _far_apart(rows: Sequence[Row], cost: str) -> bool:
    """Whether costs lie so far apart that a logarithmic axis is needed: tenfold, and none of them nothing."""
    costs = [row.metrics[cost] for row in rows]
    return min(costs) > 0 and max(costs) >= 10 * min(costs)
