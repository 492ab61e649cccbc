"""Figure: how the return before and after adaptation grew with the steps of environments that trainings took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.labels import levels_text
from orchestrator.report.part import Figure
from orchestrator.report.style import MOST_LINES, draw_legend, figure_files, figure_style, line_style, new_figure
from orchestrator.results import CellResult, Study
from trainers.rl.config import RLConfig

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

BEST = 3
"""Trials of a search that are drawn."""
MARKS = 8
"""About as many markers a line, however many validations it has."""


@dataclass(frozen=True)
class Band:
    """A value over training, over seeds."""

    mean: tuple[float, ...]
    low: tuple[float, ...]
    """Least over seeds."""
    high: tuple[float, ...]
    """Largest over seeds."""


@dataclass(frozen=True)
class ReturnCurve:
    """One training config, over its seeds, at the validations that all of them have reached."""

    label: str
    steps: tuple[float, ...]
    """Of environments so far, mean over seeds."""
    before: Band
    after: Band
    seeds: int


def return_curves(study: Study) -> list[Figure]:
    """One figure an environment; none for other problems, or where no training has come to a validation."""
    by_environment: dict[str, list[CellResult]] = {}
    for cell in study.cells:
        if isinstance(cell.config, RLConfig):
            by_environment.setdefault(cell.config.environment.name, []).append(cell)
    figures = []
    for name, cells in by_environment.items():
        curves, left_out = _curves(study, cells)
        if curves:
            svg, png = figure_files(draw_returns(curves))
            stem = f"return-curves-{name.replace('_', '-')}" if len(by_environment) > 1 else "return-curves"
            title = f"Return before and after adaptation: {name}"
            figures.append(Figure(stem, title, _caption(study, cells, curves, left_out), svg, png))
    return figures


def _curves(study: Study, cells: Sequence[CellResult]) -> tuple[list[ReturnCurve], int]:
    """One a training config, the best by validation where there are many, and how many are left out.

    Tests make no more of them.
    """
    grouped: dict[tuple[tuple[str, Any], ...], list[CellResult]] = {}
    for cell in cells:
        trained = tuple((path, level) for path, level in cell.levels.items() if not path.startswith("evaluation."))
        grouped.setdefault(trained, []).append(cell)
    found = []
    for levels, its in grouped.items():
        name = levels_text({path: level for path, level in levels if path != "environment.name"})
        if study.spec.search:
            name = f"trial {its[0].number}: {name}"
        curve = _over_seeds(study, name, its)
        if curve is not None:
            found.append(curve)
    most = BEST if study.spec.search else MOST_LINES
    best = sorted(found, key=lambda curve: -max(curve.after.mean))[:most]
    return [curve for curve in found if curve in best], len(found) - len(best)


def _over_seeds(study: Study, label: str, cells: Sequence[CellResult]) -> ReturnCurve | None:
    """None where no seed has come to a validation. A failed seed ends early and would cut the others short."""
    rows = [row for cell in cells for row in cell.rows]
    its = {row.keys.training: row for row in rows if row.state != "failed"}
    trainings = [study.trainings[key].until_end(row) for key, row in its.items()]
    by_seed = [{point["iteration"]: point for point in curve} for curve in trainings if curve]
    common = sorted(set.intersection(*map(set, by_seed))) if by_seed else []
    if not common:
        return None
    head = cells[0].config.algorithm_entry.head
    points = [[its[iteration] for its in by_seed] for iteration in common]
    return ReturnCurve(
        label,
        tuple(sum(one["others"]["environment_steps"] for one in at) / len(at) for at in points),
        _band([[one["others"]["return_before"] for one in at] for at in points]),
        _band([[one["validation_accuracy"][head] for one in at] for at in points]),
        len(by_seed),
    )


def _band(values: Sequence[Sequence[float]]) -> Band:
    means = tuple(sum(at) / len(at) for at in values)
    return Band(means, tuple(map(min, values)), tuple(map(max, values)))


def draw_returns(curves: Sequence[ReturnCurve]) -> Drawing:
    """Return against steps: after adaptation as a line with its range over seeds, before it dashed and hollow.

    Only one range a curve: where both are drawn, neither can be told from the others.
    """
    with figure_style():
        drawing, axes = new_figure()
        for index, curve in enumerate(curves):
            style = line_style(index) | {"linestyle": "-"}
            hollow = style | {"linestyle": "--", "markerfacecolor": "none", "linewidth": 0.8}
            if curve.seeds > 1:
                low, high = curve.after.low, curve.after.high
                axes.fill_between(curve.steps, low, high, color=style["color"], alpha=0.15, linewidth=0)
            _draw(axes, curve, curve.after, curve.label or "after", style)
            _draw(axes, curve, curve.before, "_", hollow)
        axes.plot([], [], color="black", linewidth=0.8, linestyle="--", label="dashed: before adaptation")
        axes.set_xlabel("environment steps in training")
        axes.set_ylabel("return in validation")
        draw_legend(drawing, axes)
        return drawing


def _draw(axes: Axes, curve: ReturnCurve, band: Band, label: str, style: dict[str, Any]) -> None:
    axes.plot(curve.steps, band.mean, label=label, markevery=max(1, len(curve.steps) // MARKS), **style)


def _caption(study: Study, cells: Sequence[CellResult], curves: Sequence[ReturnCurve], left_out: int) -> str:
    tasks = getattr(cells[0].config.training, "validation_tasks", 0)
    several = max(curve.seeds for curve in curves) > 1
    words = [
        f"Mean return over {tasks} validation tasks against steps of environments that the training took"
        + (", mean over seeds" if several else "")
        + ": after adaptation (line), and before it (dashed, hollow)."
    ]
    if several:
        words.append(
            "The band reaches from the least to the largest seed after adaptation; it is no confidence interval."
        )
    if left_out:
        what = "trials" if study.spec.search else "training configs"
        words.append(f"The best {len(curves)} of {len(curves) + left_out} {what} by validation.")
    return " ".join(words)
