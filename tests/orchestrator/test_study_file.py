"""A sweep as a study of Optuna's: opened with Optuna, it says what the rows say."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import CliRunner
from made_store import DATA, fail_trial, put_curve, put_trial, random_accuracies
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from orchestrator.attempt_record import AttemptRecord
from orchestrator.cli import cli
from orchestrator.errors import InputError
from orchestrator.home import open_home
from orchestrator.home_objects import Home
from orchestrator.record import SweepRecord
from orchestrator.rows import Row, best_row, find_sweep, front_rows, load_rows
from orchestrator.search.domains import encoded
from orchestrator.search.export_study import StudyTrial, write_study
from orchestrator.search.proposals import Proposal
from orchestrator.spec import SearchSpec
from orchestrator.spec_file import load_spec
from orchestrator.store import Store, keys_of
from orchestrator.study_file import export_study

TWO = "[{minimize: adapt_flops}, {maximize: validation_accuracy}]"
TEXT = """\
trial:
  dataset: {name: glyphs}
  training: {iterations: 200, validate_every: 100}
search:
  trials: 20
  space:
    algorithm.name: {choice: [maml, anil]}
    algorithm.inner_lr: {loguniform: [0.01, 1.0]}
    algorithm.inner_steps: {int: [1, 9]}
    algorithm.frozen_layers: {choice: [0, [conv1, head]], when: {algorithm.name: maml}}
"""
ENDINGS = ["db", "log"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return made(tmp_path, TEXT)


def made(folder: Path, text: str) -> Home:
    """Six proposals: four completed, one failed, one that nobody runs."""
    path = folder / "made.yaml"
    path.write_text(text)
    spec, home = load_spec(path), open_home(str(folder / "home"))
    record, store = SweepRecord(home, "made"), Store(home)
    record.put_spec(spec, {"glyphs": DATA})
    for number in range(6):
        values: dict[str, Any] = {
            "algorithm.name": "maml" if number % 2 else "anil",
            "algorithm.inner_lr": 0.1 + number / 10,
            "algorithm.inner_steps": 1 + number,
        }
        if number % 2:
            values["algorithm.frozen_layers"] = 0 if number == 1 else ("conv1", "head")
        config = record.put_proposal(Proposal(number, values, "told")).config(spec.trial)
        if number < 4:
            put_trial(store, config, random_accuracies(values, 0), (0.5, 0.9, 0.7, 0.6)[number])
            put_curve(store, config)
        elif number == 4:
            fail_trial(store, config, "the training loss is nan")
    return home


def rows_of(home: Home) -> tuple[SearchSpec, list[Row]]:
    record, spec = find_sweep(home, "made")
    assert spec.search is not None
    return spec.search, load_rows(Store(home), record, spec)


def exported(home: Home, folder: Path, ending: str = "db") -> optuna.Study:
    path = folder / f"study.{ending}"
    export_study("made", home.url, str(path))
    assert [one.name for one in folder.glob("*study*")] == [path.name]  # nothing is left beside it
    return opened(path)


def opened(path: Path) -> optuna.Study:
    storage: Any = f"sqlite:///{path}" if path.suffix == ".db" else JournalStorage(JournalFileBackend(str(path)))
    return optuna.load_study(study_name="made", storage=storage)


@pytest.mark.parametrize("ending", ENDINGS)
def test_trials_are_the_rows(home: Home, tmp_path: Path, ending: str) -> None:
    study = exported(home, tmp_path, ending)
    search, rows = rows_of(home)
    assert study.directions == [optuna.study.StudyDirection.MAXIMIZE]
    assert study.metric_names == ["validation_accuracy"]
    states = [TrialState.COMPLETE] * 4 + [TrialState.FAIL, TrialState.WAITING]
    assert [trial.state for trial in study.trials] == states
    for trial, row, proposal in zip(study.trials, rows, SweepRecord(home, "made").proposals(), strict=True):
        assert trial.number == row.number == trial.user_attrs["number"]
        assert trial.params == {path: encoded(search.space[path], value) for path, value in proposal.values.items()}
        assert ("algorithm.frozen_layers" in trial.distributions) == (row.config.algorithm.name == "maml")
        assert trial.user_attrs["training_key"] == row.keys.training
        assert trial.user_attrs.get("test_accuracy") == row.metrics.get("test_accuracy")
        assert trial.user_attrs.get("error") == row.error
        assert trial.values == ([row.metrics["validation_accuracy"]] if row.state == "completed" else None)
        assert trial.intermediate_values == ({100: 0.1, 200: 0.2} if row.state == "completed" else {})
        if row.state == "completed":
            assert trial.datetime_start == datetime.fromtimestamp(1_764_000_000)
            assert trial.datetime_complete == datetime.fromtimestamp(1_764_000_010)
    best = best_row(rows)
    assert best is not None
    assert study.best_trial.number == best.number
    assert study.trials[3].distributions["algorithm.inner_lr"] == optuna.distributions.FloatDistribution(
        0.01, 1, log=True
    )


@pytest.mark.parametrize("ending", ENDINGS)
def test_of_several_objectives_the_front_is_optunas(tmp_path: Path, ending: str) -> None:
    home = made(tmp_path, TEXT.replace("  space:", f"  objective: {TWO}\n  space:"))
    study = exported(home, tmp_path, ending)
    search, rows = rows_of(home)
    front = {row.number for row in front_rows(rows, search.objective)}
    assert {trial.number for trial in study.best_trials} == front
    assert 1 < len(front) < 4
    assert [one.name for one in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    first = rows[0].metrics
    assert study.trials[0].values == [first["adapt_flops"], first["validation_accuracy"]]
    assert study.trials[0].intermediate_values == {100: 0.1, 200: 0.2}


@pytest.mark.parametrize("ending", ENDINGS)
def test_twice_is_the_same_and_a_sweep_that_went_on_takes_its_place(home: Home, tmp_path: Path, ending: str) -> None:
    before = exported(home, tmp_path, ending).trials
    assert exported(home, tmp_path, ending).trials == before
    proposal = SweepRecord(home, "made").proposals()[5]
    config = proposal.config(load_spec(tmp_path / "made.yaml").trial)
    attempt = AttemptRecord(Store(home), keys_of(config, DATA).training, {"sweep": "made", "number": 5, "run": "r"})
    SweepRecord(home, "made").home.put_json("sweeps/made/run.json", {"run": "r"})
    attempt.begin({"device": "a", "instruction_set": "b", "torch": "c", "threads": 1})
    with SweepRecord(home, "made").lock():
        running = exported(home, tmp_path, ending).trials
    assert running[:5] == before[:5]
    assert (running[5].state, running[5].params) == (TrialState.RUNNING, before[5].params)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_disk_that_is_full_leaves_the_export_that_was_there(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    exported(home, tmp_path, ending)
    path, copy = tmp_path / f"study.{ending}", shutil.copyfile
    before = path.read_bytes()

    def full(source: Path, target: Path) -> object:
        if target.parent != tmp_path:
            return copy(source, target)
        target.write_bytes(source.read_bytes()[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(InputError, match="No space left on device"):
        export_study("made", home.url, str(path))
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.glob("*study*")] == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_trial_that_was_stopped_early_has_its_curve_and_no_value(home: Home, tmp_path: Path, ending: str) -> None:
    """Its record of times is gone: then it has those of the first that is known."""
    search, _ = rows_of(home)
    chosen = {"algorithm.name": "anil", "algorithm.inner_lr": 0.1, "algorithm.inner_steps": 1}
    stopped = StudyTrial("pruned", chosen, (), {100: 0.25}, None, None, {"number": 0})
    ended = StudyTrial("completed", chosen, (0.5,), {}, 1_764_000_000_000, 1_764_000_010_000, {"number": 1})
    write_study(tmp_path / f"s.{ending}", "made", "me", search, [stopped, ended])
    first, second = opened(tmp_path / f"s.{ending}").trials
    assert (first.state, first.values, first.intermediate_values) == (TrialState.PRUNED, None, {100: 0.25})
    assert (first.datetime_start, first.datetime_complete) == (second.datetime_start, second.datetime_start)


def test_the_curve_of_a_pruned_trial_ends_at_its_rung(tmp_path: Path) -> None:
    """However far the store has its training: another sweep went on."""
    stopping = "  early_stopping: {name: asha, grace_iterations: 100}\n  space:"
    home = made(tmp_path, TEXT.replace("  space:", stopping))
    record, store = SweepRecord(home, "made"), Store(home)
    values = {"algorithm.name": "anil", "algorithm.inner_lr": 0.9, "algorithm.inner_steps": 2}
    proposal = record.put_proposal(Proposal(6, values, "told", ((100, 0.3),)))
    config = proposal.config(load_spec(tmp_path / "made.yaml").trial)
    put_trial(store, config, random_accuracies(values, 0), 0.5)
    put_curve(store, config)
    trial = exported(home, tmp_path).trials[6]
    assert (trial.state, trial.values, trial.intermediate_values) == (TrialState.PRUNED, None, {100: 0.1})


def test_what_confirms_a_search_is_no_trial_of_its_study(tmp_path: Path) -> None:
    home = made(tmp_path, TEXT.replace("  trials: 20\n", "  trials: 6\n  confirm: {top: 1, seeds: 2}\n"))
    search, rows = rows_of(home)
    put_trial(Store(home), rows[5].config, random_accuracies({}, 5), 0.8)
    search, rows = rows_of(home)
    assert search.confirm is not None
    assert [row.confirms for row in rows[6:]] == [1, 1]
    assert [trial.user_attrs["number"] for trial in exported(home, tmp_path).trials] == [0, 1, 2, 3, 4, 5]


def test_what_waits_is_asked_for_next_with_its_parameters(home: Home, tmp_path: Path) -> None:
    study = exported(home, tmp_path)
    trial = study.ask()
    assert trial.number == 5
    assert trial.suggest_int("algorithm.inner_steps", 1, 9) == 6


def text(path: Path) -> None:
    path.write_text("my notes\n")


def other_study(path: Path) -> None:
    storage: Any = f"sqlite:///{path}" if path.suffix == ".db" else JournalStorage(JournalFileBackend(str(path)))
    optuna.create_study(storage=storage, study_name="made").add_trial(optuna.create_trial(value=1.0))


def other_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (x INTEGER)")


@pytest.mark.parametrize(
    ("ending", "there"), [*((one, how) for one in ENDINGS for how in (text, other_study)), ("db", other_database)]
)
def test_nothing_else_is_overwritten(home: Home, tmp_path: Path, ending: str, there: Callable[[Path], None]) -> None:
    path = tmp_path / f"study.{ending}"
    there(path)
    content = path.read_bytes()
    with pytest.raises(InputError, match=r"is there, and is not an export of sweep 'made' of this home alone; name"):
        export_study("made", home.url, str(path))
    assert path.read_bytes() == content
    assert [one.name for one in tmp_path.glob("*study*")] == [path.name]


def test_a_study_added_to_an_export_is_not_lost(home: Home, tmp_path: Path) -> None:
    exported(home, tmp_path)
    optuna.create_study(storage=f"sqlite:///{tmp_path / 'study.db'}", study_name="mine")
    with pytest.raises(InputError, match="is not an export"):
        exported(home, tmp_path)


def test_bad_input_is_a_line(home: Home, tmp_path: Path) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text("grid: {seeds: 2}\n")
    SweepRecord(home, "grid").put_spec(load_spec(grid), {"glyphs": DATA})
    for name, output, words in (
        ("grid", str(tmp_path / "x.db"), "'grid' is a grid, and Optuna has searches only"),
        ("made", None, "needs --output FILE; FILE.db becomes SQLite, any other a journal"),
        ("made", "", "needs --output FILE"),
        ("made", str(tmp_path), "is a folder"),
        ("made", str(tmp_path / "absent" / "x.db"), "No such file or directory; name a file that can be written"),
        ("mad", str(tmp_path / "x.db"), "did you mean 'made'"),
    ):
        with pytest.raises(InputError, match=words):
            export_study(name, home.url, output)


def test_the_command_writes_it(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "a folder's {odd} name? 100%" / "study.db"
    path.parent.mkdir()
    arguments = ["export", "made", "--home", home.url, "--format", "optuna", "--output", str(path)]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert (done.exit_code, done.output) == (0, "")
    (path.parent / "study.db").rename(tmp_path / "plain.db")
    assert len(opened(tmp_path / "plain.db").trials) == 6
