"""What a look at a machine or a cluster has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One line of ``orchestrate doctor``."""

    what: str
    state: Literal["ok", "note", "problem"]
    """``note``: all runs without it. ``problem``: something does not run, or is not safe."""
    found: str
    way_out: str = ""
    """How to get what is missing."""
