"""Figure: where policies go before and after adaptation, in environments whose states are places in the plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.labels import levels_text
from orchestrator.report.part import Figure
from orchestrator.report.style import COLOURS, GREY, WIDE_IN, figure_files, figure_style
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
    caption = (
        f"The first {TASKS} tasks of the test, {DRAWN} trajectories each, from the origin: grey before adaptation, in "
        "colour after it. The cross is the goal. Of each row the first seed that is completed, with the weights that "
        "were tested."
    )
    return [Figure("trajectories", "Trajectories before and after adaptation", caption, svg, png, wide=True)]


def shown_cells(study: Study) -> list[CellResult]:
    """Cells of such environments of which a seed is completed; of a search the best by validation."""
    cells = [
        cell
        for cell in study.cells
        if isinstance(cell.config, RLConfig) and cell.config.environment.name in PLANES and cell.completed
    ]
    if study.spec.search:
        cells.sort(key=lambda cell: -cell.completed[0].validation)
        return cells[:1]
    return cells[:MOST_ROWS]


def _paths(study: Study, cell: CellResult) -> tuple[str, Paths] | None:
    """Name of a cell and its paths; None where its weights are gone."""
    row = cell.completed[0]
    data = study.weights(row)
    if data is None or not isinstance(row.config, RLConfig):
        return None

    from trainers.rl.paths import paths
    from trainers.snapshots import Weights

    levels = {path: level for path, level in cell.levels.items() if path != "environment.name"}
    name = f"trial {cell.number}" if study.spec.search else levels_text(levels).replace(" ", "\n")
    return name or row.config.algorithm.name, paths(row.config, Weights.from_bytes(data).params, TASKS)


def draw_trajectories(found: Sequence[tuple[str, Paths]]) -> Drawing:
    """A row a cell, a panel a task: all on one scale."""
    from matplotlib.figure import Figure as Drawing

    with figure_style():
        size = WIDE_IN / TASKS
        drawing = Drawing(figsize=(WIDE_IN, size * len(found) + 0.2), layout="constrained")
        panels = drawing.subplots(len(found), TASKS, sharex=True, sharey=True, squeeze=False)
        for index, ((name, its), row) in enumerate(zip(found, panels, strict=True)):
            for task, axes in enumerate(row):
                _panel(axes, its, task, COLOURS[index % len(COLOURS)])
            row[0].set_ylabel(name)
        return drawing


def _panel(axes: Axes, its: Paths, task: int, colour: str) -> None:
    for kind, shade in (("before", GREY), ("after", colour)):
        for places in its[kind][task][:DRAWN]:
            axes.plot(places[:, 0], places[:, 1], linewidth=0.6, alpha=0.8, color=shade)
    axes.plot(*its["goals"][task], color="black", marker="x", markersize=6, linestyle="", zorder=3)
    axes.set_aspect("equal", adjustable="box")
