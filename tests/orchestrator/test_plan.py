"""Plans: which unit comes next, whatever order results arrive in."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.early_stopping import Cutoffs
from orchestrator.grid import expand, group_by_training
from orchestrator.home import open_home
from orchestrator.plan import GridPlan, Look, Plan, SearchPlan, Unit
from orchestrator.record import SweepRecord
from orchestrator.rows import Row
from orchestrator.search.samplers import SAMPLERS
from orchestrator.spec import SweepSpec
from orchestrator.spec_file import load_spec
from orchestrator.store import keys_of
from trainers.config import TrialConfig

DATA = "a" * 20

SEARCH = {
    "trials": 14,
    "window": 4,
    "space": {
        "algorithm.name": {"choice": ["maml", "anil", "nil"]},
        "algorithm.inner_lr": {"loguniform": [0.01, 1.0]},
        "algorithm.inner_steps": {"int": [1, 5]},
        "algorithm.frozen_layers": {"int": [0, 4], "when": {"algorithm.name": "maml"}},
    },
}


class World:
    """Stands for the store: what is done, and what each config comes to (a function of it alone)."""

    def __init__(self) -> None:
        self.done: dict[str, Row] = {}
        self.ran: list[str] = []

    def look(self, number: int, config: TrialConfig, cutoffs: Cutoffs | None = None) -> Row:
        keys = keys_of(config, DATA)
        known = self.done.get(keys.training + keys.evaluation)
        if known is None:
            return Row(number, config, keys, "planned")
        return Row(number, config, keys, known.state, known.metrics, known.error, final=known.final)

    def run(self, row: Row) -> Row:
        key = row.keys.training + row.keys.evaluation
        assert key not in self.done, "run twice"
        self.ran.append(key)
        if row.config.algorithm.inner_lr > 0.8:
            self.done[key] = Row(row.number, row.config, row.keys, "failed", error="diverged", final=True)
        else:
            score = 1 - abs(row.config.algorithm.inner_lr - 0.3) - 0.05 * row.config.algorithm.inner_steps
            self.done[key] = Row(
                row.number, row.config, row.keys, "completed", {"validation_accuracy": score}, final=True
            )
        return self.look(row.number, row.config)


def drive(plan: Plan, world: World, at_once: int, order: random.Random, stop_after: int | None = None) -> None:
    """Runs a plan with so many units at once, which end in random order; stops early as a kill would."""
    flying: list[Unit] = []
    ended = 0
    while True:
        exhausted = False
        while len(flying) < at_once:
            try:
                unit = plan.next()
            except StopIteration:
                exhausted = True
                break
            if unit is None:
                break
            flying.append(unit)
        if not flying:
            assert exhausted, "nothing in flight and nothing to come"
            return
        if stop_after is not None and ended >= stop_after:
            return
        unit = flying.pop(order.randrange(len(flying)))
        plan.ended(tuple(world.run(row) for row in unit.rows))
        ended += 1


def search_spec(spec_file: Any, **changes: Any) -> SweepSpec:
    return load_spec(spec_file(search={**SEARCH, **changes}))


def unexpected(line: str) -> None:
    raise AssertionError(f"a warning: {line}")


def search_plan(
    spec: SweepSpec,
    record: SweepRecord,
    look: Look,
    on_known: Callable[[Unit], None] = lambda unit: None,
    on_warning: Callable[[str], None] = unexpected,
) -> SearchPlan:
    return SearchPlan(spec, record, look, on_known, on_warning)


def proposals(record: SweepRecord) -> list[dict[str, Any]]:
    return [proposal.to_json() for proposal in record.proposals()]


@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - {"gp"}))  # seconds a proposal; test_search has it
def test_a_search_is_the_same_at_any_concurrency_and_after_kills(tmp_path: Path, spec_file: Any, sampler: str) -> None:
    spec = search_spec(spec_file, sampler=sampler)
    found = []
    for number, (at_once, kills) in enumerate([(1, 0), (2, 0), (4, 0), (2, 6), (3, 9)]):
        world = World()
        record = SweepRecord(open_home(str(tmp_path / f"{sampler}{number}")), "s")
        order = random.Random(number)
        for _ in range(kills):
            drive(search_plan(spec, record, world.look), world, at_once, order, order.randrange(3))
        drive(search_plan(spec, record, world.look), world, at_once, order)
        found.append(proposals(record))
        assert len(found[-1]) == 14
    assert all(other == found[0] for other in found[1:])


def test_what_the_store_has_is_not_handed_out(tmp_path: Path, spec_file: Any) -> None:
    spec = search_spec(spec_file)
    world = World()
    first = SweepRecord(open_home(str(tmp_path / "home")), "first")
    drive(search_plan(spec, first, world.look), world, 2, random.Random(0))
    ran = list(world.ran)
    second = SweepRecord(open_home(str(tmp_path / "home")), "second")
    known: list[Unit] = []
    plan = search_plan(spec, second, world.look, known.append)
    with pytest.raises(StopIteration):
        plan.next()
    assert world.ran == ran
    assert [unit.number for unit in known] == list(range(14))
    assert proposals(second) == proposals(first)


def test_more_trials_continue_the_same_search(tmp_path: Path, spec_file: Any) -> None:
    world = World()
    record = SweepRecord(open_home(str(tmp_path / "grown")), "s")
    drive(search_plan(search_spec(spec_file, trials=6), record, world.look), world, 2, random.Random(1))
    assert len(proposals(record)) == 6
    drive(search_plan(search_spec(spec_file), record, world.look), world, 2, random.Random(2))
    whole = SweepRecord(open_home(str(tmp_path / "whole")), "s")
    drive(search_plan(search_spec(spec_file), whole, World().look), World(), 1, random.Random(3))
    assert proposals(record) == proposals(whole)


def test_a_grid_that_has_grown_runs_a_training_of_which_another_test_failed(spec_file: Any) -> None:
    def plan(layers: list[int], world: World) -> GridPlan:
        grid = {"train": {"algorithm.name": ["maml"]}, "test": {"evaluation.frozen_layers": layers}}
        groups = group_by_training(
            expand(load_spec(spec_file(grid=grid))), lambda config: keys_of(config, DATA).training
        )
        return GridPlan(groups, world.look, lambda unit: None)

    world = World()
    (row,) = plan([0], world).next().rows
    world.done[row.keys.training + row.keys.evaluation] = replace(row, state="failed", error="a bug", final=True)
    with pytest.raises(StopIteration):
        plan([0], world).next()
    assert [row.state for row in plan([0, 2], world).next().rows] == ["failed", "planned"]


@pytest.mark.parametrize("trials", [14, 20], ids=["nothing to propose", "more trials"])
@pytest.mark.parametrize("changed", [0, 9])
def test_results_that_changed_since_a_proposal_was_told_them_are_said_once(
    tmp_path: Path, spec_file: Any, changed: int, trials: int
) -> None:
    """Of 14 proposals with window 4, the last was told the results of 0 to 9."""
    world = World()
    record = SweepRecord(open_home(str(tmp_path / "home")), "s")
    drive(search_plan(search_spec(spec_file), record, world.look), world, 2, random.Random(0))
    stored = proposals(record)
    row = world.look(changed, record.proposals()[changed].config(search_spec(spec_file).trial))
    key = row.keys.training + row.keys.evaluation
    world.done[key] = Row(row.number, row.config, row.keys, "completed", {"validation_accuracy": 0.111}, final=True)
    told: list[str] = []
    plan = search_plan(search_spec(spec_file, trials=trials), record, world.look, on_warning=told.append)
    drive(plan, world, 2, random.Random(1))
    (line,) = told
    assert line.startswith(f"sweep 's': proposals {changed + 4} to 13 were chosen knowing")
    assert "another --name" in line
    assert proposals(record)[:14] == stored


def test_a_result_that_no_proposal_was_told_may_change(tmp_path: Path, spec_file: Any) -> None:
    world = World()
    record = SweepRecord(open_home(str(tmp_path / "home")), "s")
    drive(search_plan(search_spec(spec_file), record, world.look), world, 2, random.Random(0))
    row = world.look(10, record.proposals()[10].config(search_spec(spec_file).trial))
    key = row.keys.training + row.keys.evaluation
    world.done[key] = Row(row.number, row.config, row.keys, "completed", {"validation_accuracy": 0.111}, final=True)
    drive(search_plan(search_spec(spec_file), record, world.look), world, 2, random.Random(0))  # warns of nothing


def test_a_proposal_that_is_gone_is_made_again_as_it_was(tmp_path: Path, spec_file: Any) -> None:
    world = World()
    home = open_home(str(tmp_path / "home"))
    record = SweepRecord(home, "s")
    drive(search_plan(search_spec(spec_file), record, world.look), world, 2, random.Random(0))
    stored, ran = proposals(record), len(world.ran)
    for number in (0, 6, 13):
        (tmp_path / "home" / "sweeps" / "s" / "proposals" / f"{number}.json").unlink()
    drive(search_plan(search_spec(spec_file), record, world.look), world, 2, random.Random(1))
    assert proposals(record) == stored
    assert len(world.ran) == ran


def test_a_damaged_proposal_is_set_aside_and_made_again(tmp_path: Path, spec_file: Any) -> None:
    world, said = World(), []
    home = open_home(str(tmp_path / "home"))
    drive(search_plan(search_spec(spec_file), SweepRecord(home, "s"), world.look), world, 2, random.Random(0))
    stored = proposals(SweepRecord(home, "s"))
    folder = tmp_path / "home" / "sweeps" / "s" / "proposals"
    other = (folder / "4.json").read_bytes()
    (folder / "3.json").write_bytes(other)  # whole, but another's
    assert [one.number for one in SweepRecord(home, "s").proposals()] == [n for n in range(len(stored)) if n != 3]
    assert (folder / "3.json").read_bytes() == other  # who only reads changes nothing
    record = SweepRecord(home.mending(said.append), "s")
    ran = len(world.ran)
    drive(search_plan(search_spec(spec_file), record, world.look), world, 2, random.Random(1))
    assert (proposals(record), len(world.ran)) == (stored, ran)
    (line,) = said
    assert "sweeps/s/proposals/3.json: damaged (it says that it is number 4); set aside as damaged/sweeps/s/" in line
    assert (tmp_path / "home" / "damaged" / "sweeps" / "s" / "proposals" / "3.json").read_bytes() == other


def test_the_window_caps_what_runs_at_once(tmp_path: Path, spec_file: Any) -> None:
    world = World()
    record = SweepRecord(open_home(str(tmp_path / "home")), "s")
    plan = search_plan(search_spec(spec_file, window=3), record, world.look)
    flying = [plan.next() for _ in range(8)]
    assert [unit.number for unit in flying if unit] == [0, 1, 2]
    # proposal 3 waits for 0, whatever else has ended
    for unit in flying[1:3]:
        assert unit is not None
        plan.ended(tuple(world.run(row) for row in unit.rows))
    assert plan.next() is None
    assert len(proposals(record)) == 3


def test_two_proposals_of_one_training_do_not_run_together(tmp_path: Path, spec_file: Any) -> None:
    start = [
        {"algorithm.name": name, "algorithm.inner_lr": 0.3, "algorithm.inner_steps": 2} for name in ("anil", "nil")
    ]
    spec = search_spec(spec_file, start=start, trials=2)
    world = World()
    plan = search_plan(spec, SweepRecord(open_home(str(tmp_path / "home")), "s"), world.look)
    first = plan.next()
    assert first is not None
    assert plan.next() is None
    plan.ended(tuple(world.run(row) for row in first.rows))
    second = plan.next()
    assert second is not None
    assert second.training_key == first.training_key


def test_a_grid_hands_out_what_is_missing(spec_file: Any) -> None:
    grid = {"train": {"algorithm.name": ["maml", "anil", "nil"]}, "seeds": 2}
    cells = expand(load_spec(spec_file(grid=grid)))
    groups = group_by_training(cells, lambda config: keys_of(config, DATA).training)
    assert len(cells) == 6
    assert len(groups) == 4  # anil and nil share
    world = World()
    drive(GridPlan(groups[:2], world.look, lambda unit: None), world, 2, random.Random(0))
    known: list[Unit] = []
    drive(GridPlan(groups, world.look, known.append), world, 2, random.Random(0))
    assert len(known) == 2
    assert len(world.ran) == len(set(world.ran)) == 6
