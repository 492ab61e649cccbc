"""Numbers and levels as the tables of a report show them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from orchestrator.labels import level_text, short_name
from orchestrator.results import CellResult
from orchestrator.stats import Estimate
from trainers.problem import Score, with_minus

ABSENT = "–"
"""Stands where there is no number, or where a factor does not act."""


def percent(value: float | None) -> str:
    """A fraction as per cent, ``46.3``."""
    return ABSENT if value is None else f"{100 * value:.1f}"


def points(difference: float) -> str:
    """A difference of fractions in points, with its sign: ``−0.6``."""
    return with_minus(f"{100 * difference:+.1f}")


def number(value: float | None, of: Score) -> str:
    """A value of a score without its unit: ``46.3``, ``−20.3``."""
    return ABSENT if value is None else of.number(value)


def plain(value: float | None) -> str:
    """A return, ``−20.3``."""
    return ABSENT if value is None else with_minus(f"{value:.1f}")


def gap(difference: float, unit: str) -> str:
    """A difference of two results with its sign: in points, or of returns."""
    return points(difference) if unit == "points" else with_minus(f"{difference:+.1f}")


def flop_unit(largest: float) -> tuple[float, str]:
    """The unit in which counts of operations up to ``largest`` are short: (operations in it, ``GFLOP``)."""
    for size, unit in ((1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1e3, "kFLOP")):
        if largest >= size:
            return size, unit
    return 1.0, "FLOP"


def flops(count: float) -> str:
    """A count of operations as people read it: ``76.0 MFLOP``."""
    size, unit = flop_unit(count)
    return f"{count / size:.0f} {unit}" if count >= 100 * size or size == 1 else f"{count / size:.3g} {unit}"


def score(value: float) -> str:
    """A score as it is, ``0.976``."""
    return with_minus(f"{value:.3f}")


def ratio(logarithm: float) -> str:
    """A ratio, given by its logarithm: ``1.72``."""
    return f"{math.exp(logarithm):.2f}"


def mean_and_std(estimate: Estimate | None) -> str:
    """``46.3 ± 0.4``, per cent, or a return; of one seed the mean alone."""
    if estimate is None:
        return ABSENT
    show = plain if estimate.unit == "return" else percent
    spread = "" if estimate.seed_std is None else f" ± {show(estimate.seed_std)}"
    return show(estimate.value) + spread


def interval(estimate: Estimate | None) -> str:
    """``45.1 to 47.5``, per cent for an accuracy, points for a difference; a score as it is, a ratio as one."""
    if estimate is None:
        return ABSENT
    show = {"%": percent, "points": points, "": score, "×": ratio, "return": plain}[estimate.unit]
    return f"{show(estimate.low)} to {show(estimate.high)}"


def count_range(counts: Iterable[int]) -> str:
    """``3``, or ``2 to 3`` where they differ."""
    values = sorted(counts)
    return f"{values[0]}" if values[0] == values[-1] else f"{values[0]} to {values[-1]}"


def level_columns(paths: Sequence[str]) -> tuple[str, ...]:
    """Headings of factors: short names, or whole paths where two short ones are the same."""
    short = [short_name(path) for path in paths]
    return tuple(name if short.count(name) == 1 else path for name, path in zip(short, paths, strict=True))


def level_texts(cell: CellResult, paths: Sequence[str]) -> tuple[str, ...]:
    """The cell's level of each factor for people."""
    return tuple(level_text(path, cell.levels[path]) if path in cell.levels else ABSENT for path in paths)


def level_values(cell: CellResult, paths: Sequence[str]) -> tuple[Any, ...]:
    """The cell's level of each factor for programs; lists joined by ``+``, None where it does not act."""
    levels = [cell.levels.get(path) for path in paths]
    return tuple("+".join(map(str, level)) if isinstance(level, tuple) else level for level in levels)
