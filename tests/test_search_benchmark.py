"""benchmarks/search.py: the clock of its races, and its table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from orchestrator.grid import expand
from orchestrator.spec_file import load_spec

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)


class Scripted:
    """Proposes x = 0, 1, 2, …, the fourth only after the first has ended; stops trial 1 at its second validation."""

    def __init__(self) -> None:
        self.asked = 0
        self.told: list[tuple[int, int, bool]] = []

    def ask(self) -> dict[str, float] | None:
        if self.asked == 3 and not any(number == 0 for number, _, _ in self.told):
            return None
        self.asked += 1
        return {"x": float(self.asked - 1)}

    def stops(self, number: int, curve: list[tuple[int, float]]) -> bool:
        return number == 1 and len(curve) == 2

    def tell(self, number: int, curve: list[tuple[int, float]], pruned: bool) -> None:
        self.told.append((number, curve[-1][0], pruned))


def test_a_race_by_hand() -> None:
    """Two workers; trainings of 30 iterations, validated every 10.

    Clock 20: trial 1 is pruned, trial 2 begins. 30: trial 0 ends, trial 3 begins. 50: trial 2 ends. 60: trial 3 ends.
    """
    from searches.race import race
    from searches.table import Table

    curves = {(0.0,): (0.1, 0.5, 0.4), (1.0,): (0.9, 0.9, 0.9), (2.0,): (0.2, 0.3, 0.6), (3.0,): (0.1, 0.1, 0.7)}
    table = Table({"x": (0.0, 1.0, 2.0, 3.0)}, curves, 10)
    contestant: Any = Scripted()
    run = race(contestant, table, 4, 2)
    assert contestant.told == [(1, 20, True), (0, 30, False), (2, 30, False), (3, 30, False)]
    assert [(one.number, one.accuracy, one.spent) for one in run.ended] == [
        (1, 0.9, 40),
        (0, 0.5, 50),
        (2, 0.6, 90),
        (3, 0.7, 110),
    ]
    assert run.elapsed == 60
    assert [run.best(trials) for trials in (1, 2, 3, 4)] == [0.5, 0.5, 0.6, 0.7]
    assert (run.best_by(89), run.spent_until(0.6), run.spent_until(0.9), run.spent_on(2)) == (0.5, 90, None, 50)
    assert race(Scripted(), table, 4, 2, budget=40).ended[-1].spent == 50  # type: ignore[arg-type]


def test_what_early_stopping_saves_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seeds of three trials: one goes on to the same best trial for half of the iterations, the other prunes it."""
    import search
    from searches.race import Ended, Run

    def run(*its: tuple[float, bool, int]) -> Run:
        spent, ended = 0, []
        for number, (accuracy, pruned, iterations) in enumerate(its):
            spent += iterations
            ended.append(Ended(number, accuracy, pruned, iterations, spent))
        return Run(tuple(ended), spent, (0.0,) * len(its))

    entry = search.Entry("ours", "random", 8, 2)
    plain = run((0.5, False, 30), (0.6, False, 30), (0.9, False, 30))
    keeps = run((0.5, False, 30), (0.4, True, 5), (0.9, False, 10))
    loses = run((0.5, False, 30), (0.6, False, 30), (0.2, True, 5))
    monkeypatch.setattr(search, "LONG", (entry,))
    runs = {entry: [keeps, loses], search.Entry("ours", "random", 8): [plain, plain]}
    (row,) = search.stopping_rows(runs, 3)
    assert (row["whole"][0], row["whole"][-1]) == (90 / 65, 2.0)
    assert row["same_best"] == {"reached": 0.5, "fewer": [2.0] * 5}
    assert row["until_best"] == {"reached": 0.5, "fewer": [2.0] * 5}
    assert row["best"][0] == pytest.approx(-15)
    assert search.stopping_rows(runs, 2)[0]["same_best"]["reached"] == 0.5  # the other's best of two is pruned


def test_labels_of_the_figure_lie_apart_and_above_the_axis() -> None:
    from searches.figure import LINE, apart

    assert apart({"a": 10, "b": 100}, 300) == {"a": 10, "b": 100}
    assert apart({"b": 299, "a": 295, "c": 100}, 290) == {"c": 100, "a": 290 - LINE, "b": 290}


def test_the_table_is_of_its_sweep_and_a_search_of_it_runs_on_it() -> None:
    from searches.contestants import Ours
    from searches.race import race
    from searches.table import FILE, SWEEP, read_table

    rows = pq.read_table(FILE).to_pylist()
    table = read_table()
    points = [dict(point.levels) for point in expand(load_spec(SWEEP))]
    for levels, row in zip(points, rows, strict=True):
        assert {path: row[path] for path in levels} == levels
        assert table.curve(levels) == tuple(row["validation_accuracy"])
        assert table.iterations == row["iterations"]
    nearby = {**points[0], "algorithm.inner_lr": 0.14, "training.meta_lr": 0.00172}
    assert table.curve(nearby) == table.curve(points[0])
    assert table.curve({**nearby, "algorithm.inner_lr": 0.142}) != table.curve(points[0])
    run, longer = (race(Ours(table, "random", 0, 99, 3, 4), table, trials, 2) for trials in (15, 20))
    accuracies = [{one.number: one.accuracy for one in each.ended} for each in (run, longer)]
    assert accuracies[0].items() <= accuracies[1].items()
    assert any(one.pruned for one in run.ended)
