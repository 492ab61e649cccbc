"""Operations are those that really run, and a rate is operations over time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from trainers import cost
from trainers.algorithms import ALGORITHMS
from trainers.closed_form.flops import Loop
from trainers.config import TrialConfig
from trainers.cost import Calculation, flops, measured_rate, of_evaluations, of_training, sample_of
from trainers.datasets.image_file import ImageTable
from trainers.network import Network
from trainers.trial import train

ALL = ("conv1", "conv2", "conv3", "conv4", "head")
SMALL: dict[str, Any] = {
    "episodes": {"ways": 3, "shots": 2, "queries": 4},
    "backbone": {"width": 6},
    "algorithm": {"inner_steps": 2},
    "training": {"iterations": 8, "validate_every": 4, "meta_batch": 3, "validation_episodes": 5},
    "evaluation": {"episodes": 50, "queries": 1},
}


def config(**sections: dict[str, Any]) -> TrialConfig:
    return TrialConfig.model_validate({name: SMALL[name] | sections.get(name, {}) for name in SMALL})


def calculation(loops: tuple[Loop | None, ...], learns: bool, pooling: str = "max", channels: int = 3) -> Calculation:
    backbone = config(backbone={"pooling": pooling}).backbone
    return Calculation((19, 18, channels), backbone, 3, 2, 4, loops, learns, "adapted", at_once=1)


def run_and_count(its: Calculation) -> int:
    """By torch, which looks at every operator while one episode is calculated."""
    call = cost._call(its)
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def test_is_what_the_convolutions_and_products_add_up_to_by_hand() -> None:
    """ANIL with one step on 16×16×1, width 6, 3-way 2-shot, 4 queries a class: 6 support and 12 query images.

    Maps behind the convolutions are 16², 8², 4², 2², and the last one is pooled to one pixel: 6 features.
    """
    (step, validation) = of_training(config(algorithm={"name": "anil", "inner_steps": 1}), (16, 16, 1))
    mul_add, support, query = 2, 6, 12
    first = mul_add * (9 + 1) * 6 * 16**2  # of an image: the patches have a constant row
    others = mul_add * 9 * 6 * 6 * (8**2 + 4**2 + 2**2)
    head = mul_add * 6 * 3
    moments = mul_add * (9 + 1) ** 2 * 16**2
    means, spreads, outer = mul_add * 9 * 6, mul_add * 9 * 9 * 6, mul_add * 9 * 9
    body = lambda images: images * (moments + first + others) + outer + means + spreads  # noqa: E731
    body_back = lambda images: images * (first + 2 * others)  # noqa: E731 - no gradient of the images
    adapt = support * (head + 2 * head)
    hessian = support * (head + 3 * head)  # tangent; its gradient by weights, and two terms by features
    learn = (
        *(body(support), adapt, body(query), query * 3 * head, body_back(query)),
        *(hessian, body_back(support)),
    )
    assert flops(step) == sum(learn)
    nil = mul_add * query * support * (6 + 3)
    assert flops(validation) == body(support) + body(query) + adapt + query * head + nil


@pytest.mark.parametrize("pooling", ["max", "stride"])
@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("steps", [0, 1, 7])  # of 7, some are run again
@pytest.mark.parametrize("layers", [ALL, ALL[1:], ("conv1", "conv3"), ("conv3",), ("conv4", "head"), ("head",), ()])
def test_learning_is_what_torch_counts(layers: tuple[str, ...], steps: int, second_order: bool, pooling: str) -> None:
    its = calculation((Loop(layers, steps, second_order),), True, pooling)
    assert flops(its) == run_and_count(its)


@pytest.mark.parametrize("pooling", ["max", "stride"])
@pytest.mark.parametrize(
    "loops",
    [
        (Loop(ALL, 3, False),),
        (Loop(("head",), 0, False),),
        (None,),
        (Loop(("conv3", "head"), 2, False), None, Loop(("head",), 5, False)),
        (Loop(ALL, 1, False), Loop(ALL[2:], 1, False)),
    ],
)
def test_predicting_is_what_torch_counts(loops: tuple[Loop | None, ...], pooling: str) -> None:
    its = calculation(loops, False, pooling, channels=1)
    assert flops(its) == run_and_count(its)


@pytest.mark.parametrize("pooling", ["max", "stride"])
@pytest.mark.parametrize("objective", ["nil", "shared"])
def test_learning_without_an_inner_loop_is_what_torch_counts(objective: Any, pooling: str) -> None:
    its = replace(calculation((Loop((), 0, True),), True, pooling), objective=objective)
    assert flops(its) == run_and_count(its)


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name != "random"])
def test_a_step_is_what_its_training_records(strokes: ImageTable, name: str) -> None:
    asked = config(algorithm={"name": name}, training={"iterations": 1, "validate_every": 1})
    (progress,) = train(asked, strokes)
    step, _ = of_training(asked, strokes.image_shape)
    expected = flops(step) * asked.training.meta_batch
    assert progress.flops == (pytest.approx(expected, rel=0.05) if name == "multiclass" else expected)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_of_every_algorithm_there_is_a_sample(name: str) -> None:
    asked = config(algorithm={"name": name})
    for calculation, episodes in of_training(asked, (19, 18, 3)).items():
        assert episodes > 0
        cost._call(sample_of(calculation))()


def test_random_features_only_cost_one_validation() -> None:
    asked = config(algorithm={"name": "random"})
    ((validation, episodes),) = of_training(asked, (19, 18, 3)).items()
    assert (validation.learns, validation.loops, episodes) == (False, (None,), 5)


@pytest.fixture
def by_autograd(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A backbone that the closed form does not know."""
    for cached in (flops, cost._chain):
        cached.cache_clear()
    monkeypatch.setattr(Network, "blocks", None)
    yield
    for cached in (flops, cost._chain):
        cached.cache_clear()


@pytest.mark.usefixtures("by_autograd")
def test_without_a_closed_form_it_is_counted_in_a_run() -> None:
    """First-order ANIL with no step: forward passes of all layers on the queries, and their gradients."""
    its = calculation((Loop(("head",), 0, False),), True)
    product = 2 * 9 * 6 * (3 * 19 * 18 + 6 * (9 * 9 + 4 * 4 + 2 * 2))
    first, head = 2 * 9 * 6 * 3 * 19 * 18, 2 * 6 * 3
    assert flops(its) == 12 * (3 * (product + head) - first)  # no gradient of the images


def episodes_of(counted: dict[Calculation, int]) -> dict[bool, int]:
    return {its.learns: count for its, count in counted.items()}


def test_counts_the_episodes_of_all_steps_and_validations() -> None:
    assert episodes_of(of_training(config(), (16, 16, 1))) == {True: 8 * 3, False: 2 * 5}
    longer = config(training={"iterations": 16, "meta_batch": 7, "validation_episodes": 11})
    assert episodes_of(of_training(longer, (16, 16, 1))) == {True: 16 * 7, False: 4 * 11}


def test_training_and_validation_adapt_as_they_are_asked() -> None:
    step, validation = of_training(config(algorithm={"frozen_layers": 2}), (16, 16, 1))
    assert step.loops == (Loop(("conv3", "conv4", "head"), 2, True),)
    assert validation.loops == (Loop(("conv3", "conv4", "head"), 2, False),)
    step, validation = of_training(config(algorithm={"name": "nil", "first_order": True}), (16, 16, 1))
    assert step.loops == (Loop(("head",), 2, False),)
    assert validation.loops == (Loop(("head",), 2, False), None)


def test_evaluations_on_the_same_episodes_are_made_together() -> None:
    levels = [config(evaluation={"frozen_layers": count}) for count in (0, 2, 4)]
    (its,) = of_evaluations(levels, (16, 16, 1)).items()
    assert its[0].loops == tuple(Loop(ALL[count:], 2, False) for count in (0, 2, 4))
    assert (its[0].queries, its[1]) == (1, 50)
    together = flops(its[0])
    alone = [flops(one) for level in levels for one in of_evaluations([level], (16, 16, 1))]
    assert alone[0] > alone[1] > alone[2]
    assert alone[0] < together < sum(alone)


@pytest.mark.parametrize("other", [{"queries": 2}, {"episodes": 60}, {"weights": "final"}])
def test_evaluations_on_other_episodes_or_weights_are_not(other: dict[str, Any]) -> None:
    found = of_evaluations([config(), config(evaluation=other)], (16, 16, 1))
    assert sum(found.values()) == 50 + other.get("episodes", 50)
    assert all(len(its.loops) == 1 for its in found)


def test_a_timed_test_also_takes_so_many_iterations_and_inferences() -> None:
    """50 rounds, each an iteration of 3 episodes and one episode by itself, beside the accuracy of 50."""
    timed, shape = config(evaluation={"measure": "speed"}), (16, 16, 1)
    found = of_evaluations([timed], shape)
    (plain,) = of_evaluations([config()], shape)
    step, _ = of_training(timed, shape)
    assert found == {plain: 50, step: 50 * 3, replace(plain, at_once=1): 50}


@pytest.mark.parametrize("learns", [True, False])
def test_a_rate_is_operations_over_time(learns: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    its = replace(calculation((Loop(ALL, 1, learns),), learns), at_once=2)
    clock = iter(range(10**6))
    monkeypatch.setattr(cost.time, "process_time", lambda: next(clock) / 4)  # whatever runs takes a quarter of a second
    torch.set_num_threads(2)
    assert measured_rate(its) == 4 * 2 * flops(its)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("learns", [True, False])
def test_a_sample_is_bounded_and_of_the_same_kind(learns: bool) -> None:
    backbone = config(backbone={"width": 64}).backbone
    its = Calculation((84, 84, 3), backbone, 20, 5, 15, (Loop(ALL, 10, learns),), learns, "adapted", at_once=100)
    sample = sample_of(its)
    assert flops(sample) * sample.at_once < 5 * cost.SAMPLE_FLOPS < flops(its) / 10  # no less than 2-way 1-shot
    assert (sample.image_shape, sample.backbone, sample.learns) == (its.image_shape, its.backbone, its.learns)
    assert sample.loops == (Loop(ALL, 1, learns),)
    small = calculation((Loop(ALL, 3, learns),), learns)
    assert sample_of(small) == small
