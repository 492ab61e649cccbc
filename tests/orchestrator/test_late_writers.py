"""Attempts that outlive the sweep that began them: what they still write does no harm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orchestrator.attempt import attempt_trial
from orchestrator.home import open_home
from orchestrator.record import SweepRecord
from orchestrator.search.proposals import Proposal
from orchestrator.store import Manifest, Store, keys_of
from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.snapshots import Progress
from trainers.trial import train

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
def asked(tiny_trial: dict[str, Any]) -> TrialConfig:
    tiny_trial["evaluation"]["weights"] = "final"
    return TrialConfig.model_validate(tiny_trial)


def elsewhere(*arguments: Any) -> Iterator[Progress]:
    """A training on a machine that rounds differently."""
    for progress in train(*arguments):
        for value in progress.params.values():
            value += 1e-3
        yield progress


@pytest.mark.parametrize("same_bits", [True, False])
def test_a_late_attempt_finds_the_first_manifest(
    store: Store, glyphs: ImageTable, asked: TrialConfig, monkeypatch: pytest.MonkeyPatch, same_bits: bool
) -> None:
    keys = keys_of(asked, glyphs.fingerprint)
    first, late = (attempt_trial(store, [asked], glyphs, ASKED_BY) for _ in range(2))
    assert next(first)["iteration"] == 4
    if not same_bits:
        monkeypatch.setattr("trainers.trial.train", elsewhere)
    assert [next(late)["iteration"] for _ in range(2)] == [4, 8]  # it is about to commit
    monkeypatch.undo()
    assert [event["kind"] for event in first] == ["validated", "tested"]
    committed = store.manifest(keys.training)
    assert committed is not None
    accuracies = store.accuracies(asked, keys, committed)
    assert [event["kind"] for event in late] == ["tested"]
    assert store.manifest(keys.training) == committed
    np.testing.assert_array_equal(store.accuracies(asked, keys, committed), accuracies)
    ended = {one["attempt"]: one["state"] for one in store.attempts(keys.training)}
    assert sorted(ended.values()) == ["complete", "complete"]
    weights = {store.home.read(f"trainings/{keys.training}/attempts/{id}/snapshots/8.safetensors") for id in ended}
    assert len(weights) == (1 if same_bits else 2)  # so the others were really others


def test_a_late_evaluation_of_other_weights_does_not_count(
    store: Store, glyphs: ImageTable, asked: TrialConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a filesystem can't refuse a second manifest, a late attempt may believe in its own."""
    keys = keys_of(asked, glyphs.fingerprint)
    list(attempt_trial(store, [asked], glyphs, ASKED_BY))
    committed = store.manifest(keys.training)
    assert committed is not None
    accuracies = store.accuracies(asked, keys, committed)
    other = Store(open_home(str(tmp_path / "other")))
    monkeypatch.setattr("trainers.trial.train", elsewhere)
    list(attempt_trial(other, [asked], glyphs, ASKED_BY))
    monkeypatch.undo()
    its = other.manifest(keys.training)
    assert its is not None
    path = f"trainings/{keys.training}/evaluations/{keys.evaluation}.arrow"
    late = other.home.read(path)
    assert late is not None
    store.home.put(path, late)
    assert store.accuracies(asked, keys, committed) is None
    assert [event["kind"] for event in attempt_trial(store, [asked], glyphs, ASKED_BY)] == ["tested"]
    np.testing.assert_array_equal(store.accuracies(asked, keys, committed), accuracies)


def test_who_sets_nothing_aside_completes_no_training_behind_a_damaged_manifest(store: Store) -> None:
    store.home.put("trainings/k-8/manifest.json", b"torn")
    with pytest.raises(OSError, match=r"trainings/k-8/manifest.json: can't be read back"):
        store.put_manifest("k-8", Manifest("late", {}, 8, {}, 1))
    assert store.home.read("trainings/k-8/manifest.json") == b"torn"


def test_the_first_proposal_of_a_number_stands(store: Store) -> None:
    record = SweepRecord(store.home, "s")
    first, late = (Proposal(0, {"algorithm.inner_lr": rate}, "told") for rate in (0.1, 0.2))
    assert [record.put_proposal(first), record.put_proposal(late)] == [first, first]
    assert record.proposals() == [first]
