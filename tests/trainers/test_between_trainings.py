"""Similarity between trainings: every number recomputed plainly, and what a comparison's key must and must not hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from trainers.between_trainings import Side, similarities
from trainers.canonical import analysis_key, points_identity
from trainers.config import Between, TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.episodes import check_data
from trainers.episodes import test_sampler as sampler_of_tests
from trainers.errors import ConfigError
from trainers.inner_loop import InnerLoop, adapted_for_test
from trainers.network import Network
from trainers.similarity import cca, flatten, linear_cka
from trainers.tasks import as_tasks

LAYERS = ("conv1", "conv2", "conv3", "conv4", "head")


def config(**sections: dict[str, Any]) -> TrialConfig:
    base = {
        "episodes": {"ways": 3, "shots": 1, "queries": 2},
        "backbone": {"width": 3},
        "algorithm": {"inner_lr": 0.5, "inner_steps": 2},
        "training": {"iterations": 2, "validate_every": 1, "meta_batch": 1, "validation_episodes": 1},
        "evaluation": {"episodes": 3},
    }
    return TrialConfig.model_validate({**base, **{name: {**base[name], **sections[name]} for name in sections}})


def side(asked: TrialConfig, data: ImageTable, seed: int) -> Side:
    return Side(asked, Network(asked, data.image_shape).init(seed))


def outputs(its: Side, data: ImageTable, episode: int, adapted: bool) -> dict[str, torch.Tensor]:
    """What every layer makes of an episode's query set, by functions of torch's alone."""
    asked = its.config
    (task,) = as_tasks(sampler_of_tests(asked, data).episodes([episode]), next(iter(its.params.values())))
    network = Network(asked, data.image_shape)
    loop = InnerLoop.of_test(asked)
    params = adapted_for_test(network, its.params, task, loop) if adapted else its.params
    x, found = task.query, {}
    for layer in LAYERS[:-1]:
        x = F.conv2d(x, params[f"{layer}.weight"], padding=1)
        x = F.batch_norm(x, None, None, params[f"{layer}.gamma"], params[f"{layer}.beta"], training=True)
        found[layer] = x = F.max_pool2d(F.relu(x), 2)
    return {**found, "head": x.flatten(1) @ params["head.weight"].T + params["head.bias"]}


@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize("flattening", ["channels", "images"])
def test_every_number_is_that_of_two_networks_by_themselves(
    strokes: ImageTable, adapted: bool, flattening: str
) -> None:
    maml = config(evaluation={"flattening": flattening})
    anil = config(algorithm={"name": "anil"}, evaluation={"flattening": flattening})
    sides = [side(maml, strokes, 1), side(anil, strokes, 2), side(maml, strokes, 3)]
    between = Between(measure="similarity" if flattening == "channels" else "cka", adapted=adapted)
    pairs = [(0, 1), (2, 0)]
    found = similarities(sides, pairs, strokes, between)
    scores = {"cca": cca, "cka": linear_cka} if flattening == "channels" else {"cka": linear_cka}
    assert len(found) == 2
    for (one, other), columns in zip(pairs, found, strict=True):
        assert set(columns) == {f"{kind}.{layer}" for kind in scores for layer in LAYERS}
        for episode in range(3):
            x, y = (outputs(sides[number], strokes, episode, adapted) for number in (one, other))
            for kind, score in scores.items():
                for layer in LAYERS:
                    expected = score(flatten(x[layer], flattening), flatten(y[layer], flattening))
                    assert columns[f"{kind}.{layer}"][episode] == pytest.approx(expected, abs=1e-5), (kind, layer)
    assert found[0]["cka.conv1"].std() > 1e-4  # the episodes differ


def test_a_network_is_the_same_as_itself_and_others_do_not_matter(strokes: ImageTable) -> None:
    sides = [side(config(), strokes, seed) for seed in (1, 2, 3)]
    same, one, other = similarities(sides, [(0, 0), (0, 1), (1, 0)], strokes, Between())
    for layer in LAYERS:
        np.testing.assert_allclose(same[f"cka.{layer}"], 1, atol=1e-12)
        np.testing.assert_allclose(same[f"cca.{layer}"], 1, atol=1e-12)
        np.testing.assert_allclose(one[f"cka.{layer}"], other[f"cka.{layer}"], atol=1e-12)
    (alone,) = similarities(sides[:2], [(0, 1)], strokes, Between())
    for column, values in alone.items():
        np.testing.assert_array_equal(values, one[column])


def test_what_is_not_finite_has_no_score_and_spoils_no_other(strokes: ImageTable) -> None:
    whole = [side(config(), strokes, seed) for seed in (1, 2)]
    broken = Side(whole[0].config, {**whole[0].params, "conv2.gamma": torch.full((3,), np.inf)})
    alone, with_broken = similarities([*whole, broken], [(0, 1), (1, 2)], strokes, Between())
    (expected,) = similarities(whole, [(0, 1)], strokes, Between())
    for column, values in expected.items():
        np.testing.assert_array_equal(alone[column], values)
        assert np.isnan(with_broken[column]).all() == (not column.endswith("conv1")), column
        assert np.isfinite(with_broken["cka.conv1"]).all()


def key(one: TrialConfig, other: TrialConfig, **between: Any) -> str:
    return analysis_key(one, other, "f" * 20, Between(**between))


def test_a_key_holds_what_can_change_the_numbers_and_only_that() -> None:
    one, other = config(), config(training={"seed": 1})
    known = key(one, other)
    assert key(other, one) == known
    frozen = config(evaluation={"frozen_layers": 4, "inner_steps": 7, "head": "linear"})
    assert key(frozen, other) == known, "how a test adapts does not act before the inner loop"
    assert key(frozen, other, adapted=True) != key(one, other, adapted=True)
    anil = config(algorithm={"name": "maml", "frozen_layers": 4})
    assert key(anil, other) == key(config(algorithm={"name": "anil"}), other) != known
    changed = [
        key(config(training={"seed": 2}), other),
        key(config(evaluation={"weights": "final"}), other),
        key(one, other, measure="cka"),
        key(*(config(training={"seed": s}, evaluation={"queries": 3}) for s in (0, 1))),
        key(*(config(training={"seed": s}, evaluation={"flattening": "images"}) for s in (0, 1))),
        key(*(config(training={"seed": s}, evaluation={"episodes": 4}) for s in (0, 1))),
        analysis_key(one, other, "e" * 20, Between()),
    ]
    assert len({known, *changed}) == len(changed) + 1


def test_shots_leave_the_points_as_they_are_and_ways_do_not() -> None:
    """Query images are taken from the back of a class, the support from its front."""
    assert points_identity(config(episodes={"shots": 5})) == points_identity(config())
    assert points_identity(config(episodes={"ways": 4})) != points_identity(config())
    assert points_identity(config(evaluation={"queries": 5})) != points_identity(config())


def test_too_few_points_are_refused_before_anything_is_trained(strokes: ImageTable) -> None:
    few = config(episodes={"queries": 1})
    check_data(few, strokes)
    check_data(few, strokes, Between(measure="cka"))
    with pytest.raises(ConfigError, match=r"grid\.between\.measure: similarity has CCA.* conv4 3 points and 3 neurons"):
        check_data(few, strokes, Between())
