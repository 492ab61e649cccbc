"""Budgets: what counts, that nothing begins once they are spent, and that a larger one goes on as if never stopped."""

from __future__ import annotations

import copy
import itertools
import json
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
from orchestrator.home import open_home
from orchestrator.layout import lay_out, layout_text
from orchestrator.record import SweepRecord
from orchestrator.rows import Row, State
from orchestrator.spec import differences
from orchestrator.spec_file import load_spec
from orchestrator.spending import Spending
from orchestrator.store import keys_of
from orchestrator.summary import status_text
from orchestrator.sweep_state import status
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


def with_budget(content: dict[str, Any], **budget: Any) -> dict[str, Any]:
    return copy.deepcopy(content) | {"budget": budget}


LONGER = copy.deepcopy(SEARCH)
LONGER["search"] |= {"trials": 5, "window": 2, "sampler": "nsga2", "confirm": {"top": 1, "seeds": 2}}


def counts(home: Path) -> tuple[int, int, str, int]:
    """(planned, completed, state, trials that a spent budget leaves out)."""
    found = status(opened(home), "s")
    return (
        found["trials"]["planned"],
        found["trials"]["completed"],
        found["state"],
        found["budget"]["not_begun"] if found["budget"] else 0,
    )


def test_a_search_whose_budget_grows_is_one_that_never_stopped(fresh: Callable[[Any], Path], tmp_path: Path) -> None:
    home, alone = fresh("stopped"), fresh("alone")
    assert run_here(sweep_file(tmp_path, "s", LONGER), str(alone)) == []
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
    assert (found["state"], found["trials"]["cached"], found["budget"]["used"]) == ("done", 7, {"trials": 0})


def test_hours_end_a_sweep_cleanly(
    fresh: Callable[[Any], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(sweep_module, "Spending", partial(Spending, clock=lambda: 60.0 * next(ticks)))
    monkeypatch.setattr("orchestrator.spending.EVERY_S", HOUR)
    home, alone = fresh("hours"), fresh("alone")
    run_here(sweep_file(tmp_path, "s", LONGER), str(alone))
    assert len(run_here(sweep_file(tmp_path, "s", with_budget(LONGER, hours=0.2)), str(home))) == 1
    planned, completed, state, left_out = counts(home)
    assert (state, planned) == ("done", completed)
    assert 0 < completed < 5
    assert left_out == 7 - completed
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


def test_a_grid_has_a_budget_of_trainings(fresh: Callable[[Any], Path], tmp_path: Path) -> None:
    grid = {"trial": TINY, "grid": {"test": {"evaluation.weights": ["best", "final"]}, "seeds": 3}}
    home = fresh("grid")
    file = sweep_file(tmp_path, "s", with_budget(grid, trials=2))
    assert len(run_here(file, str(home))) == 1
    assert counts(home) == (2, 2, "done", 1)
    shown = layout_text(lay_out(load_spec(file), str(home)))
    assert "budget:" not in shown  # one is left
    tight = sweep_file(tmp_path, "s", with_budget(grid | {"trial": TINY | {"episodes": {"ways": 3}}}, trials=1))
    assert "budget: 1 training, less than is left" in layout_text(lay_out(load_spec(tight), str(home)))
    usual = grid | {"trial": {"dataset": {"name": "glyphs"}}}
    long = sweep_file(tmp_path, "s", with_budget(usual, hours=1e-9, trials=1))
    assert "budget: 1e-09 h of" in layout_text(lay_out(load_spec(long), str(home)))
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
    assert set(json.loads(account.read_text())) >= {"seconds", "gpu_seconds", "begun"}
    record.forget()
    assert record.used == Used()
