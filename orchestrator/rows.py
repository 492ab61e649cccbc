"""Rows of a sweep, rebuilt from its record and the store: one a trial, for a grid one a cell and seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pyarrow as pa

from orchestrator.analyses import cell_pairs, count_analyses, lacking
from orchestrator.errors import HomeError, InputError
from orchestrator.failure import can_pass
from orchestrator.grid import expand
from orchestrator.home import open_home
from orchestrator.home_objects import Home
from orchestrator.record import SweepRecord, sweep_names
from orchestrator.record_shapes import TrackingShape
from orchestrator.spec import NAME, SweepSpec
from orchestrator.store import Keys, Store, keys_of
from trainers.config import TrialConfig, flatten
from trainers.registry import nearest

State = Literal["planned", "running", "completed", "failed"]
SweepState = Literal["running", "interrupted", "done"]

METRICS = (
    "validation_accuracy",
    "test_accuracy",
    "test_ci95",
    "test_episodes",
    "iterations",
    "train_flops",
    "train_seconds",
)


@dataclass(frozen=True)
class Row:
    """One trial as asked, and what became of it."""

    number: int
    config: TrialConfig
    """As asked, not canonical."""
    keys: Keys
    state: State
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Of ``METRICS``, those that are known. Accuracies are fractions."""
    error: str | None = None
    final: bool = False
    """Completed, or failed in a way that may well come again: not to be run."""
    cached: bool = False
    """Completed by a training that another trial or an earlier run made."""


def find_sweep(home: Home, name: str) -> tuple[SweepRecord, SweepSpec]:
    """A stored sweep.

    Raises:
        InputError: the home has none of that name; the nearest is named.
    """
    record = SweepRecord(home, name)
    spec = record.spec if NAME.match(name) else None
    if spec is None:
        names = sweep_names(home)
        way_out = nearest(name, names) if names else "there is none yet; `orchestrate sweep SPEC` runs one"
        raise InputError(f"no sweep {name!r} in {home.url}; {way_out}")
    return record, spec


def asked_configs(record: SweepRecord, spec: SweepSpec) -> list[tuple[int, TrialConfig]]:
    """(number, config as asked) of all rows of a sweep; trials that a search has not proposed yet have none."""
    if spec.search is None:
        return [(cell.number, cell.config) for cell in expand(spec)]
    proposals = [proposal for proposal in record.proposals() if proposal.number < spec.search.trials]
    return [(proposal.number, proposal.config(spec.trial)) for proposal in proposals]


def load_rows(store: Store, record: SweepRecord, spec: SweepSpec) -> list[Row]:
    """All rows of a sweep by number; trials that a search has not proposed yet have none.

    Raises:
        HomeError: which data the sweep runs on is recorded no more.
    """
    fingerprints = record.fingerprints
    run, live = record.run, record.locked
    rows: list[Row] = []
    trained_by: set[str] = set()
    for number, config in asked_configs(record, spec):
        if config.dataset.name not in fingerprints:
            raise HomeError(
                f"{store.home.url}/sweeps/{record.name}/datasets.json: absent or damaged; the command that ran the "
                "sweep makes it again"
            )
        keys = keys_of(config, fingerprints[config.dataset.name])
        row = read_row(store, number, config, keys, record.name, run.get("run"), live)
        if spec.search is not None and keys.training in trained_by and row.state == "completed":
            row = replace(row, cached=True)
        trained_by.add(keys.training)
        rows.append(row)
    return rows


def read_row(
    store: Store, number: int, config: TrialConfig, keys: Keys, sweep: str | None, run: str | None, live: bool
) -> Row:
    """What the store knows of one trial.

    Args:
        store: where to look.
        number: the trial's.
        config: as asked.
        keys: of the config.
        sweep: its name: of failures in other sweeps only those that are the training's are its own.
        run: id of the sweep's last run: a training of an earlier one is cached.
        live: whether that run goes on now; otherwise an attempt that never ended is not running.
    """
    manifest = store.trained(config, keys)
    if manifest is not None:
        accuracies = store.accuracies(config, keys, manifest)
        if accuracies is not None:
            its = store.attempt(keys.training, manifest.attempt)
            metrics: dict[str, float] = {
                "validation_accuracy": manifest.validation_accuracy(config),
                "test_accuracy": float(accuracies.mean()),
                "test_ci95": confidence_95(accuracies),
                "test_episodes": len(accuracies),
                "iterations": manifest.final,
                "train_flops": manifest.train_flops,
            }
            if "train_seconds" in its:  # an attempt whose record is gone leaves its results
                metrics["train_seconds"] = its["train_seconds"]
            cached = its.get("asked_by", {}).get("run") != run
            return Row(number, config, keys, "completed", metrics, final=True, cached=cached)
    attempts = [one for one in store.attempts(keys.training) if _is_about(one, sweep, keys.evaluation)]
    last = attempts[-1] if attempts else None
    if live and last is not None and last["state"] == "running" and last["asked_by"].get("run") == run:
        return Row(number, config, keys, "running")
    for_good = store.failure(keys.training)
    if for_good is not None:
        return Row(number, config, keys, "failed", error=for_good, final=True)
    if last is not None and last["state"] == "failed":
        return Row(number, config, keys, "failed", error=last["cause"], final=not can_pass(last.get("failure")))
    return Row(number, config, keys, "planned")


def _is_about(attempt: Mapping[str, Any], sweep: str | None, evaluation: str) -> bool:
    """Whether a sweep asked for an attempt, and of it this evaluation; where it names none, it was about all."""
    asked = attempt.get("evaluations")
    return attempt["asked_by"].get("sweep") == sweep and (not asked or evaluation in asked)


def confidence_95(accuracies: Any) -> float:
    """Half width of the 95 % interval of the mean over episodes, by the normal approximation."""
    return 1.96 * float(accuracies.std(ddof=1)) / math.sqrt(len(accuracies))


def best_row(rows: list[Row]) -> Row | None:
    """The completed row of the best validation accuracy; the first of equals. None where none is completed."""
    completed = [row for row in rows if row.state == "completed"]
    return max(completed, key=lambda row: (row.metrics["validation_accuracy"], -row.number), default=None)


def status(home: Home, name: str) -> dict[str, Any]:
    """The status object of a sweep, as ``--json`` prints it.

    Raises:
        InputError: no such sweep.
    """
    record, spec = find_sweep(home, name)
    store = Store(home)
    rows = load_rows(store, record, spec)
    counts = count_trials(spec, rows)
    pairs = cell_pairs(spec, record.fingerprints)
    best = best_row(rows)
    return {
        "name": name,
        "state": sweep_state(record, counts, bool(lacking(store, pairs))),
        "trials": counts,
        "analyses": count_analyses(store, pairs),
        "best": None
        if best is None
        else {
            "training_key": best.keys.training,
            "config": best.config.model_dump(mode="json"),
            "metrics": dict(best.metrics),
        },
        "home": home.url,
        "tracking": home.read_json(f"sweeps/{name}/tracking.json", TrackingShape) or {"uri": None, "synced": False},
    }


def sweep_state(record: SweepRecord, counts: Mapping[str, int], analyses_left: bool) -> SweepState:
    """Whether a process drives the sweep now; else whether all is done, by ``count_trials`` and of its analyses."""
    if record.locked:
        return "running"
    finished = counts["completed"] + counts["pruned"] + counts["failed"]
    return "done" if finished == counts["planned"] and not analyses_left else "interrupted"


def count_trials(spec: SweepSpec, rows: list[Row]) -> dict[str, int]:
    """Trials by state; for a grid, trainings. Completed + pruned + failed = planned at the end."""
    if spec.grid is not None:  # a training is as far as the least of its evaluations
        order = {"failed": 0, "running": 1, "planned": 2, "completed": 3}
        least: dict[str, Row] = {}
        for row in rows:
            known = least.get(row.keys.training)
            if known is None or order[row.state] < order[known.state]:
                least[row.keys.training] = row
        rows = list(least.values())
    counted = {state: sum(row.state == state for row in rows) for state in ("completed", "pruned", "failed", "running")}
    planned = spec.search.trials if spec.search is not None else len(rows)
    return {"planned": planned, **counted, "cached": sum(row.cached for row in rows)}


def table(name: str, rows: list[Row]) -> pa.Table:
    """Flat rows as an Arrow table: keys, every leaf of the config as asked under its dotted path, metrics, error."""
    records = []
    for row in rows:
        records.append(
            {
                "sweep": name,
                "number": row.number,
                "training_key": row.keys.training,
                "evaluation_key": row.keys.evaluation,
                "state": row.state,
                "seed": row.config.training.seed,
                **flatten(row.config),
                **{metric: row.metrics.get(metric) for metric in METRICS},
                "error": row.error,
            }
        )
    columns = records[0] if records else {}
    return pa.table({column: arrow_column([record[column] for record in records]) for column in columns})


def results(name: str, home: str = "./runs") -> pa.Table:
    """The rows of a stored sweep as an Arrow table.

    Args:
        name: the sweep's.
        home: folder or URL.

    Raises:
        InputError: no such home, or no such sweep in it.
    """
    opened = open_home(home, create=False)
    record, spec = find_sweep(opened, name)
    return table(name, load_rows(Store(opened), record, spec))


def arrow_column(values: list[Any]) -> pa.Array:
    """Values of one type as a column: lists (of layers, of rates) are joined by ``+``, ``2`` beside them is text."""
    values = ["+".join(map(str, value)) if isinstance(value, list | tuple) else value for value in values]
    mixed = len({type(value) for value in values if value is not None} - {int, float}) > 0
    if mixed and any(isinstance(value, str) for value in values):
        values = [None if value is None else str(value) for value in values]
    return pa.array(values)
