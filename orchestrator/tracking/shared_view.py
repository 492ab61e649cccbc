"""How MLflow's table of a sweep's trials opens: sorted, with what varies beside what came of it.

MLflow keeps what its button *Share* makes as a tag of the experiment, and a link names the tag. This one is made
without the button; ``orchestrator.dashboard_page`` makes the link.
"""

from __future__ import annotations

import json
from typing import Any

from orchestrator.tracking.client import Client
from orchestrator.tracking_parent import best_metric
from orchestrator.tracking_views import OURS, SHARED_VIEW, SweepView


def share_view(client: Client, experiment_id: str, run_id: str, sweep: SweepView) -> None:
    """Gives an experiment that is ours the view of one sweep; any other is left as it is."""
    tags = client.get_experiment(experiment_id).tags
    view = json.dumps(trial_table(run_id, sweep))
    if OURS in tags and tags.get(SHARED_VIEW + run_id) != view:
        client.set_experiment_tag(experiment_id, SHARED_VIEW + run_id, view)


def trial_table(run_id: str, sweep: SweepView) -> dict[str, Any]:
    """The trials of the sweep whose run this is, best test accuracy first: all that MLflow keeps of such a view."""
    metrics = (sweep.score.test, best_metric(sweep.score))
    columns = [f"metrics.`{metric}`" for metric in metrics] + [f"params.`{path}`" for path in sweep.varying]
    return {
        "searchFilter": f'tags.mlflow.parentRunId = "{run_id}"',
        "orderByKey": f"metrics.`{metrics[0]}`",
        "orderByAsc": False,
        "selectedColumns": columns,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsHiddenMode": "FIRST_10_RUNS",
        "viewMaximized": False,
        "runListHidden": False,
        "groupBy": None,
        "groupsExpanded": {},
        "compareRunCharts": [],
        "compareRunSections": [],
    }
