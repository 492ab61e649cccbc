"""Whole trainings on small data: the golden trial, resuming, prefixes, selection, failure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from trainers import trial
from trainers.baselines import nearest_neighbour_accuracy
from trainers.canonical import EVALUATION_VERSION, TRAINER_VERSION
from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.errors import TrainingDiverged
from trainers.evaluation import evaluate
from trainers.snapshots import DamagedSnapshot, Progress, Weights
from trainers.trial import chosen_weights, run_trial, train


def small(iterations: int = 12, **sections: dict[str, Any]) -> TrialConfig:
    settings = {
        "episodes": {"ways": 3, "shots": 1, "queries": 2},
        "backbone": {"width": 4},
        "training": {
            "iterations": iterations,
            "validate_every": 4,
            "meta_batch": 2,
            "validation_episodes": 6,
            "meta_lr": 0.01,
        },
        "evaluation": {"episodes": 8, "inner_steps": 2},
    }
    for section, values in sections.items():
        settings[section] = {**settings.get(section, {}), **values}
    return TrialConfig.model_validate(settings)


def test_golden_trial(strokes: ImageTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of one trial in float64. If they move, raise TRAINER_VERSION or EVALUATION_VERSION and pin new ones."""
    from trainers import network

    init = network.Network.init
    monkeypatch.setattr(
        network.Network, "init", lambda self, seed: {name: value.double() for name, value in init(self, seed).items()}
    )
    result = run_trial(small(algorithm={"inner_steps": 2, "frozen_layers": 1}), strokes)
    assert (TRAINER_VERSION, EVALUATION_VERSION) == (3, 3)
    losses = [point.train_loss for point in result.progress.curve]
    assert losses == pytest.approx(GOLDEN_LOSSES, rel=1e-9)
    total = sum(value.sum().item() for value in result.progress.params.values())
    assert total == pytest.approx(GOLDEN_SUM, rel=1e-8)
    assert result.accuracies.tolist() == pytest.approx(GOLDEN_ACCURACIES)


GOLDEN_LOSSES = [0.6153218087645131, 0.6061609250012261, 0.3651986642615016]
GOLDEN_SUM = 12.427781262893673
GOLDEN_ACCURACIES = [1.0, 1.0, 1.0, 0.6666666666666666, 0.8333333333333334, 1.0, 0.6666666666666666, 1.0]


def end(config: TrialConfig, data: ImageTable, start: Progress | None = None) -> Progress:
    *_, last = train(config, data, start)
    return last


@pytest.mark.parametrize("name", ["maml", "anil"])
def test_resumed_is_not_stopped_bit_for_bit(strokes: ImageTable, name: str) -> None:
    config = small(algorithm={"name": name})
    whole = list(train(config, strokes))
    for stop in whole[:-1]:
        stored = Progress.from_bytes(stop.to_bytes())
        assert end(config, strokes, stored).to_bytes() == whole[-1].to_bytes()


@pytest.mark.parametrize("name", ["maml", "anil", "multiclass"])
def test_resumed_at_any_iteration_is_not_stopped_bit_for_bit(strokes: ImageTable, name: str) -> None:
    """Weights, Adam, curve and best weights, in float32; between validations the losses so far come along."""
    config = small(algorithm={"name": name})
    whole = list(train(config, strokes))
    stops = list(train(config, strokes, due=lambda: True))
    assert [stop.iteration for stop in stops] == list(range(1, 13))
    assert [stop.to_bytes() for stop in stops if stop.validated] == [progress.to_bytes() for progress in whole]
    for stop in stops[:-1]:
        stored = Progress.from_bytes(stop.to_bytes())
        assert (stored.losses, stored.accuracies) == (stop.losses, stop.accuracies)
        assert len(stored.losses) == len(stored.accuracies) == stop.iteration % 4
        rest = list(train(config, strokes, stored))
        assert [progress.to_bytes() for progress in rest] == [
            progress.to_bytes() for progress in whole if progress.iteration > stop.iteration
        ]


def test_a_file_from_a_validation_has_nothing_that_older_versions_lack(strokes: ImageTable) -> None:
    between, at_validation = list(train(small(4), strokes, due=lambda: True))[2:]
    assert b"since/losses" in between.to_bytes()
    assert b"since" not in at_validation.to_bytes()
    assert Progress.from_bytes(at_validation.to_bytes()).losses == ()


def test_a_short_training_is_a_prefix_of_a_long_one(strokes: ImageTable) -> None:
    short, long = list(train(small(8), strokes)), list(train(small(12), strokes))
    assert [progress.to_bytes() for progress in short] == [progress.to_bytes() for progress in long[:2]]


def test_seed_decides(strokes: ImageTable) -> None:
    one, same, other = (end(small(4, training={"seed": seed}), strokes).to_bytes() for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_training_learns(strokes: ImageTable) -> None:
    config = small(80, training={"meta_batch": 4, "validate_every": 20}, evaluation={"episodes": 60})
    result = run_trial(config, strokes)
    assert result.accuracies.mean() > 0.6 > 1 / 3
    assert result.progress.curve[-1].train_loss < result.progress.curve[0].train_loss


def test_best_is_the_first_of_the_best_validations(strokes: ImageTable) -> None:
    progress = end(small(40, algorithm={"name": "anil"}, training={"validation_episodes": 3}), strokes)
    for head, best in progress.best.items():
        curve = [point.validation_accuracy[head] for point in progress.curve]
        assert best.iteration == progress.curve[int(np.argmax(curve))].iteration
    assert set(progress.best) == {"linear", "nil"}
    assert progress.curve[0].validation_accuracy["nil"] != progress.curve[0].validation_accuracy["linear"]


def test_chosen_weights(strokes: ImageTable) -> None:
    anil = small(algorithm={"name": "anil"})
    progress = end(anil, strokes)
    nil = small(algorithm={"name": "nil"})
    assert chosen_weights(anil, progress) == progress.best["linear"]
    assert chosen_weights(nil, progress) == progress.best["nil"]
    final = chosen_weights(small(evaluation={"weights": "final"}), progress)
    assert (final.iteration, final.params) == (progress.iteration, progress.params)


def test_evaluations_differ_by_what_adapts(strokes: ImageTable) -> None:
    weights = end(small(), strokes).params
    episodes = {"episodes": 30}
    accuracies = {
        name: evaluate([small(evaluation={**episodes, **how})], weights, strokes)[0]
        for name, how in {
            "all": {},
            "none": {"inner_steps": 0},
            "head": {"frozen_layers": 4},
            "body": {"frozen_layers": ["head"]},
            "nil": {"head": "nil"},
        }.items()
    }
    means = [tuple(values) for values in accuracies.values()]
    assert len(set(means)) == len(means)
    # an untouched head knows nothing of an episode's labels
    assert accuracies["none"].mean() == pytest.approx(1 / 3, abs=0.17)


def test_more_shots_are_paired_with_fewer(strokes: ImageTable) -> None:
    """The same test queries are asked whatever the shots."""
    weights = end(small(), strokes).params
    (one,) = evaluate([small(evaluation={"episodes": 5})], weights, strokes)
    assert one.shape == (5,)
    (fewer,) = evaluate([small(evaluation={"episodes": 3})], weights, strokes)
    assert (fewer == one[:3]).all()


def test_divergence_is_said(strokes: ImageTable) -> None:
    with pytest.raises(TrainingDiverged, match=r"the training loss is nan at iteration \d+"):
        end(small(40, algorithm={"inner_lr": 1e30, "inner_steps": 5}, training={"meta_lr": 1e30}), strokes)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_validation_whose_loss_is_no_number_is_divergence(
    strokes: ImageTable, monkeypatch: pytest.MonkeyPatch, loss: float
) -> None:
    losses = iter([1.0, loss])
    monkeypatch.setattr(trial, "validate", lambda *_: (next(losses), {"linear": 0.5}))
    training = train(small(), strokes)
    first = next(training)
    with pytest.raises(TrainingDiverged, match=f"the validation loss is {loss} at iteration {2 * first.iteration}"):
        next(training)


def test_scores_that_are_not_finite_are_mistakes() -> None:
    from trainers.evaluation import accuracy

    nan = float("nan")
    scores = torch.tensor([[[1.0, 0.0], [nan, nan], [0.0, float("inf")], [0.0, 1.0]]])
    assert accuracy(scores, torch.tensor([0, 0, 1, 1])).tolist() == [0.5]


def test_nearest_neighbour_by_hand(strokes: ImageTable) -> None:
    from trainers.episodes import test_sampler as sampler_of_tests

    config = small(evaluation={"episodes": 4})
    correct = total = 0
    for index in range(4):
        episode = sampler_of_tests(config, strokes).episode(index)
        for label in range(3):
            for query in episode.query[label].astype(float):
                distances = [np.sqrt(((query - shot[0].astype(float)) ** 2).sum()) for shot in episode.support]
                correct += int(np.argmin(distances)) == label
                total += 1
    assert nearest_neighbour_accuracy(config, strokes) == pytest.approx(correct / total)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[:-10],
    "flipped": lambda data: data[:-5] + bytes([data[-5] ^ 1]) + data[-4:],
    "empty": lambda data: b"",
    "foreign": lambda data: b"not a snapshot at all",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", [Progress, Weights])
def test_damaged_snapshots_are_refused(strokes: ImageTable, damage: str, kind: Any) -> None:
    progress = end(small(4), strokes)
    whole = (progress if kind is Progress else Weights(4, progress.params)).to_bytes()
    assert kind.from_bytes(whole).iteration == 4
    with pytest.raises(DamagedSnapshot):
        kind.from_bytes(DAMAGES[damage](whole))


def test_another_header_does_not_pass(strokes: ImageTable) -> None:
    progress = end(small(4), strokes)
    changed = replace(progress, iteration=4, flops=progress.flops + 1).to_bytes()
    assert changed != progress.to_bytes()
    spliced = changed[: len(changed) - 100] + progress.to_bytes()[-100:]
    assert Progress.from_bytes(spliced).flops == progress.flops + 1  # the same tensors: still whole
    text = str(progress.flops).encode()
    forged = progress.to_bytes().replace(text, str(progress.flops + 1).encode()[: len(text)])
    with pytest.raises(DamagedSnapshot):
        Progress.from_bytes(forged)
