"""What is timed, by a clock that only moves when the test says so: no real time is measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from trainers import speed as module
from trainers.algorithms import ALGORITHMS
from trainers.captured_step import MetaStep
from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.episodes import test_sampler as sampler_of_tests
from trainers.episodes import training_sampler
from trainers.evaluation import Adaptation, predict
from trainers.network import Network
from trainers.speed import WARM_UPS, clock_of, speed
from trainers.tasks import Tasks, as_tasks
from trainers.trial import run_trial

ROUNDS = 4


def config(name: str = "maml", measure: str = "speed", **evaluation: Any) -> TrialConfig:
    return TrialConfig.model_validate(
        {
            "episodes": {"ways": 3, "shots": 1, "queries": 2},
            "backbone": {"width": 2},
            "algorithm": {"name": name, "inner_steps": 2},
            "training": {"iterations": 1, "validate_every": 1, "meta_batch": 2, "validation_episodes": 1},
            "evaluation": {"measure": measure, "episodes": ROUNDS, "queries": 1, "inner_steps": 3, **evaluation},
        }
    )


def weights(asked: TrialConfig, data: ImageTable) -> dict[str, torch.Tensor]:
    return Network(asked, data.image_shape).init(0)


class Watch:
    """A clock that stands still but for what the calls it watches are said to take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, train_s: Callable[[int], float], infer_s: float) -> None:
        self.now = 50.0
        self.steps: list[Tasks] = []
        self.predictions: list[tuple[Tasks, Any]] = []
        its_step, its_tasks = MetaStep.__call__, module.as_tasks

        def step(one: MetaStep, tasks: Tasks) -> Any:
            self.now += train_s(len(self.steps) - WARM_UPS)
            self.steps.append(tasks)
            return its_step(one, tasks)

        def inference(network: Network, params: Any, tasks: Tasks, adaptations: Any) -> Any:
            self.now += infer_s
            self.predictions.append((tasks, adaptations))
            return predict(network, params, tasks, adaptations)

        def gather(*args: Any) -> Tasks:
            self.now += 1000
            return its_tasks(*args)

        monkeypatch.setattr(MetaStep, "__call__", step)
        monkeypatch.setattr(module, "predict", inference)
        monkeypatch.setattr(module, "as_tasks", gather)

    def __call__(self) -> float:
        return self.now


def test_each_round_has_the_time_of_its_step_and_of_its_inference(
    monkeypatch: pytest.MonkeyPatch, strokes: ImageTable
) -> None:
    """A slow round shows where it was; warming up and gathering images show nowhere."""
    watch = Watch(monkeypatch, lambda number: 9.0 if number < 0 else 0.25 if number == 2 else 0.125, 0.5)
    found = speed(config(), weights(config(), strokes), strokes, clock=watch)
    assert list(found) == ["train_ms", "infer_ms"]
    np.testing.assert_array_equal(found["train_ms"], [125, 125, 250, 125])
    np.testing.assert_array_equal(found["infer_ms"], [500] * ROUNDS)


def test_what_is_timed_is_the_trainings_iteration_and_the_tests_inference(
    monkeypatch: pytest.MonkeyPatch, strokes: ImageTable
) -> None:
    asked = config()
    params = weights(asked, strokes)
    before = {name: value.clone() for name, value in params.items()}
    watch = Watch(monkeypatch, lambda number: 1.0, 1.0)
    speed(asked, params, strokes, clock=watch)
    like = params["head.bias"]
    for number in range(ROUNDS):
        batch = as_tasks(training_sampler(asked, strokes).episodes([2 * number, 2 * number + 1]), like)
        one = as_tasks([sampler_of_tests(asked, strokes).episode(number)], like)
        tasks, adaptations = watch.predictions[WARM_UPS + number]
        assert same(watch.steps[WARM_UPS + number], batch)
        assert same(tasks, one)
        assert adaptations == [Adaptation.of_test(asked)]
        assert adaptations[0].loop.steps == 3
    assert len(watch.steps) == len(watch.predictions) == WARM_UPS + ROUNDS
    assert all((params[name] == value).all() for name, value in before.items())


def same(one: Tasks, other: Tasks) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.tensors, other.tensors, strict=True))


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name != "random"])
def test_every_training_that_learns_is_timed(strokes: ImageTable, name: str) -> None:
    asked = config(name, episodes=2)
    found = run_trial(asked, strokes).measured
    assert {column: values.shape for column, values in found.items()} == {"train_ms": (2,), "infer_ms": (2,)}
    assert all((values > 0).all() for values in found.values())


def test_nothing_is_timed_unasked(strokes: ImageTable) -> None:
    asked = config(measure="accuracy")
    assert speed(asked, weights(asked, strokes), strokes) == {}


def test_a_training_that_learns_nothing_has_no_iteration() -> None:
    with pytest.raises(
        ValidationError, match=r"evaluation.measure: speed times .* random trains nothing; name another"
    ):
        config("random")


def test_on_a_cpu_other_programs_are_not_in_the_time() -> None:
    assert clock_of("cpu") is time.process_time
