"""Searches that stop trials early: the same whatever happens to them, and as everybody sees them."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from crash_points import Killed, crash_points
from in_process import STOPPED, TIMELESS, opened, outcome, run_here, sweep_file, validations

from orchestrator.board import Board
from orchestrator.cleanup import Limits, plan_cleanup, remove_parts
from orchestrator.home import open_home
from orchestrator.live import PlainLines
from orchestrator.report.learning_curves import training_curves
from orchestrator.report.markdown_page import facts
from orchestrator.report.provenance import provenance
from orchestrator.report.trial_list import trial_list
from orchestrator.results import load_study
from orchestrator.row_table import results
from orchestrator.rows import find_sweep, load_rows
from orchestrator.store import Store
from orchestrator.sweep_state import status
from orchestrator.tracking_rows import stored_view


@dataclass(frozen=True)
class Undisturbed:
    """A search that nothing happened to, trial after trial."""

    file: Path
    home: Path
    left: dict[str, Any]
    validations: int


@pytest.fixture
def undisturbed(fresh: Callable[[Any], Path], tmp_path: Path) -> Undisturbed:
    file, home, events = sweep_file(tmp_path, "stopped", STOPPED), fresh("undisturbed"), []
    assert run_here(file, str(home), events) == []
    left = outcome(opened(home), "stopped")
    ends = {(state, dict(zip(TIMELESS, values, strict=True))["iterations"]) for _, state, _, values in left["rows"]}
    assert ends == {("completed", 4), ("pruned", 1), ("pruned", 2)}
    return Undisturbed(file, home, left, validations(events))


def test_the_same_at_any_concurrency_and_when_interrupted(
    undisturbed: Undisturbed, fresh: Callable[[Any], Path]
) -> None:
    order = random.Random(0)
    for at_once in (2, 4):
        home, events = fresh(at_once), []
        assert run_here(undisturbed.file, str(home), events, at_once, order) == []
        assert outcome(opened(home), "stopped") == undisturbed.left
        assert validations(events) == undisturbed.validations
    home, kills = fresh("killed"), 0
    while True:
        try:
            with crash_points(20 + 15 * kills):
                assert run_here(undisturbed.file, str(home), None, 3, order) == []
            break
        except Killed:
            kills += 1
    assert kills > 3
    assert outcome(opened(home), "stopped") == undisturbed.left


def test_status_and_rows(undisturbed: Undisturbed) -> None:
    home = opened(undisturbed.home)
    rows = load_rows(Store(home), *find_sweep(home, "stopped"))
    pruned = [row for row in rows if row.state == "pruned"]
    completed = [row for row in rows if row.state == "completed"]
    for row in pruned:
        assert row.cutoffs is not None
        assert dict(row.cutoffs)[int(row.metrics["iterations"])] > row.metrics["validation_accuracy"]
        assert row.metrics.keys() == {"validation_accuracy", "iterations", "train_flops", "adapt_flops"}
        assert row.metrics["train_flops"] == row.metrics["iterations"]  # of one operation each, see in_process
        assert Store(home).manifest(row.keys.training) is None
        assert [one["state"] for one in Store(home).attempts(row.keys.training)] == ["pruned"]
    found = status(home, "stopped")
    assert found["trials"] == {
        **{"planned": 9, "completed": len(completed), "pruned": len(pruned), "failed": 0, "running": 0, "cached": 0}
    }
    assert found["best"]["training_key"] in {row.keys.training for row in completed}
    exported = results("stopped", str(undisturbed.home)).to_pylist()
    for row in pruned:
        its = exported[row.number]
        assert (its["state"], its["iterations"], its["test_accuracy"]) == ("pruned", row.metrics["iterations"], None)


def test_another_sweep_goes_on_from_a_pruned_training_and_this_one_keeps_its_word(
    undisturbed: Undisturbed, fresh: Callable[[Any], Path], tmp_path: Path
) -> None:
    """To the same bits as if it had never been pruned; also with a larger budget."""
    whole = {key: value for key, value in STOPPED["search"].items() if key != "early_stopping"}
    done = undisturbed.validations
    for name, iterations in (("whole", 4), ("longer", 6)):
        trial = STOPPED["trial"] | {"training": STOPPED["trial"]["training"] | {"iterations": iterations}}
        file, events = sweep_file(tmp_path, name, {"trial": trial, "search": whole}), []
        assert run_here(file, str(undisturbed.home), events) == []
        assert validations(events) == 9 * iterations - done
        done = 9 * iterations
        alone = fresh(name)
        assert run_here(file, str(alone)) == []
        its, together = outcome(opened(alone), name), outcome(opened(undisturbed.home), name)
        assert {path: together[path] for path in its} == its
    # The store has all of them whole now, and in the first sweep they are what they were, for everybody.
    events = []
    assert run_here(undisturbed.file, str(undisturbed.home), events) == []
    assert events == []
    assert outcome(opened(undisturbed.home), "stopped")["rows"] == undisturbed.left["rows"]
    seen_as_pruned(undisturbed)


def seen_as_pruned(undisturbed: Undisturbed) -> None:
    """What people see of the search: MLflow, report, display."""
    home = opened(undisturbed.home)
    record, spec = find_sweep(home, "stopped")
    store, shown = Store(home), io.StringIO()
    display = PlainLines(shown)
    board = Board(spec, store, {}, None, {}, display.update)
    study = load_study("stopped", str(undisturbed.home))
    listed, _ = trial_list(study)
    curves = {curve.label.partition(":")[0]: curve.iterations for curve in training_curves(study)}
    rows = [row for row in study.rows if row.state == "pruned"]
    board.planned = 9
    board.show()
    for row in rows:
        end, best = int(row.metrics["iterations"]), 100 * row.metrics["validation_accuracy"]
        view = stored_view(row, spec, record.fingerprints["glyphs"], store)
        assert (view.state, view.tags["state"]) == ("pruned", "pruned")
        assert {point.step for point in view.points} == set(range(1, end + 1))
        assert (view.metrics["iterations"], "test_accuracy" in view.metrics) == (end, False)
        trial = listed[row.number]
        assert (trial.state, trial.outcome) == ("pruned", f"at iteration {end}, validation {best:.1f} %")
        assert f"at {end}</title>" in trial.sparkline
        assert curves[f"trial {row.number}"] == tuple(range(1, end + 1))
        board.ended((row,))
        assert f"trial {row.number} pruned at {end}/4: validation {best:.1f} %" in shown.getvalue()
    made, ends = provenance(study), [int(row.metrics["iterations"]) for row in rows]
    assert (made.missing, made.pruned, made.pruned_iterations) == (0, len(rows), sum(ends))
    assert f"{len(rows)} trials pruned, after {sum(ends)} iterations together" in facts(made)
    assert board.status().pruned == len(rows)


def test_what_a_pruned_trial_rests_on_is_kept_by_clean_and_made_again_where_it_is_gone(
    undisturbed: Undisturbed,
) -> None:
    home, events = open_home(str(undisturbed.home)), []
    parts = plan_cleanup(home, Limits(now_s=2**40, alone=True))
    remove_parts(home, parts, alone=True)
    assert run_here(undisturbed.file, str(undisturbed.home), events) == []
    assert events == []
    for number, state, keys, values in undisturbed.left["rows"]:
        (progress,) = undisturbed.home.glob(f"trainings/{keys.training}/attempts/*/progress.safetensors")
        progress.unlink()
        found = load_rows(Store(home), *find_sweep(home, "stopped"))[number]
        assert found.state == "planned"
        warned = run_here(undisturbed.file, str(undisturbed.home), events)
        assert [f"{keys.training}/manifest.json: damaged" in line for line in warned] == [True] * (state == "completed")
        reached = dict(zip(TIMELESS, values, strict=True))["iterations"]
        assert (validations(events), outcome(opened(undisturbed.home), "stopped")) == (reached, undisturbed.left)
        events.clear()
