"""What is recorded of a test beside its accuracy: one row an episode, one column a measure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from orchestrator import attempt
from orchestrator.attempt import attempt_trial
from orchestrator.errors import InputError
from orchestrator.grid import expand
from orchestrator.home import open_home
from orchestrator.inputs import HERE, check_inputs
from orchestrator.record import SweepRecord
from orchestrator.results import load_study
from orchestrator.rows import read_row
from orchestrator.spec_file import load_spec
from orchestrator.store import Keys, Store, keys_of
from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.layer_change import layer_changes
from trainers.snapshots import Weights

ASKED_BY = {"sweep": "tiny", "number": 0, "run": "r", "git_commit": None}
LAYERS = ("conv1", "conv2", "conv3", "conv4", "head")
KINDS = ("cca", "cka", "distance", "relative_distance")
PLACE = {"instruction_set": "AVX2", "torch": "2.13.0", "threads": 1}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(open_home(str(tmp_path / "home")))


def config(tiny: dict[str, Any], **evaluation: Any) -> TrialConfig:
    return TrialConfig.model_validate({**tiny, "evaluation": {**tiny["evaluation"], **evaluation}})


def run(store: Store, data: ImageTable, *configs: TrialConfig) -> list[str]:
    return [event["kind"] for event in attempt_trial(store, configs, data, ASKED_BY)]


def scores(store: Store, asked: TrialConfig, keys: Keys) -> dict[str, np.ndarray]:
    manifest = store.manifest(keys.training)
    assert manifest is not None
    found = store.scores(asked, keys, manifest)
    assert found is not None
    return found


def stored_weights(store: Store, asked: TrialConfig, keys: Keys) -> dict[str, torch.Tensor]:
    manifest = store.manifest(keys.training)
    assert manifest is not None
    path = manifest.weights(asked)
    data = store.read_file(keys.training, path, manifest.files[path])
    assert data is not None
    return dict(Weights.from_bytes(data).params)


def test_a_similarity_is_recorded_beside_the_accuracy(
    store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any]
) -> None:
    plain, asked = config(tiny_trial), config(tiny_trial, measure="similarity")
    plain_keys, keys = keys_of(plain, glyphs.fingerprint), keys_of(asked, glyphs.fingerprint)
    assert run(store, glyphs, plain, asked) == ["validated", "validated", "tested", "tested"]
    assert list(scores(store, plain, plain_keys)) == ["accuracy"]
    found = scores(store, asked, keys)
    assert list(found) == ["accuracy", *(f"{kind}.{layer}" for kind in KINDS for layer in LAYERS)]
    np.testing.assert_array_equal(found["accuracy"], scores(store, plain, plain_keys)["accuracy"])
    expected = layer_changes(asked, stored_weights(store, asked, keys), glyphs)
    for column, values in expected.items():
        np.testing.assert_array_equal(found[column], values)
    assert 0 < found["cca.head"].min() < 1
    row = read_row(store, 0, asked, keys, "tiny", "r", live=False)
    assert (row.state, row.metrics["test_accuracy"]) == ("completed", found["accuracy"].mean())
    assert run(store, glyphs, plain, asked) == ["tested", "tested"]


def test_times_are_recorded_once_with_the_environment_they_are_of(
    store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, asked = config(tiny_trial), config(tiny_trial, measure="speed")
    run(store, glyphs, plain)
    monkeypatch.setattr(attempt, "environment", lambda device: PLACE | {"device": f"a {device}"})
    assert run(store, glyphs, plain, asked) == ["tested", "tested"]
    keys, plain_keys = (keys_of(one, glyphs.fingerprint) for one in (asked, plain))
    first = scores(store, asked, keys)
    assert list(first) == ["accuracy", "train_ms", "infer_ms"]
    assert {values.shape for values in first.values()} == {(6,)}
    assert (store.timed_on(keys), store.timed_on(plain_keys)) == (PLACE | {"device": "a cpu"}, None)
    run(store, glyphs, asked)
    again = scores(store, asked, keys)
    assert all((first[column] == again[column]).all() for column in first)


def test_cells_know_where_they_were_timed(
    store: Store, glyphs: ImageTable, spec_file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = {"evaluation.measure": ["accuracy", "speed"]}
    spec = load_spec(spec_file(grid={"test": test, "seeds": 2}, resources={"max_concurrent": 1}))
    SweepRecord(store.home, spec.name).put_spec(spec, {"glyphs": glyphs.fingerprint})
    for point in expand(spec):
        place = PLACE | {"device": f"machine {point.seed}"}
        monkeypatch.setattr(attempt, "environment", lambda device, place=place: place)
        run(store, glyphs, point.config)
    plain, timed = load_study(spec.name, store.home.url).cells
    assert plain.timed_on == ()
    assert timed.timed_on == tuple(PLACE | {"device": f"machine {seed}"} for seed in (0, 1))


def test_its_table_says_what_was_measured(store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any]) -> None:
    asked = config(tiny_trial, measure="cka", flattening="images")
    run(store, glyphs, asked)
    keys = keys_of(asked, glyphs.fingerprint)
    data = store.home.read(f"trainings/{keys.training}/evaluations/{keys.evaluation}.arrow")
    table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
    assert table["episode"].to_pylist() == list(range(6))
    assert {str(table.schema.field(name).type) for name in table.column_names[1:]} == {"double"}
    assert len(table.column_names) == 2 + 3 * 5
    said = json.loads(table.schema.metadata[b"metasweep"])["canonical"]
    assert (said["measure"], said["flattening"]) == ("cka", "images")


def test_a_record_of_accuracies_alone_keeps_its_bytes(
    store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any]
) -> None:
    asked = config(tiny_trial)
    keys = keys_of(asked, glyphs.fingerprint)
    run(store, glyphs, asked)
    data = store.home.read(f"trainings/{keys.training}/evaluations/{keys.evaluation}.arrow")
    table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
    assert [(field.name, str(field.type)) for field in table.schema] == [("episode", "int32"), ("accuracy", "double")]
    canonical = json.loads(table.schema.metadata[b"metasweep"])["canonical"]
    assert canonical == {
        "weights": ["best", "linear"],
        "queries": 2,
        "episodes": 6,
        "inner_steps": 1,
        "adapted_layers": sorted(LAYERS),
    }


def test_cells_have_every_column(store: Store, glyphs: ImageTable, spec_file: Any) -> None:
    spec = load_spec(
        spec_file(
            grid={
                "test": {"evaluation.measure": ["accuracy", "similarity"], "evaluation.frozen_layers": [0, 4]},
                "seeds": 2,
            }
        )
    )
    SweepRecord(store.home, spec.name).put_spec(spec, {"glyphs": glyphs.fingerprint})
    points = expand(spec)
    for seed in (0, 1):
        run(store, glyphs, *(point.config for point in points if point.seed == seed))
    study = load_study(spec.name, store.home.url)
    plain, frozen, similar, similar_frozen = study.cells
    assert (list(plain.scores), list(frozen.scores)) == (["accuracy"], ["accuracy"])
    np.testing.assert_array_equal(similar.scores["accuracy"], plain.accuracies)
    np.testing.assert_array_equal(similar_frozen.accuracies, frozen.accuracies)
    assert {matrix.shape for matrix in similar.scores.values()} == {(2, 6)}
    for row, values in zip(similar.completed, similar.scores["cka.conv4"], strict=True):
        np.testing.assert_array_equal(values, scores(store, row.config, row.keys)["cka.conv4"])
    assert (similar_frozen.scores["cca.conv4"] == 1).all()
    assert (similar_frozen.scores["distance.head"] > 0).all()
    assert (similar.scores["distance.conv4"] > 0).all()


def test_a_cell_without_results_has_no_scores(store: Store, glyphs: ImageTable, spec_file: Any) -> None:
    spec = load_spec(spec_file(grid={"seeds": 2}))
    SweepRecord(store.home, spec.name).put_spec(spec, {"glyphs": glyphs.fingerprint})
    (cell,) = load_study(spec.name, store.home.url).cells
    assert (dict(cell.scores), cell.accuracies.shape) == ({}, (0, 0))


def test_too_few_points_are_refused_with_the_spec(spec_file: Any) -> None:
    spec = load_spec(
        spec_file(grid={"test": {"evaluation.queries": [2, 1], "evaluation.measure": ["accuracy", "similarity"]}})
    )
    with pytest.raises(InputError, match=r"head 3 points and 3 neurons; raise evaluation.queries \(now 1\)"):
        check_inputs(spec, HERE, print)
