"""What says, without MLflow, that a SQLite store has all of a sweep: importing MLflow and asking it takes seconds."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from hashlib import sha256
from typing import NamedTuple

from orchestrator.environment import versions
from orchestrator.tracking_database import runs_below
from orchestrator.tracking_parent import Outcome
from orchestrator.tracking_views import SweepView


class Mark(NamedTuple):
    """Of a sweep that was written whole: equal marks, equal stores, as far as the sweep goes."""

    run: str
    """Id of the parent run."""
    digest: str


def mark(
    uri: str,
    experiment: str,
    run: str,
    sweep: SweepView,
    digests: Mapping[str, str],
    outcome: Outcome,
    has: Collection[str] | None,
) -> Mark | None:
    """The mark of a sweep as it is said now, in the store as that is now.

    Args:
        uri: of the store.
        experiment: its name.
        run: id of the parent run.
        sweep: what the parent run shows.
        digests: of the view of each trial, by identity.
        outcome: what was added at the end.
        has: identities of all trials that the sweep has, where they were said.

    Returns:
        None where a look at a file does not tell: no SQLite, or the parent run is not in it any more.
    """
    runs = runs_below(uri, run)
    if runs is None or run not in dict(runs):
        return None
    added = [sorted(outcome.weights), outcome.report is not None, versions().get("metasweep", "")]
    said = [uri, experiment, asdict(sweep), sorted(digests.items()), added, None if has is None else sorted(has)]
    return Mark(run, sha256(json.dumps([*said, runs], sort_keys=True).encode()).hexdigest()[:20])
