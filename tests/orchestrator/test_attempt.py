"""Attempts: run what the store lacks, record it once, leave whole records whatever happens."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orchestrator.attempt import attempt_trial
from orchestrator.attempt_record import AttemptRecord, record_lost, set_failures_aside
from orchestrator.failure import Failure
from orchestrator.home import open_home
from orchestrator.rows import read_row
from orchestrator.spec_file import load_spec
from orchestrator.store import Store, keys_of
from orchestrator.stored_progress import validations
from orchestrator.tracking_rows import stored_view
from trainers import trial
from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable

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


def config(tiny: dict[str, Any], **sections: dict[str, Any]) -> TrialConfig:
    return TrialConfig.model_validate({**tiny, **{name: {**tiny.get(name, {}), **sections[name]} for name in sections}})


def run(store: Store, data: ImageTable, *configs: TrialConfig) -> list[dict[str, Any]]:
    return list(attempt_trial(store, configs, data, ASKED_BY))


def files(store: Store) -> dict[str, bytes]:
    root = store.home.local
    assert root is not None
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["kind"] for event in events]


def test_a_trial_is_recorded_once(store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any]) -> None:
    asked = config(tiny_trial)
    assert kinds(run(store, glyphs, asked)) == ["validated", "validated", "tested"]
    before = files(store)
    assert kinds(run(store, glyphs, asked)) == ["tested"]
    assert files(store) == before
    row = read_row(store, 0, asked, keys_of(asked, glyphs.fingerprint), "s", "r", live=False)
    assert (row.state, row.final, row.cached) == ("completed", True, False)
    assert row.metrics["iterations"] == 8
    assert row.metrics["test_episodes"] == 6
    assert row.metrics["train_flops"] > 0
    assert row.metrics["train_seconds"] > 0


def test_the_record_says_what_the_design_says(store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any]) -> None:
    asked = config(tiny_trial)
    run(store, glyphs, asked)
    keys = keys_of(asked, glyphs.fingerprint)
    manifest = store.manifest(keys.training)
    assert manifest is not None
    for path, sha256 in manifest.files.items():
        assert store.read_file(keys.training, path, sha256) is not None
    assert manifest.weights(asked) in manifest.files
    attempt = store.attempt(keys.training, manifest.attempt)
    assert (attempt["state"], attempt["cause"], attempt["resumed_at"]) == ("complete", None, 0)
    assert attempt["environment"]["threads"] == 1
    assert set(attempt["environment"]) == {"device", "instruction_set", "torch", "threads"}
    assert sorted(attempt["validated_ms"]) == ["4", "8"]
    assert 0 < attempt["cpu_seconds"] < time.process_time()
    assert [point["iteration"] for point in validations(store, keys.training, manifest.attempt)] == [4, 8]
    written = json.loads(files(store)[f"trainings/{keys.training}/config.json"])
    assert written["dataset_fingerprint"] == glyphs.fingerprint
    assert written["resolved"]["training"]["meta_batch"] == 1


def test_the_same_training_has_the_same_bits_in_another_home(
    tmp_path: Path, glyphs: ImageTable, tiny_trial: dict[str, Any]
) -> None:
    asked = config(tiny_trial)
    key = keys_of(asked, glyphs.fingerprint)
    manifests = []
    for name in ("one", "two"):
        store = Store(open_home(str(tmp_path / name)))
        run(store, glyphs, asked)
        manifest = store.manifest(key.training)
        assert manifest is not None
        manifests.append(manifest)
    one, two = ([*sorted(manifest.files.values())] for manifest in manifests)
    assert one == two


def test_results_stand_without_the_record_of_their_attempt(
    store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any], spec_file: Any
) -> None:
    asked = config(tiny_trial)
    run(store, glyphs, asked)
    keys = keys_of(asked, glyphs.fingerprint)
    whole = read_row(store, 0, asked, keys, "s", "r", live=False)
    assert store.home.local is not None
    (record,) = (store.home.local / "trainings" / keys.training / "attempts").glob("*/attempt.json")
    record.unlink()
    row = read_row(store, 0, asked, keys, "s", "r", live=False)
    assert (row.state, row.cached) == ("completed", True)
    assert row.metrics == {name: value for name, value in whole.metrics.items() if name != "train_seconds"}
    spec = load_spec(spec_file(grid={"train": {"algorithm.name": ["maml"]}}))
    assert len(stored_view(row, spec, glyphs.fingerprint, store).points) > 0
    assert kinds(run(store, glyphs, asked)) == ["tested"]


@pytest.mark.usefixtures("every_iteration_saved")
@pytest.mark.parametrize("validations", [1, 2])
def test_an_attempt_that_dies_is_continued_bit_for_bit(
    tmp_path: Path, glyphs: ImageTable, tiny_trial: dict[str, Any], validations: int
) -> None:
    asked = config(tiny_trial)
    keys = keys_of(asked, glyphs.fingerprint)
    whole, broken = (Store(open_home(str(tmp_path / name))) for name in ("whole", "broken"))
    run(whole, glyphs, asked)
    events = attempt_trial(broken, [asked], glyphs, ASKED_BY)
    for _ in range(validations):
        next(events)
    events.close()  # as if the process had gone
    assert broken.manifest(keys.training) is None
    assert kinds(run(broken, glyphs, asked)) == ["validated"] * (2 - validations) + ["tested"]
    one, two = whole.manifest(keys.training), broken.manifest(keys.training)
    assert one is not None
    assert two is not None
    assert sorted(one.files.values()) == sorted(two.files.values())
    np.testing.assert_array_equal(whole.accuracies(asked, keys, one), broken.accuracies(asked, keys, two))


class Killed(BaseException):
    """No Exception: nothing in an attempt may answer it, as nothing answers SIGKILL."""


class Clock:
    """Stands still but for what a test adds."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize("lived", [2, 3, 4])
def test_killed_at_any_iteration_again_and_again_it_ends_in_the_same_bits(
    tmp_path: Path, glyphs: ImageTable, tiny_trial: dict[str, Any], monkeypatch: pytest.MonkeyPatch, lived: int
) -> None:
    """Each attempt is killed after so many iterations without a validation; every other of those is saved."""
    asked = config(tiny_trial, training={"iterations": 12, "validate_every": 6})
    keys = keys_of(asked, glyphs.fingerprint)
    whole, broken = (Store(open_home(str(tmp_path / name))) for name in ("whole", "broken"))
    run(whole, glyphs, asked)
    clock, train = Clock(), trial.train
    resumed: list[int] = []

    def killed(config: Any, data: Any, start: Any, device: str, due: Any) -> Iterator[Any]:
        resumed.append(start.iteration if start else 0)
        left = lived

        def soon() -> bool:
            nonlocal left
            clock.now_s += 0.3
            left -= 1
            if left < 0:
                raise Killed
            return due()

        yield from train(config, data, start, device, soon)

    monkeypatch.setattr("trainers.trial.train", killed)
    said: list[int] = []
    while broken.manifest(keys.training) is None:
        assert len(resumed) < 12
        with suppress(Killed):
            for event in attempt_trial(broken, [asked], glyphs, ASKED_BY, clock=clock):
                said.append(event.get("iteration", 0))
    assert len(resumed) > 2
    assert any(iteration % 6 for iteration in resumed)  # between two validations
    assert resumed == sorted(resumed)
    assert set(said) == {6, 12, 0}
    one, two = whole.manifest(keys.training), broken.manifest(keys.training)
    assert one is not None
    assert two is not None
    assert sorted(one.files.values()) == sorted(two.files.values())  # weights, and Adam and the curve beside them
    np.testing.assert_array_equal(whole.accuracies(asked, keys, one), broken.accuracies(asked, keys, two))


def test_the_curve_of_a_training_that_fails_is_kept_up_to_there(
    store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, train = config(tiny_trial), trial.train

    def broken(*its: Any) -> Iterator[Any]:
        yield next(train(*its))
        raise MemoryError

    monkeypatch.setattr("trainers.trial.train", broken)
    assert [event.get("iteration", event.get("failure")) for event in run(store, glyphs, asked)] == [4, "memory"]
    keys = keys_of(asked, glyphs.fingerprint)
    (attempt,) = store.attempts(keys.training)
    assert [point["iteration"] for point in validations(store, keys.training, attempt["attempt"])] == [4]
    assert list(attempt["validated_ms"]) == ["4"]


def test_a_longer_training_starts_from_a_shorter_one(
    store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any]
) -> None:
    short, long = config(tiny_trial), config(tiny_trial, training={"iterations": 16})
    run(store, glyphs, short)
    events = run(store, glyphs, long)
    assert [event["iteration"] for event in events if event["kind"] == "validated"] == [12, 16]
    keys = keys_of(long, glyphs.fingerprint)
    manifest = store.manifest(keys.training)
    assert manifest is not None
    assert [point["iteration"] for point in validations(store, keys.training, manifest.attempt)] == [4, 8, 12, 16]
    short_keys = keys_of(short, glyphs.fingerprint)
    seconds = [store.attempts(key.training)[0]["train_seconds"] for key in (short_keys, keys)]
    assert seconds[1] > seconds[0]  # what the shorter one took is in it
    # and never the other way round
    other = config(tiny_trial, training={"iterations": 4})
    assert kinds(run(store, glyphs, other)) == ["validated", "tested"]


def test_anil_and_nil_share_a_training(store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any]) -> None:
    anil, nil = (config(tiny_trial, algorithm={"name": name}) for name in ("anil", "nil"))
    events = run(store, glyphs, anil, nil)
    assert kinds(events) == ["validated", "validated", "tested", "tested"]
    assert len(store.home.names("trainings")) == 1
    assert set(events[0]["validation_accuracy"]) == {"linear", "nil"}
    tested = config(tiny_trial, algorithm={"name": "anil"}, evaluation={"head": "nil", "weights": "final"})
    assert kinds(run(store, glyphs, tested)) == ["tested"]


def test_a_diverged_training_is_a_failure_for_good(
    store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any]
) -> None:
    asked = config(tiny_trial, algorithm={"inner_lr": 1e30, "inner_steps": 5})
    events = run(store, glyphs, asked)
    assert kinds(events)[-1] == "failed"
    assert "loss is nan" in events[-1]["cause"]
    keys = keys_of(asked, glyphs.fingerprint)
    row = read_row(store, 0, asked, keys, "s", "r", live=False)
    assert (row.state, row.final, row.error) == ("failed", True, events[-1]["cause"])
    assert read_row(store, 0, asked, keys, "another sweep", "r", live=False) == row  # it would end there alike
    (attempt,) = store.attempts(keys.training)
    assert (attempt["state"], attempt["failure"], attempt["cause"]) == ("failed", "diverged", events[-1]["cause"])
    set_failures_aside(store, keys.training, "s")
    assert read_row(store, 0, asked, keys, "s", "r", live=False).state == "planned"


def test_an_exception_is_a_failure_until_somebody_asks_again(
    store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = config(tiny_trial)
    keys = keys_of(asked, glyphs.fingerprint)

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a bug\nin two lines")

    monkeypatch.setattr("trainers.evaluation.evaluate", broken)
    events = run(store, glyphs, asked)
    assert kinds(events) == ["validated", "validated", "failed"]
    assert events[-1]["cause"].startswith("RuntimeError: a bug in two lines (test_attempt.py:")
    row = read_row(store, 0, asked, keys, "s", "r", live=False)
    assert (row.state, row.final) == ("failed", True)
    assert read_row(store, 0, asked, keys, "another sweep", "r", live=False).state == "planned"
    grown = config(tiny_trial, evaluation={"episodes": 5})  # a test that was not asked of the attempt that failed
    assert read_row(store, 0, grown, keys_of(grown, glyphs.fingerprint), "s", "r", live=False).state == "planned"
    set_failures_aside(store, keys.training, "s")
    assert read_row(store, 0, asked, keys, "s", "r", live=False).state == "planned"
    monkeypatch.undo()
    assert kinds(run(store, glyphs, asked)) == ["tested"]  # the training was kept
    assert read_row(store, 0, asked, keys, "s", "r", live=False).state == "completed"


def test_a_full_disk_is_no_failure_of_the_trial(
    store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = config(tiny_trial)

    def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Store, "put_file", full)
    with pytest.raises(OSError, match="No space"):
        run(store, glyphs, asked)
    monkeypatch.undo()
    (attempt,) = store.attempts(keys_of(asked, glyphs.fingerprint).training)
    assert (attempt["state"], attempt["failure"]) == ("running", None)  # it was interrupted
    assert kinds(run(store, glyphs, asked))[-1] == "tested"


def test_a_test_that_diverges_is_the_failure_of_that_test_alone(
    store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any]
) -> None:
    """Weights that were never trained, tested with a rate at which similarity can't be measured, and without one."""
    steps = {"inner_steps": 2, "frozen_layers": 0, "measure": "similarity"}
    diverges = config(
        tiny_trial, algorithm={"name": "random", "inner_lr": 1e30}, evaluation={"head": "linear", **steps}
    )
    plain = config(tiny_trial, algorithm={"name": "random"})
    events = run(store, glyphs, diverges, plain)
    assert kinds(events) == ["validated", "validated", "tested", "failed"]
    assert events[-1]["failure"] == "diverged"
    one, other = (
        read_row(store, 0, asked, keys_of(asked, glyphs.fingerprint), "s", "r", live=False)
        for asked in (diverges, plain)
    )
    assert one.keys.training == other.keys.training
    assert (one.state, one.final, one.error) == ("failed", True, events[-1]["cause"])
    assert (other.state, other.final) == ("completed", True)
    store.home.remove(f"trainings/{other.keys.training}/evaluations/{other.keys.evaluation}.arrow")
    lost = read_row(store, 0, plain, other.keys, "s", "r", live=False)
    assert (lost.state, lost.final) == ("planned", False)  # to be made again: the failure was the other one's
    assert kinds(run(store, glyphs, plain)) == ["tested"]


def test_weights_that_are_damaged_while_they_are_tested_fail_for_the_moment(
    store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = config(tiny_trial)
    keys = keys_of(asked, glyphs.fingerprint)

    def damaged(*_: Any) -> None:
        (path,) = Path(store.home.local or "").glob("trainings/*/attempts/*/snapshots/8.safetensors")
        path.write_bytes(b"torn")
        monkeypatch.undo()

    monkeypatch.setattr(Store, "read_weights", damaged)
    (*_, failed) = run(store, glyphs, asked)
    assert (failed["kind"], failed["failure"]) == ("failed", "lost")
    assert "/snapshots/8.safetensors is gone or damaged since just now" in failed["cause"]
    assert read_row(store, 0, asked, keys, "s", "r", live=False).lost
    assert kinds(run(store, glyphs, asked)) == ["warned", "tested"]


def test_a_failure_that_no_worker_could_record_ends_the_attempt_that_it_left(
    store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any]
) -> None:
    asked = config(tiny_trial)
    key = keys_of(asked, glyphs.fingerprint).training
    events = attempt_trial(store, [asked], glyphs, ASKED_BY)
    next(events)
    events.close()
    record_lost(store, key, (), ASKED_BY, Failure("timeout", "took too long"))
    record_lost(store, key, (), ASKED_BY, Failure("lost", "gone"))  # of an attempt that never began
    first, second = store.attempts(key)
    assert (first["state"], first["failure"], first["cause"]) == ("failed", "timeout", "took too long")
    assert first["environment"]["threads"] == 1  # what it had recorded stays
    assert (second["state"], second["failure"], second["environment"]) == ("failed", "lost", None)


def test_what_another_sweep_did_at_the_same_training_is_its_own(
    store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any]
) -> None:
    """A lost worker ends the attempt that it left, and ``--retry-failed`` forgets the failures of its sweep."""
    key = keys_of(config(tiny_trial), glyphs.fingerprint).training
    for sweep in ("s", "other"):
        AttemptRecord(store, key, ASKED_BY | {"sweep": sweep}).begin(None)
    record_lost(store, key, (), ASKED_BY, Failure("lost", "gone"))
    assert [one["state"] for one in store.attempts(key)] == ["failed", "running"]
    record_lost(store, key, (), ASKED_BY | {"sweep": "other"}, Failure("lost", "gone"))
    set_failures_aside(store, key, "s")
    assert [one["state"] for one in store.attempts(key)] == ["set aside", "failed"]


def test_attempts_are_in_their_order_though_a_clock_was_set_back(
    store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any]
) -> None:
    keys = keys_of(config(tiny_trial), glyphs.fingerprint)
    for cause in ("the first", "the second"):
        record_lost(store, keys.training, [], ASKED_BY, Failure("lost", cause))
    first, second = store.attempts(keys.training)
    store.put_attempt(keys.training, second["attempt"], second | {"started_ms": first["started_ms"] - 86_400_000})
    assert [one["cause"] for one in store.attempts(keys.training)] == ["the first", "the second"]


def test_an_attempt_at_a_snapshot_that_a_worker_left_is_ended_too(
    store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any]
) -> None:
    asked = config(tiny_trial, training={"snapshots": [4]})
    keys = keys_of(asked, glyphs.fingerprint)
    events = attempt_trial(store, [asked], glyphs, ASKED_BY)
    next(events)  # on its way to the snapshot
    events.close()
    shorter = keys.shortened(4)
    assert [one["state"] for one in store.attempts(shorter)] == ["running"]
    record_lost(store, keys.training, [shorter], ASKED_BY, Failure("lost", "gone"))
    assert [one["state"] for one in store.attempts(shorter)] == ["failed"]
    assert [one["state"] for one in store.attempts(keys.training)] == ["failed"]


def test_the_first_evaluation_stays(store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any]) -> None:
    """A late worker would put the same accuracies, but times of its own."""
    asked = config(tiny_trial)
    run(store, glyphs, asked)
    keys = keys_of(asked, glyphs.fingerprint)
    manifest = store.manifest(keys.training)
    assert manifest is not None
    first = store.accuracies(asked, keys, manifest)
    store.put_accuracies(asked, keys, manifest, np.zeros(6))
    np.testing.assert_array_equal(store.accuracies(asked, keys, manifest), first)


def test_damaged_records_are_not_believed(store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any]) -> None:
    asked = config(tiny_trial)
    run(store, glyphs, asked)
    keys = keys_of(asked, glyphs.fingerprint)
    manifest = store.manifest(keys.training)
    assert manifest is not None
    assert store.home.local is not None
    evaluation = store.home.local / "trainings" / keys.training / "evaluations" / f"{keys.evaluation}.arrow"
    whole = evaluation.read_bytes()
    evaluation.write_bytes(whole[: len(whole) // 2])
    assert store.accuracies(asked, keys, manifest) is None
    assert kinds(run(store, glyphs, asked)) == ["warned", "tested"]
    assert evaluation.read_bytes() == whole


def test_an_evaluation_counts_only_beside_the_weights_it_tested(
    store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any]
) -> None:
    asked = config(tiny_trial)
    run(store, glyphs, asked)
    keys = keys_of(asked, glyphs.fingerprint)
    path = f"trainings/{keys.training}/manifest.json"
    record = store.home.read_json(path)
    record["files"] = dict.fromkeys(record["files"], "0" * 64)
    store.home.put_json(path, record)
    manifest = store.manifest(keys.training)
    assert manifest is not None
    assert store.accuracies(asked, keys, manifest) is None


@pytest.mark.usefixtures("every_iteration_saved")
def test_progress_that_is_damaged_is_passed_over(store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any]) -> None:
    asked = config(tiny_trial)
    events = attempt_trial(store, [asked], glyphs, ASKED_BY)
    next(events)
    events.close()
    assert store.home.local is not None
    (progress,) = store.home.local.rglob("progress.safetensors")
    progress.write_bytes(progress.read_bytes()[:-1])
    first, *others = run(store, glyphs, asked)
    assert first["line"].startswith(f"{store.home.url}/{progress.relative_to(store.home.local)}: damaged (not a whole")
    assert kinds(others) == ["validated", "validated", "tested"]
