"""Snapshots: weights on the way, kept as the shorter trainings that they are the end of, and tested by iteration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orchestrator.attempt import attempt_trial
from orchestrator.errors import SpecError
from orchestrator.home import open_home
from orchestrator.rows import Row, read_row
from orchestrator.spec_file import load_spec
from orchestrator.store import Keys, Manifest, Store, keys_of
from orchestrator.stored_progress import validations
from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.evaluation import evaluate
from trainers.snapshots import Progress, Weights
from trainers.trial import run_trial, train

ASKED_BY = {"sweep": "s", "number": 0, "run": "r", "git_commit": None}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(open_home(str(tmp_path / "home")))


@pytest.fixture
def asked(tiny_trial: dict[str, Any]) -> Any:
    """A config of 12 iterations: ``asked("final")``, ``asked(4, [4, 8])``."""

    def make(weights: int | str, snapshots: tuple[int, ...] = (), **sections: dict[str, Any]) -> TrialConfig:
        tiny_trial["training"] |= {"iterations": 12, "snapshots": snapshots}
        tiny_trial["evaluation"] |= {"weights": weights}
        return TrialConfig.model_validate({**tiny_trial, **sections})

    return make


def run(store: Store, data: ImageTable, *configs: TrialConfig) -> list[Any]:
    """The iterations of the validations, and the other events by kind."""
    events = attempt_trial(store, configs, data, ASKED_BY)
    return [event.get("iteration", event["kind"]) for event in events]


def row(store: Store, config: TrialConfig, data: ImageTable, live: bool = False) -> Row:
    return read_row(store, 0, config, keys_of(config, data.fingerprint), "s", "r", live=live)


def manifest(store: Store, keys: Keys, iterations: int) -> Manifest:
    found = store.manifest(keys.shortened(iterations))
    assert found is not None
    return found


def accuracies(store: Store, config: TrialConfig, data: ImageTable) -> np.ndarray:
    keys = keys_of(config, data.fingerprint)
    found = store.accuracies(config, keys, manifest(store, keys, 12))
    assert found is not None
    return found


def files(store: Store) -> dict[str, bytes]:
    root = store.home.local
    assert root is not None
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def weights(store: Store, keys: Keys, iterations: int) -> Weights:
    its = manifest(store, keys, iterations)
    path = its.snapshot(iterations)
    data = store.read_file(keys.shortened(iterations), path, its.files[path])
    assert data is not None
    return Weights.from_bytes(data)


def test_snapshots_are_the_weights_on_the_way(store: Store, glyphs: ImageTable, asked: Any) -> None:
    snapshots = (4, 8)
    configs = [asked(which, snapshots) for which in (4, 8, 12, "final")]
    assert run(store, glyphs, *configs) == [4, 8, 12, *["tested"] * 3]  # 12 is final
    keys = keys_of(configs[0], glyphs.fingerprint)
    plain = {progress.iteration: progress.params for progress in train(asked("final"), glyphs)}
    for step, params in plain.items():
        kept = weights(store, keys, step)
        assert kept.iteration == step
        assert all(torch.equal(kept.params[name], value) for name, value in params.items())
    for config, step in zip(configs, (4, 8, 12, 12), strict=True):
        (expected,) = evaluate([config], plain[step], glyphs)
        np.testing.assert_array_equal(accuracies(store, config, glyphs), expected)
        assert row(store, config, glyphs).state == "completed"
    assert len({keys_of(config, glyphs.fingerprint).evaluation for config in configs}) == 3
    before = files(store)
    assert run(store, glyphs, *configs) == ["tested"] * 4
    assert files(store) == before


def test_snapshots_change_no_bit(tmp_path: Path, glyphs: ImageTable, asked: Any) -> None:
    with_them, without = (Store(open_home(str(tmp_path / name))) for name in ("with", "without"))
    run(with_them, glyphs, asked("final", (4, 8)))
    run(without, glyphs, asked("final"))
    keys = keys_of(asked("final"), glyphs.fingerprint)
    one, other = manifest(with_them, keys, 12), manifest(without, keys, 12)
    assert sorted(one.files.values()) == sorted(other.files.values())
    assert (one.best, one.train_flops) == (other.best, other.train_flops)
    curves = [validations(store, keys.training, its.attempt) for store, its in ((with_them, one), (without, other))]
    assert curves[0] == curves[1]


def test_a_recorded_training_gets_snapshots_later(store: Store, glyphs: ImageTable, asked: Any) -> None:
    assert run(store, glyphs, asked("final")) == [4, 8, 12, "tested"]
    before = files(store)
    kept, tested = asked("final", (8,)), asked(8, (8,))
    for config in (kept, tested):  # both ask for something that is not there
        assert row(store, config, glyphs).state == "planned"
    keys = keys_of(kept, glyphs.fingerprint)
    assert store.accuracies(tested, keys_of(tested, glyphs.fingerprint), manifest(store, keys, 12)) is None
    assert run(store, glyphs, kept, tested) == [4, 8, "tested", "tested"]
    assert {path: data for path, data in files(store).items() if path in before} == before
    (expected,) = evaluate([tested], next(p for p in train(tested, glyphs) if p.iteration == 8).params, glyphs)
    np.testing.assert_array_equal(accuracies(store, tested, glyphs), expected)
    assert row(store, kept, glyphs).state == row(store, tested, glyphs).state == "completed"


@pytest.mark.usefixtures("every_iteration_saved")
@pytest.mark.parametrize("validations", [1, 2, 3])
def test_a_killed_training_keeps_its_snapshots(
    tmp_path: Path, glyphs: ImageTable, asked: Any, validations: int
) -> None:
    whole, broken = (Store(open_home(str(tmp_path / name))) for name in ("whole", "broken"))
    config = asked(4, (4, 8))
    keys = keys_of(config, glyphs.fingerprint)
    run(whole, glyphs, config)
    events = attempt_trial(broken, [config], glyphs, ASKED_BY)
    assert row(broken, config, glyphs, live=True).state == "planned"
    for _ in range(validations):
        next(events)
    assert row(broken, config, glyphs, live=True).state == "running"
    events.close()  # as if the process had gone
    done = [step for step in (4, 8, 12) if broken.manifest(keys.shortened(step)) is not None]
    assert done == [4, 8, 12][: validations - 1]
    before = {step: manifest(broken, keys, step) for step in done}
    assert run(broken, glyphs, config) == [*[4, 8, 12][validations:], "tested"]
    for step in (4, 8, 12):
        its = manifest(broken, keys, step)
        assert before.get(step, its) == its
        assert sorted(its.files.values()) == sorted(manifest(whole, keys, step).files.values())
    np.testing.assert_array_equal(accuracies(broken, config, glyphs), accuracies(whole, config, glyphs))


def test_a_snapshot_is_the_shorter_training(store: Store, glyphs: ImageTable, asked: Any, tiny_trial: Any) -> None:
    run(store, glyphs, asked(8, (8,)))
    tiny_trial["training"] |= {"iterations": 8, "snapshots": ()}
    shorter = TrialConfig.model_validate({**tiny_trial, "evaluation": {"episodes": 6, "weights": "final"}})
    assert run(store, glyphs, shorter) == ["tested"]  # it need not be trained
    its = row(store, shorter, glyphs)
    assert (its.state, its.metrics["iterations"]) == ("completed", 8)
    (attempt,) = store.attempts(keys_of(shorter, glyphs.fingerprint).training)
    assert (attempt["state"], attempt["asked_by"], sorted(attempt["validated_ms"])) == (
        "complete",
        ASKED_BY,
        ["4", "8"],
    )


def test_an_evaluation_of_a_snapshot_counts_only_beside_its_weights(
    store: Store, glyphs: ImageTable, asked: Any
) -> None:
    early, late = asked(4, (4,)), asked("final", (4,))
    run(store, glyphs, early, late)
    keys = keys_of(early, glyphs.fingerprint)
    path = f"trainings/{keys.shortened(4)}/manifest.json"
    record = store.home.read_json(path)
    record["files"] = dict.fromkeys(record["files"], "0" * 64)
    store.home.put_json(path, record)
    assert store.accuracies(early, keys, manifest(store, keys, 12)) is None
    assert len(accuracies(store, late, glyphs)) == 6


def test_a_failure_on_the_way_is_the_failure_of_both(
    store: Store, glyphs: ImageTable, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = asked(4, (4,))
    keys = keys_of(config, glyphs.fingerprint)

    def broken(*_: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr("trainers.trial.train", broken)
    assert run(store, glyphs, config) == ["failed"]
    for key in (keys.training, keys.shortened(4)):
        (attempt,) = store.attempts(key)
        assert (attempt["state"], attempt["cause"].partition(" (")[0]) == ("failed", "RuntimeError: a bug")
    assert (row(store, config, glyphs).state, row(store, config, glyphs).final) == ("failed", True)
    monkeypatch.undo()
    assert run(store, glyphs, config) == [4, 8, 12, "tested"]
    diverges = asked(4, (4,), algorithm={"inner_lr": 1e30, "inner_steps": 5})
    assert run(store, glyphs, diverges) == ["failed"]
    assert (row(store, diverges, glyphs).state, row(store, diverges, glyphs).final) == ("failed", True)


def test_without_a_store_too(glyphs: ImageTable, asked: Any) -> None:
    config = asked(4, (4,))
    seen: list[Progress] = []
    result = run_trial(config, glyphs, seen.append)
    (expected,) = evaluate([config], seen[0].params, glyphs)
    np.testing.assert_array_equal(result.accuracies, expected)
    assert result.progress.iteration == 12
    np.testing.assert_array_equal(run_trial(config, glyphs, start=seen[0]).accuracies, expected)
    with pytest.raises(ValueError, match="asks for iteration 4, and the training is at 8"):
        run_trial(config, glyphs, start=seen[1])


LINES = {
    "training: {iterations: 200, snapshots: [150]}": "training.snapshots: must be multiples of validate_every = 100 up "
    "to iterations = 200, got 150",
    "training: {snapshots: 100}": "training.snapshots: must be a list, got 100",
    "evaluation: {weights: 100}": "evaluation.weights: no snapshot is kept at iteration 100, only at 500; add it to "
    "training.snapshots",
    "evaluation: {weights: last}": "evaluation.weights: must be 'best' or 'final', got 'last'",
}


@pytest.mark.parametrize("trial", LINES)
def test_what_can_not_be_kept_or_tested_is_one_line(tmp_path: Path, trial: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"trial:\n  {trial}\ngrid: {{seeds: 2}}\n")
    with pytest.raises(SpecError) as error:
        load_spec(path)
    assert str(error.value).endswith(f"s.yaml:2: trial.{LINES[trial]}")
