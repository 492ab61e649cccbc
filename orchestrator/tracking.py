"""MLflow as a view of the store: one parent run a sweep, one child run a trial. The only importer of mlflow.

The driver alone writes, from a thread of its own: nothing here makes a trial wait, and MLflow's import and the tables
of a new database (seconds each) come in that thread as well. What MLflow holds already is found by tags and not written
again, so a sweep that continues, or the whole store written once more, leaves each run and each point once.
"""

from __future__ import annotations

import json
import logging
import math
import os
import threading
import time
import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

from orchestrator.errors import OutOfReach
from orchestrator.tracking_database import ensure_database
from orchestrator.tracking_uri import (
    check_uri,
    default_uri,
    experiment_name,
    reachable,
    sqlite_path,
)
from orchestrator.tracking_views import Point, SweepView, TrialView
from orchestrator.url_secrets import masked, without_credentials

__all__ = [
    "Point",
    "SweepView",
    "Tracker",
    "TrialView",
    "check_uri",
    "default_uri",
    "experiment_name",
    "reachable",
    "write_all",
]

End = Literal["FINISHED", "FAILED", "KILLED"]

_STATUS = {"running": "RUNNING", "completed": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}
_PARENT, _SWEEP, _HOME, _NUMBER = "mlflow.parentRunId", "metasweep.sweep", "metasweep.home", "metasweep.number"
_TRIAL = "metasweep.trial"
_STATE, _SYNCED, _SUPERSEDED = "metasweep.state", "metasweep.synced", "metasweep.superseded"
_SPEC, _NOT_FINITE, _ERROR = "metasweep.spec", "metasweep.not_finite", "error"
_PARAMS_A_BATCH, _METRICS_A_BATCH = 100, 800  # MLflow takes 100 params, 100 tags, 1,000 entities in all
_LONGEST_PARAM, _LONGEST_TAG, _LONGEST_DIGEST = 6000, 5000, 36  # MLflow cuts without a word, or refuses
_LONGEST_PAUSE_S = 30.0

# Retries are ours: MLflow's own would make a second run where the answer to the first request was lost, and would hold
# the thread for minutes. The last one keeps a line for each run that ends out of the stdout of `--json`.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


class Tracker:
    """Keeps one sweep's view up to date from a background thread, through outages of the server.

    ``problem`` is the last failure in one line, None while writing works; ``experiment_id``, ``run_id`` and ``run_url``
    (servers only) name the parent run once it is there.

    Raises:
        TrackingError: the URI is malformed. Whether anything answers there is not asked.
    """

    def __init__(self, uri: str, experiment: str | None, sweep: SweepView) -> None:
        check_uri(uri)
        self._uri, self._experiment, self._sweep = uri, experiment or experiment_name(), sweep
        self._changed = threading.Condition()
        self._pending: dict[str, TrialView] = {}
        self._refusals: dict[str, int] = {}
        self._end: End | None = None
        self._has: Collection[str] | None = None
        """Identities of all trials of the sweep, where they were said."""
        self._abandoned = False
        self._synced = threading.Event()
        self._mirror: _Mirror | None = None
        self.problem: str | None = None
        self.experiment_id: str | None = None
        self.run_id: str | None = None
        self._thread = threading.Thread(target=self._write_all, name="tracking", daemon=True)
        self._thread.start()

    @property
    def run_url(self) -> str | None:
        """The page of the parent run on a tracking server."""
        if self.run_id is None or not self._uri.startswith("http"):
            return None
        return f"{without_credentials(self._uri).rstrip('/')}/#/experiments/{self.experiment_id}/runs/{self.run_id}"

    def record(self, trial: TrialView) -> None:
        """Leaves the trial's latest view for the thread and returns; an older view not yet written is dropped.

        Does nothing after :meth:`finish`.
        """
        with self._changed:
            self._pending[trial.identity] = trial
            self._changed.notify_all()

    def finish(
        self,
        state: End,
        timeout_s: float,
        down_timeout_s: float | None = None,
        has: Collection[str] | None = None,
    ) -> bool:
        """Writes what is left, then ends the parent run, and as KILLED every child that has not ended.

        Args:
            state: of the sweep.
            timeout_s: how long this may take.
            down_timeout_s: how long it may go on once a write has failed; None: no other limit.
            has: identities of all trials that the sweep has now; runs of others stay, tagged as superseded. None: runs
                stay as they are.

        Returns:
            Whether all of it was written in time.
        """
        until = time.monotonic() + timeout_s
        with self._changed:
            self._has, self._end = has, self._end or state
            self._changed.notify_all()
            if down_timeout_s is not None:
                self._changed.wait_for(lambda: self._synced.is_set() or self.problem is not None, timeout_s)
                until = min(until, time.monotonic() + down_timeout_s)
            self._changed.wait_for(self._synced.is_set, max(0.0, until - time.monotonic()))
            synced = self._synced.is_set()
            self._abandoned = True
            self._changed.notify_all()
        return synced and not any(count > 1 for count in self._refusals.values())

    def _write_all(self) -> None:
        pause_s = 0.5
        while not self._abandoned and not self._synced.is_set():
            view = self._take()
            try:
                self._write(view)
            except Exception as error:  # MLflow raises anything; a view must not end a sweep
                # After a lost answer only MLflow knows what it holds: look again before writing more.
                self._mirror = None
                self._keep(view, error)
                self._rest(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                pause_s = 0.5
                if not self._refusals:
                    self.problem = self._mirror.problem if self._mirror else None

    def _rest(self, pause_s: float) -> None:
        """Waits before the next attempt: ``pause_s``, but half a second once the sweep has ended."""
        with self._changed:
            if self._end is None:
                self._changed.wait_for(lambda: self._abandoned or self._end is not None, pause_s)
            else:
                self._changed.wait_for(lambda: self._abandoned, 0.5)

    def _take(self) -> TrialView | None:
        """The next view; None where there is none and the parent run is to be opened or ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._end or self._abandoned or self._mirror is None)
            return self._pending.pop(next(iter(self._pending))) if self._pending else None

    def _write(self, view: TrialView | None) -> None:
        if self._mirror is None:
            self._mirror = _Mirror(_client(self._uri), self._uri, self._experiment, self._sweep)
            self.experiment_id, self.run_id = self._mirror.experiment_id, self._mirror.run_id
        elif view is None and self._end is not None:
            if self._has is not None:
                self._mirror.supersede_all_but(self._has)
            self._mirror.end(self._end)
            with self._changed:
                self._synced.set()
                self._changed.notify_all()
        if view is not None:
            self._mirror.write(view)
            self._refusals.pop(view.identity, None)

    def _keep(self, view: TrialView | None, error: Exception) -> None:
        with self._changed:
            self.problem = _one_line(error)
            self._changed.notify_all()
        if view is None:
            return
        # A request that MLflow calls wrong is tried twice, since it says the same of a run that was just deleted.
        if getattr(error, "error_code", None) in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
            self._refusals[view.identity] = self._refusals.get(view.identity, 0) + 1
        if self._refusals.get(view.identity, 0) < 2:
            with self._changed:
                self._pending.setdefault(view.identity, view)


def write_all(uri: str, experiment: str, sweep: SweepView, trials: Iterable[TrialView], end: End) -> None:
    """Makes MLflow equal to these views, in this thread; what it holds already is not written again.

    Runs of trials that are not among them stay, tagged as superseded.

    Raises:
        OutOfReach: MLflow could not be written; what was written before stays, and the same call goes on.
    """
    try:
        mirror = _Mirror(_client(uri), uri, experiment, sweep)
        written = set()
        for trial in trials:
            mirror.write(trial)
            written.add(trial.identity)
        mirror.supersede_all_but(written)
        mirror.end(end)
    except Exception as error:  # MLflow raises anything
        raise OutOfReach(_one_line(error)) from error


def _client(uri: str) -> Any:
    """An ``MlflowClient`` that neither chatters nor retries for minutes; a new SQLite file is made here, whole."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", module=name)
    ensure_database(uri, lambda unfinished: MlflowClient(tracking_uri=unfinished).search_experiments(max_results=1))
    return MlflowClient(tracking_uri=uri)


@dataclass
class _Child:
    """A child run as MLflow holds it."""

    run_id: str
    status: str
    params: dict[str, str]
    tags: dict[str, str]
    unread: set[str]
    """Metric keys whose history was not read yet."""
    has_dataset: bool
    values: dict[tuple[str, int], list[float]] = field(default_factory=dict)

    def holds(self, point: Point) -> bool:
        # A value that differs is written: a trial repeated on another machine may end in other bits.
        return any(math.isclose(point.value, value, rel_tol=1e-12) for value in self.values.get(point[:2], ()))


def _child(run: Any) -> _Child:
    inputs = run.inputs.dataset_inputs if run.inputs else []
    data = run.data
    return _Child(run.info.run_id, run.info.status, dict(data.params), dict(data.tags), set(data.metrics), bool(inputs))


class _Mirror:
    """The parent run and its children, opened or found again by their tags. Any method may raise what MLflow raises."""

    def __init__(self, client: Any, uri: str, experiment: str, sweep: SweepView) -> None:
        self._client = client
        self.problem: str | None = None
        self.experiment_id = _experiment_id(client, uri, experiment)
        self.run_id = self._open_parent(sweep)
        self._children: dict[str, _Child] = {}
        for run in self._runs(f"tags.`{_PARENT}` = '{self.run_id}'"):
            tags = dict(run.data.tags)
            if _TRIAL in tags and _SUPERSEDED not in tags:
                self._children.setdefault(tags[_TRIAL], _child(run))

    def _runs(self, filter_string: str) -> list[Any]:
        """All matching runs, oldest first."""
        found: list[Any] = []
        token = None
        while True:
            page = self._client.search_runs(
                [self.experiment_id], filter_string, order_by=["attributes.start_time ASC"], page_token=token
            )
            found += page
            token = page.token
            if not token:
                return found

    def _open_parent(self, sweep: SweepView) -> str:
        tags = {**sweep.tags, _SWEEP: sweep.name, _HOME: sweep.home_id, _STATE: "running"}
        if sweep.question:
            tags["mlflow.note.content"] = sweep.question
        identity = {_SWEEP: sweep.name, _HOME: sweep.home_id}
        runs = self._runs(" and ".join(f"tags.`{key}` = {_quoted(value)}" for key, value in identity.items()))
        run = runs[0] if runs else self._client.create_run(self.experiment_id, tags=tags, run_name=sweep.name)
        run_id: str = run.info.run_id
        held = dict(run.data.tags)
        if run.info.status != "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        self._set_tags(run_id, tags, held)
        digest = sha256(sweep.spec_yaml.encode()).hexdigest()[:20]
        if sweep.spec_yaml and held.get(_SPEC) != digest:
            try:
                self._client.log_text(run_id, sweep.spec_yaml, "spec.yaml")
                self._set_tags(run_id, {_SPEC: digest}, held)
            except Exception as error:  # an artifact store out of reach (no credentials) must not cost the runs
                self.problem = f"spec.yaml is not in MLflow: {_one_line(error)}"
        return run_id

    def _set_tags(self, run_id: str, tags: Mapping[str, str], held: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        if new := [RunTag(key, _cut(value)) for key, value in tags.items() if held.get(key) != _cut(value)]:
            self._client.log_batch(run_id, tags=new, synchronous=True)

    def write(self, view: TrialView) -> None:
        """Makes the child run of this trial equal to the view."""
        params = {key: str(value)[:_LONGEST_PARAM] for key, value in view.params.items()}
        ended = {} if view.state == "running" else {_SYNCED: view.digest()}
        child = self._children.get(view.identity)
        if child is not None and any(child.params.get(key, value) != value for key, value in params.items()):
            # Params can't be changed: this identity was another trial before the sweep was started afresh.
            self._supersede(child)
            child = None
        if child is None:
            child = self._children[view.identity] = self._create(view)
        elif ended and child.tags.get(_SYNCED) == ended[_SYNCED] and child.status == _STATUS[view.state]:
            return
        if view.dataset is not None and not child.has_dataset:
            self._log_dataset(child, view.dataset)
        self._log(child, view, params, {**view.tags, _NUMBER: str(view.number), _STATE: view.state, **ended})
        if view.state != "running":
            self._close(child, _STATUS[view.state], view.ended_ms)
        elif child.status != "RUNNING":
            self._client.update_run(child.run_id, status="RUNNING")
            child.status = "RUNNING"

    def supersede_all_but(self, identities: Collection[str]) -> None:
        """Says of the runs of all other trials that the sweep has them no more."""
        for identity in self._children.keys() - set(identities):
            self._supersede(self._children.pop(identity))

    def _supersede(self, child: _Child) -> None:
        self._set_tags(child.run_id, {_SUPERSEDED: "true"}, child.tags)
        if child.status == "RUNNING":
            self._close(child, "KILLED", None)

    def _create(self, view: TrialView) -> _Child:
        # A run that is never written on (the driver was killed, the server is gone) still says which trial it is of.
        tags = {_PARENT: self.run_id, _TRIAL: view.identity, _NUMBER: str(view.number), _STATE: view.state}
        run = self._client.create_run(self.experiment_id, view.started_ms, tags, view.name)
        return _child(run)

    def _log_dataset(self, child: _Child, dataset: tuple[str, str, str]) -> None:
        from mlflow.entities import Dataset, DatasetInput

        name, fingerprint, source = dataset
        entity = Dataset(name, fingerprint[:_LONGEST_DIGEST], "local", json.dumps({"uri": source}))
        self._client.log_inputs(child.run_id, [DatasetInput(entity)])
        child.has_dataset = True

    def _log(self, child: _Child, view: TrialView, params: dict[str, str], tags: dict[str, str]) -> None:
        """Params, points and tags that the child lacks; the tags last, since their digest vouches for the rest."""
        from mlflow.entities import Metric, Param, RunTag

        points = self._missing(child, view.all_points())
        bad = [point for point in view.all_points() if not math.isfinite(point.value)]
        if bad:
            tags = {**tags, _NOT_FINITE: f"{len(bad)} points; first {bad[0].key} at step {bad[0].step}"}
        new_tags = [RunTag(k, _cut(v)) for k, v in tags.items() if child.tags.get(k) != _cut(v)]
        new_params = [Param(key, value) for key, value in params.items() if key not in child.params]
        metrics = [Metric(p.key, p.value, p.timestamp_ms, p.step) for p in points]
        while metrics or new_params or new_tags:
            batch, metrics = metrics[:_METRICS_A_BATCH], metrics[_METRICS_A_BATCH:]
            some, new_params = new_params[:_PARAMS_A_BATCH], new_params[_PARAMS_A_BATCH:]
            last = not metrics and not new_params
            self._client.log_batch(child.run_id, batch, some, new_tags if last else (), synchronous=True)
            new_tags = [] if last else new_tags
        for key in {_ERROR, _NOT_FINITE} & child.tags.keys() - tags.keys():  # it failed once, and was run again
            self._client.delete_tag(child.run_id, key)
            del child.tags[key]
        child.params.update(params)
        child.tags.update({key: _cut(value) for key, value in tags.items()})
        for point in points:
            child.values.setdefault(point[:2], []).append(point.value)

    def _missing(self, child: _Child, points: list[Point]) -> list[Point]:
        for key in child.unread & {point.key for point in points}:
            for metric in self._client.get_metric_history(child.run_id, key):
                child.values.setdefault((key, metric.step), []).append(metric.value)
            child.unread.discard(key)
        missing: dict[tuple[str, int, float], Point] = {}
        for point in points:
            if math.isfinite(point.value) and not child.holds(point):
                missing.setdefault(point[:3], point)
        return list(missing.values())

    def _close(self, child: _Child, status: str, ended_ms: int | None) -> None:
        if child.status != status:
            self._client.set_terminated(child.run_id, status, ended_ms)
            child.status = status

    def end(self, status: End) -> None:
        """Ends the parent, and every child that still stands as running (a zombie of a killed driver, too)."""
        for child in self._children.values():
            if child.status == "RUNNING":
                self._set_tags(child.run_id, {_STATE: "interrupted"}, child.tags)
                self._close(child, "KILLED", None)
        state = {"FINISHED": "done", "FAILED": "failed", "KILLED": "interrupted"}[status]
        self._set_tags(self.run_id, {_STATE: state}, {})
        self._client.set_terminated(self.run_id, status)


def _experiment_id(client: Any, uri: str, name: str) -> str:
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


def _quoted(value: str) -> str:
    return f'"{value}"' if "'" in value else f"'{value}'"


def _cut(value: str) -> str:
    return value[:_LONGEST_TAG]


def _one_line(error: Exception) -> str:
    words = " ".join(str(error).split()).partition(" [SQL: ")[0]
    return masked(words)[:200] or type(error).__name__
