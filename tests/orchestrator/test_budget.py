"""Budgets: what counts, that nothing begins once they are spent, and that a larger one goes on as if never stopped."""

from __future__ import annotations

import copy
import errno
import itertools
import json
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from crash_points import Killed, crash_points
from in_process import GRID, SEARCH, TINY, opened, outcome, run_here, sweep_file, validations

from orchestrator import sweep as sweep_module
from orchestrator.budget import Budget, Used, budget_json, budget_text, left_out_text, spent
from orchestrator.environment import cpu_count
from orchestrator.failure import FailurePolicy
from orchestrator.home import open_home
from orchestrator.layout import lay_out, layout_text
from orchestrator.record import SweepRecord
from orchestrator.report.cells import completeness
from orchestrator.report.markdown_page import facts
from orchestrator.report.page import page
from orchestrator.report.provenance import provenance
from orchestrator.results import load_study
from orchestrator.rows import Row, State
from orchestrator.spec import differences
from orchestrator.spec_file import load_spec
from orchestrator.spending import Spending
from orchestrator.store import keys_of
from orchestrator.summary import status_text
from orchestrator.sweep_state import status
from trainers.captured_step import MetaStep
from trainers.config import TrialConfig

HOUR = 3600.0
DATA = "d" * 20


def row(rate: float, state: State = "planned", **evaluation: Any) -> Row:
    config = TrialConfig.model_validate({"algorithm": {"inner_lr": rate}, "evaluation": evaluation})
    return Row(0, config, keys_of(config, DATA), state)


def begun(*names: str) -> frozenset[tuple[str, str]]:
    return frozenset((name[0], name) for name in names)


def test_the_first_limit_that_is_reached_spends_a_budget() -> None:
    budget = Budget(hours=2, gpu_hours=1.5, trials=3)
    used = Used(2 * HOUR - 1, 1.5 * HOUR - 1, begun("a1", "b1", "b2"))  # two tests of one training are one trial
    assert not spent(budget, used)
    for more in (Used(seconds=1), Used(gpu_seconds=1), Used(begun=begun("c1"))):
        assert spent(budget, used + more)
        assert not spent(None, used + more)
    found = budget_json(budget, used + Used(begun=begun("c1", "d1")), not_begun=5)
    assert (found["spent"], found["not_begun"], found["limits"]["trials"], found["used"]["trials"]) == (True, 5, 3, 4)
    assert found["left"] == {"hours": pytest.approx(1 / HOUR), "gpu_hours": pytest.approx(1 / HOUR), "trials": 0}
    assert [left_out_text(many) for many in (1, 2)] == ["1 trial did not begin", "2 trials did not begin"]
    assert budget_text(found) == "2 of 2 h, 1.5 of 1.5 GPU-h, 4 of 3 trials"


class Clock:
    """Says what it is told."""

    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def record(tmp_path: Path) -> SweepRecord:
    return SweepRecord(open_home(str(tmp_path / "home")), "s")


def test_hours_count_from_a_runs_first_trial_over_all_runs(record: SweepRecord) -> None:
    clock, budget = Clock(), Budget(hours=1)
    one, other, third = (row(rate) for rate in (0.1, 0.2, 0.3))
    first = Spending(record, "r1", budget, 0, clock)
    clock.now += 2 * HOUR  # a cluster starts up
    assert first.may_begin()
    first.begin([one])
    clock.now += 0.75 * HOUR
    first.put()
    clock.now += 0.2 * HOUR  # and it is killed: what was not put yet is lost
    second = Spending(record, "r2", budget, 0, clock)
    assert second.used == Used(0.75 * HOUR, 0.0, frozenset([(one.keys.training, one.keys.evaluation)]))
    clock.now += 3 * HOUR
    assert second.may_begin([other])
    second.begin([other])
    clock.now += 0.25 * HOUR
    assert not second.may_begin([third])
    assert not second.may_begin()
    assert spent(budget, record.used)  # on record, though nobody has put it
    last = Spending(record, "r3", budget, 0, clock)
    assert [last.may_begin([its]) for its in (one, other, third)] == [True, True, False]
    # none that has ended, and no other test of a training that had begun
    assert not last.may_begin([row(0.1, "failed")])
    assert not last.may_begin([row(0.1, episodes=7)])
    assert Spending(record, "r4", Budget(hours=1.1), 0, clock).may_begin([third])


def test_a_trial_that_failed_is_tried_again_unless_its_time_is_spent(record: SweepRecord) -> None:
    clock, one, other = Clock(), row(0.1), row(0.2)
    first = Spending(record, "r1", Budget(trials=1, hours=1), 0, clock)
    first.begin([one])
    assert (first.may_begin([other]), first.may_try_again()) == (False, True)
    second = Spending(record, "r2", Budget(trials=1, hours=1), 0, clock)
    assert [second.may_begin([row(rate, "failed")]) for rate in (0.1, 0.2)] == [True, False]
    second.begin([one])
    clock.now += HOUR
    assert (second.may_begin([row(0.1, "failed")]), second.may_try_again()) == (False, False)


def test_gpu_hours_are_those_of_attempts_running_ones_too(record: SweepRecord) -> None:
    clock = Clock()
    spending = Spending(record, "r", Budget(gpu_hours=1), 0.5, clock)
    one, other = row(0.1), row(0.2)
    spending.begin([one])
    spending.begin([other])
    clock.now += HOUR / 2
    spending.end(one.keys.training)
    assert spending.used.gpu_seconds == 0.5 * HOUR
    clock.now += HOUR / 2
    spending.end(other.keys.training)
    clock.now += HOUR / 2  # nothing runs
    assert (spending.used.gpu_seconds, spending.may_begin()) == (0.75 * HOUR, True)
    spending.begin([one])  # attempted again
    clock.now += HOUR / 2
    assert (spending.used.gpu_seconds, spending.may_begin()) == (HOUR, False)
    assert spending.used.amounts["trials"] == 2
    with spending.kept(every_s=60):
        pass
    assert record.used == spending.used


def test_the_record_is_kept_up_to_date_meanwhile(record: SweepRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    puts, put = threading.Semaphore(0), record.put_used

    def noted(run: str, used: Used) -> None:
        put(run, used)
        puts.release()

    monkeypatch.setattr(record, "put_used", noted)
    clock = Clock()
    spending = Spending(record, "r", None, 0, clock)
    with spending.kept(every_s=0.01):
        spending.begin([row(0.1)])
        clock.now += HOUR
        assert all(puts.acquire(timeout=60) for _ in range(3))  # at its begin, perhaps one before the hour, one after
        assert record.used.seconds == HOUR


def test_a_full_disk_is_for_others_to_say(record: SweepRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run used is put again once there is room; a run that ends meanwhile ends as it would."""
    full, puts, put = threading.Event(), threading.Semaphore(0), record.put_used

    def tried(run: str, used: Used) -> None:
        puts.release()
        if full.is_set():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        put(run, used)

    monkeypatch.setattr(record, "put_used", tried)
    full.set()
    clock = Clock()
    spending = Spending(record, "r", None, 0, clock)
    spending.begin([row(0.1)])
    with spending.kept(every_s=0.01):
        assert all(puts.acquire(timeout=60) for _ in range(2))
        clock.now += HOUR
        full.clear()
        assert all(puts.acquire(timeout=60) for _ in range(2))
        assert record.used.seconds == HOUR
        full.set()


def test_what_a_begin_puts_on_record_does_not_grow_with_those_before(
    record: SweepRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, put = list[int](), record.home.put_json

    def noted(path: str, content: Any) -> None:
        sizes.append(len(json.dumps(content)))
        put(path, content)

    monkeypatch.setattr(record.home, "put_json", noted)
    for budget in (None, Budget(trials=40)):
        spending = Spending(record, "r", budget, 0, Clock())
        trials = [row(0.1 + number / 100) for number in range(20)]
        for its in (*trials, trials[3]):  # the last one is attempted again
            spending.begin([its])
        assert len(sizes) == 20  # and those that an earlier run has begun are on record
        assert max(sizes) < 100
        assert record.used.begun == {(its.keys.training, its.keys.evaluation) for its in trials}
    together = [row(0.9), row(0.9, episodes=7)]  # of one training
    spending.begin(together)
    assert record.used.begun >= {(its.keys.training, its.keys.evaluation) for its in together}
    assert (len(sizes), spending.used.amounts["trials"]) == (21, 21)


def with_budget(content: dict[str, Any], **budget: Any) -> dict[str, Any]:
    return copy.deepcopy(content) | {"budget": budget}


LONGER = copy.deepcopy(SEARCH)
LONGER["search"] |= {"trials": 5, "window": 2, "sampler": "nsga2", "confirm": {"top": 1, "seeds": 2}}
"""Of five trials the last is pruned; the best is confirmed twice."""


def counts(home: Path) -> tuple[int, int, str, int]:
    """(planned, completed or pruned, state, trials that a spent budget leaves out)."""
    found = status(opened(home), "s")
    assert found["trials"]["failed"] == 0
    return (
        found["trials"]["planned"],
        found["trials"]["completed"] + found["trials"]["pruned"],
        found["state"],
        found["budget"]["not_begun"] if found["budget"] else 0,
    )


def test_a_search_whose_budget_grows_is_one_that_never_stopped(fresh: Callable[[Any], Path], tmp_path: Path) -> None:
    home, alone = fresh("stopped"), fresh("alone")
    assert run_here(sweep_file(tmp_path, "s", LONGER), str(alone)) == []
    rows = outcome(opened(alone), "s")["rows"]
    assert [number for number, state, *_ in rows if state == "pruned"] == [4]  # a budget counts it as any other
    for trials, left_out in ((2, 3 + 2), (6, 1)):
        file, events = sweep_file(tmp_path, "s", with_budget(LONGER, trials=trials)), list[Any]()
        (line,) = run_here(file, str(home))
        assert line == (
            f"sweep 's': its budget is spent ({trials} of {trials} trials), {left_out_text(left_out)}; the same "
            "command with --set budget.trials=MORE goes on with them"
        )
        assert counts(home) == (trials, trials, "done", left_out)
        assert len(SweepRecord(opened(home), "s").proposals()) == min(trials, 5)
        assert run_here(file, str(home), events) == [line]  # the same again starts nothing
        assert events == []
    assert "6 of 6 trials used, the budget is spent and 1 trial did not begin" in status_text(status(opened(home), "s"))
    assert run_here(sweep_file(tmp_path, "s", LONGER), str(home)) == []
    assert outcome(opened(home), "s") == outcome(opened(alone), "s")
    # what the store answers costs nothing
    (tmp_path / "again").mkdir()
    twin, events = sweep_file(tmp_path / "again", "twin", with_budget(LONGER, trials=1)), list[Any]()
    assert run_here(twin, str(home), events) == []
    assert events == []
    found = status(opened(home), "twin")
    assert (found["state"], found["trials"]["cached"], found["budget"]["used"]) == ("done", 6, {"trials": 0})


def test_a_report_says_that_the_budget_is_spent(fresh: Callable[[Any], Path], tmp_path: Path) -> None:
    home = fresh("reported")
    for budget, missing, words in (
        ({"trials": 2}, 3 + 2, "; the budget is spent (2 of 2 trials), 5 trials did not begin; "),
        ({"trials": 6}, 1, "; the budget is spent (6 of 6 trials), 1 trial did not begin; "),
        ({"trials": 7}, 0, None),
    ):
        run_here(sweep_file(tmp_path, "s", with_budget(LONGER, **budget)), str(home))
        study = load_study("s", str(home))
        source = provenance(study)
        assert (source.state, source.missing) == ("done", missing)
        notes = completeness(source)
        assert (notes == []) if words is None else (words in notes[0])
        said = words.strip("; ") if words else None
        assert [line for line in facts(source) if "budget" in line] == ([said] if said else [])
        assert (
            ("<dt>left out</dt>" in page(study, [], source))
            == (f"<dd>{said}</dd>" in page(study, [], source))
            == bool(said)
        )
    grid = {"trial": TINY, "grid": {"test": {"evaluation.weights": ["best", "final"]}, "seeds": 3}}
    run_here(sweep_file(tmp_path, "g", with_budget(grid, trials=2)), str(home))
    (note,) = completeness(provenance(load_study("g", str(home))))
    assert note.startswith(
        "Not complete: 2 results are missing, 0 failed; the budget is spent (2 of 2 trials), 1 trial "
    )


def test_hours_end_a_sweep_cleanly(
    fresh: Callable[[Any], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(sweep_module, "Spending", partial(Spending, clock=lambda: 60.0 * next(ticks)))
    monkeypatch.setattr("orchestrator.spending.EVERY_S", HOUR)
    home, alone = fresh("hours"), fresh("alone")
    run_here(sweep_file(tmp_path, "s", LONGER), str(alone))
    assert len(run_here(sweep_file(tmp_path, "s", with_budget(LONGER, hours=0.2)), str(home))) == 1
    planned, ended, state, left_out = counts(home)
    assert (state, planned) == ("done", ended)
    assert 0 < ended < 5
    assert left_out == 7 - ended
    used = status(opened(home), "s")["budget"]["used"]["hours"]
    assert run_here(sweep_file(tmp_path, "s", with_budget(LONGER, hours=9)), str(home)) == []
    assert status(opened(home), "s")["budget"]["used"]["hours"] > used
    assert counts(home) == (7, 7, "done", 0)
    done, whole = outcome(opened(home), "s"), outcome(opened(alone), "s")
    assert {path: done[path] for path in done if path != "spec.yaml"} == {
        path: whole[path] for path in whole if path != "spec.yaml"
    }


@pytest.mark.usefixtures("every_iteration_saved")
def test_a_trial_that_was_interrupted_is_finished_after_all(fresh: Callable[[Any], Path], tmp_path: Path) -> None:
    file = sweep_file(tmp_path, "s", with_budget(LONGER, trials=2))
    with crash_points(None) as points:
        run_here(file, str(fresh("whole")))
    home = fresh("killed")
    with pytest.raises(Killed), crash_points(points.passed - 16):  # within the second trial
        run_here(file, str(home))
    assert counts(home) == (2, 1, "interrupted", 5)
    events: list[Any] = []
    assert len(run_here(file, str(home), events)) == 1
    assert counts(home) == (2, 2, "done", 5)
    assert validations(events) <= 1
    assert outcome(opened(home), "s") == outcome(opened(tmp_path / "home-whole"), "s")


def test_failures_under_a_spent_budget(
    fresh: Callable[[Any], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid, learned, failing = {"trial": TINY, "grid": {"seeds": 2}}, MetaStep.__call__, [0, 1]

    def lost(step: MetaStep, tasks: Any) -> Any:
        if failing.pop() > 0:
            raise OSError(errno.EIO, "a disk that went away")
        failing.append(0)
        return learned(step, tasks)

    def states(home: Path) -> tuple[int, int, int]:
        trials = status(opened(home), "s")["trials"]
        return trials["planned"], trials["completed"], trials["failed"]

    monkeypatch.setattr(MetaStep, "__call__", lost)
    by_number, file = fresh("trials"), sweep_file(tmp_path, "s", with_budget(grid, trials=1))
    again, spent_line = run_here(file, str(by_number))
    assert "attempt 2 of 3 follows" in again
    assert "1 of 1 trials" in spent_line
    assert states(by_number) == (1, 1, 0)
    by_time, file = fresh("hours"), sweep_file(tmp_path, "s", with_budget(grid, hours=1e-9))
    for attempts in (1, 0):  # none in this run, nor in the next
        events: list[Any] = []
        failing[:] = [0, 1]
        assert len(run_here(file, str(by_time), events)) == 1
        assert [event["kind"] for event in events] == ["failed"] * attempts
        assert states(by_time) == (1, 0, 1)
    failing[:] = [0]
    assert len(run_here(file, str(by_time), policy=FailurePolicy(retry_failed=True))) == 1
    assert states(by_time) == (1, 1, 0)


def test_a_grid_has_a_budget_of_trainings(fresh: Callable[[Any], Path], tmp_path: Path) -> None:
    grid = {"trial": TINY, "grid": {"test": {"evaluation.weights": ["best", "final"]}, "seeds": 3}}
    home = fresh("grid")
    file = sweep_file(tmp_path, "s", with_budget(grid, trials=2))
    assert len(run_here(file, str(home))) == 1
    assert counts(home) == (2, 2, "done", 1)

    def shown(content: dict[str, Any], **budget: Any) -> str:
        return layout_text(lay_out(load_spec(sweep_file(tmp_path, "s", with_budget(content, **budget))), str(home)))

    assert "budget: 0 trainings left, which will not do" in shown(grid, trials=2)  # of three two have begun
    assert "budget:" not in shown(grid, trials=3)
    more = copy.deepcopy(grid)  # more tests of each, with another training to come
    more["grid"]["test"] = {"evaluation.weights": ["best", "final"], "evaluation.episodes": [2, 3]}
    assert "budget:" not in shown(more, trials=3)  # those that began are no new trials
    other = more | {"name": "other"}
    file = sweep_file(tmp_path, "other", with_budget(other, trials=2))
    text = layout_text(lay_out(load_spec(file), str(home)))
    assert "budget: 2 trainings left" in text  # though two of the trainings are stored, each of the three has work
    usual = grid | {"trial": {"dataset": {"name": "glyphs"}}}
    assert "budget: 1e-09 h of" not in shown(usual, hours=1e-9, trials=9)  # some hours are used
    assert f"budget: 0 h of {cpu_count()} core" in shown(usual, hours=1e-9, trials=9)
    assert "budget:" not in shown(usual, hours=1e3, trials=9)
    on_gpus = usual | {"resources": {"cpu": 2, "gpu": 0.5}}
    core_h = lay_out(load_spec(sweep_file(tmp_path, "s", on_gpus)), str(home)).estimate_core_s / 3600
    # A quarter of core_h is needed; the machine's rate, measured anew each time, may well double beside other programs.
    assert "GPU-h at the speed of this machine's cores left" in shown(on_gpus, gpu_hours=0.02 * core_h)
    assert "budget:" not in shown(on_gpus, gpu_hours=3 * core_h)
    assert run_here(sweep_file(tmp_path, "s", grid), str(home)) == []
    assert counts(home) == (3, 3, "done", 0)


def test_budget_and_confirmations_may_change_and_a_forgotten_sweep_has_used_nothing(
    fresh: Callable[[Any], Path], tmp_path: Path
) -> None:
    spec = load_spec(sweep_file(tmp_path, "s", with_budget(LONGER, hours=3, trials=2)))
    for other in (LONGER, with_budget(LONGER, hours=1), with_budget(SEARCH | {"search": LONGER["search"]}, trials=9)):
        assert differences(spec, load_spec(sweep_file(tmp_path, "s", other))) == []
    home, file = fresh("fresh"), sweep_file(tmp_path, "s", with_budget(GRID, trials=1))
    run_here(file, str(home))
    record = SweepRecord(opened(home), "s")
    assert record.used.amounts["trials"] == 1
    (account,) = (home / "sweeps" / "s" / "runs").iterdir()
    assert set(json.loads(account.read_text())) >= {"seconds", "gpu_seconds"}
    assert len(list((home / "sweeps" / "s" / "begun").iterdir())) == 1
    record.forget()
    assert record.used == Used()
