"""Draws similarities layer by layer: lines with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.report.style import draw_legend, figure_style, line_style, new_figure
from orchestrator.stats import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing


def draw_layers(layers: Sequence[str], lines: Mapping[str, Sequence[Estimate | None]], y_label: str) -> Drawing:
    """Estimates in [0, 1] of each layer, input first: a line for each label, with bands and bars of the intervals."""
    with figure_style():
        drawing, axes = new_figure()
        for index, (label, estimates) in enumerate(lines.items()):
            _draw_line(axes, estimates, label, line_style(index))
        axes.set_xticks(range(len(layers)), layers)
        axes.set_ylim(0, 1.05)
        axes.set_xlabel("layer")
        axes.set_ylabel(y_label)
        draw_legend(drawing, axes)
        return drawing


def _draw_line(axes: Axes, estimates: Sequence[Estimate | None], label: str, style: dict[str, Any]) -> None:
    known = [(place, one) for place, one in enumerate(estimates) if one]
    x = [place for place, _ in known]
    low, high = [one.low for _, one in known], [one.high for _, one in known]
    axes.fill_between(x, low, high, color=style["color"], alpha=0.1, linewidth=0)
    axes.vlines(x, low, high, color=style["color"], linewidth=0.7)
    axes.plot(x, [one.value for _, one in known], label=label, **style)
