"""Rows of a sweep as the runs that MLflow shows: a view of the store, made the same way live and afterwards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.curves import stored_curve
from orchestrator.home_objects import Home
from orchestrator.labels import label, varying_first, varying_paths
from orchestrator.rows import Row
from orchestrator.spec import SweepSpec
from orchestrator.spec_file import spec_to_yaml
from orchestrator.store import Store
from orchestrator.stored_progress import validations
from orchestrator.tracking import Point, SweepView, TrialView
from orchestrator.tracking_parent import best_metric
from trainers.canonical import digest
from trainers.problems import Config, problem_of

FIXED = "trial."
"""Before the params that a sweep does not vary: their paths in its file. MLflow sorts params by name, so what varies
comes first, and what all trials share stays out of the way."""


def sweep_view(spec: SweepSpec, home: Home) -> SweepView:
    """The view of a sweep."""
    tags = {"mlflow.source.name": f"orchestrate sweep {spec.name}", "mlflow.source.type": "LOCAL"}
    varying, problem = _varying(spec), problem_of(spec.trial)
    return SweepView(
        spec.name,
        home.id,
        spec.question or "",
        spec_to_yaml(spec),
        home.url,
        varying,
        tags,
        score=problem.score,
        one_scale=problem.sources_share_a_scale or f"{problem.source_word}.name" not in varying,
    )


def params(config: Config, spec: SweepSpec) -> dict[str, Any]:
    """Every leaf of a config: what varies, and the seed, under its path, the rest behind ``FIXED``."""
    # The seed always: a grid that grows from one seed to several must not rename it.
    varying = {*_varying(spec), "training.seed"}
    return {path if path in varying else FIXED + path: value for path, value in varying_first(config, spec).items()}


def _varying(spec: SweepSpec) -> list[str]:
    settings = spec.grid.settings.values() if spec.grid is not None else ()
    return list(dict.fromkeys([*varying_paths(spec), *(path for setting in settings for path in setting)]))


def live_view(row: Row, spec: SweepSpec, fingerprint: str, tags: dict[str, str], points: Sequence[Point]) -> TrialView:
    """The view of a trial that runs, with the points that it has reported so far."""
    return _view(row, spec, fingerprint, tags, points, points[0].timestamp_ms if points else None, None)


def stored_view(row: Row, spec: SweepSpec, fingerprint: str, store: Store) -> TrialView:
    """The view of a trial that runs no more, from the store alone; ``fingerprint`` is that of its dataset."""
    attempts = store.attempts(row.keys.training)
    manifest = store.manifest(row.keys.training)
    last = manifest.attempt if manifest else attempts[-1]["attempt"] if attempts else None
    started = attempts[0]["started_ms"] if attempts else None
    ended = attempts[-1]["ended_ms"] or attempts[-1]["started_ms"] if attempts else None
    points = recorded_points(row, store) if row.state == "pruned" else _points(row, store, attempts, last)
    return _view(row, spec, fingerprint, _made_by(attempts, last), points, started, ended)


def recorded_points(row: Row, store: Store) -> list[Point]:
    """The points of a trial as far as it came, whichever attempt that was.

    Of one that was pruned up to its rung: another sweep may have gone on from there.
    """
    key = row.keys.training
    points = _points(row, store, store.attempts(key), stored_curve(store, key).attempt)
    return [point for point in points if row.state != "pruned" or point.step <= row.metrics["iterations"]]


def _points(row: Row, store: Store, attempts: list[dict[str, Any]], last: str | None) -> list[Point]:
    """The curve of one attempt, from its start in whatever attempt, at the times that the attempts noted."""
    times = {step: at for attempt in attempts for step, at in attempt["validated_ms"].items()}
    first = attempts[0]["started_ms"] if attempts else 0  # none where the record of the attempt is gone
    points: list[Point] = []
    for validation in validations(store, row.keys.training, last) if last else []:
        at = times.get(str(validation["iteration"]), first)
        points += curve_points(row, validation, at)
    return points


def _made_by(attempts: list[dict[str, Any]], last: str | None) -> dict[str, str]:
    """Tags that say with what, from what and where a training was made."""
    its = next((attempt for attempt in attempts if attempt["attempt"] == last), None)
    if its is None:
        return {}
    return attempt_tags(its["versions"], its["asked_by"].get("git_commit")) | {"node": its["node"]}


def attempt_tags(versions: Mapping[str, str], git_commit: str | None) -> dict[str, str]:
    """Versions and commit as tags."""
    tags = {f"version.{package}": version for package, version in versions.items()}
    if not git_commit:
        return tags
    return tags | {"git_commit": git_commit, "mlflow.source.git.commit": git_commit.removesuffix("-dirty")}


def curve_points(row: Row, validation: dict[str, Any], timestamp_ms: int) -> list[Point]:
    """The metrics of one validation; ``validation_accuracy`` is by the head that the trial predicts with.

    Another problem has the names of its own score, and what else it measures.
    """
    score = row.score
    step = int(validation["iteration"])
    by_head = validation["validation_accuracy"]
    values = {
        "train_loss": validation["train_loss"],
        f"train_{score.word}": validation["train_accuracy"],
        "validation_loss": validation["validation_loss"],
        score.validation: by_head[row.config.algorithm_entry.head],
        **{f"{score.validation}_{head}": value for head, value in by_head.items() if len(by_head) > 1},
        **{_of_validation(name): value for name, value in validation.get("others", {}).items()},
    }
    return [Point(key, step, value, timestamp_ms) for key, value in values.items() if math.isfinite(value)]


def _of_validation(name: str) -> str:
    """What else a validation reports: steps are those that the training has taken by then."""
    return "environment_steps_taken" if name == "environment_steps" else f"validation_{name}"


def _view(
    row: Row,
    spec: SweepSpec,
    fingerprint: str,
    tags: dict[str, str],
    points: Sequence[Point],
    started_ms: int | None,
    ended_ms: int | None,
) -> TrialView:
    is_file = problem_of(row.config).needs_dataset
    noun = "dataset" if is_file else "environment"
    identity = {
        "training_key": row.keys.training,
        "evaluation_key": row.keys.evaluation,
        "algorithm": row.config.algorithm.name,
        noun: row.config.source,
        f"{noun}_fingerprint": fingerprint,
        "state": row.state,
    }
    if row.confirms is not None:
        identity["confirms"] = str(row.confirms)
    if row.error:
        identity["error"] = row.error
    words, name = label(row.config, spec), row.config.source
    # The best validation is a metric of its own name: the curve's last point would hide it.
    renamed = {row.score.validation: best_metric(row.score)}
    return TrialView(
        number=row.number,
        name=f"{_number(row)} {words}" if spec.search is not None else words,
        state=row.state if row.state in ("completed", "pruned", "failed") else "running",
        params=params(row.config, spec),
        tags=tags | identity,
        points=tuple(points),
        metrics={renamed.get(name, name): value for name, value in row.metrics.items()},
        dataset=(name, fingerprint, f"datasets/{name}-{fingerprint}.arrow") if is_file else None,
        started_ms=started_ms,
        ended_ms=ended_ms,
        trial=identity_of(row, spec),
    )


def identity_of(row: Row, spec: SweepSpec) -> str:
    """What identifies the trial of a row among the views of its sweep."""
    return str(row.number) if spec.search is not None else digest(row.config.model_dump(mode="json"))


def _number(row: Row) -> str:
    """Sorts as text: ``003``, ``003.1``."""
    whole, *repeat = row.name.split(".")
    return ".".join([whole.zfill(3), *repeat])
