"""Curves of the regret as SVG, drawn by hand: no library is needed, and the same numbers give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 56, 210, 16, 44
COLOURS = ("#1b6ca8", "#2f8a3b", "#1a1a1a", "#b35c00", "#6a6f76", "#a3333d")
"""Each dark enough on white to be read as text."""
LINE = 15
"""Height of a line of text."""
TICKS = (0.5, 1, 2, 5, 10, 20)


def regret_figure(best: Mapping[str, Sequence[Sequence[float]]], optimum: float) -> str:
    """Mean regret by trials on a logarithmic axis.

    Args:
        best: name -> [seed][trial] best accuracy so far.
        optimum: best accuracy of all.
    """
    lines = {
        name: [100 * (optimum - mean(column)) for column in zip(*runs, strict=True)] for name, runs in best.items()
    }
    trials = len(next(iter(lines.values())))
    high = max(max(values[1:]) for values in lines.values())
    low = min(min(values) for values in lines.values())

    def x(trial: float) -> float:
        return LEFT + (trial - 1) / (trials - 1) * (WIDTH - LEFT - RIGHT)

    def y(regret: float) -> float:
        share = (math.log(high) - math.log(max(regret, low))) / (math.log(high) - math.log(low))
        return TOP + min(max(share, 0), 1) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" role="img">',
        "<title>Mean regret by trials</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for tick in TICKS:
        if low <= tick <= high:
            parts.append(f'<path d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}" stroke="#e5e5e5"/>')
            parts.append(f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for trial in range(10, trials + 1, 10):
        parts.append(f'<text x="{x(trial):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{trial}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">trials</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">mean regret, points</text>'
    )
    parts.append(f'<path d="M{LEFT} {HEIGHT - BOTTOM}H{WIDTH - RIGHT}" stroke="#888888"/>')
    heights = apart({name: y(values[-1]) for name, values in lines.items()}, HEIGHT - BOTTOM - LINE / 2)
    for colour, (name, values) in zip(COLOURS, lines.items(), strict=False):
        path = "L".join(f"{x(number):.1f} {y(value):.1f}" for number, value in enumerate(values, start=1))
        dashes = "" if name.startswith("ours") else ' stroke-dasharray="6 4"'
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{heights[name] + 4:.1f}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>\n"])


def apart(heights: Mapping[str, float], lowest: float) -> dict[str, float]:
    """Heights of labels in the same order, a line apart at least, none below ``lowest``."""
    order = sorted(heights, key=lambda name: heights[name])
    found: dict[str, float] = {}
    above = -math.inf
    for name in order:
        found[name] = above = max(above + LINE, heights[name])
    below = lowest + LINE
    for name in reversed(order):
        found[name] = below = min(below - LINE, found[name])
    return found
