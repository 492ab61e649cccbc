"""Shares of a variance as tables show them."""

from __future__ import annotations

from orchestrator.insight.importance import Share
from orchestrator.report.words import ABSENT, percent


def share_texts(share: Share | None) -> tuple[str, str]:
    """Per cent, and the interval."""
    if share is None:
        return ABSENT, ABSENT
    return percent(share.value), f"{percent(share.low)} to {percent(share.high)}"


def share_values(share: Share | None) -> tuple[float | None, float | None, float | None]:
    """Value, low and high end, as fractions."""
    return (share.value, share.low, share.high) if share else (None, None, None)
