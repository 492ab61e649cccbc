"""The Pareto front: what nothing else is better than in every respect. A pure function of numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from orchestrator.objectives import Direction


def pareto_front(values: Sequence[Sequence[float]], directions: Sequence[Direction]) -> list[int]:
    """Indices, ascending, of the points that no other dominates: is as good everywhere and better somewhere.

    Equal points stand or fall together. Takes a pass over the points for each different one of the front.

    Args:
        values: of each point, one an objective; finite.
        directions: of each objective.
    """
    if not values:
        return []
    signs = [1.0 if direction == "minimize" else -1.0 for direction in directions]
    points, places = np.unique(np.asarray(values, dtype=np.float64) * signs, axis=0, return_inverse=True)
    rest = np.arange(len(points))  # in the order of their first coordinate, so that none is dominated by a later one
    front: list[int] = []
    while len(rest):
        best = rest[0]
        front.append(best)
        rest = rest[(points[rest] < points[best]).any(axis=1)]
    return np.flatnonzero(np.isin(places.reshape(-1), front)).tolist()
