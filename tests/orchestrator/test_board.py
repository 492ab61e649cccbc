"""What the display is told of a running grid: one line a training, and what is left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.board import Board
from orchestrator.grid import expand, group_by_training
from orchestrator.home import open_home
from orchestrator.plan import Unit
from orchestrator.rows import Row
from orchestrator.spec_file import load_spec
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
