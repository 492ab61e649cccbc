"""Rows, counts and tables of a sweep, from records alone."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_store
import numpy as np
import pyarrow.parquet
import pytest
from scipy import stats

from orchestrator.attempt_record import AttemptRecord, record_lost
from orchestrator.early_stopping import Cutoffs
from orchestrator.errors import ClusterError, DatasetError
from orchestrator.export import encode
from orchestrator.failure import Failure
from orchestrator.home import open_home
from orchestrator.inputs import Where, check_inputs, configs_of, continued, datasets_of
from orchestrator.labels import label, varying_first
from orchestrator.record import SweepRecord
from orchestrator.row_table import table
from orchestrator.rows import Row, State, best_row, confidence_95, load_rows, read_row
from orchestrator.search.proposals import Proposal
from orchestrator.spec import SweepSpec
from orchestrator.spec_file import load_spec
from orchestrator.store import Store, keys_of
from orchestrator.sweep_state import count_trials
from trainers.config import TrialConfig, flatten
from trainers.few_shot import FewShot

DATA = "b" * 20
CONFIRM = {"top": 1, "seeds": 1}


def row(number: int, state: State = "completed", accuracy: float = 0.5, **algorithm: Any) -> Row:
    config = TrialConfig.model_validate({"algorithm": algorithm})
    metrics = {"validation_accuracy": accuracy, "test_accuracy": accuracy} if state == "completed" else {}
    return Row(number, config, keys_of(config, DATA), state, metrics, None if state == "completed" else "why")


@pytest.fixture
def grid(spec_file: Any) -> SweepSpec:
    return load_spec(spec_file(grid={"train": {"algorithm.name": ["maml", "anil", "nil"]}, "seeds": [3, 5]}))


def test_interval_is_the_normal_one() -> None:
    values = np.random.default_rng(0).random(600)
    low, high = stats.norm.interval(0.95, loc=values.mean(), scale=stats.sem(values))
    assert confidence_95(values) == pytest.approx((high - low) / 2, rel=1e-4)


def test_best_is_the_first_of_the_best_completed() -> None:
    rows = [row(0, accuracy=0.4), row(1, "failed"), row(2, accuracy=0.9), row(3, accuracy=0.9), row(4, "planned")]
    found = best_row(rows)
    assert found is not None
    assert found.number == 2
    assert best_row([row(0, "failed")]) is None


def test_a_grid_counts_trainings_by_the_least_of_their_evaluations(grid: SweepSpec) -> None:
    rows = [row(0, name="maml"), row(1, name="anil"), row(2, "failed", name="nil")]
    assert rows[1].keys.training == rows[2].keys.training
    counts = count_trials(grid, rows)
    assert counts == {"planned": 2, "completed": 1, "pruned": 0, "failed": 1, "running": 0, "cached": 0}


def test_a_search_counts_what_is_not_proposed_yet(spec_file: Any) -> None:
    search = {"trials": 7, "space": {"algorithm.inner_lr": {"uniform": [0.1, 0.2]}}}
    counts = count_trials(load_spec(spec_file(search=search)), [row(0), row(1, "failed"), row(2, "running")])
    assert counts == {"planned": 7, "completed": 1, "pruned": 0, "failed": 1, "running": 1, "cached": 0}


def test_table_has_every_leaf_as_asked(tmp_path: Path) -> None:
    rows = [
        row(0, frozen_layers=2),
        row(1, frozen_layers=("conv1", "head"), inner_lr=(0.1, 0.1, 0.1, 0.1, 0.4), accuracy=0.25),
        row(2, "failed", name="nil", frozen_layers=0),
    ]
    made = table("s", rows)
    keys = ["sweep", "number", "training_key", "evaluation_key", "state", "seed"]
    assert made.column_names == [*keys, *flatten(TrialConfig()), *FewShot.metrics, "error"]
    assert made["algorithm.frozen_layers"].to_pylist() == ["2", "conv1+head", "0"]
    assert made["algorithm.inner_lr"].to_pylist() == ["0.4", "0.1+0.1+0.1+0.1+0.4", "0.4"]
    assert made["validation_accuracy"].to_pylist() == [0.5, 0.25, None]
    assert made["error"].to_pylist() == [None, None, "why"]

    assert json.loads(encode(made, "json")) == made.to_pylist()
    lines = encode(made, "csv").decode().splitlines()
    assert lines[0].startswith('"sweep","number","training_key"')
    assert len(lines) == 4
    (tmp_path / "rows.parquet").write_bytes(encode(made, "parquet"))
    assert pyarrow.parquet.read_table(tmp_path / "rows.parquet").to_pylist() == made.to_pylist()


def test_only_an_export_of_a_search_with_confirmations_says_what_they_confirm(spec_file: Any) -> None:
    search = {"trials": 1, "space": {"algorithm.inner_lr": {"uniform": [0.1, 0.2]}}}
    plain, confirmed = (load_spec(spec_file(search=search | more)).search for more in ({}, {"confirm": CONFIRM}))
    assert "confirms" not in table("s", [row(0)], plain).column_names
    made = table("s", [row(0)], confirmed)  # nothing is confirmed yet
    assert made.column_names.index("confirms") == 2
    assert made.schema.field("confirms").type == pyarrow.int64()
    assert table("s", [row(0), replace(row(1_000_000), confirms=0)], confirmed)["confirms"].to_pylist() == [None, 0]


STOPPED = """\
trial:
  dataset: {name: glyphs}
  training: {iterations: 200, validate_every: 100}
search:
  trials: 2
  space: {algorithm.inner_lr: {loguniform: [0.01, 1.0]}}
  early_stopping: {name: asha, grace_iterations: 100}
"""


def stopped_rows(folder: Path, *cutoffs: Cutoffs, curve: Sequence[float] = (0.1, 0.2)) -> list[Row]:
    """Of proposals of one training, which the search's last run made, and which went to its end."""
    (folder / "made.yaml").write_text(STOPPED)
    spec, home = load_spec(folder / "made.yaml"), open_home(str(folder / "home"))
    record = SweepRecord(home, "made")
    record.put_spec(spec, {"glyphs": made_store.DATA})
    home.put_json("sweeps/made/run.json", {"run": "r"})
    for number, its in enumerate(cutoffs):
        config = record.put_proposal(Proposal(number, {"algorithm.inner_lr": 0.5}, "", its)).config(spec.trial)
    made_store.put_trial(Store(home), config, np.full(4, 0.5))
    made_store.put_curve(Store(home), config, curve)
    return load_rows(Store(home), record, spec)


def test_a_training_that_a_pruned_trial_began_is_from_no_record(tmp_path: Path) -> None:
    rows = stopped_rows(tmp_path, ((100, 0.3),), ())
    assert [(one.state, one.cached) for one in rows] == [("pruned", False), ("completed", False)]
    (tmp_path / "twice").mkdir()
    assert [one.cached for one in stopped_rows(tmp_path / "twice", (), ())] == [False, True]


def test_a_trial_without_a_number_to_its_rung_has_failed(tmp_path: Path) -> None:
    first, second = stopped_rows(tmp_path, ((100, 0.3),), (), curve=(math.nan, 0.5))
    assert (first.state, first.final, dict(first.metrics)) == ("failed", True, {})
    assert first.error == "none of its validations up to iteration 100 is a number"
    assert second.state == "completed"


def test_labels_say_what_varies_and_can_act(grid: SweepSpec, spec_file: Any) -> None:
    assert label(row(0, name="anil").config, grid) == "anil seed=0"
    space = {
        "algorithm.name": {"choice": ["maml", "anil"]},
        "algorithm.inner_lr": {"loguniform": [0.01, 1.0]},
        "algorithm.frozen_layers": {"int": [0, 3], "when": {"algorithm.name": "maml"}},
    }
    search = load_spec(spec_file(search={"trials": 1, "space": space}))
    assert label(row(0, inner_lr=0.123456, frozen_layers=2).config, search) == "maml inner_lr=0.123 frozen_layers=2"
    assert label(row(0, name="anil", inner_lr=0.5).config, search) == "anil inner_lr=0.5"
    assert list(varying_first(row(0).config, search))[:3] == list(space)
    assert varying_first(row(0).config, search).keys() == flatten(TrialConfig()).keys()


def test_a_failure_that_can_pass_is_of_the_sweep_that_met_it(tmp_path: Path) -> None:
    store = Store(open_home(str(tmp_path)))
    config = TrialConfig()
    keys = keys_of(config, DATA)
    lost = Failure("lost", "its worker was lost")
    record_lost(store, keys.training, (), {"sweep": "one", "run": "r", "number": 0}, lost)
    one, other = (read_row(store, 0, config, keys, sweep, "r", live=False) for sweep in ("one", "other"))
    assert (one.state, one.error, one.final) == ("failed", "its worker was lost", False)
    assert (other.state, other.error) == ("planned", None)
    store.put_failure(keys.training, "a", "the training loss is nan")
    other = read_row(store, 0, config, keys, "other", "r", live=False)
    assert (other.state, other.error, other.final) == ("failed", "the training loss is nan", True)


@pytest.mark.parametrize(
    ("run", "live", "state"),
    [("now", True, "running"), ("before", True, "planned"), ("now", False, "planned")],
    ids=["of this run", "left by a run before", "left by the last run"],
)
def test_an_attempt_runs_as_long_as_the_run_that_asked_for_it(tmp_path: Path, run: str, live: bool, state: str) -> None:
    store = Store(open_home(str(tmp_path)))
    config = TrialConfig()
    keys = keys_of(config, DATA)
    AttemptRecord(store, keys.training, {"sweep": "one", "run": run, "number": 0}).begin(None)
    assert read_row(store, 0, config, keys, "one", "now", live).state == state


def test_gpus_are_refused_without_starting_ray_where_there_is_no_driver(
    spec_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = load_spec(spec_file(grid={"train": {"episodes.shots": [1]}}, resources={"gpu": 1}))
    home = Where(home=str(tmp_path / "home"))
    monkeypatch.setattr("orchestrator.inputs.may_have_gpus", lambda: False)
    with pytest.raises(ClusterError, match="gpu=1, but no machine"):
        check_inputs(spec, home, lambda line: None)
    monkeypatch.setattr("orchestrator.inputs.may_have_gpus", lambda: True)
    check_inputs(spec, home, lambda line: None)


def test_fewer_trials_than_there_are_is_said(spec_file: Any, tmp_path: Path) -> None:
    space = {"algorithm.inner_lr": {"uniform": [0.1, 0.2]}}
    home = open_home(str(tmp_path / "home"))
    stored = load_spec(spec_file(search={"trials": 7, "window": 9, "space": space}))
    SweepRecord(home, stored.name).put_spec(stored, {})
    for asked, said in ((3, ["search.trials: 3 asked"]), (7, []), (9, [])):
        lines: list[str] = []
        spec = load_spec(spec_file(search={"trials": asked, "window": 9, "space": space}))
        check_inputs(spec, Where(home=str(tmp_path / "home")), lines.append)
        assert [line.partition(",")[0] for line in lines] == said


def test_inputs_see_datasets_and_sizes_behind_conditions(spec_file: Any) -> None:
    space = {
        "algorithm.name": {"choice": ["maml", "nil"]},
        "dataset.name": {"choice": ["glyphs", "omniglot"], "when": {"algorithm.name": "nil"}},
        "episodes.queries": {"int": [1, 15], "when": {"dataset.name": "omniglot"}},
    }
    spec = load_spec(spec_file(search={"trials": 1, "space": space}))
    assert datasets_of(spec) == ["glyphs", "omniglot"]
    assert max(config.episodes.queries for config in configs_of(spec)) == 15


def test_episodes_that_no_class_can_fill_are_refused_before_data_is_made(spec_file: Any, tmp_path: Path) -> None:
    spec = load_spec(spec_file(grid={"train": {"episodes.shots": [1, 19]}}))
    with pytest.raises(DatasetError, match="shots"):
        check_inputs(spec, Where(home=str(tmp_path / "home")), lambda line: None)
    assert not (tmp_path / "home").exists()


def test_a_search_only_grows(spec_file: Any) -> None:
    space = {"algorithm.inner_lr": {"uniform": [0.1, 0.2]}}
    stored = load_spec(spec_file(search={"trials": 7, "window": 9, "space": space}))
    for asked, kept in ((3, 7), (7, 7), (12, 12)):
        found = continued(load_spec(spec_file(search={"trials": asked, "space": space})), stored).search
        assert found is not None
        assert (found.trials, found.window) == (kept, 9)
