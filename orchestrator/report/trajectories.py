"""Figure: where policies go before and after adaptation, in environments whose states are places in the plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.labels import levels_text
from orchestrator.report.part import Figure
from orchestrator.report.style import COLOURS, GREY, WIDE_IN, figure_files, figure_style
from orchestrator.report.words import count_range
from orchestrator.results import CellResult, Study
from trainers.rl.config import RLConfig

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing
    from numpy.typing import NDArray

PLANES = ("navigation_2d",)
"""Environments whose states are places."""

TASKS = 4
"""Test tasks that are drawn."""

DRAWN = 5
"""Trajectories of each."""

MOST_ROWS = 4
"""Cells that are drawn: a row of panels each."""

Paths = Mapping[str, "NDArray[Any]"]
"""As ``trainers.rl.paths`` gives them."""


def trajectories(study: Study) -> list[Figure]:
    """One figure, made from the weights that the first tasks of the test were played with; none for other problems."""
    found = [its for cell in shown_cells(study) if (its := _paths(study, cell)) is not None]
    if not found:
        return []
    svg, png = figure_files(draw_trajectories(found))
    caption = _caption(found, len(_in_the_plane(study)), bool(study.spec.search))
    return [Figure("trajectories", "Trajectories before and after adaptation", caption, svg, png, wide=True)]


def shown_cells(study: Study) -> list[CellResult]:
    """Cells of such environments of which a seed is completed; of a search the best by validation."""
    cells = _in_the_plane(study)
    if study.spec.search:
        cells.sort(key=lambda cell: -cell.completed[0].validation)
        return cells[:1]
    return cells[:MOST_ROWS]


def _in_the_plane(study: Study) -> list[CellResult]:
    return [
        cell
        for cell in study.cells
        if isinstance(cell.config, RLConfig) and cell.config.environment.name in PLANES and cell.completed
    ]


def _caption(found: Sequence[tuple[str, Paths]], known: int, search: bool) -> str:
    """Counts what is drawn, and says what is left out."""
    tasks = count_range(len(its["goals"]) for _, its in found)
    drawn = count_range(min(DRAWN, its["after"].shape[1]) for _, its in found)
    words = [
        f"The first tasks of the test ({tasks}), with the first trajectories of each ({drawn}), from the origin: wide "
        "and grey before adaptation, in colour after it. The cross is the goal. Of each row the first seed that is "
        "completed, with the weights that were tested."
    ]
    if search:
        words.append("The best trial by validation.")
    elif len(found) < known:
        words.append(f"{len(found)} of {known} cells.")
    return " ".join(words)


def _paths(study: Study, cell: CellResult) -> tuple[str, Paths] | None:
    """Name of a cell and its paths; None where its weights are gone."""
    row = cell.completed[0]
    data = study.weights(row)
    if data is None or not isinstance(row.config, RLConfig):
        return None

    from trainers.rl.paths import paths
    from trainers.snapshots import Weights

    tasks = min(TASKS, row.config.evaluation.tasks)
    levels = {path: level for path, level in cell.levels.items() if path != "environment.name"}
    name = f"trial {cell.number}" if study.spec.search else levels_text(levels).replace(" ", "\n")
    return name or row.config.algorithm.name, paths(row.config, Weights.from_bytes(data).params, tasks)


def draw_trajectories(found: Sequence[tuple[str, Paths]]) -> Drawing:
    """A row a cell, a panel a task: all on one scale."""
    from matplotlib.figure import Figure as Drawing

    with figure_style():
        across = max(len(its["goals"]) for _, its in found)
        size = WIDE_IN / TASKS
        drawing = Drawing(figsize=(WIDE_IN, size * len(found) + 0.4), layout="constrained")
        panels = drawing.subplots(len(found), across, sharex=True, sharey=True, squeeze=False)
        for index, ((name, its), row) in enumerate(zip(found, panels, strict=True)):
            for task, axes in enumerate(row):
                if task < len(its["goals"]):
                    _panel(axes, its, task, COLOURS[index % len(COLOURS)])
                else:
                    axes.set_visible(False)
            row[0].set_ylabel(f"{name}\ny")
        for task, axes in enumerate(panels[0]):
            axes.set_title(f"test task {task + 1}")
        for axes in panels[-1]:
            axes.set_xlabel("x")
        return drawing


def _panel(axes: Axes, its: Paths, task: int, colour: str) -> None:
    # wide below narrow: where the test takes no inner step, both are the same
    for kind, shade, width in (("before", GREY, 1.6), ("after", colour, 0.6)):
        for places in its[kind][task][:DRAWN]:
            axes.plot(places[:, 0], places[:, 1], linewidth=width, alpha=0.8, color=shade)
    axes.plot(*its["goals"][task], color="black", marker="x", markersize=6, linestyle="", zorder=3)
    axes.set_aspect("equal", adjustable="box")
