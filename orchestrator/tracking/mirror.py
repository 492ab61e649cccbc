"""The runs of one sweep as MLflow holds them, made equal to its views."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

from orchestrator.tracking.artifacts import WEIGHTS, put_files, report_digest, report_files
from orchestrator.tracking.client import Client, experiment_id, one_line
from orchestrator.tracking.shared_view import share_view
from orchestrator.tracking_parent import TRIALS, Outcome, best_metric, best_so_far, note
from orchestrator.tracking_views import Point, SweepView, TrialView, Written, written

End = Literal["FINISHED", "FAILED", "KILLED"]

_STATUS = {"running": "RUNNING", "completed": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}
_PARENT, _SWEEP, _HOME, _NUMBER = "mlflow.parentRunId", "metasweep.sweep", "metasweep.home", "metasweep.number"
_TRIAL = "metasweep.trial"
_STATE, _SYNCED, _SUPERSEDED = "metasweep.state", "metasweep.synced", "metasweep.superseded"
_SPEC, _NOT_FINITE, _ERROR = "metasweep.spec", "metasweep.not_finite", "error"
_NOTE, _ANSWER, _LOGGED = "mlflow.note.content", "metasweep.answer", "mlflow.loggedArtifacts"
_REPORT, _WEIGHTS = "metasweep.report", "metasweep.weights"
_PARTS = {"train": "training", "validation": "validation", "test": "testing"}
"""Part of a dataset -> MLflow's word for what it is there for."""
_PARAMS_A_BATCH, _METRICS_A_BATCH = 100, 800  # MLflow takes 100 params, 100 tags, 1,000 entities in all
_LONGEST_PARAM, _LONGEST_TAG, _LONGEST_DIGEST = 6000, 5000, 36  # MLflow cuts without a word, or refuses


@dataclass
class _Child:
    """A child run as MLflow holds it."""

    run_id: str
    status: str
    params: dict[str, str]
    tags: dict[str, str]
    unread: set[str]
    """Metric keys whose history was not read yet."""
    datasets: set[str]
    """Names of its inputs."""
    values: dict[tuple[str, int], list[float]] = field(default_factory=dict)

    def holds(self, point: Point) -> bool:
        # A value that differs is written: a trial repeated on another machine may end in other bits.
        return any(math.isclose(point.value, value, rel_tol=1e-12) for value in self.values.get(point[:2], ()))


def _child(run: Any) -> _Child:
    inputs = run.inputs.dataset_inputs if run.inputs else []
    data = run.data
    return _Child(
        run.info.run_id,
        run.info.status,
        dict(data.params),
        dict(data.tags),
        set(data.metrics),
        {i.dataset.name for i in inputs},
    )


class Mirror:
    """The parent run and its children, opened or found again by their tags. Any method may raise what MLflow raises."""

    def __init__(
        self,
        client: Client,
        uri: str,
        experiment: str,
        sweep: SweepView,
        written: dict[str, Written],
        left: Callable[[], bool] = lambda: False,
    ) -> None:
        """``written``: by identity, what was written of each trial; outlives this. ``left``: whether nobody waits."""
        self._client, self._sweep, self._written, self._left = client, sweep, written, left
        self.problem: str | None = None
        self.experiment_id = experiment_id(client, uri, experiment, best_metric(sweep.score))
        self._parent = self._open_parent(sweep)
        self.run_id = self._parent.run_id
        share_view(client, self.experiment_id, self.run_id, sweep)
        self._untold = _NOTE not in self._parent.tags
        """Whether the parent run lacks something that the views say."""
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

    def _open_parent(self, sweep: SweepView) -> _Child:
        tags = {**sweep.tags, _SWEEP: sweep.name, _HOME: sweep.home_id, _STATE: "running"}
        identity = {_SWEEP: sweep.name, _HOME: sweep.home_id}
        runs = self._runs(" and ".join(f"tags.`{key}` = {_quoted(value)}" for key, value in identity.items()))
        run = runs[0] if runs else self._client.create_run(self.experiment_id, tags=tags, run_name=sweep.name)
        parent = _child(run)
        if parent.status != "RUNNING":
            self._client.update_run(parent.run_id, status="RUNNING")
        self._set_tags(parent, tags)
        digest = sha256(sweep.spec_yaml.encode()).hexdigest()[:20]
        if sweep.spec_yaml and parent.tags.get(_SPEC) != digest:
            with self._kept("spec.yaml"):
                self._client.log_text(parent.run_id, sweep.spec_yaml, "spec.yaml")
                self._set_tags(parent, {_SPEC: digest})
        return parent

    @contextmanager
    def _kept(self, what: str) -> Iterator[None]:
        """An artifact store out of reach (no credentials) must not cost the runs."""
        try:
            yield
        except Exception as error:  # MLflow raises anything
            self.problem = f"{what} is not in MLflow: {one_line(error)}"

    def _set_tags(self, run: _Child, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        new = {key: _cut(value) for key, value in tags.items() if run.tags.get(key) != _cut(value)}
        if new:
            self._client.log_batch(run.run_id, tags=[RunTag(*tag) for tag in new.items()], synchronous=True)
            run.tags.update(new)

    def write(self, view: TrialView) -> None:
        """Makes the child run of this trial equal to the view."""
        params = {key: str(value)[:_LONGEST_PARAM] for key, value in view.params.items()}
        now = written(view)
        ended = {} if view.state == "running" else {_SYNCED: now.digest}
        tags = {**view.tags, _NUMBER: str(view.number), _STATE: view.state, **ended}
        child = self._children.get(view.identity)
        if child is not None and any(child.params.get(key, value) != value for key, value in params.items()):
            # Params can't be changed: this identity was another trial before the sweep was started afresh.
            self._supersede(child)
            child = None
        self._written[view.identity] = now
        self._untold = self._untold or view.state != "running"
        if child is None:
            child = self._children[view.identity] = self._create(view, tags)
        elif ended and child.tags.get(_SYNCED) == ended[_SYNCED] and child.status == _STATUS[view.state]:
            return
        if view.dataset is not None:
            self._log_dataset(child, view.dataset)
        self._log(child, view, params, tags)
        if view.state != "running":
            self._close(child, _STATUS[view.state], view.ended_ms)
            child.unread |= {key for key, _ in child.values}  # read again, should it ever run again
            child.values.clear()
        elif child.status != "RUNNING":
            self._client.update_run(child.run_id, status="RUNNING")
            child.status = "RUNNING"

    def supersede_all_but(self, identities: Collection[str]) -> None:
        """Says of the runs of all other trials that the sweep has them no more."""
        for identity in self._children.keys() - set(identities):
            self._supersede(self._children.pop(identity))

    def _supersede(self, child: _Child) -> None:
        self._set_tags(child, {_SUPERSEDED: "true"})
        if child.status == "RUNNING":
            self._close(child, "KILLED", None)

    def _create(self, view: TrialView, tags: Mapping[str, str]) -> _Child:
        # With all of its tags, which costs a call less; and a run that is never written on (the driver was killed, the
        # server is gone) says which trial it is of. Its digest counts only once the run has ended.
        its = {key: _cut(value) for key, value in tags.items()} | {_PARENT: self.run_id, _TRIAL: view.identity}
        return _child(self._client.create_run(self.experiment_id, view.started_ms, its, view.name))

    def _log_dataset(self, child: _Child, dataset: tuple[str, str, str]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        name, fingerprint, source = dataset
        digest, place = fingerprint[:_LONGEST_DIGEST], json.dumps({"uri": source})
        # A dataset a part: MLflow knows one input of a name and digest a run, and one purpose of an input.
        inputs = [
            DatasetInput(Dataset(f"{name}-{part}", digest, "local", place), [InputTag("mlflow.data.context", purpose)])
            for part, purpose in _PARTS.items()
            if f"{name}-{part}" not in child.datasets
        ]
        if inputs:
            self._client.log_inputs(child.run_id, inputs)
            child.datasets.update(one.dataset.name for one in inputs)

    def _log(self, child: _Child, view: TrialView, params: dict[str, str], tags: dict[str, str]) -> None:
        """Params, points and tags that the child lacks; the tags last, since their digest vouches for the rest.

        The newest points first: MLflow keeps the latest of each metric apart, and then finds it at once.
        """
        from mlflow.entities import Metric, Param, RunTag

        points = self._missing(child, view.all_points())
        bad = [point for point in view.all_points() if not math.isfinite(point.value)]
        if bad:
            tags = {**tags, _NOT_FINITE: f"{len(bad)} points; first {bad[0].key} at step {bad[0].step}"}
        new_tags = [RunTag(k, _cut(v)) for k, v in tags.items() if child.tags.get(k) != _cut(v)]
        new_params = [Param(key, value) for key, value in params.items() if key not in child.params]
        metrics = [Metric(p.key, p.value, p.timestamp_ms, p.step) for p in reversed(points)]
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

    def show_progress(self) -> None:
        """Says on the parent run what has come of the sweep so far, where that has changed."""
        if not self._untold:
            return
        views = [one.view for one in self._written.values()]
        self._log_points(self._parent, self._missing(self._parent, best_so_far(self._sweep, views)))
        answer = self._parent.tags.get(_ANSWER, "").splitlines()
        self._set_tags(self._parent, {_NOTE: note(self._sweep, views, answer)})
        self._untold = False

    def add(self, outcome: Outcome) -> None:
        """The artifacts of a sweep that has ended. What can't be made or stored is told by ``problem``."""
        for identity, read in outcome.weights.items():
            child = self._children.get(identity)
            if child is None or child.status != "FINISHED":
                continue
            if child.tags.get(_WEIGHTS) != child.tags.get(_SYNCED):
                with self._kept(WEIGHTS):
                    weights = read()
                    if weights is not None:
                        put_files(self._client, child.run_id, {WEIGHTS: weights}, self._left)
                        self._set_tags(child, {_WEIGHTS: child.tags[_SYNCED]})
        if outcome.report is None:
            return
        written = sorted(self._written.values(), key=lambda one: one.view.number)
        digest = report_digest(self._sweep, written)
        if self._parent.tags.get(_REPORT) == digest:
            return
        with self._kept("the report"):
            report = outcome.report()
            files = report_files(report, self._sweep, written)
            put_files(self._client, self.run_id, files, self._left)
            views = [one.view for one in written]
            said = {_ANSWER: "\n".join(report.answer), _NOTE: note(self._sweep, views, report.answer)}
            table = json.dumps([{"path": TRIALS, "type": "table"}])
            self._set_tags(self._parent, {**said, _LOGGED: table, _REPORT: digest})

    def _log_points(self, run: _Child, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(p.key, p.value, p.timestamp_ms, p.step) for p in points]
        for first in range(0, len(metrics), _METRICS_A_BATCH):
            self._client.log_batch(run.run_id, metrics[first : first + _METRICS_A_BATCH], synchronous=True)
        for point in points:
            run.values.setdefault(point[:2], []).append(point.value)

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
                self._set_tags(child, {_STATE: "interrupted"})
                self._close(child, "KILLED", None)
        state = {"FINISHED": "done", "FAILED": "failed", "KILLED": "interrupted"}[status]
        self._set_tags(self._parent, {_STATE: state})
        self._client.set_terminated(self.run_id, status)


def _quoted(value: str) -> str:
    return f'"{value}"' if "'" in value else f"'{value}'"


def _cut(value: str) -> str:
    return value[:_LONGEST_TAG]
