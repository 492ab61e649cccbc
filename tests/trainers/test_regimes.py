"""Whole trainings of the regimes without an inner loop, and what every algorithm must hold to."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from trainers import heads
from trainers.algorithms import ALGORITHMS
from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.episodes import test_sampler as sampler_of_tests
from trainers.evaluation import Adaptation, accuracy, evaluate, predict_by_autograd
from trainers.inner_loop import InnerLoop
from trainers.network import Network
from trainers.snapshots import Progress
from trainers.tasks import as_tasks
from trainers.trial import run_trial, train

REGIMES = ("nil_training", "multitask", "multiclass", "random")


def small(name: str, iterations: int = 6, **sections: dict[str, Any]) -> TrialConfig:
    training = {"validate_every": 2, "meta_batch": 2, "validation_episodes": 6, "meta_lr": 0.01}
    settings: dict[str, dict[str, Any]] = {
        "episodes": {"ways": 3, "shots": 2, "queries": 2},
        "backbone": {"width": 4},
        "algorithm": {"name": name},
        "training": {"iterations": iterations, **training},
        "evaluation": {"episodes": 8},
    }
    for section, values in sections.items():
        settings[section] = {**settings.get(section, {}), **values}
    return TrialConfig.model_validate(settings)


def end(config: TrialConfig, data: ImageTable, start: Progress | None = None) -> Progress:
    *_, last = train(config, data, start)
    return last


# --- what every algorithm must hold to


@pytest.mark.parametrize("name", ALGORITHMS)
def test_resumed_is_not_stopped_bit_for_bit(strokes: ImageTable, name: str) -> None:
    whole = list(train(small(name), strokes))
    for stop in whole[:-1]:
        stored = Progress.from_bytes(stop.to_bytes())
        assert end(small(name), strokes, stored).to_bytes() == whole[-1].to_bytes()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_short_training_is_a_prefix_of_a_long_one(strokes: ImageTable, name: str) -> None:
    short, long = (list(train(small(name, iterations), strokes)) for iterations in (2, 4))
    assert short[0].to_bytes() == long[0].to_bytes()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_selects_and_tests_by_its_own_head(strokes: ImageTable, name: str) -> None:
    config = small(name)
    assert config.algorithm_entry.name == name
    result = run_trial(config, strokes)
    assert config.algorithm_entry.head in result.progress.best
    assert result.progress.best.keys() == set(config.validation_heads)
    assert all(math.isfinite(point.validation_loss) for point in result.progress.curve)
    assert result.accuracies.shape == (8,)


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("how", [{"head": "linear"}, {"head": "nil"}, {"head": "linear", "frozen_layers": 2}], ids=str)
def test_any_training_can_be_tested_with_any_head(strokes: ImageTable, name: str, how: dict[str, Any]) -> None:
    (found,) = evaluate([small(name, evaluation=how)], end(small(name), strokes).params, strokes)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_without_a_closed_form_it_is_the_same_training(
    strokes: ImageTable, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    fast = end(small(name, 2), strokes)
    monkeypatch.setattr(Network, "blocks", None)
    slow = end(small(name, 2), strokes)
    assert slow.curve[0].validation_loss == pytest.approx(fast.curve[0].validation_loss, rel=1e-3)
    assert slow.curve[0].train_loss == pytest.approx(fast.curve[0].train_loss, rel=1e-3, nan_ok=True)


# --- the regimes


@pytest.mark.parametrize("name", REGIMES)
def test_what_is_not_trained_stays_as_it_was_initialised(strokes: ImageTable, name: str) -> None:
    config = small(name)
    initial, trained = Network(config, strokes.image_shape).init(0), end(config, strokes).params
    moved = {key for key, value in initial.items() if not torch.equal(trained[key], value)}
    body = {key for key in initial if not key.startswith("head")}
    head = {"head.weight", "head.bias"}
    assert moved == {"nil_training": body, "multitask": body | head, "multiclass": body, "random": set()}[name]


def test_multiclass_learns_with_a_head_as_wide_as_there_are_training_classes(strokes: ImageTable) -> None:
    first, *_, last = train(small("multiclass"), strokes)
    assert last.params["classes.weight"].shape == (10, 4)
    assert not torch.equal(first.params["classes.weight"], last.params["classes.weight"])
    other = Network(small("maml"), strokes.image_shape).init(0)
    multiclass = Network(small("multiclass"), strokes.image_shape).init(0, 10)
    assert all(torch.equal(multiclass[key], value) for key, value in other.items())  # the same body to start from


def test_random_is_validated_the_same_every_time_and_costs_nothing(strokes: ImageTable) -> None:
    progress = end(small("random", 20), strokes)
    assert [point.iteration for point in progress.curve] == list(range(2, 21, 2))
    assert len({(point.validation_loss, point.validation_accuracy["nil"]) for point in progress.curve}) == 1
    assert progress.best["nil"].iteration == 2
    assert (progress.flops, progress.moments) == (0, {})
    assert all(math.isnan(point.train_loss) and math.isnan(point.train_accuracy) for point in progress.curve)
    other = end(small("random", 20, training={"seed": 1}), strokes)
    assert other.curve[-1].validation_loss != progress.curve[-1].validation_loss


def test_the_validation_loss_is_that_of_the_nil_head(strokes: ImageTable) -> None:
    from trainers.episodes import validation_sampler

    config = small("random", 2)
    point = end(config, strokes).curve[0]
    network = Network(config, strokes.image_shape)
    params = network.init(0)
    losses, correct = [], []
    for task in as_tasks(validation_sampler(config, strokes).episodes(range(6)), params["head.bias"]):
        support, query = network.features(params, task.support), network.features(params, task.query)
        weights = heads.nil(support, task.support_labels, query, 3)
        losses += [-weights[index, label].log().item() for index, label in enumerate(task.query_labels)]
        correct += (weights.argmax(1) == task.query_labels).tolist()
    assert point.validation_loss == pytest.approx(np.mean(losses), rel=1e-4)
    assert point.validation_accuracy == {"nil": pytest.approx(np.mean(correct))}


@pytest.mark.parametrize("name", REGIMES)
def test_a_linear_test_adapts_only_the_head_from_where_the_training_left_it(strokes: ImageTable, name: str) -> None:
    how = {"head": "linear", "inner_steps": 3}
    config = small(name, evaluation=how, algorithm={"name": name, "inner_lr": 0.7})
    assert config.test_adapted_layers == ("head",)
    params = end(config, strokes).params
    (found,) = evaluate([config], params, strokes)
    network = Network(config, strokes.image_shape)
    start = {key: value for key, value in params.items() if not key.startswith("classes")}
    if name != "multitask":  # nothing else has trained an N-way head
        start |= {key: value for key, value in network.init(0).items() if key.startswith("head")}
    loop = InnerLoop(("head",), dict.fromkeys(network.layers, 0.7), 3, second_order=False)
    tasks = as_tasks(sampler_of_tests(config, strokes).episodes(range(8)), params["head.bias"])
    scores = torch.stack([predict_by_autograd(network, start, task, Adaptation("linear", loop)) for task in tasks])
    assert found.tolist() == accuracy(scores, tasks.query_labels).tolist()


def test_nil_weights_by_hand() -> None:
    """Two shots of two classes: the cosines of a query are 1 and −0.6, 0.8 and 0."""
    support = torch.tensor([[2.0, 0.0], [-0.6, 0.8], [0.8, 0.6], [0.0, 3.0]], dtype=torch.float64)
    query, labels = torch.tensor([[5.0, 0.0]], dtype=torch.float64), torch.tensor([0, 0, 1, 1])
    assert heads.nil(support, labels, query, 2, "cosine")[0].tolist() == pytest.approx([1 - 0.6, 0.8 + 0.0])
    total = sum(map(math.exp, (1, -0.6, 0.8, 0)))
    softmax = [(math.exp(1) + math.exp(-0.6)) / total, (math.exp(0.8) + 1) / total]
    assert heads.nil(support, labels, query, 2)[0].tolist() == pytest.approx(softmax)
    assert softmax[0] > softmax[1]  # so that the choice can change an answer


@pytest.mark.parametrize("shots", [1, 4])
def test_the_test_weights_labels_as_asked(strokes: ImageTable, shots: int) -> None:
    sections: dict[str, Any] = {"episodes": {"ways": 5, "shots": shots, "queries": 4}}
    asked = [small("random", evaluation={"nil": nil, "episodes": 100}, **sections) for nil in ("softmax", "cosine")]
    params = end(asked[0], strokes).params
    softmax, cosine = evaluate(asked, params, strokes)
    assert (softmax == cosine).all() == (shots == 1)
    network = Network(asked[1], strokes.image_shape)
    expected = []
    for task in as_tasks(sampler_of_tests(asked[1], strokes).episodes(range(100)), params["head.bias"]):
        support, query = network.features(params, task.support), network.features(params, task.query)
        cosines = torch.nn.functional.cosine_similarity(query.unsqueeze(1), support.unsqueeze(0), dim=2)
        by_class = cosines.view(-1, 5, shots).sum(2)
        expected.append((by_class.argmax(1) == task.query_labels).double().mean().item())
    assert cosine == pytest.approx(np.array(expected))


@pytest.mark.parametrize("name", ["nil_training", "multiclass"])
def test_learns_on_glyphs(glyphs: ImageTable, name: str) -> None:
    """Thirty characters: the training loss falls, and new scripts are told apart better than by random features."""
    parts = glyphs.splits["scripts"]
    few = replace(glyphs, splits={"scripts": {**parts, "train": parts["train"][:600:20]}})
    sections: dict[str, Any] = {
        "dataset": {"name": "glyphs"},
        "episodes": {"ways": 5, "shots": 1, "queries": 4},
        "backbone": {"width": 8, "pooling": "stride"},
        "training": {"validate_every": 40, "validation_episodes": 100},
    }
    first, *_, last = end(small(name, 120, **sections), few).curve
    (untrained,) = end(small("random", 40, **sections), few).curve
    assert last.train_loss < first.train_loss - 0.1
    assert last.train_accuracy > first.train_accuracy
    assert last.validation_accuracy["nil"] > untrained.validation_accuracy["nil"] + 0.05
