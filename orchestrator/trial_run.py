"""Has the trials of a sweep run on the cluster: what the plan hands out, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.attempt_record import record_lost
from orchestrator.cluster.execute import Event, Request, request
from orchestrator.confirm_plan import ConfirmedSearchPlan
from orchestrator.early_stopping import Cutoffs
from orchestrator.environment import ROOT, git_commit
from orchestrator.errors import InterruptedSweep
from orchestrator.failure import Failure, FailureCount
from orchestrator.grid import expand, group_by_training
from orchestrator.plan import GridPlan, Look, Plan, SearchPlan, Unit
from orchestrator.rows import Row, read_row
from orchestrator.store import Keys, keys_of
from orchestrator.sweep_run import SweepRun, stop_on_full_disk
from trainers.problems import Config


def run_trials(run: SweepRun, count: FailureCount) -> None:
    """Runs the trials of a sweep that the store does not have.

    Args:
        run: of the sweep.
        count: what becomes of failed trials.

    Raises:
        TooManyFailures: as many failed as the policy allows.
        InterruptedSweep: as ``execute``; or a disk is full, which every other trial would meet; or a trial of a search
            has lost its worker time and again.
    """
    store, board = run.store, run.board
    board.spending = run.spending

    def look(number: int, config: Config, cutoffs: Cutoffs | None) -> Row:
        shape = getattr(run.data[config.source], "image_shape", None)
        return read_row(store, number, config, _keys(run, config), run.spec.name, run.id, False, shape, cutoffs)

    plan = _plan(run, look)
    asked_by = {"sweep": run.spec.name, "run": run.id, "git_commit": git_commit(ROOT)}
    running: dict[int, Unit] = {}
    failures: dict[int, Failure] = {}
    ahead: list[Unit | None] = []
    """What to run before the plan is asked again: the first unit, and those to be attempted again."""
    try:
        ahead.append(plan.next())  # looks before Ray is started, and a GPU is tried
    except StopIteration:
        return
    finally:
        board.planned = plan.planned
        board.show()

    def next_trial() -> Request | None:
        unit = ahead.pop() if ahead else plan.next()
        board.planned = plan.planned
        if unit is None:
            return None
        running[unit.number] = unit
        run.spending.begin(unit.rows)
        board.started(unit)
        data = run.data[unit.rows[0].config.source]
        configs = [row.config for row in unit.rows if not (row.final and row.error)]
        asked = {**asked_by, "number": unit.number}
        timeout_s = count.policy.trial_timeout_s
        home, resources = run.record.home, run.resources
        cutoffs = unit.rows[0].cutoffs
        return request(unit.number, home, data, configs, resources, asked, timeout_s=timeout_s, cutoffs=cutoffs)

    def on_event(number: int, event: Event) -> None:
        unit = running[number]
        if event["kind"] == "validated":
            board.validated(unit, event)
        elif event["kind"] == "warned":
            run.on_warning(event["line"])
        elif event["kind"] in ("failed", "lost"):
            failures[number] = failure = Failure.of_event(event)
            stop_on_full_disk(failure)
            if event["kind"] == "lost":  # nobody else could record it
                config, keys = unit.rows[0].config, unit.rows[0].keys
                snapshots = [keys.shortened(step) for step in config.training.snapshots]
                record_lost(store, unit.training_key, snapshots, {**asked_by, "number": number}, failure)
        elif event["kind"] == "ended":
            del running[number]
            run.spending.end(unit.training_key)
            again = count.try_again(f"trial {unit.name}", failures.pop(number, None))
            if again is not None and run.spending.may_try_again():
                run.on_warning(again)
                ahead.append(unit)
                return
            rows = tuple(replace(look(row.number, row.config, row.cutoffs), confirms=row.confirms) for row in unit.rows)
            if run.spec.search is not None and rows[0].confirms is None and rows[0].lost:
                raise InterruptedSweep(
                    f"the sweep stopped: trial {unit.name}: {rows[0].error}; the next proposals rest on what comes of "
                    "it, so run it again to go on"
                )
            rows = tuple(row if row.state in ("completed", "pruned") else _failed(row) for row in rows)
            plan.ended(rows)
            board.ended(rows)
            before = {row.number for row in unit.rows if row.final and row.error}  # they failed in an earlier run
            cause = next((row.error for row in rows if row.error and row.number not in before), None)
            if cause is not None:
                count.failed(unit.name, cause)

    run.execute(next_trial, on_event)


def _failed(row: Row) -> Row:
    return replace(row, state="failed", error=row.error or "ended without a result")


def _plan(run: SweepRun, look: Look) -> Plan:
    spec, known, may_begin = run.spec, run.board.known, run.spending.may_begin
    if spec.search is not None:
        search = SearchPlan(spec, run.record, look, known, run.on_warning, may_begin)
        return ConfirmedSearchPlan(search, spec, run.record, look, known, may_begin) if spec.search.confirm else search
    groups = group_by_training(expand(spec), lambda config: _keys(run, config).training)
    return GridPlan(groups, look, known, may_begin)


def _keys(run: SweepRun, config: Config) -> Keys:
    return keys_of(config, run.data[config.source].fingerprint)
