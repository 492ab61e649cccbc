"""MLflow's client as it is used here: it neither chatters nor retries, and its errors are one line."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections import deque
from statistics import median
from typing import Any

from orchestrator.tracking_database import ensure_database
from orchestrator.tracking_uri import sqlite_path
from orchestrator.tracking_views import OURS
from orchestrator.url_secrets import masked

# Retries are ours: MLflow's own would make a second run where the answer to the first request was lost, and would hold
# the thread for minutes. The last one keeps a line for each run that ends out of the stdout of `--json`.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


# How MLflow's pages open on an experiment that is made here; one that is there already is not touched.
_EXPERIMENT_TAGS = {
    OURS: "true",
    "mlflow.experimentKind": "custom_model_development",
}

_ARTIFACT_CALLS = ("log_artifact", "log_text")
"""A store of files may be slow behind a server that is not."""


def open_client(uri: str, answer_timeout_s: int = 10) -> Client:
    """An ``MlflowClient`` that neither chatters nor retries for minutes; a new SQLite file is made here, whole."""
    for name, value in (_ENVIRONMENT | {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(answer_timeout_s)}).items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", module=name)
    ensure_database(uri, lambda unfinished: MlflowClient(tracking_uri=unfinished).search_experiments(max_results=1))
    return Client(MlflowClient(tracking_uri=uri))


class Client:
    """An ``MlflowClient`` that notes how long its calls take, but for those that move files."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._took_s: deque[float] = deque(maxlen=5)
        self._called: float | None = None

    @property
    def answer_s(self) -> float:
        """How long the store takes for a call: median of the last five, that under way among them."""
        called = self._called
        so_far = [] if called is None else [time.monotonic() - called]
        return median([*self._took_s, *so_far]) if self._took_s or so_far else 0.0

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        if name in _ARTIFACT_CALLS:
            return call

        def timed(*arguments: Any, **options: Any) -> Any:
            self._called = time.monotonic()
            try:
                return call(*arguments, **options)
            finally:
                self._took_s.append(time.monotonic() - self._called)
                self._called = None

        return timed


def experiment_id(client: Client, uri: str, name: str, primary_metric: str) -> str:
    """The experiment of this name, made where there is none; another process may be making it at the same time.

    More of ``primary_metric`` is better: pages of a new one open on it.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        folder = sqlite_path(uri).absolute().parent / "mlartifacts" if uri.startswith("sqlite:") else None
        try:
            tags = _EXPERIMENT_TAGS | {
                "mlflow.experiment.primaryMetric.name": primary_metric,
                "mlflow.experiment.primaryMetric.greaterIsBetter": "true",
            }
            client.create_experiment(name, folder.as_uri() if folder else None, tags)
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
