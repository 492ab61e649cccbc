"""The best trials of a search again under fresh seeds: which, in what state, the same whatever happens on the way."""

from __future__ import annotations

import copy
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from crash_points import Killed, crash_points
from in_process import SEARCH, opened, outcome, run_here, sweep_file, validations
from mlflow_server import Read

from orchestrator import references
from orchestrator.board import Board
from orchestrator.cleanup import TRAININGS, Limits, plan_cleanup
from orchestrator.config_paths import with_values
from orchestrator.confirm import confirmations
from orchestrator.home import open_home
from orchestrator.plan import Unit
from orchestrator.record import SweepRecord
from orchestrator.references import disk_use, references_of
from orchestrator.results import load_study
from orchestrator.rows import Row, best_row, load_rows
from orchestrator.spec import SweepSpec
from orchestrator.status import SweepStatus
from orchestrator.store import Store, keys_of
from orchestrator.summary import summary
from orchestrator.sweep_state import count_trials, status
from orchestrator.tracking_rows import live_view
from orchestrator.tracking_uri import default_uri
from trainers.config import TrialConfig

DATA = "d" * 20
SPACE: dict[str, Any] = {"algorithm.inner_lr": {"uniform": [0.001, 1.0]}}


def search_spec(top: int, seeds: int, trials: int = 8, seed: int = 4, **space: Any) -> SweepSpec:
    confirm = {"top": top, "seeds": seeds}
    search = {"trials": trials, "space": SPACE | space, "confirm": confirm}
    return SweepSpec.model_validate({"name": "s", "trial": {"training": {"seed": seed}}, "search": search})


def asked(spec: SweepSpec, *trials: tuple[dict[str, Any], float]) -> list[tuple[int, int, int]]:
    """(number, confirms, seed) of what confirms trials of (values, validation accuracy)."""
    ended = [(number, with_values(spec.trial, values), value) for number, (values, value) in enumerate(trials)]
    return [(one.number, one.confirms, one.config.training.seed) for one in confirmations(spec, ended)]


def lr(rate: float, **others: Any) -> dict[str, Any]:
    return {"algorithm.inner_lr": rate, **{path.replace("__", "."): value for path, value in others.items()}}


def test_the_best_by_validation_under_seeds_above_the_searchs() -> None:
    spec = search_spec(top=2, seeds=3)
    trials = [(lr(0.1), 0.3), (lr(0.2), 0.9), (lr(0.3), 0.5), (lr(0.4), 0.9)]
    best = [(1_000_001, 1, 5), (2_000_001, 1, 6), (3_000_001, 1, 7), (1_000_003, 3, 5), (2_000_003, 3, 6)]
    assert asked(spec, *trials) == [*best, (3_000_003, 3, 7)]
    grown = [*trials, (lr(0.5), 0.95)]  # another one comes first; what stays has its number and its seeds
    assert asked(spec, *grown)[:4] == [(1_000_004, 4, 5), (2_000_004, 4, 6), (3_000_004, 4, 7), best[0]]
    assert asked(search_spec(top=2, seeds=2), *trials) == [best[0], best[1], best[3], best[4]]
    assert asked(spec) == []


def test_no_seed_that_the_search_can_use_confirms_it() -> None:
    chosen = search_spec(1, 2, **{"training.seed": {"choice": [7, 30, 9]}})
    assert asked(chosen, (lr(0.1, training__seed=9), 0.3)) == [(1_000_000, 0, 31), (2_000_000, 0, 32)]
    ranged = search_spec(1, 1, **{"training.seed": {"int": [0, 3]}})
    assert asked(ranged, (lr(0.1, training__seed=2), 0.3)) == [(1_000_000, 0, 5)]  # the base config's is 4


def test_trials_that_mean_the_same_training_count_once() -> None:
    spec = search_spec(3, 1)
    layers = ("conv1", "conv2", "conv3", "conv4")
    trials = [
        (lr(0.1, algorithm__name="anil"), 0.5),
        (lr(0.1, algorithm__name="maml", algorithm__frozen_layers=layers), 0.5),  # is ANIL
        (lr(0.1, algorithm__name="anil", training__seed=9), 0.9),  # luck with another seed
        (lr(0.1, algorithm__name="anil", evaluation__inner_steps=9), 0.5),
        (lr(0.1, algorithm__name="nil"), 0.4),  # the same training, validated with another head
        (lr(0.2, algorithm__name="anil"), 0.1),
    ]
    assert [confirms for _, confirms, _ in asked(spec, *trials)] == [2, 4, 5]


def row(number: int, state: Any = "completed", confirms: int | None = None, accuracy: float = 0.5) -> Row:
    config = TrialConfig.model_validate({"algorithm": {"inner_lr": 0.1 + number % 1000 / 100}})
    metrics = {"validation_accuracy": accuracy} if state == "completed" else {}
    return Row(number, config, keys_of(config, DATA), state, metrics, confirms=confirms)


def test_confirmations_are_planned_from_the_start_and_never_the_best() -> None:
    spec = search_spec(top=2, seeds=3, trials=3)
    open_yet = [row(0), row(1, "failed"), row(2, "running")]
    assert count_trials(spec, open_yet)["planned"] == 3 + 2 * 3
    tried = [row(0), row(1, "failed"), row(2, "failed")]  # so that there is one to confirm
    again = [row(1_000_000, accuracy=0.9, confirms=0), row(2_000_000, "failed", confirms=0), row(3_000_000, confirms=0)]
    counts = count_trials(spec, tried + again)
    assert counts == {"planned": 6, "completed": 3, "pruned": 0, "failed": 3, "running": 0, "cached": 0}
    best = best_row(tried + again)
    assert best is not None
    assert best.number == 0
    assert [one.name for one in again] == ["0.1", "0.2", "0.3"]


def test_displays_call_a_confirmation_by_its_trial(tmp_path: Path) -> None:
    spec, seen = search_spec(top=1, seeds=1, trials=1), list[SweepStatus]()
    board = Board(spec, Store(open_home(str(tmp_path / "home"))), {}, None, {}, seen.append)
    config = with_values(spec.trial, {"training.seed": 5})
    confirming = replace(row(1_000_000, accuracy=0.9, confirms=0), config=config)
    for its in (row(0), confirming):
        board.started(Unit(its.number, (its,)))
        board.ended((its,))
    assert seen[-1].best is not None
    assert seen[-1].best.number == 0
    assert [(line.name, line.label) for line in seen[-1].trials] == [
        ("0", "maml inner_lr=0.1"),
        ("0.1", "maml inner_lr=0.4 seed=5"),
    ]
    view = live_view(confirming, spec, DATA, {}, ())
    assert (view.name, view.tags["confirms"], view.identity) == ("000.1 maml inner_lr=0.4 seed=5", "0", "1000000")


CONFIRMED = copy.deepcopy(SEARCH)
CONFIRMED["trial"]["training"]["validate_every"] = 2  # one validation a training
CONFIRMED["search"] |= {"seed": 3, "early_stopping": None, "confirm": {"top": 2, "seeds": 2}}


@pytest.mark.usefixtures("every_iteration_saved")
def test_killed_while_it_confirms_and_run_again(fresh: Callable[[Any], Path], tmp_path: Path) -> None:
    alone, plain = fresh("alone"), fresh("plain")
    file = sweep_file(tmp_path, "s", CONFIRMED)
    with crash_points(None) as points:
        assert run_here(file, str(alone)) == []
    whole = outcome(opened(alone), "s")
    assert [number for number, *_ in whole["rows"]] == [0, 1, 2, 1_000_000, 2_000_000, 1_000_001, 2_000_001]
    assert status(opened(alone), "s")["trials"]["planned"] == 3 + 4
    with crash_points(None) as before:  # the search alone: it was not told of what confirms it
        run_here(sweep_file(plain, "s", CONFIRMED | {"search": {**CONFIRMED["search"], "confirm": None}}), str(plain))
    assert outcome(opened(plain), "s")["proposals"] == whole["proposals"]
    for at in range(before.passed + 2, points.passed, (points.passed - before.passed) // 4):
        home, events = fresh(at), []
        with pytest.raises(Killed), crash_points(at):
            run_here(file, str(home))
        rows = load_rows(Store(opened(home)), SweepRecord(opened(home), "s"), SweepRecord(opened(home), "s").spec)
        assert sum(one.confirms is not None for one in rows) == 4
        assert status(opened(home), "s")["state"] == ("done" if at > points.passed - 3 else "interrupted")
        assert run_here(file, str(home), events) == []
        assert validations(events) <= 4
        assert outcome(opened(home), "s") == whole, at


STOPPED_TOO = copy.deepcopy(SEARCH)
STOPPED_TOO["search"] |= {"confirm": {"top": 3, "seeds": 2}}
"""Two trials complete and the third is pruned, so there are two to confirm."""


@pytest.mark.usefixtures("every_iteration_saved")
def test_a_pruned_trial_is_never_confirmed(fresh: Callable[[Any], Path], tmp_path: Path) -> None:
    alone, seen = fresh("stopped"), list[tuple[int, ...]]()
    file = sweep_file(tmp_path, "s", STOPPED_TOO)

    def shown(home: Path) -> tuple[int, ...]:
        trials = status(opened(home), "s")["trials"]
        return tuple(trials[state] for state in ("planned", "completed", "pruned", "failed"))

    with crash_points(None) as points:
        assert run_here(file, str(alone)) == []
    assert shown(alone) == (3 + 2 * 2, 2 + 2 * 2, 1, 0)
    study = load_study("s", str(alone))
    (pruned,) = (one for one in study.rows if one.state == "pruned")
    again = [one for one in study.rows if one.confirms is not None]
    assert Counter(one.confirms for one in again) == {number: 2 for number in range(3) if number != pruned.number}
    assert {(one.state, one.metrics["iterations"], one.cutoffs) for one in again} == {("completed", 2, None)}
    whole = outcome(opened(alone), "s")
    for at in range(points.passed // 4, points.passed, points.passed // 8):
        home = fresh(at)
        with pytest.raises(Killed), crash_points(at):
            run_here(file, str(home))
        seen.append(shown(home))
        assert run_here(file, str(home)) == []
        assert outcome(opened(home), "s") == whole, at
    # as many as there may be, until the search has ended
    assert {(planned, pruned) for planned, _, pruned, _ in seen} == {(3 + 3 * 2, 0), (3 + 2 * 2, 1)}


def test_confirmations_of_a_trial_whose_curve_is_damaged_stay(fresh: Callable[[Any], Path], tmp_path: Path) -> None:
    home = fresh("curve")
    run_here(sweep_file(tmp_path, "s", STOPPED_TOO), str(home))
    there, study = set(opened(home).names("trainings")), load_study("s", str(home))
    assert there == references_of(opened(home), ["s"]).trainings
    number = study.confirmed[0].number
    (proposed,) = (one for one in study.rows if one.number == number)
    (progress,) = (home / "trainings" / proposed.keys.training / "attempts").glob("*/progress.safetensors")
    progress.write_bytes(progress.read_bytes()[1:])
    assert there <= references_of(opened(home), ["s"]).trainings


def test_confirmations_of_a_trial_whose_record_is_damaged_stay(fresh: Callable[[Any], Path], tmp_path: Path) -> None:
    home, file = fresh("damaged"), sweep_file(tmp_path, "s", CONFIRMED)
    run_here(file, str(home))
    there = set(opened(home).names("trainings"))
    best, *_ = load_study("s", str(home)).confirmed
    proposed = next(row for row in load_study("s", str(home)).rows if row.number == best.number)
    (test,) = (home / "trainings" / proposed.keys.training / "evaluations").iterdir()
    whole = test.read_bytes()
    test.write_bytes(whole[:-1])
    assert there <= references_of(opened(home), ["s"]).trainings
    limits = Limits(now_s=time.time() + 1e6, alone=True)
    assert [part for part in plan_cleanup(opened(home), limits) if part.kind == TRAININGS] == []
    test.write_bytes(whole)
    assert there == references_of(opened(home), ["s"]).trainings


def test_results_are_read_of_other_sweeps_that_may_share_trainings_only(
    fresh: Callable[[Any], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, read = fresh("many"), list[str]()
    for name, seed in (("one", 0), ("twin", 0), ("other", 50)):
        content = CONFIRMED | {"trial": copy.deepcopy(CONFIRMED["trial"])}
        content["trial"]["training"]["seed"] = seed
        run_here(sweep_file(tmp_path, name, content), str(home))

    def noted(store: Store, record: SweepRecord, spec: SweepSpec) -> list[Row]:
        read.append(record.name)
        return load_rows(store, record, spec)

    monkeypatch.setattr(references, "load_rows", noted)
    use = disk_use(opened(home), "one")
    assert (read, use.size_bytes) == (["one", "twin"], use.shared_bytes)


def test_a_search_that_grows_is_confirmed_anew(fresh: Callable[[Any], Path], tmp_path: Path) -> None:
    grown_file = copy.deepcopy(CONFIRMED)
    grown_file["search"] |= {"trials": 8}
    home, alone = fresh("grown"), fresh("alone")
    (tmp_path / "alone").mkdir()
    run_here(sweep_file(tmp_path / "alone", "s", grown_file), str(alone))
    mlflow = default_uri(tmp_path)
    run_here(sweep_file(tmp_path, "s", CONFIRMED), str(home), tracking_uri=mlflow)
    old = references_of(opened(home), ["s"]).trainings
    assert len(old) == 3 + 4 == len(opened(home).names("trainings"))
    run_here(sweep_file(tmp_path, "s", grown_file), str(home), tracking_uri=mlflow)
    together, single = outcome(opened(home), "s"), outcome(opened(alone), "s")
    for part in ("rows", "proposals", "spec.yaml"):
        assert together[part] == single[part]
    asked_now, there = references_of(opened(home), ["s"]).trainings, set(opened(home).names("trainings"))
    assert asked_now == references_of(opened(alone), ["s"]).trainings == set(opened(alone).names("trainings"))
    assert there == asked_now | old
    assert len(there - asked_now) == 2  # another is among the best now
    events: list[Any] = []
    run_here(sweep_file(tmp_path, "s", grown_file), str(home), events)
    assert events == []
    study = load_study("s", str(home))
    assert Counter(one.confirms for one in study.rows if one.confirms is not None) == {
        cell.number: 2 for cell in study.confirmed
    }
    assert [cell.number for cell in study.cells] == list(range(8))
    assert f"\nconfirmed: trial {study.confirmed[0].number} under 2 fresh seeds: " in summary(
        str(home), "s", status(opened(home), "s")
    )
    tags = [run.data.tags for run in Read(mlflow).children]
    assert Counter(int(its["metasweep.number"]) for its in tags if "metasweep.superseded" not in its) == Counter(
        row.number for row in study.rows
    )
    assert len(tags) == len(study.rows) + 2
    # one more seed is two more trainings, and nothing else
    grown_file["search"]["confirm"]["seeds"] = 3
    run_here(sweep_file(tmp_path, "s", grown_file), str(home), events)
    assert validations(events) == 2
