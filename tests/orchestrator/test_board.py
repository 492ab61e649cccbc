"""What the display is told of a running grid: one line a training, and what is left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.board import Board
from orchestrator.budget import Budget
from orchestrator.grid import expand, group_by_training
from orchestrator.home import open_home
from orchestrator.plan import Unit
from orchestrator.record import SweepRecord
from orchestrator.rows import Row
from orchestrator.spec_file import load_spec
from orchestrator.spending import Spending
from orchestrator.status import SweepStatus
from orchestrator.store import Store, keys_of

GRID = """\
trial: {training: {iterations: 200, validate_every: 100}}
grid:
  train: {episodes.shots: [1, 5]}
  test: {evaluation.frozen_layers: [0, 2, 4]}
  seeds: 2
"""


def test_a_training_is_one_line_however_often_it_is_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "g.yaml").write_text(GRID)
    spec = load_spec(tmp_path / "g.yaml")
    seen: list[SweepStatus] = []
    clock = [100.0]
    monkeypatch.setattr("orchestrator.board.time.monotonic", lambda: clock[0])
    board = Board(spec, Store(open_home(str(tmp_path / "home"))), {}, None, {}, seen.append)
    groups = group_by_training(expand(spec), lambda config: keys_of(config, "0" * 20).training)
    units = [
        Unit(number, tuple(Row(p.number, p.config, keys_of(p.config, "0" * 20), "planned") for p in points))
        for number, (_, points) in enumerate(groups)
    ]
    assert [len(unit.rows) for unit in units] == [3] * 4
    board.planned = len(units)
    board.look = lambda: ([{"CPU": 0.0}], spec.resources)

    board.started(units[0])
    clock[0] += 10
    event = {
        "iteration": 100,
        "validation_accuracy": {"linear": 0.4},
        "train_loss": 1.0,
        "train_accuracy": 0.4,
        "validation_loss": 1.0,
        "timestamp_ms": 0,
    }
    board.validated(units[0], event)
    status = seen[-1]
    assert [(line.number, line.label, line.iteration) for line in status.trials] == [
        (0, "maml shots=1 seed=0 (3 tests)", 100)
    ]
    assert (status.planned, status.running) == (4, 1)
    assert status.resources is not None
    taken = status.resources
    assert (taken.cpu, taken.cpus, taken.gpu, taken.gpus) == (0.0, 0.0, 0.0, 0.0)  # it waits for a machine
    assert status.left_s == 10 / 0.5 * 3.5  # half of one of four took ten seconds

    clock[0] += 10
    tested = {"validation_accuracy": 0.5, "test_accuracy": 0.45}
    board.ended(tuple(replace(row, state="completed", metrics=tested, final=True) for row in units[0].rows))
    status = seen[-1]
    assert [(line.state, line.iteration, line.validation_accuracy) for line in status.trials] == [
        ("completed", 200, 0.5)
    ]
    assert (status.completed, status.left_s) == (1, 60.0)

    board.started(units[1])
    board.ended(
        (
            replace(units[1].rows[0], state="completed", metrics=tested),
            *(replace(row, state="failed", error="out of memory") for row in units[1].rows[1:]),
        )
    )
    assert [(line.state, line.error) for line in seen[-1].trials] == [("completed", None), ("failed", "out of memory")]
    assert (seen[-1].completed, seen[-1].failed) == (1, 1)


def test_what_the_budget_leaves_out_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "g.yaml").write_text("trial: {training: {iterations: 200}}\ngrid: {seeds: 9}\n")
    whole = load_spec(tmp_path / "g.yaml")
    clock = [100.0]
    monkeypatch.setattr("orchestrator.board.time.monotonic", lambda: clock[0])
    record = SweepRecord(open_home(str(tmp_path / "home")), "g")
    units = [
        Unit(one.number, (Row(one.number, one.config, keys_of(one.config, "0" * 20), "planned"),))
        for one in expand(whole)
    ]
    Spending(record, "before", None, 0).begin(units[8].rows)  # and it was interrupted

    def seen_with(**limits: float) -> list[tuple[int, int, float | None]]:
        """(planned, ended, seconds left) as trials that take ten seconds end, and while the last one runs."""
        spec = whole.model_copy(update={"budget": Budget.model_validate(limits)})
        seen: list[SweepStatus] = []
        board = Board(spec, record_store, {}, None, {}, seen.append)
        board.planned, board.spending = 9, Spending(record, "now", spec.budget, 0.5, lambda: clock[0])
        board.known(Unit(0, (replace(units[0].rows[0], state="completed", final=True),)))  # costs nothing
        found = []
        for unit in (units[1], units[2], units[3]):
            board.spending.begin(unit.rows)
            board.started(unit)
            clock[0] += 10
            if unit is not units[3]:
                board.spending.end(unit.training_key)
                board.ended((replace(unit.rows[0], state="completed", final=True),))
            else:
                board.show()
            found.append((seen[-1].planned, seen[-1].completed, seen[-1].left_s))
        return found

    record_store = Store(record.home)
    # one is stored, four may begin, of which one has
    assert seen_with(trials=4) == [(5, 2, 30.0), (5, 3, 20.0), (5, 3, 30.0)]
    for path in (tmp_path / "home" / "sweeps" / "g" / "begun").iterdir():
        path.unlink()
    assert seen_with(hours=100 / 3600) == [(9, 2, 70.0), (9, 3, 60.0), (9, 3, 70.0)]
    assert seen_with(hours=45 / 3600) == [(9, 2, 35.0), (9, 3, 25.0), (9, 3, 15.0)]
    # half a GPU each; one runs
    assert seen_with(gpu_hours=25 / 3600)[-1] == (9, 3, 20.0)
    assert seen_with(hours=25 / 3600)[-1] == (9, 3, 15.0)  # the budget is spent before the one that runs is done
