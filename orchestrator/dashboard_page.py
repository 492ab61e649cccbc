"""Which page of the MLflow UI shows a sweep: read from the home's SQLite store, without MLflow."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlencode

from orchestrator.errors import TrackingError
from orchestrator.tracking_views import SHARED_VIEW

_SWEEPS = """
SELECT sweep.value, runs.experiment_id, runs.run_uuid, view.key IS NOT NULL FROM runs
JOIN tags AS sweep ON sweep.run_uuid = runs.run_uuid AND sweep.key = 'metasweep.sweep'
JOIN tags AS home ON home.run_uuid = runs.run_uuid AND home.key = 'metasweep.home' AND home.value = ?
LEFT JOIN experiment_tags AS view ON view.experiment_id = runs.experiment_id AND view.key = ? || runs.run_uuid
WHERE runs.lifecycle_stage = 'active'
AND NOT EXISTS (SELECT 1 FROM tags WHERE run_uuid = runs.run_uuid AND key = 'mlflow.parentRunId')
ORDER BY runs.start_time DESC, runs.rowid DESC
"""


class SweepPage(NamedTuple):
    """A sweep as MLflow has it: the parent run of its trials."""

    name: str
    experiment_id: str
    run_id: str
    shared: bool
    """Whether the experiment has a view of this sweep (``tracking.shared_view``)."""

    def trials(self, address: str) -> str:
        """The table of its trials, best test accuracy first. Without a filter MLflow folds them below their parent."""
        query = (
            {"viewStateShareKey": self.run_id}
            if self.shared
            else {
                "searchFilter": f'tags.mlflow.parentRunId = "{self.run_id}"',
                "orderByKey": "metrics.`test_accuracy`",
                "orderByAsc": "false",
            }
        )
        return f"{address}/#/experiments/{self.experiment_id}/runs?{urlencode(query, quote_via=quote)}"

    def run(self, address: str) -> str:
        """The page of its own run: what was asked, and what came of it."""
        return f"{address}/#/experiments/{self.experiment_id}/runs/{self.run_id}"


def sweep_pages(database: Path, home_id: str) -> list[SweepPage]:
    """The sweeps of a home that its tracking store has, the latest first; none where it is busy or still empty.

    Raises:
        TrackingError: the file is damaged.
    """
    try:
        with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True)) as store:
            with suppress(sqlite3.OperationalError):  # locked, or without tables
                rows = store.execute(_SWEEPS, (home_id, SHARED_VIEW)).fetchall()
                return [SweepPage(name, str(experiment), run, bool(shared)) for name, experiment, run, shared in rows]
            return []
    except sqlite3.OperationalError:  # can't be opened to be read: what it is, the server says
        return []
    except sqlite3.DatabaseError as error:
        raise TrackingError(
            f"{database}: damaged ({error}); it is a view: remove it, and `orchestrate track NAME` makes it again"
        ) from None
