"""One style for all figures: legible in a paper column, by the colour-blind and in greyscale, and the same bytes again.

Lines differ in colour, marker and dash at once, and the marker alone tells them apart. Text in an SVG stays text.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

Point = TypeVar("Point")

MOST_LINES = 8
"""More lines than that in one figure can't be told apart."""

MOST_POINTS = 60
"""Of a curve among very many: no more can be seen of it, and files stay small."""

# Six steps of CIE lightness, 8 to 62, about 11 apart, so that greyscale keeps their order; hues were chosen by a search
# for the largest least distance (CIE Lab) between any two, as seen normally and with each kind of colour blindness. All
# have a contrast of at least 3 to white.
COLOURS = ("#0448FA", "#939612", "#36021E", "#E82080", "#83170F", "#3D0A7D")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
GREY = "#8A8A8A"
"""Of what stands in the background."""

WIDTH_IN = 3.4
"""A column of a paper with two."""
WIDE_IN = 6.9
"""Both columns of it."""
AXES_HEIGHT_IN = 2.3
LEGEND_ROW_IN = 0.14
LEGEND_CHARACTERS = 48
"""In a row of it."""
DECADES = 2
"""Of a logarithmic axis from which powers of ten are ticks enough."""
PNG_DPI = 192
"""Twice the 96 pixels an inch of a screen."""
COLOUR_MAP = "cividis_r"
"""Of accuracies, dark is high: its lightness falls evenly, for every kind of sight, and the best stand out on white."""

_STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E2E2E2",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "svg.fonttype": "none",
    "svg.hashsalt": "metasweep",
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Within it figures are drawn and saved in this style, whatever a user's own settings are."""
    from matplotlib import style

    with style.context(_STYLE, after_reset=True):
        yield


def new_figure(width_in: float = WIDTH_IN, height_in: float = AXES_HEIGHT_IN) -> tuple[Drawing, Axes]:
    """A figure with one pair of axes, as wide as a column."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(width_in, height_in), layout="constrained")
    return drawing, drawing.subplots()


def draw_legend(drawing: Drawing, axes: Axes) -> None:
    """What the labelled lines are, below the axes, in rows that the figure grows by; none where none is labelled."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    wrapped = [textwrap.fill(label, LEGEND_CHARACTERS, subsequent_indent="  ") for label in labels]
    rows = sum(label.count("\n") + 1 for label in wrapped)
    drawing.set_figheight(AXES_HEIGHT_IN + LEGEND_ROW_IN * rows)
    drawing.legend(handles, wrapped, loc="outside lower left")


def log_axis(axes: Axes, low: float, high: float) -> None:
    """Makes the horizontal axis logarithmic, with plain numbers at its ticks, for values from ``low`` to ``high``."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_xscale("log")
    few = math.log10(high / low) < DECADES
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def line_style(index: int) -> dict[str, Any]:
    """Colour, marker and dash of a line, for ``Axes.plot``; all pairs of ``MOST_LINES`` lines differ in a marker."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": DASHES[index % len(DASHES)],
    }


def thinned(points: Sequence[Point]) -> Sequence[Point]:
    """At most about ``MOST_POINTS`` of the points of a curve, evenly, with the first and the last."""
    step = -(-len(points) // MOST_POINTS)
    return points if step <= 1 else [*points[:-1:step], points[-1]]


def figure_files(drawing: Drawing) -> tuple[str, bytes]:
    """The figure as (SVG, PNG); the same figure gives the same bytes."""
    svg, png = io.StringIO(), io.BytesIO()
    with figure_style():
        layout = drawing.get_layout_engine()
        if layout is not None:  # once, since it takes longer than to draw: places settle, and ids that follow from them
            layout.execute(drawing)
            drawing.set_layout_engine("none")
        unsigned = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        drawing.savefig(svg, format="svg", metadata=unsigned)
        drawing.savefig(png, format="png", dpi=PNG_DPI, metadata={"Software": None})
    return _plain(svg.getvalue()), png.getvalue()


def _plain(svg: str) -> str:
    """Without the address of a DTD, with fonts of about the same widths to fall back on, ending in a newline."""
    svg = re.sub(r"<!DOCTYPE.*?>\n?", "", svg, flags=re.DOTALL)
    svg = svg.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
    return svg if svg.endswith("\n") else svg + "\n"
