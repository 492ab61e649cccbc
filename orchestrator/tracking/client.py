"""MLflow's client as it is used here: it neither chatters nor retries, and its errors are one line."""

from __future__ import annotations

import logging
import os
import warnings
from typing import Any

from orchestrator.tracking_database import ensure_database
from orchestrator.tracking_uri import sqlite_path
from orchestrator.url_secrets import masked

# Retries are ours: MLflow's own would make a second run where the answer to the first request was lost, and would hold
# the thread for minutes. The last one keeps a line for each run that ends out of the stdout of `--json`.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def open_client(uri: str) -> Any:
    """An ``MlflowClient`` that neither chatters nor retries for minutes; a new SQLite file is made here, whole."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", module=name)
    ensure_database(uri, lambda unfinished: MlflowClient(tracking_uri=unfinished).search_experiments(max_results=1))
    return MlflowClient(tracking_uri=uri)


def experiment_id(client: Any, uri: str, name: str) -> str:
    """The experiment of this name, made where there is none; another process may be making it at the same time."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        folder = sqlite_path(uri).absolute().parent / "mlartifacts" if uri.startswith("sqlite:") else None
        try:
            client.create_experiment(name, artifact_location=folder.as_uri() if folder else None)
        except Exception as error:
            if getattr(error, "error_code", None) != "RESOURCE_ALREADY_EXISTS":
                raise
        experiment = client.get_experiment_by_name(name)
    if experiment.lifecycle_stage != "active":
        raise ValueError(f"experiment {name!r} was deleted; restore it, or set MLFLOW_EXPERIMENT_NAME to another name")
    return str(experiment.experiment_id)


def one_line(error: Exception) -> str:
    """What went wrong, without SQL and secrets, in at most 200 characters."""
    words = " ".join(str(error).split()).partition(" [SQL: ")[0]
    return masked(words)[:200] or type(error).__name__
