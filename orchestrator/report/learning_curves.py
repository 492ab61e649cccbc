"""Figure: how accuracy grew in the trainings of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.labels import levels_text
from orchestrator.report.part import Figure
from orchestrator.report.style import (
    GREY,
    MOST_LINES,
    draw_legend,
    figure_files,
    figure_style,
    line_style,
    new_figure,
    thinned,
)
from orchestrator.results import CellResult, Study
from trainers.config import TrialConfig

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

HIGHLIGHTED = 5
"""Configs of a grid that stand out where there are more than ``MOST_LINES``."""
FEW = 100
"""Curves in the background up to which they are not faint."""
MARKS = 8
"""About as many markers a line, however many validations it has."""


@dataclass(frozen=True)
class Curve:
    """One training config, over its seeds. Accuracies are fractions, of the head that the config predicts with."""

    label: str
    iterations: tuple[int, ...]
    """Validations that all the seeds have reached."""
    mean: tuple[float, ...]
    low: tuple[float, ...]
    """Least over seeds."""
    high: tuple[float, ...]
    """Largest over seeds."""
    train: tuple[float, ...]
    """Mean training accuracy since the validation before."""
    seeds: int


def learning_curves(study: Study) -> list[Figure]:
    """One figure; none where no training has come to a validation. Policies have ``return_curves``."""
    if not isinstance(study.spec.trial, TrialConfig):
        return []
    curves = training_curves(study)
    if not curves:
        return []
    chosen = highlighted(
        curves, 1 if study.spec.search else HIGHLIGHTED, all_up_to=0 if study.spec.search else MOST_LINES
    )
    svg, png = figure_files(draw_curves(curves, chosen))
    return [Figure("learning-curves", "Learning curves", _caption(curves, chosen), svg, png)]


def training_curves(study: Study) -> list[Curve]:
    """A curve for each training config, in the order of the study. How trainings are tested makes no more of them."""
    grouped: dict[tuple[tuple[str, Any], ...], list[CellResult]] = {}
    for cell in study.cells:
        trained = tuple((path, level) for path, level in cell.levels.items() if not path.startswith("evaluation."))
        grouped.setdefault(trained, []).append(cell)
    curves = []
    for levels, cells in grouped.items():
        name = levels_text(dict(levels))
        if study.spec.search:
            name = f"trial {cells[0].number}: {name}"
        curve = _over_seeds(study, name, cells)
        if curve is not None:
            curves.append(curve)
    return curves


def highlighted(curves: Sequence[Curve], most: int, all_up_to: int) -> list[Curve]:
    """The curves that stand out: all where they are few, else those of the best validation, best first."""
    if len(curves) <= all_up_to:
        return list(curves)
    return sorted(curves, key=lambda curve: max(curve.mean), reverse=True)[:most]


def draw_curves(curves: Sequence[Curve], chosen: Sequence[Curve]) -> Drawing:
    """Per cent against iterations: validation, with its range over seeds, and training as thin dots; the rest grey."""
    with figure_style():
        rest = [curve for curve in curves if curve not in chosen]
        drawing, axes = new_figure()
        for index, curve in enumerate(chosen):
            _draw_curve(axes, curve, index)
        if rest:
            _draw_rest(axes, rest)
        axes.plot([], [], color="black", linewidth=0.7, linestyle=":", label="thin: training accuracy")
        axes.set_xlabel("iteration")
        axes.set_ylabel("validation accuracy (%)")
        draw_legend(drawing, axes)
        return drawing


def _draw_curve(axes: Axes, curve: Curve, index: int) -> None:
    style = line_style(index)
    if curve.seeds > 1:
        low, high = _per_cent(curve.low), _per_cent(curve.high)
        axes.fill_between(curve.iterations, low, high, color=style["color"], alpha=0.15, linewidth=0)
    every = max(1, len(curve.iterations) // MARKS)
    axes.plot(curve.iterations, _per_cent(curve.mean), label=curve.label or "_", markevery=every, **style)
    axes.plot(curve.iterations, _per_cent(curve.train), color=style["color"], linewidth=0.7, linestyle=":", label="_")


def _draw_rest(axes: Axes, rest: Sequence[Curve]) -> None:
    """All of them as one object, which is drawn in half the time of hundreds."""
    from matplotlib.collections import LineCollection

    paths = [list(zip(thinned(curve.iterations), thinned(_per_cent(curve.mean)), strict=True)) for curve in rest]
    alpha = 0.6 if len(rest) <= FEW else 0.25
    axes.add_collection(
        LineCollection(paths, colors=GREY, linewidths=0.6, alpha=alpha, zorder=1.5, label=f"the other {len(rest)}")
    )
    axes.autoscale_view()


def _over_seeds(study: Study, label: str, cells: Sequence[CellResult]) -> Curve | None:
    """None where no seed has come to a validation. A failed seed ends early and would cut the others short."""
    rows = [row for cell in cells for row in cell.rows]
    its = {row.keys.training: row for row in rows if row.state != "failed"}
    its = its or {row.keys.training: row for row in rows}
    head = cells[0].config.algorithm_entry.head
    trainings = [study.trainings[key].until_end(row) for key, row in its.items()]
    by_seed = [{point["iteration"]: point for point in curve} for curve in trainings]
    by_seed = [points for points in by_seed if points]
    common = (
        [iteration for iteration in by_seed[0] if all(iteration in points for points in by_seed)] if by_seed else []
    )
    if not common:
        return None
    validated = [[points[iteration]["validation_accuracy"][head] for points in by_seed] for iteration in common]
    trained = [[points[iteration]["train_accuracy"] for points in by_seed] for iteration in common]
    return Curve(
        label=label,
        iterations=tuple(common),
        mean=tuple(sum(values) / len(values) for values in validated),
        low=tuple(min(values) for values in validated),
        high=tuple(max(values) for values in validated),
        train=tuple(sum(values) / len(values) for values in trained),
        seeds=len(by_seed),
    )


def _caption(curves: Sequence[Curve], chosen: Sequence[Curve]) -> str:
    several = max(curve.seeds for curve in curves) > 1
    words = ["Validation accuracy against iterations of training" + (", mean over seeds." if several else ".")]
    if any(curve.seeds > 1 for curve in chosen):
        words.append("The band reaches from the least to the largest seed; it is no confidence interval.")
    words.append("Thin dotted: training accuracy since the validation before.")
    if len(chosen) < len(curves):
        which = "The best one is" if len(chosen) == 1 else f"The best {len(chosen)} are"
        words.append(f"{which} in colour, by the highest validation accuracy{' (mean over seeds)' * several}.")
    return " ".join(words)


def _per_cent(fractions: Sequence[float]) -> list[float]:
    return [100 * fraction for fraction in fractions]
