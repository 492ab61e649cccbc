"""Runs a sweep, or continues it: plan, execute, record. What is in the store is never run again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from orchestrator.analysis_run import compare_trainings
from orchestrator.attempt_record import record_lost, set_failures_aside
from orchestrator.board import Board
from orchestrator.cluster.connect import cluster
from orchestrator.cluster.execute import Event, Request, execute, request
from orchestrator.data import data_folder, ensure_dataset, versions_of
from orchestrator.environment import cpu_count, git_commit, versions
from orchestrator.errors import InputError, InterruptedSweep, SpecError, TooManyFailures
from orchestrator.failure import Failure, FailureCount, FailurePolicy
from orchestrator.forget import check_forgettable
from orchestrator.grid import expand, group_by_training
from orchestrator.home import Home, open_home
from orchestrator.home_lock import in_use
from orchestrator.inputs import HERE, Where, check_inputs, concurrency, configs_of, continued, datasets_of
from orchestrator.interrupt import interruptible
from orchestrator.plan import GridPlan, Plan, SearchPlan, Unit
from orchestrator.record import SweepRecord, sweep_names
from orchestrator.rows import Row, load_rows, read_row, status
from orchestrator.search import default_window, window_behind
from orchestrator.spec import SweepSpec
from orchestrator.status import SweepStatus
from orchestrator.store import Store, keys_of
from orchestrator.tracking import End, Tracker
from orchestrator.tracking_rows import attempt_tags, sweep_view
from orchestrator.tracking_uri import default_uri, experiment_name, reachable
from orchestrator.url_secrets import masked
from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable, open_image_file
from trainers.episodes import check_data

TRACKING_END_TIMEOUT_S = 60.0
"""How long the end of a sweep waits for a healthy tracking server to take what is left."""

TRACKING_DOWN_TIMEOUT_S = 3.0
"""How long it waits for one that does not answer at the moment."""


def _ignore(*_: object) -> None:
    """Where a caller does not listen."""


NO_POLICY = FailurePolicy()
"""Failed trials do not stop a sweep, and may take as long as they like."""


def run_sweep(
    spec: SweepSpec,
    where: Where = HERE,
    policy: FailurePolicy = NO_POLICY,
    on_change: Callable[[SweepStatus], None] = _ignore,
    on_build: Callable[[int, int], None] = _ignore,
    on_warning: Callable[[str], None] = _ignore,
    fresh: bool = False,
) -> dict[str, Any]:
    """Runs a sweep to its end and gives its status object. The same call again goes on where an earlier one stopped.

    Args:
        spec: what to run.
        where: home, cluster and tracking.
        policy: what becomes of failed trials.
        on_change: gets the state of the sweep whenever a trial says something.
        on_build: gets (images done, images in all) while an embedded dataset is built.
        on_warning: gets lines that a user should see.
        fresh: forget an earlier sweep of this name first; what is in the store is still not run again.

    Raises:
        InputError: bad input, found before anything is started or recorded.
        TooManyFailures: as many trials failed as the policy allows; the same call again goes on.
        KeyboardInterrupt: interrupted; what was saved last of every trial is kept (``orchestrator.saving``).
    """
    checked = check_inputs(spec, where, on_warning, fresh=fresh)
    with ExitStack() as stack:
        stack.enter_context(interruptible())
        started = where.address is not None or spec.resources.gpu > 0  # else Ray waits until there is work
        nodes = stack.enter_context(cluster(where.address)) if started else [{"CPU": float(cpu_count())}]
        slots = concurrency(spec.resources, nodes)
        home = open_home(where.home).mending(on_warning)
        record = SweepRecord(home, spec.name)
        stack.enter_context(in_use(home))
        stored = spec.name in sweep_names(home)
        if fresh and stored:
            check_forgettable(home, spec.name)
        stack.enter_context(record.lock())
        if fresh or not (stored or record.spec_lost):  # of one that was forgotten something may be left
            record.forget()
        known = record.spec
        spec = continued(checked.spec, known)  # again, now that nobody else can change it
        pinned = record.fingerprints
        if known is None:
            spec = found_again(spec, record)
        elif not pinned:
            _check_only_version(spec, where.home)
        data = open_data(where.home, spec, pinned, on_build)
        if spec.search is not None and spec.search.window is None:
            search = spec.search.model_copy(update={"window": default_window(slots)})
            spec = spec.model_copy(update={"search": search})

        record.put_spec(spec, {name: table.fingerprint for name, table in data.items()})
        run = record.begin_run()
        uri = checked.tracking_uri or (default_uri(home.local) if home.local and checked.tracked else None)
        tracker = _tracker(spec, home, uri)
        tags = attempt_tags(versions(), git_commit(Path.cwd()))
        board = Board(spec, Store(home), data, tracker, tags, on_change)
        if policy.retry_failed:
            _set_failures_aside(record, spec)
        count, stopped = FailureCount(policy), None
        end: End = "KILLED"
        try:
            tables = list(data.values()) if where.address is not None else []  # here, every worker can map the files
            start = cache(lambda: None if started else stack.enter_context(cluster(None)))
            _run(spec, record, run, board, data, tables, slots, start, count, on_warning)
            compare_trainings(spec, record, board, data, tables, slots, start, on_warning)
            end = "FINISHED"
        except TooManyFailures as error:
            stopped = error
        finally:
            shown_uri = masked(uri) if uri else None
            synced = tracker is not None and tracker.finish(
                end, TRACKING_DOWN_TIMEOUT_S if tracker.problem else TRACKING_END_TIMEOUT_S
            )
            if uri is not None and not synced:
                reason = reachable(uri, timeout_s=2) or (tracker.problem if tracker else None) or "it is slow"
                # A database that a full disk cut short stays broken; it is a view, and can be made again.
                first = "once that file is removed, " if uri.startswith("sqlite:") else ""
                on_warning(
                    f"tracking: {shown_uri} does not have everything ({reason}); results are in {home.url}, and "
                    f"{first}`orchestrate track {spec.name}` writes what is missing"
                )
            with suppress(OSError):  # a full disk is said by what met it first
                home.put_json(f"sweeps/{spec.name}/tracking.json", {"uri": shown_uri, "synced": synced})
    found = status(home, spec.name)
    if stopped is not None:
        raise TooManyFailures(f"sweep {spec.name!r} stopped: {stopped}", found)
    return found


def _set_failures_aside(record: SweepRecord, spec: SweepSpec) -> None:
    store = Store(record.home)
    for row in load_rows(store, record, spec):
        if row.state == "failed":
            set_failures_aside(store, row.keys.training, record.name)


def found_again(spec: SweepSpec, record: SweepRecord) -> SweepSpec:
    """The spec to run where none is stored: as asked; where a damaged one has left proposals, with their window.

    Raises:
        SpecError: the proposals are those of another search.
    """
    first = next(iter(record.proposals()), None)
    if spec.search is None or first is None or first.number != 0:
        return spec
    window = window_behind(spec.search, first)
    if window is None:
        raise SpecError(
            f"sweep {spec.name!r}: its spec.yaml is lost, and it has proposals of another search; give the file that "
            "it began with, or choose another --name"
        )
    return spec.model_copy(update={"search": spec.search.model_copy(update={"window": window})})


def _check_only_version(spec: SweepSpec, home_url: str) -> None:
    """Refuses to guess, where its datasets.json is lost, which data a sweep began with."""
    for name in datasets_of(spec):
        versions = versions_of(data_folder(home_url), name)
        if len(versions) > 1:
            raise InputError(
                f"sweep {spec.name!r}: its datasets.json is lost, and the home has {len(versions)} versions of {name} "
                f"({', '.join(sorted(versions))}); leave only the one that it began with, or choose another --name"
            )


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
        tables[name] = open_image_file(ensure_dataset(folder, name, on_build, pinned.get(name)))
        if name in pinned and tables[name].fingerprint != pinned[name]:
            raise InputError(
                f"dataset {name!r} has changed since sweep {spec.name!r} began ({pinned[name]} is gone, "
                f"{tables[name].fingerprint} is there); import the old one again, or choose another --name"
            )
    for config in configs_of(spec):
        check_data(config, tables[config.dataset.name], spec.grid.between if spec.grid else None)
    return tables


def _tracker(spec: SweepSpec, home: Home, uri: str | None) -> Tracker | None:
    if uri is None:
        return None
    return Tracker(uri, experiment_name(), sweep_view(spec, home.id))


def _run(
    spec: SweepSpec,
    record: SweepRecord,
    run: str,
    board: Board,
    data: Mapping[str, ImageTable],
    tables: Collection[ImageTable],
    slots: int,
    start_cluster: Callable[[], object],
    count: FailureCount,
    on_warning: Callable[[str], None],
) -> None:
    """Runs the trials that the store does not have.

    ``tables`` are the data that not every worker may be able to map. The cluster is started if there is something to
    run.
    """
    store = Store(record.home)

    def look(number: int, config: TrialConfig) -> Row:
        return read_row(
            store, number, config, keys_of(config, data[config.dataset.name].fingerprint), spec.name, run, live=False
        )

    plan = _plan(spec, record, look, board, data, on_warning)
    asked_by = {"sweep": spec.name, "run": run, "git_commit": git_commit(Path.cwd())}
    running: dict[int, Unit] = {}
    failures: dict[int, Failure] = {}
    ahead: list[Unit | None] = []
    """What to run before the plan is asked again: the first unit, and those to be attempted again."""
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
        configs = [row.config for row in unit.rows if not (row.final and row.error)]
        asked = {**asked_by, "number": unit.number}
        timeout_s = count.policy.trial_timeout_s
        return request(unit.number, record.home, data[name], configs, spec.resources, asked, timeout_s=timeout_s)

    def on_event(number: int, event: Event) -> None:
        unit = running[number]
        if event["kind"] == "validated":
            board.validated(unit, event)
        elif event["kind"] == "warned":
            on_warning(event["line"])
        elif event["kind"] in ("failed", "lost"):
            failures[number] = failure = Failure.of_event(event)
            if failure.kind == "disk":  # every other trial would meet it
                raise InterruptedSweep(f"the sweep stopped: {failure.cause}; mend that, and run it again to go on")
            if event["kind"] == "lost":  # nobody else could record it
                record_lost(store, unit.training_key, {**asked_by, "number": number}, failure)
        elif event["kind"] == "ended":
            del running[number]
            again = count.try_again(number, failures.pop(number, None))
            if again is not None:
                on_warning(again)
                ahead.append(unit)
                return
            rows = tuple(look(row.number, row.config) for row in unit.rows)
            rows = tuple(row if row.state == "completed" else _failed(row) for row in rows)
            plan.ended(rows)
            board.ended(rows)
            cause = next((row.error for row in rows if row.error), None)
            if cause is not None:
                count.failed(number, cause)

    start_cluster()
    execute(next_trial, on_event, spec.resources, slots, tables)


def _failed(row: Row) -> Row:
    return replace(row, state="failed", error=row.error or "ended without a result")


def _plan(
    spec: SweepSpec,
    record: SweepRecord,
    look: Callable[[int, TrialConfig], Row],
    board: Board,
    data: Mapping[str, ImageTable],
    on_warning: Callable[[str], None],
) -> Plan:
    if spec.search is not None:
        board.planned = spec.search.trials
        return SearchPlan(spec, record, look, board.known, on_warning)
    groups = group_by_training(
        expand(spec), lambda config: keys_of(config, data[config.dataset.name].fingerprint).training
    )
    board.planned = len(groups)
    return GridPlan(groups, look, board.known)
