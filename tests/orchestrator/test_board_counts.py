"""The counts of a running sweep are kept as its trials change: at every moment those of all of its rows."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.board import ENDED_SHOWN, Board
from orchestrator.grid import expand, group_by_training
from orchestrator.home import open_home
from orchestrator.plan import Unit
from orchestrator.rows import Row
from orchestrator.spec_file import load_spec
from orchestrator.status import SweepStatus
from orchestrator.store import Store, keys_of
from orchestrator.sweep_state import count_trials

SEEDS = 90
AT_ONCE = 5
TRIAL = "trial: {training: {iterations: 200, validate_every: 100}}\n"
GRID = TRIAL + f"grid: {{test: {{evaluation.frozen_layers: [0, 2]}}, seeds: {SEEDS}}}\n"
SEARCH = TRIAL + f"search: {{trials: {SEEDS}, space: {{algorithm.inner_lr: {{uniform: [0.1, 1]}}}}}}\n"


@pytest.mark.parametrize("text", [GRID, SEARCH])
def test_counts_are_those_of_all_rows(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    spec = load_spec(tmp_path / "s.yaml")
    statuses: list[SweepStatus] = []
    board = Board(spec, Store(open_home(str(tmp_path / "home"))), {}, None, {}, statuses.append)
    chance = random.Random(1)
    waiting, rows, running = units_of(text, tmp_path), dict[int, Row](), list[Unit]()
    ended: dict[int, str] = {}

    def note(changed: tuple[Row, ...]) -> None:
        rows.update({row.number: row for row in changed})

    def ends(unit: Unit, cached: bool) -> tuple[Row, ...]:
        state = chance.choice(["completed", "completed", "failed"] if spec.grid else ["completed", "failed", "pruned"])
        states = ["completed"] * (len(unit.rows) - 1) + [state]  # of a training that failed, some tests may be there
        ended[unit.number] = state
        accuracy = {"validation_accuracy": chance.choice([0.5, 0.7, 0.9])}
        pairs = zip(unit.rows, states, strict=True)
        return tuple(replace(row, state=one, metrics=accuracy, cached=cached, final=True) for row, one in pairs)

    while waiting or running:
        act = chance.choice(["known", "start", "end", "again"])
        if act == "known" and waiting:
            known = ends(waiting.pop(0), cached=True)
            note(known)
            board.known(Unit(min(row.number for row in known), known))
            continue  # shown with the next change
        if act == "start" and waiting and len(running) < AT_ONCE:
            running.append(waiting.pop(0))
            note(tuple(replace(row, state="running") for row in running[-1].rows))
            board.started(running[-1])
        elif act == "again" and running:
            board.started(chance.choice(running))
        elif act == "end" and running:
            done = ends(running.pop(chance.randrange(len(running))), cached=chance.random() < 0.1)
            note(done)
            board.ended(done)
        else:
            continue
        found, counts = statuses[-1], count_trials(spec, list(rows.values()))
        for name in ("completed", "failed", "pruned", "running", "cached"):
            assert getattr(found, name) == counts[name], name
        assert sorted(line.number for line in found.trials if line.state == "running") == sorted(
            unit.number for unit in running
        )

    best = max(
        (row for number, row in rows.items() if ended.get(number) == "completed"),
        key=lambda row: (row.metrics["validation_accuracy"], -row.number),
    )
    assert statuses[-1].best is not None
    assert statuses[-1].best.number == best.number
    shown = {line.number: line.state for status in statuses for line in status.trials}
    assert shown == ended  # each end was told once at least
    assert max(len(status.trials) for status in statuses) < len(ended) / 2  # what an event costs does not grow
    assert len(statuses[-1].trials) >= ENDED_SHOWN


def units_of(text: str, folder: Path) -> list[Unit]:
    """Of a sweep none of whose trials has begun; a search has the trials of a grid of seeds, one test each."""
    (folder / "units.yaml").write_text(text if text is GRID else TRIAL + f"grid: {{seeds: {SEEDS}}}\n")
    groups = group_by_training(
        expand(load_spec(folder / "units.yaml")), lambda config: keys_of(config, "0" * 20).training
    )
    return [
        Unit(points[0].number, tuple(Row(p.number, p.config, keys_of(p.config, "0" * 20), "planned") for p in points))
        for _, points in groups
    ]
