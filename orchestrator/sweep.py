"""Runs a sweep, or continues it: plan, execute, record. What is in the store is never run again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Any

from orchestrator.analysis_run import compare_trainings
from orchestrator.attempt_record import set_failures_aside
from orchestrator.board import Board
from orchestrator.budget import budget_text, left_out_text
from orchestrator.continuing import take_up
from orchestrator.environment import ROOT, git_commit, versions
from orchestrator.errors import TooManyFailures
from orchestrator.failure import FailureCount, FailurePolicy, in_one_line
from orchestrator.forget import check_forgettable
from orchestrator.home import open_home
from orchestrator.home_lock import in_use
from orchestrator.inputs import HERE, Where, check_inputs
from orchestrator.interrupt import interruptible
from orchestrator.live_record import said_in_home
from orchestrator.place import Place
from orchestrator.record import SweepRecord, sweep_names
from orchestrator.rows import load_rows
from orchestrator.spec import SweepSpec
from orchestrator.spending import Spending
from orchestrator.status import SweepStatus
from orchestrator.store import Store
from orchestrator.sweep_run import SweepRun
from orchestrator.sweep_state import status
from orchestrator.tracked_outcome import outcome
from orchestrator.tracking import NO_OUTCOME, End, Tracker
from orchestrator.tracking_rows import attempt_tags, sweep_view
from orchestrator.tracking_uri import default_uri, experiment_name, reachable, sqlite_path
from orchestrator.trial_run import run_trials
from orchestrator.url_secrets import masked
from trainers.datasets.image_file import ImageTable

TRACKING_END_TIMEOUT_S = 60.0
"""How long the end of a sweep waits for a healthy tracking server to take what is left."""

TRACKING_DOWN_TIMEOUT_S = 1.0
"""How long it waits for one that does not answer, answers slowly, or whose disk takes nothing."""


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
        place = Place(spec, where, stack, on_build, on_warning)
        home = open_home(where.home).mending(on_warning)
        record = SweepRecord(home, spec.name)
        stack.enter_context(in_use(home))
        if fresh and spec.name in sweep_names(home):
            check_forgettable(home, spec.name)
        stack.enter_context(record.lock())
        known = spec.name in sweep_names(home) or record.spec_lost
        if fresh or not known:  # of one that was forgotten something may be left
            record.forget()
        spec, data = take_up(checked.spec, record, place.slots, where.home, on_build)
        run_id = record.begin_run()
        say = stack.enter_context(said_in_home(record, run_id))
        uri = checked.tracking_uri or (default_uri(home.local) if home.local and checked.tracked else None)
        tracker = _tracker(spec, record, uri)  # of the spec as it is stored: `track` knows no other
        tags = attempt_tags(versions(), git_commit(ROOT))

        def changed(now: SweepStatus) -> None:
            say(now)
            on_change(now)

        board = Board(spec, Store(home), data, tracker, tags, changed)
        board.look = place.look
        if policy.retry_failed:
            _set_failures_aside(record, spec)
        count, stopped = FailureCount(policy), None
        end: End = "KILLED"
        try:
            tables = [table for table in data.values() if isinstance(table, ImageTable)]
            shared = tables if place.standing else []  # here, every worker can map the files
            spending = Spending(record, run_id, spec.budget)
            run = SweepRun(spec, record, run_id, board, data, shared, place.start, spending, on_warning)
            with spending.kept():
                run_trials(run, count)
                compare_trainings(run, count)
            end = "FINISHED"
        except TooManyFailures as error:
            stopped = error
        finally:
            _end_tracking(tracker, uri, end, record, spec, where, on_warning)
    found = status(home, spec.name)
    if found["budget"] and found["budget"]["not_begun"]:
        on_warning(_budget_spent(spec.name, found["budget"]))
    if stopped is not None:
        raise TooManyFailures(f"sweep {spec.name!r} stopped: {stopped}", found)
    return found


def _end_tracking(
    tracker: Tracker | None,
    uri: str | None,
    end: End,
    record: SweepRecord,
    spec: SweepSpec,
    where: Where,
    on_warning: Callable[[str], None],
) -> None:
    """Ends the view of a sweep, notes whether it has everything, and says where it has not."""
    home, shown_uri = record.home, masked(uri) if uri else None
    added, has, unread = NO_OUTCOME, None, None
    if tracker is not None and end == "FINISHED":
        try:
            has = _confirmed_identities(spec, record)
            added = outcome(home, spec.name, where.log_weights, where.track_report)
        except Exception as error:  # of the home, of a record in it; what is written so far must be ended
            unread = in_one_line(error)
    limits = (TRACKING_END_TIMEOUT_S, TRACKING_DOWN_TIMEOUT_S)
    synced = tracker is not None and tracker.finish(end, *limits, added, has) and unread is None
    if uri is not None and not synced:
        down = reachable(uri, timeout_s=2)
        reason = unread or down or (tracker.problem if tracker else None) or "it is slow"
        # A database that is damaged stays so; it is a view, and can be made again.
        damaged = unread is None and uri.startswith("sqlite:") and down is None and sqlite_path(uri).exists()
        first = "once that file is removed, " if damaged else ""
        on_warning(
            f"tracking: {shown_uri} does not have everything ({reason}); results are in {home.url}, and "
            f"{first}`orchestrate track {spec.name}` writes what is missing"
        )
    with suppress(OSError):  # a full disk is said by what met it first
        if synced and tracker is not None and tracker.mark is not None:
            record.put_tracked(tracker.mark)
        home.put_json(f"sweeps/{spec.name}/tracking.json", {"uri": shown_uri, "synced": synced})


def _budget_spent(name: str, budget: Mapping[str, Any]) -> str:
    more = " ".join(f"--set budget.{limit}=MORE" for limit, left in budget["left"].items() if not left)
    return (
        f"sweep {name!r}: its budget is spent ({budget_text(budget)}), {left_out_text(budget['not_begun'])}; the same "
        f"command with {more} goes on with them"
    )


def _set_failures_aside(record: SweepRecord, spec: SweepSpec) -> None:
    store = Store(record.home)
    for row in load_rows(store, record, spec):
        if row.state == "failed":
            set_failures_aside(store, row.keys.training, record.name)


def _confirmed_identities(spec: SweepSpec, record: SweepRecord) -> list[str] | None:
    """Of all trials of a search that is confirmed: once it has grown, others may be its best."""
    if spec.search is None or spec.search.confirm is None:
        return None
    return [str(row.number) for row in load_rows(Store(record.home), record, spec)]


def _tracker(spec: SweepSpec, record: SweepRecord, uri: str | None) -> Tracker | None:
    if uri is None:
        return None
    return Tracker(uri, experiment_name(), sweep_view(spec, record.home), known=record.take_tracked())
