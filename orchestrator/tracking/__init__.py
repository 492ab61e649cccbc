"""MLflow as a view of the store: one parent run a sweep, one child run a trial. The only importer of mlflow.

The driver alone writes, from a thread of its own: nothing here makes a trial wait, and MLflow's import and the tables
of a new database (seconds each) come in that thread as well. What MLflow holds already is found by tags and not written
again, so a sweep that continues, or the whole store written once more, leaves each run and each point once.
"""

from __future__ import annotations

from orchestrator.tracking.mark import Mark
from orchestrator.tracking.mirror import End
from orchestrator.tracking.tracker import Tracker, write_all
from orchestrator.tracking_parent import NO_OUTCOME, Outcome, Report
from orchestrator.tracking_uri import check_uri, default_uri, experiment_name, reachable
from orchestrator.tracking_views import Point, SweepView, TrialView

__all__ = [
    "NO_OUTCOME",
    "End",
    "Mark",
    "Outcome",
    "Point",
    "Report",
    "SweepView",
    "Tracker",
    "TrialView",
    "check_uri",
    "default_uri",
    "experiment_name",
    "reachable",
    "write_all",
]
