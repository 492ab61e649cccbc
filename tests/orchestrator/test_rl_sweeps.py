"""Sweeps of reinforcement learning: the same spec, store, search and report as those of few-shot learning."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from in_process import Event, opened, outcome, run_here, sweep_file, validations

from orchestrator.board import Board
from orchestrator.cluster.execute import request, run_request
from orchestrator.doctor import examine
from orchestrator.errors import InputError, SpecError
from orchestrator.inputs import Where
from orchestrator.layout import lay_out, layout_text
from orchestrator.preview import preview
from orchestrator.report.accuracy_by_factor import Line, accuracy_by_factor, by_axis, factor_lines
from orchestrator.report.relations import judged_relations
from orchestrator.report.return_curves import return_curves
from orchestrator.report.trajectories import trajectories
from orchestrator.report.write import report_files
from orchestrator.results import Study, cells_table, load_study
from orchestrator.row_table import results
from orchestrator.rows import best_row, confidence_95
from orchestrator.single import run_single
from orchestrator.spec import Resources
from orchestrator.spec_file import load_spec, spec_to_yaml
from orchestrator.status import TrialLine
from orchestrator.status_text import progress, result
from orchestrator.store import Store, keys_of
from orchestrator.summary import summary
from orchestrator.sweep_state import status
from orchestrator.tracked_outcome import outcome as outcome_in_mlflow
from orchestrator.tracking import write_all
from orchestrator.tracking.client import open_client
from orchestrator.tracking_rows import stored_view, sweep_view
from trainers.config import TrialConfig
from trainers.problems import problem_of
from trainers.rl.canonical import environment_fingerprint, resolved_training
from trainers.rl.config import RLConfig
from trainers.rl.problem import EnvironmentSource

TINY: dict[str, Any] = {
    "problem": "rl",
    "environment": {"name": "navigation_2d", "horizon": 10},
    "policy": {"hidden": [8, 8]},
    "sampling": {"trajectories": 2},
    "training": {"iterations": 2, "validate_every": 1, "meta_batch": 2, "validation_tasks": 2},
    "evaluation": {"tasks": 3},
}
GRID = {
    "trial": TINY,
    "grid": {
        "train": {"algorithm.name": ["maml", "anil"]},
        "test": {"evaluation.inner_steps": [0, 1]},
        "seeds": 2,
        "compare": {"baseline": {"algorithm.name": "maml"}},
        "published": "table2-rl",
    },
}
SEARCH = {
    "trial": TINY,
    "search": {
        "trials": 4,
        "window": 1,
        "sampler": "random",
        "space": {
            "algorithm.inner_lr": {"loguniform": [0.01, 1.0]},
            "algorithm.inner_steps": {"int": [1, 2]},
            "algorithm.frozen_layers": {"int": [0, 2]},
        },
        "early_stopping": {"name": "asha", "grace_iterations": 1},
        "confirm": {"top": 1, "seeds": 2},
    },
}


def with_(trial: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    return {section: (trial.get(section, {}) | values) for section, values in changes.items()} | {
        section: values for section, values in trial.items() if section not in changes
    }


@pytest.fixture(scope="module")
def grid_home(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A home with the grid, and nothing that a dataset would need."""
    folder = tmp_path_factory.mktemp("rl")
    run_here(sweep_file(folder, "grid", GRID), str(folder / "home"))
    return str(folder / "home")


@pytest.fixture(scope="module")
def study(grid_home: str) -> Study:
    return load_study("grid", grid_home)


def test_rows_are_means_of_the_returns_that_the_store_has(grid_home: str, study: Study) -> None:
    rows = results("grid", grid_home).to_pylist()
    assert [row["state"] for row in rows] == ["completed"] * 8
    store = Store(opened(grid_home))
    for row, its in zip(rows, study.rows, strict=True):
        manifest = store.manifest(its.keys.training)
        assert manifest is not None
        scores = store.scores(its.config, its.keys, manifest)
        assert scores is not None
        assert set(scores) == {"return_before", "return_after"}
        for column, values in scores.items():
            assert row[column] == values.mean()
            assert row[f"{column}_ci95"] == confidence_95(values)
        assert row["test_tasks"] == 3
        assert row["environment_steps"] == 2 * 2 * 2 * 2 * 10  # iterations, tasks, trajectories, rounds, horizon
        assert row["problem"] == "rl"
        assert "test_accuracy" not in row
        without_steps = row["evaluation.inner_steps"] == 0
        assert (row["return_before"] == row["return_after"]) == without_steps


def test_the_best_row_has_the_highest_return_though_all_are_below_0(grid_home: str, study: Study) -> None:
    best = best_row(study.rows)
    assert best is not None
    assert best.validation == max(row.validation for row in study.rows) < 0
    assert status(opened(grid_home), "grid")["best"]["metrics"]["validation_return"] == best.validation


def test_the_same_again_runs_nothing_and_no_dataset_is_looked_for(grid_home: str) -> None:
    events: list[Event] = []
    run_here(sweep_file(Path(grid_home).parent, "grid", GRID), grid_home, events)
    assert events == []
    assert not (Path(grid_home) / "datasets").exists()
    assert json.loads((Path(grid_home) / "sweeps/grid/datasets.json").read_text())["navigation_2d"]


def test_a_training_that_was_stopped_ends_in_the_same_bits(tmp_path: Path) -> None:
    longer = {"trial": with_(TINY, training={"iterations": 4}), "grid": {"seeds": 1}}
    shorter = {"trial": TINY, "grid": {"seeds": 1}}
    ends = []
    for number, files in enumerate([[("short", shorter), ("sweep", longer)], [("sweep", longer)]]):
        home, events = str(tmp_path / f"home{number}"), []  # type: tuple[str, list[Event]]
        for name, content in files:
            events.clear()
            run_here(sweep_file(tmp_path, name, content), home, events)
        assert validations(events) == (2 if number == 0 else 4)
        (manifest,) = (value for path, value in _outcome(home, "sweep").items() if path.endswith("-4/manifest"))
        ends.append(manifest)
    assert ends[0] == ends[1]


def _outcome(home: str, name: str) -> dict[str, Any]:
    from trainers.few_shot import FewShot

    assert FewShot.metrics  # the rows of another problem have none of them
    return outcome(opened(home), name, whole=False)


def test_a_search_maximizes_the_return_stops_early_and_confirms(tmp_path: Path) -> None:
    file, home = sweep_file(tmp_path, "search", SEARCH), str(tmp_path / "home")
    run_here(file, home)
    study = load_study("search", home)
    assert study.spec.search is not None
    assert [one.plain() for one in study.spec.search.objective] == [{"maximize": "validation_return"}]
    states = [row.state for row in study.rows if row.confirms is None]
    assert states.count("completed") + states.count("pruned") == 4
    assert "pruned" in states
    assert [row.state for row in study.rows if row.confirms is not None] == ["completed"] * 2
    files, _ = report_files(study)
    page = files["index.html"].decode()
    assert "accuracy" not in page
    assert "validation return" in page


def test_a_search_for_return_and_cost_reports_its_front(tmp_path: Path) -> None:
    objective = [{"maximize": "validation_return"}, {"minimize": "train_flops"}]
    space = {"algorithm.inner_steps": {"int": [1, 2]}, "algorithm.inner_lr": {"loguniform": [0.01, 1.0]}}
    search = {"trials": 3, "window": 1, "sampler": "random", "objective": objective, "space": space}
    home = str(tmp_path / "home")
    run_here(sweep_file(tmp_path, "front", {"trial": TINY, "search": search}), home)
    study = load_study("front", home)
    files, _ = report_files(study)
    table = list(csv.DictReader(files["tables/pareto-front.csv"].decode().splitlines()))
    by_number = {row.number: row.metrics for row in study.rows}
    shown = [(float(row["validation_return"]), float(row["train_flops"])) for row in table]
    points = [(its["validation_return"], its["train_flops"]) for its in by_number.values()]
    better = [any(b[0] >= a[0] and b[1] <= a[1] and b != a for b in points) for a in points]
    assert sorted(shown) == sorted(point for point, beaten in zip(points, better, strict=True) if not beaten)
    assert "validation return" in files["figures/pareto-train-flops.svg"].decode()
    assert "accuracy" not in files["index.html"].decode()


def test_a_policy_that_diverges_is_a_recorded_failure(tmp_path: Path) -> None:
    content = {"trial": with_(TINY, algorithm={"inner_lr": 1e30}), "grid": {"seeds": 1}}
    home = str(tmp_path / "home")
    run_here(sweep_file(tmp_path, "sweep", content), home)
    (row,) = load_study("sweep", home).rows
    assert row.state == "failed"
    assert "iteration" in (row.error or "")
    assert Store(opened(home)).failure(row.keys.training) == row.error


def test_a_test_that_diverges_is_the_failure_of_that_test_alone(tmp_path: Path) -> None:
    """ANIL's head with its small rate can be tested, its body with its huge one cannot."""
    trial = with_(TINY, algorithm={"name": "anil", "inner_lr": [1e30, 1e30, 0.1]})
    content = {"trial": trial, "grid": {"test": {"evaluation.frozen_layers": [0, 2]}}}
    home = str(tmp_path / "home")
    run_here(sweep_file(tmp_path, "sweep", content), home)
    rows = load_study("sweep", home).rows
    assert [row.state for row in rows] == ["failed", "completed"]
    assert "test tasks 0 to 2: a return after inner step 1 is not finite" in (rows[0].error or "")


def test_returns_of_different_environments_share_no_axis(study: Study) -> None:
    here, there = (Line("maml", (), source) for source in ("navigation_2d", "half_cheetah_direction"))
    assert by_axis(study, [here, there, here]) == {"navigation_2d": [here, here], "half_cheetah_direction": [there]}
    assert by_axis(study, [here, here]) == {"": [here, here]}


@pytest.mark.parametrize("names", [["navigation_2d"], ["navigation_2d", "half_cheetah_direction"]])
def test_nothing_is_the_best_of_several_environments_and_legends_name_none(names: list[str], tmp_path: Path) -> None:
    levels = {"environment.name": names, "algorithm.name": ["maml", "anil"]}
    content = {"trial": TINY, "grid": {"train": levels, "test": {"evaluation.inner_steps": [0, 1, 2]}, "seeds": 1}}
    home = str(tmp_path / "home")
    run_here(sweep_file(tmp_path, "several", content), home)
    study, one = load_study("several", home), len(names) == 1
    assert (best_row(study.rows) is not None) == one
    found = status(opened(home), "several")
    assert (found["best"] is not None) == one
    assert ("best trial" in summary(home, "several", found)) == one

    sources = {row.config.source: problem_of(row.config).source(row.config.source) for row in study.rows}
    board = Board(study.spec, Store(opened(home)), sources, None, {}, lambda said: None)
    board.ended(tuple(row for row in study.rows if row.config.source == names[0]))
    assert (board.status().best is not None) == one

    weights = outcome_in_mlflow(opened(home), "several", "best", with_report=False).weights
    assert len(weights) == len(names)
    assert all(read() for read in weights.values())

    lines = factor_lines(study, "evaluation.inner_steps")
    assert [line.label for line in lines] == ["maml", "anil"] * len(names)
    assert {line.source for line in lines} == set(names)
    titles = {figure.title for figure in accuracy_by_factor(study)}
    plain = "Test return against inner steps in the test"
    assert titles == ({plain} if one else {f"{plain}: {name}, part {k} of 2" for k, name in enumerate(names, start=1)})


def test_live_lines_write_a_return_as_tables_do(study: Study) -> None:
    line = TrialLine(3, "completed", "anil", 2, 2, validation_accuracy=-16.74, test_accuracy=-0.04, unit="return")
    assert result(line) == "trial 3: validation −16.7, test 0.0 (anil)"
    assert progress(line) == "iteration 2/2, validation −16.7"
    assert result(line) == f"trial 3: validation {study.score.number(-16.74)}, test {study.score.number(-0.04)} (anil)"


def test_tables_and_captions_count_tasks(study: Study) -> None:
    files, _ = report_files(study)
    rows = list(csv.DictReader(files["tables/comparisons.csv"].decode().splitlines()))
    assert {(row["tasks"], row["paired_by"]) for row in rows} == {("3", "task")}
    assert "on 24 test tasks" in files["report.md"].decode()  # of 8 evaluations
    assert "test episodes" not in files["index.html"].decode()
    (paths,) = trajectories(study)
    assert "tasks of the test (3), with the first trajectories of each (2)" in paths.caption


def test_figures_and_tables_speak_of_returns(study: Study) -> None:
    (curves,) = return_curves(study)
    assert "<svg" in curves.svg
    assert "accuracy" not in curves.caption
    (paths,) = trajectories(study)
    assert paths.png[:4] == b"\x89PNG"
    table = cells_table(study)
    assert {"return_after", "return_before", "validation_return", "environment_steps", "tasks"} <= set(
        table.column_names
    )
    names = {one.name: one.outcome for one in judged_relations(study)}
    assert names == {"g1": "not tested here", "g2": "not tested here", "g3": "not tested here"}  # two cells have each
    files, _ = report_files(study)
    assert "accuracy" not in files["index.html"].decode()


def test_a_relation_between_returns_is_judged_as_they_are(tmp_path: Path) -> None:
    content = {"trial": TINY, "grid": {**GRID["grid"], "test": {}, "seeds": 3}}  # type: ignore[dict-item]
    home = str(tmp_path / "home")
    run_here(sweep_file(tmp_path, "table", content), home)
    study = load_study("table", home)
    judged = {one.name: one for one in judged_relations(study)}
    (estimate,) = judged["g1"].estimates
    maml, anil = study.cells
    assert estimate.value == pytest.approx(anil.accuracies.mean() - maml.accuracies.mean())
    assert (estimate.unit, judged["g1"].published) == ("return", "−20.1 ± 2.3 minus −20.3 ± 3.2: +0.2")
    assert (judged["g1"].outcome == "holds") == (estimate.low >= -3.0)


def test_mlflow_gets_returns_under_their_names(grid_home: str, study: Study) -> None:
    store = Store(opened(grid_home))
    view = stored_view(study.rows[0], study.spec, "0" * 20, store)
    assert {point.key for point in view.points} == {
        *("train_loss", "train_return", "validation_return"),
        *("validation_return_before", "environment_steps_taken"),
    }
    assert view.dataset is None
    assert view.tags["environment"] == "navigation_2d"
    assert view.metrics["best_validation_return"] == study.rows[0].validation
    assert sweep_view(study.spec, opened(grid_home)).score.test == "return_after"


def test_a_grid_says_what_is_left_to_run(grid_home: str, study: Study, tmp_path: Path) -> None:
    done = lay_out(study.spec, grid_home)
    assert (done.stored, done.trainings, done.estimate_core_s) == (4, 4, 0)
    assert lay_out(study.spec, str(tmp_path)).stored is None


def test_a_grid_that_cannot_be_measured_here_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainers.rl.environments.find_spec", lambda name: None)
    content = {"trial": with_(TINY, environment={"name": "half_cheetah_direction"}), "grid": {"seeds": 1}}
    layout = lay_out(load_spec(sweep_file(tmp_path, "sweep", content)), str(tmp_path / "home"))
    assert layout.to_json()["estimate_core_s"] is None
    (line,) = (line for line in layout_text(layout).splitlines() if line.startswith("left:"))
    assert line == (
        "left:   not known: environment half_cheetah_direction needs gymnasium and mujoco: install them with "
        "pip install 'metasweep[rl]'"
    )


def test_the_plan_and_the_lines_of_a_trial_have_nothing_of_few_shot_learning(tmp_path: Path) -> None:
    home, warnings = str(tmp_path / "home"), []  # type: tuple[str, list[str]]
    plan = preview(load_spec(sweep_file(tmp_path, "grid", GRID)), Where(home), warnings.append)
    assert "datasets" not in plan
    assert plan["environments"] == ["navigation_2d"]
    lines: list[str] = []
    run_single(RLConfig.model_validate(TINY), home, lambda done, of: None, lines.append)
    assert re.fullmatch(r"1/2: loss −?\d\.\d+, validation −\d+\.\d", lines[0]), lines


def test_a_new_experiment_of_policies_opens_on_their_return(grid_home: str, study: Study, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    write_all(uri, "policies", sweep_view(study.spec, opened(grid_home)), [], "FINISHED")
    tags = open_client(uri).get_experiment_by_name("policies").tags
    assert tags["mlflow.experiment.primaryMetric.name"] == "best_validation_return"


def test_doctor_says_which_environments_this_machine_can_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> tuple[str, str, str]:
        (its,) = (one for one in examine(str(tmp_path)) if one.what == "environments")
        return its.state, its.found, its.way_out

    everything = "navigation_2d, half_cheetah_direction, half_cheetah_velocity"
    monkeypatch.setattr("trainers.rl.environments.find_spec", lambda name: name)
    assert found() == ("ok", everything, "")
    monkeypatch.setattr("trainers.rl.environments.find_spec", lambda name: None)
    state, those, way_out = found()
    assert (state, those) == ("note", "navigation_2d")
    assert way_out.endswith("pip install 'metasweep[rl]'")


def test_an_environment_of_another_version_is_refused_by_driver_and_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, file = str(tmp_path / "home"), sweep_file(tmp_path, "one", {"trial": TINY, "grid": {"seeds": 1}})
    assert run_here(file, home) == []
    config, source = RLConfig.model_validate(TINY), EnvironmentSource("navigation_2d", "0" * 20)
    asked_by = {"sweep": "one", "number": 0, "run": "r", "git_commit": None}
    (lost,) = run_request(request(0, opened(home), source, [config], Resources(cpu=1), asked_by), {})
    assert (lost["kind"], lost["failure"]) == ("lost", "lost")
    assert "navigation_2d is of another version here" in lost["cause"]
    monkeypatch.setattr("trainers.rl.problem.environment_fingerprint", lambda name, version: source.fingerprint)
    with pytest.raises(InputError, match=f"environment 'navigation_2d' has changed .*, {source.fingerprint} is there"):
        run_here(file, home)


def test_configs_that_mean_the_same_training_are_one() -> None:
    def key(name: str = "navigation_2d", version: int = 1, **changes: Any) -> str:
        config = RLConfig.model_validate(with_(TINY, **changes))
        return keys_of(config, environment_fingerprint(name, version)).training

    anil = key(algorithm={"name": "anil"})
    assert key(algorithm={"name": "maml", "frozen_layers": 2}) == anil != key()
    assert key(algorithm={"inner_lr": [0.1, 0.1, 0.1]}) == key()
    assert key(environment={"horizon": 100}) == key(environment={"horizon": None}) != key()
    assert key(evaluation={"tasks": 9}) == key()
    assert key(version=2) != key()
    assert key(training={"seed": 1}) != key()


def test_a_standard_deviation_that_cannot_adapt_is_in_no_key() -> None:
    def keys(adapts: bool, name: str, frozen: Any = 0, **evaluation: Any) -> tuple[str, str]:
        changes = {
            "policy": {"adapt_std": adapts},
            "algorithm": {"name": name, "frozen_layers": frozen},
            "evaluation": evaluation,
        }
        config = RLConfig.model_validate(with_(TINY, **changes))
        its = keys_of(config, environment_fingerprint("navigation_2d", 1))
        assert ("adapt_std" in resolved_training(config)["policy"]) == ("head" in config.adapted_layers)
        return its.training, its.evaluation

    for name in ("maml", "anil"):
        assert keys(True, name)[0] != keys(False, name)[0]
        assert keys(True, name)[1] == keys(False, name)[1]  # the training's key says it
    body: dict[str, Any]
    for body in ({"name": "boil"}, {"name": "maml", "frozen": ["head"]}):
        assert keys(True, **body) == keys(False, **body) == keys(True, "boil")
        (training, evaluation), (same, other) = (keys(adapts, **body, frozen_layers=0) for adapts in (True, False))
        assert training == same
        assert evaluation != other
        assert keys(True, **body, frozen_layers=0, inner_steps=0) == keys(False, **body, inner_steps=0)
    nothing = ["hidden1", "hidden2", "head"]
    assert keys(True, "maml", nothing) == keys(False, "maml", nothing)


def test_a_spec_reads_back_as_it_was_written(tmp_path: Path) -> None:
    spec = load_spec(sweep_file(tmp_path, "search", SEARCH))
    assert isinstance(spec.trial, RLConfig)
    (tmp_path / "again.yaml").write_text(spec_to_yaml(spec))
    assert load_spec(tmp_path / "again.yaml") == spec
    assert load_spec(tmp_path / "search.yaml", ["training.max_kl=0.02"]).trial.training.max_kl == 0.02  # type: ignore[union-attr]
    assert isinstance(load_spec(sweep_file(tmp_path, "few", {"grid": {"seeds": 1}})).trial, TrialConfig)


BAD = {
    "trial: {problem: rl, dataset: {name: glyphs}}\ngrid: {seeds: 1}": "s.yaml:1: trial.dataset.name: is of trials "
    "with problem: few_shot, and this one is rl; leave it out, or change problem",
    "trial: {environment: {name: navigation_2d}}\ngrid: {seeds: 1}": "s.yaml:1: trial.environment.name: is of trials "
    "with problem: rl, and this one is few_shot; leave it out, or change problem",
    "trial: {problem: rl, evaluation: {episodes: 5}}\ngrid: {seeds: 1}": "s.yaml:1: trial.evaluation.episodes: is of "
    "trials with problem: few_shot, and this one is rl; leave it out, or change problem",
    "trial: {problem: rll}\ngrid: {seeds: 1}": "s.yaml:1: trial.problem: must be 'few_shot' or 'rl', got 'rll'; did "
    "you mean 'rl'?",
    "trial: {problem: rl, environment: {name: navigation}}\ngrid: {seeds: 1}": "s.yaml:1: trial.environment.name: "
    "unknown environment 'navigation'; did you mean 'navigation_2d'?",
    "trial: {problem: rl, environment: {horizon: 0}}\ngrid: {seeds: 1}": "s.yaml:1: trial.environment.horizon: must "
    "be at least 1, got 0",
    "trial: {problem: rl, sampling: {trajectories: 0}}\ngrid: {seeds: 1}": "s.yaml:1: trial.sampling.trajectories: "
    "must be at least 1, got 0",
    "trial: {problem: rl, algorithm: {name: nil}}\ngrid: {seeds: 1}": "s.yaml:1: trial.algorithm.name: nil is for "
    "few_shot only; with problem: rl name maml, anil or boil, got 'nil'",
    "trial: {problem: rl, polcy: {}}\ngrid: {seeds: 1}": "s.yaml:1: trial.polcy: unknown key 'polcy'; did you mean "
    "'policy'?",
    "trial: {problem: rl}\nsearch: {trials: 4, space: {environment.name: {choice: [navigation_2d]}}}": (
        "s.yaml:2: search.space.environment.name: scores of several can't be compared, so none is the best; search in "
        "one, or make a grid"
    ),
    "trial: {problem: rl}\ngrid: {train: {episodes.shots: [1, 5]}}": "s.yaml:2: grid.train.episodes.shots: is of "
    "trials with problem: few_shot, and this one is rl; leave it out, or change problem",
    "trial: {problem: rl}\ngrid: {between: {measure: cka}, seeds: 2}": "s.yaml:2: grid.between: compares what "
    "networks make of images, and the trial has problem: rl; leave it out",
    "trial: {problem: rl}\ngrid: {train: {problem: [rl, few_shot]}}": "s.yaml:2: grid.train.problem: holds "
    "{problem: few_shot}: must be 'rl', got 'few_shot'; leave that out",
    "trial: {problem: rl}\nsearch: {trials: 1, objective: {maximize: validation_accuracy}, space: "
    "{algorithm.inner_lr: {uniform: [0.1, 1]}}}": "s.yaml:2: search.objective: validation_accuracy is none of trials "
    "with problem: rl; write {maximize: validation_return}",
    **{
        f"trial: {{problem: rl}}\nsearch: {{trials: 1, space: {{algorithm.inner_lr: {{uniform: [0.1, 1]}}}}, {its}}}": (
            f"s.yaml:2: search.{words}"
        )
        for its, words in {
            "objective: {minimize: train_flops}": "objective: no trial has to run to know the least of it, got "
            "[{minimize: train_flops}]; add {maximize: validation_return}",
            "objective: [{maximize: validation_return}, {minimize: adapt_flops}]": "objective[1]: adapt_flops is none "
            "of trials with problem: rl; drop it, or choose train_flops",
            "objective: [{maximize: validation_return}, {minimize: train_flops}, {minimize: adapt_flops}]": "objective"
            "[2]: adapt_flops is none of trials with problem: rl; drop it",
            "objective: {minimize: adapt_flops}": "objective: adapt_flops is none of trials with problem: rl; write "
            "{maximize: validation_return}",
            "objective: [{minimize: train_flops}, {maximize: validation_accuracy}]": "objective[1]: "
            "validation_accuracy is none of trials with problem: rl; write {maximize: validation_return}",
            "objective: {maximize: return_after}": "objective.maximize: 'return_after' is of tasks that are held back "
            "for the end, and a search that saw it would fit them; choose of validation_accuracy, train_flops, "
            "adapt_flops; with problem: rl of validation_return, train_flops",
            "objective: {}": "objective: must say what to maximize or minimize, got {}; choose of "
            "validation_accuracy, train_flops, adapt_flops; with problem: rl of validation_return, train_flops",
            "early_stopping: {name: asha, grace_iterations: 10}, objective: [{maximize: validation_return}, "
            "{minimize: train_flops}]": "early_stopping: has no metric, and there are several objectives; add metric: "
            "validation_return",
            "early_stopping: {name: asha, grace_iterations: 10, metric: validation_accuracy}": "early_stopping.metric: "
            "validation_accuracy is none of trials with problem: rl; write validation_return",
        }.items()
    },
}


def test_early_stopping_of_a_list_of_one_objective_needs_no_metric(tmp_path: Path) -> None:
    search = {**SEARCH["search"], "objective": [{"maximize": "validation_return"}]}
    spec = load_spec(sweep_file(tmp_path, "search", {**SEARCH, "search": search}))
    assert spec.search is not None
    assert spec.search.early_stopping is not None
    assert spec.search.early_stopping.metric == "validation_return"


@pytest.mark.parametrize("text", BAD)
def test_a_bad_file_gets_one_line_with_place_and_value(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / "s.yaml")
    assert [problem.replace(f"{tmp_path}/", "") for problem in caught.value.problems] == [BAD[text]]


def test_an_environment_whose_packages_are_absent_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainers.errors import InputError

    monkeypatch.setattr("trainers.rl.environments.find_spec", lambda name: None)
    content = {"trial": with_(TINY, environment={"name": "half_cheetah_direction"}), "grid": {"seeds": 1}}
    with pytest.raises(InputError, match=r"half_cheetah_direction needs .*pip install 'metasweep\[rl\]'"):
        run_here(sweep_file(tmp_path, "sweep", content), str(tmp_path / "home"))
    assert not (tmp_path / "home").exists()


def test_scales_of_the_paper_are_whole() -> None:
    file = Path(__file__).resolve().parents[2] / "sweeps" / "paper" / "table2-rl.yaml"
    scales = yaml.safe_load(file.read_text())["scales"]
    assert set(scales) == {"smoke", "laptop", "half_cheetah", "paper"}
    for scale in scales:
        spec = load_spec(file, scale=scale)
        assert isinstance(spec.trial, RLConfig)
    assert np.prod([len(levels) for levels in load_spec(file, scale="paper").grid.levels.values()]) == 6  # type: ignore[union-attr]
