"""Runs a sweep, or continues it: plan, execute, record. What is in the store is never run again."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from orchestrator.attempt_record import record_failed_attempt
from orchestrator.board import Board
from orchestrator.cluster.connect import cluster
from orchestrator.cluster.execute import Event, Request, execute
from orchestrator.data import data_folder, ensure_dataset, find_dataset
from orchestrator.environment import git_commit, versions
from orchestrator.errors import ClusterError, InputError
from orchestrator.grid import expand, group_by_training
from orchestrator.home import Home, open_home
from orchestrator.inputs import HERE, Where, check_inputs, configs_of, continued, datasets_of
from orchestrator.interrupt import interruptible
from orchestrator.plan import GridPlan, Plan, SearchPlan, Unit
from orchestrator.record import SweepRecord
from orchestrator.rows import Row, read_row, status
from orchestrator.search import default_window
from orchestrator.spec import Resources, SweepSpec, spec_to_yaml
from orchestrator.status import SweepStatus
from orchestrator.store import Store, keys_of
from orchestrator.tracking import End, Tracker
from orchestrator.tracking_rows import attempt_tags
from orchestrator.tracking_uri import default_uri, experiment_name, masked
from orchestrator.tracking_views import SweepView
from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable, open_image_file
from trainers.episodes import check_data

TRACKING_END_TIMEOUT_S = 60.0
"""How long the end of a sweep waits for a healthy tracking server to take what is left."""


def _ignore(*_: object) -> None:
    """Where a caller does not listen."""


def run_sweep(
    spec: SweepSpec,
    where: Where = HERE,
    on_change: Callable[[SweepStatus], None] = _ignore,
    on_build: Callable[[int, int], None] = _ignore,
    on_warning: Callable[[str], None] = _ignore,
) -> dict[str, Any]:
    """Runs a sweep to its end and gives its status object. The same call again goes on where an earlier one stopped.

    Args:
        spec: what to run.
        where: home, cluster and tracking.
        on_change: gets the state of the sweep whenever a trial says something.
        on_build: gets (images done, images in all) while an embedded dataset is built.
        on_warning: gets lines that a user should see.

    Raises:
        InputError: bad input, found before anything is started or recorded.
        KeyboardInterrupt: interrupted; every validation that was reported is kept.
    """
    checked = check_inputs(spec, where, on_warning)
    with ExitStack() as stack:
        stack.enter_context(interruptible())
        home = open_home(where.home)
        record = SweepRecord(home, spec.name)
        stack.enter_context(record.lock())
        spec = continued(checked.spec, record.spec)  # again, now that nobody else can change it
        data = open_data(where.home, spec, record.fingerprints, on_build)
        capacity = stack.enter_context(cluster(where.address)) if where.address else local_capacity()
        slots = concurrency(spec.resources, capacity)
        if spec.search is not None and spec.search.window is None:
            search = spec.search.model_copy(update={"window": default_window(slots)})
            spec = spec.model_copy(update={"search": search})

        record.put_spec(spec, {name: table.fingerprint for name, table in data.items()})
        run = record.begin_run()
        uri = checked.tracking_uri or (default_uri(home.local) if home.local and checked.tracked else None)
        tracker = _tracker(spec, home, uri)
        tags = attempt_tags(versions(), git_commit(Path.cwd()))
        board = Board(spec, Store(home), data, tracker, tags, on_change)
        end: End = "KILLED"
        try:
            _run(spec, record, run, board, data, where, slots, stack)
            end = "FINISHED"
        finally:
            synced = tracker is not None and tracker.finish(end, TRACKING_END_TIMEOUT_S)
            shown_uri = masked(uri) if uri else None
            if tracker is not None and not synced:
                lost = f"does not have everything ({tracker.problem}); results are in {home.url}"
                on_warning(f"tracking: {shown_uri} {lost}")
            home.put_json(f"sweeps/{spec.name}/tracking.json", {"uri": shown_uri, "synced": synced})
    return status(home, spec.name)


def open_data(
    home_url: str, spec: SweepSpec, pinned: Mapping[str, str], on_build: Callable[[int, int], None]
) -> dict[str, ImageTable]:
    """The datasets of a sweep, mapped: those it began with, or the newest; an embedded one is built where absent.

    Raises:
        DatasetError: a dataset is absent, damaged, or too small for the sweep's episodes.
        InputError: the data that the sweep began with is gone.
    """
    folder = data_folder(home_url)
    tables = {}
    for name in datasets_of(spec):
        path = find_dataset(folder, name, pinned[name]) if name in pinned else None
        tables[name] = open_image_file(path or ensure_dataset(folder, name, on_build))
        if name in pinned and tables[name].fingerprint != pinned[name]:
            raise InputError(
                f"dataset {name!r} has changed since sweep {spec.name!r} began ({pinned[name]} is gone, "
                f"{tables[name].fingerprint} is there); import the old one again, or choose another --name"
            )
    for config in configs_of(spec):
        check_data(config, tables[config.dataset.name])
    return tables


def local_capacity() -> dict[str, float]:
    """Resources of this machine, by Ray's names, without asking Ray."""
    return {"CPU": float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)}


def concurrency(resources: Resources, capacity: Mapping[str, float]) -> int:
    """How many trials run at once."""
    wanted = {"CPU": resources.cpu, "GPU": resources.gpu}
    fits = [int(capacity.get(name, 0.0) // amount) for name, amount in wanted.items() if amount > 0]
    slots = min(fits, default=1)
    if slots < 1 and not (resources.gpu and "GPU" not in capacity):
        raise ClusterError(
            f"resources: a trial asks for cpu={resources.cpu:g} gpu={resources.gpu:g}, "
            f"there are {capacity.get('CPU', 0):g} and {capacity.get('GPU', 0):g}; ask for less"
        )
    return min(max(slots, 1), resources.max_concurrent or max(slots, 1))


def _tracker(spec: SweepSpec, home: Home, uri: str | None) -> Tracker | None:
    if uri is None:
        return None
    view = SweepView(spec.name, home.id, spec.question or "", spec_to_yaml(spec))
    return Tracker(uri, experiment_name(), view)


def _run(
    spec: SweepSpec,
    record: SweepRecord,
    run: str,
    board: Board,
    data: Mapping[str, ImageTable],
    where: Where,
    slots: int,
    stack: ExitStack,
) -> None:
    """Runs what the store does not have; starts Ray only where there is something to run."""
    store = Store(record.home)
    folder = data_folder(record.home.url)

    def look(number: int, config: TrialConfig) -> Row:
        return read_row(store, number, config, keys_of(config, data[config.dataset.name].fingerprint), run, live=False)

    plan = _plan(spec, record, look, board, data)
    asked_by = {"sweep": spec.name, "run": run, "git_commit": git_commit(Path.cwd())}
    running: dict[int, Unit] = {}
    ahead: list[Unit | None] = []
    try:
        ahead.append(plan.next())  # looks before Ray is started
    except StopIteration:
        return
    finally:
        board.show()

    def next_trial() -> Request | None:
        unit = ahead.pop() if ahead else plan.next()
        if unit is None:
            return None
        running[unit.number] = unit
        board.started(unit)
        name = unit.rows[0].config.dataset.name
        return Request(
            number=unit.number,
            home=record.home.url if record.home.local is None else str(record.home.local),
            dataset=str(folder / "datasets" / f"{name}-{data[name].fingerprint}.arrow"),
            configs=tuple(row.config.model_dump_json() for row in unit.rows),
            device="cuda" if spec.resources.gpu > 0 else "cpu",
            threads=max(1, int(spec.resources.cpu)),  # two trials on two cores beat one on both
            asked_by={**asked_by, "number": unit.number},
        )

    def on_event(number: int, event: Event) -> None:
        unit = running[number]
        if event["kind"] == "validated":
            board.validated(unit, event)
        elif event["kind"] == "ended":
            rows = tuple(look(row.number, row.config) for row in running.pop(number).rows)
            if any(row.state not in ("completed", "failed") for row in rows):  # its worker could not say so
                cause = failures.get(number, "ended without a result")
                record_failed_attempt(store, unit.training_key, {**asked_by, "number": number}, cause)
                rows = tuple(look(row.number, row.config) for row in rows)
            plan.ended(rows)
            board.ended(rows)
        elif event["kind"] == "failed":
            failures[number] = event["cause"]

    failures: dict[int, str] = {}
    if where.address is None:
        stack.enter_context(cluster(None))
    execute(next_trial, on_event, spec.resources, slots)


def _plan(
    spec: SweepSpec,
    record: SweepRecord,
    look: Callable[[int, TrialConfig], Row],
    board: Board,
    data: Mapping[str, ImageTable],
) -> Plan:
    if spec.search is not None:
        board.planned = spec.search.trials
        return SearchPlan(spec, record, look, board.known)
    groups = group_by_training(
        expand(spec), lambda config: keys_of(config, data[config.dataset.name].fingerprint).training
    )
    board.planned = len(groups)
    return GridPlan(groups, look, board.known)
