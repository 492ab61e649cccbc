"""Whole trials on 2D-Navigation: what they resume to, what they do not depend on, and that they learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from trainers.errors import AdaptationDiverged, TrainingDiverged
from trainers.rl.config import PolicyEvaluationConfig, RLConfig
from trainers.rl.cost import count_flops
from trainers.rl.trial import evaluate, train
from trainers.snapshots import Progress


def small(**sections: dict[str, Any]) -> RLConfig:
    """A training of four iterations with validations after two and four."""
    return RLConfig.model_validate(
        {
            "environment": {"horizon": 12},
            "policy": {"hidden": [8, 8]} | sections.pop("policy", {}),
            "sampling": {"trajectories": 4},
            "training": {"iterations": 4, "validate_every": 2, "meta_batch": 3, "validation_tasks": 3}
            | sections.pop("training", {}),
            "evaluation": {"tasks": 5} | sections.pop("evaluation", {}),
            **sections,
        }
    )


def end_of(config: RLConfig) -> Progress:
    return list(train(config))[-1]


@pytest.mark.parametrize("name", ["maml", "anil"])
def test_a_resumed_training_is_one_that_was_not_stopped(name: str) -> None:
    config = small(algorithm={"name": name, "inner_steps": 2})
    whole = end_of(config)
    for stop in (1, 2, 3):
        given = train(config, due=lambda: True)
        stopped = [next(given) for _ in range(stop)][-1]
        assert stopped.iteration == stop
        resumed = list(train(config, Progress.from_bytes(stopped.to_bytes())))
        assert resumed[-1].to_bytes() == whole.to_bytes()
    assert [point.iteration for point in whole.curve] == [2, 4]


def test_nothing_depends_on_the_length_but_the_end() -> None:
    short = end_of(small(training={"iterations": 2}))
    longer = next(train(small()))
    assert longer.to_bytes() == short.to_bytes()


def test_maml_with_its_body_frozen_is_anil() -> None:
    anil = end_of(small(algorithm={"name": "anil"}))
    assert end_of(small(algorithm={"frozen_layers": 2})).to_bytes() == anil.to_bytes()
    assert end_of(small()).to_bytes() != anil.to_bytes()


def test_a_standard_deviation_adapts_only_with_the_head() -> None:
    """In a training without an adapting head nothing depends on ``adapt_std``; in a test with one it does."""
    configs = [small(policy={"adapt_std": adapts}, algorithm={"name": "boil"}) for adapts in (True, False)]
    one, other = map(end_of, configs)
    assert one.to_bytes() == other.to_bytes()
    found = {}
    for frozen in (None, 0):
        tested = [
            its.model_copy(update={"evaluation": PolicyEvaluationConfig(tasks=5, frozen_layers=frozen)})
            for its in configs
        ]
        after = [evaluate([its], one.params)[0]["return_after"] for its in tested]
        found[frozen] = np.array_equal(*after)
    assert found == {None: True, 0: False}


def test_a_validation_says_what_it_saw() -> None:
    config = small(algorithm={"inner_steps": 2})
    progress = end_of(config)
    first, last = progress.curve
    per_iteration = 3 * 4 * 12 * 3  # tasks, trajectories, steps, before and after both inner steps
    assert first.others["environment_steps"] <= 2 * per_iteration
    assert first.others["environment_steps"] < last.others["environment_steps"] <= 4 * per_iteration
    best = max(progress.curve, key=lambda point: point.validation_accuracy["linear"])
    assert progress.best["linear"].iteration == best.iteration
    assert math.isnan(last.validation_loss)
    assert last.train_loss < 0
    assert progress.flops == count_flops(config) > 0


def test_configs_of_one_test_are_tested_as_if_alone() -> None:
    params = end_of(small()).params
    tests = [{}, {"inner_steps": 0}, {"inner_steps": 3}, {"frozen_layers": 2}]
    configs = [small(evaluation=test) for test in tests]
    together = evaluate(configs, params)
    for config, found in zip(configs, together, strict=True):
        (alone,) = evaluate([config], params)
        for column in ("return_before", "return_after"):
            assert found[column].dtype == np.float64
            assert found[column].shape == (5,)
            np.testing.assert_array_equal(found[column], alone[column])
        np.testing.assert_array_equal(found["return_before"], together[0]["return_before"])
    np.testing.assert_array_equal(together[1]["return_after"], together[1]["return_before"])
    assert len({found["return_after"].tobytes() for found in together}) == 4


def test_what_diverges_is_said() -> None:
    with pytest.raises(TrainingDiverged, match="a return after inner step 1 is not finite at iteration 1"):
        end_of(small(algorithm={"inner_lr": 1e38, "inner_steps": 2}))
    steep = small(algorithm={"inner_lr": 1e38, "inner_steps": 2})
    with pytest.raises(AdaptationDiverged, match="test tasks 0 to 4: a return after inner step 1 is not finite"):
        evaluate([steep], end_of(small()).params)


def test_a_validation_that_diverges_is_said() -> None:
    """A rate that one of the gradients of many validation tasks makes infinite, and not that of the one task before."""
    config = small(
        policy={"initial_std": 0.01},
        algorithm={"name": "anil", "inner_lr": 8e36, "first_order": True},
        training={"iterations": 1, "validate_every": 1, "meta_batch": 1, "validation_tasks": 40, "seed": 3},
    )
    with pytest.raises(TrainingDiverged, match="validation at iteration 1: an adapted policy after inner step 1"):
        end_of(config)


@pytest.mark.parametrize("name", ["maml", "anil"])
def test_it_learns_to_adapt(name: str) -> None:
    sampling, training = {"trajectories": 10}, {"meta_batch": 10, "iterations": 10, "validate_every": 10}
    config = RLConfig.model_validate(
        {
            "environment": {"horizon": 30},
            "policy": {"hidden": [32, 32]},
            "sampling": sampling,
            "algorithm": {"name": name},
            "training": training,
            "evaluation": {"tasks": 40},
        }
    )
    untrained, trained = (evaluate([config], params)[0] for params in (_initial(config), end_of(config).params))
    gain = trained["return_after"] - untrained["return_after"]
    assert gain.mean() > 4 * gain.std() / math.sqrt(len(gain))
    assert (trained["return_after"] - trained["return_before"]).mean() > 0


def _initial(config: RLConfig) -> dict[str, torch.Tensor]:
    from trainers.rl.policy import init

    return init(config.policy, 2, 2, config.training.seed)
