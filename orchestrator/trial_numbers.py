"""Numbers and names of a sweep's trials.

Proposals and cells count from 0. The r-th repeat of proposal n has number r × 1,000,000 + n, whatever else the sweep
asks for, so a number never comes to mean another trial when the search grows; people read it as ``n.r``.
"""

from __future__ import annotations

REPEAT = 1_000_000
"""More proposals than this have no room for repeats."""


def repeat_number(proposal: int, repeat: int) -> int:
    """Number of a repeat of a proposal; the first one is repeat 1."""
    return repeat * REPEAT + proposal


def trial_name(number: int, confirms: int | None = None) -> str:
    """``3``, or ``3.1`` for the first repeat of proposal 3; ``confirms`` is None where the trial repeats none."""
    return str(number) if confirms is None else f"{confirms}.{number // REPEAT}"
