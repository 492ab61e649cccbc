"""An estimate is the sum over what is still to be made, whatever order or grouping it comes in. No time is measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator import estimate
from orchestrator.attempt import attempt_trial
from orchestrator.estimate import MEASURED, TRAINING_S, VALIDATION_S, Asked, comparisons_core_s, estimate_core_s
from orchestrator.home import open_home
from orchestrator.store import Store
from trainers import between_trainings, comparison_cost, cost, evaluation
from trainers.between_trainings import Side
from trainers.comparison_cost import ComparisonCost
from trainers.config import Between, TrainingConfig, TrialConfig
from trainers.cost import Calculation, flops, of_evaluations, of_training
from trainers.datasets.image_file import ImageTable

RATE = 1e6
SHAPE = (28, 28, 1)


def trial(**sections: dict[str, Any]) -> TrialConfig:
    small: dict[str, Any] = {
        "backbone": {"width": 8},
        "training": {"iterations": 40, "validate_every": 10, "meta_batch": 2, "validation_episodes": 6},
        "evaluation": {"episodes": 30},
    }
    return TrialConfig.model_validate(small | {name: small.get(name, {}) | its for name, its in sections.items()})


def core_s(*work: Asked, rate: float = RATE, **known: Any) -> float:
    return estimate_core_s(work, rate=lambda calculation: rate, **known)


def test_is_operations_over_their_rate_and_what_attempts_take_besides() -> None:
    config = trial()
    step, validation = of_training(config, SHAPE)
    (test,) = of_evaluations([config], SHAPE)
    flop = 40 * 2 * flops(step) + 4 * 6 * flops(validation) + 30 * flops(test)
    assert core_s((config, [config])) == pytest.approx(flop / RATE + TRAINING_S + 4 * VALIDATION_S)
    assert core_s((config, [config]), rate=2 * RATE) == pytest.approx(flop / RATE / 2 + TRAINING_S + 4 * VALIDATION_S)


@pytest.mark.parametrize("shots", [1, 5])
def test_each_part_grows_with_its_own_numbers(shots: int) -> None:
    def of(**sections: dict[str, Any]) -> float:
        config = trial(episodes={"shots": shots}, **sections)
        return core_s((config, [config]))

    training, validation, test = (
        of(training={"iterations": 80, "validate_every": 20}) - of(),
        of(training={"validation_episodes": 12}) - of(),
        of(evaluation={"episodes": 60}) - of(),
    )
    assert training + validation + test + TRAINING_S + 4 * VALIDATION_S == pytest.approx(of())
    assert of(training={"meta_batch": 4}) - of() == pytest.approx(training)
    assert min(training, validation, test) > 0


def test_what_is_stored_costs_nothing() -> None:
    config = trial()
    trained, tested = core_s((config, [])), core_s((None, [config]))
    assert trained + tested == pytest.approx(core_s((config, [config])))
    assert core_s((None, [])) == core_s() == 0


def test_frozen_layers_are_cheaper_in_training_and_in_the_test() -> None:
    trainings = [core_s((trial(algorithm={"frozen_layers": count}), [])) for count in range(5)]
    tests = [core_s((None, [trial(evaluation={"frozen_layers": count})])) for count in range(5)]
    for costs in (trainings, tests):
        assert costs == sorted(costs, reverse=True)
        assert len(set(costs)) == 5


def grid() -> list[Asked]:
    """Trainings of several costs, each of several seeds, some stored, most tested in several ways."""
    work: list[Asked] = []
    for seed in range(3):
        for name in ("maml", "anil"):
            for shots in (1, 5):
                config = trial(algorithm={"name": name}, episodes={"shots": shots}, training={"seed": seed})
                levels = [
                    config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"frozen_layers": n})})
                    for n in (0, 3)
                ]
                work.append((config if seed or shots > 1 else None, levels[: 1 + seed]))
    config = trial()
    more = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"episodes": 90})})
    work += [(config, [config]), (None, [config]), (config, [more]), (None, [more]), (None, [])]  # alike but for one
    return work


def test_groups_cost_what_their_members_do() -> None:
    work = grid()
    assert core_s(*work) == pytest.approx(sum(core_s(one) for one in work))
    assert core_s(*reversed(work)) == pytest.approx(core_s(*work))
    assert estimate_core_s(iter(work), rate=lambda its: RATE) == pytest.approx(core_s(*work))


def test_equal_costs_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[Asked] = []
    original = estimate._calculations

    def calculations(training: TrialConfig | None, evaluations: Sequence[TrialConfig], shapes: Any) -> Any:
        looked_at.append((training, evaluations))
        return original(training, evaluations, shapes)

    monkeypatch.setattr(estimate, "_calculations", calculations)
    once = core_s(*[(trial(), [trial()])])
    many = core_s(*[(config, [config]) for config in (trial(training={"seed": seed}) for seed in range(50))])
    assert len(looked_at) == 2
    assert many == pytest.approx(50 * once)


def test_few_calculations_are_measured_and_the_rest_go_at_the_rate_of_their_network() -> None:
    """Narrow networks run far below the rate of wide ones, and are measured although they weigh little."""
    work: list[Asked] = []
    for width in (2, 64):
        for ways in (2, 3, 4, 5):
            config = trial(backbone={"width": width}, episodes={"ways": ways})
            work.append((config, [config]))
    measured: list[Calculation] = []

    def rate(calculation: Calculation) -> float:
        measured.append(calculation)
        return calculation.backbone.width * RATE

    found = estimate_core_s(work, rate=rate)
    assert len(measured) == len(set(measured)) == MEASURED < 3 * len(work)
    assert {its.backbone.width for its in measured} == {2, 64}
    narrow, wide = core_s(*work[:4], rate=2 * RATE), core_s(*work[4:], rate=64 * RATE)
    assert found == pytest.approx(narrow + wide)


def test_networks_that_are_not_measured_go_at_the_rate_of_all() -> None:
    work: list[Asked] = [(None, [trial(backbone={"width": width})]) for width in range(1, MEASURED + 5)]
    assert core_s(*work) == pytest.approx(sum(core_s(one) for one in work))


def test_images_are_those_of_the_dataset_or_those_that_are_known() -> None:
    def of(name: str, **known: Any) -> float:
        return core_s((None, [trial(dataset={"name": name})]), **known)

    assert of("glyphs") == of("omniglot") < of("cifar_fs") == of("fc100") < of("mini_imagenet") == of("folder.birds")
    assert of("folder.birds", image_shapes={"folder.birds": (28, 28, 1)}) == of("glyphs")
    assert of("glyphs", image_shapes={"folder.birds": (84, 84, 3)}) == of("glyphs")


def test_evaluations_are_put_together_as_an_attempt_does(
    tiny_trial: dict[str, Any], tmp_path: Path, glyphs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [
        TrialConfig.model_validate(tiny_trial | {"evaluation": {"episodes": 6, **its}})
        for its in ({}, {"frozen_layers": 2}, {"queries": 1}, {"queries": 1, "head": "nil"}, {"episodes": 8})
    ]
    made: list[tuple[int, int, int]] = []
    original = evaluation.evaluate

    def evaluate(configs: Sequence[TrialConfig], *others: Any) -> Any:
        made.append((configs[0].test_queries, len(configs), configs[0].evaluation.episodes))
        return original(configs, *others)

    monkeypatch.setattr("trainers.evaluation.evaluate", evaluate)
    (*_, last) = attempt_trial(Store(open_home(str(tmp_path))), configs, glyphs, {})
    assert last["kind"] == "tested"
    counted = of_evaluations(configs, SHAPE)
    assert sorted(made) == sorted((its.queries, len(its.loops), episodes) for its, episodes in counted.items())


def test_similarities_count_once_an_episode_of_every_test_that_measures_them() -> None:
    def of(measure: str, episodes: int) -> TrialConfig:
        return trial(evaluation={"measure": measure, "episodes": episodes, "queries": 15})

    asked: list[TrialConfig] = []

    def similarity_s(config: TrialConfig, image_shape: tuple[int, int, int]) -> float:
        asked.append(config)
        assert image_shape == SHAPE
        return 3.0

    def s(*evaluations: TrialConfig) -> float:
        return core_s((None, evaluations), similarity_s=similarity_s)

    plain = s(of("accuracy", 30))
    assert not asked
    assert s(of("similarity", 30)) == pytest.approx(plain + 30 * 3)
    assert s(of("cka", 40)) == pytest.approx(s(of("accuracy", 40)) + 40 * 3)
    seeds = [of("similarity", 30).model_copy(update={"training": TrainingConfig(seed=seed)}) for seed in range(3)]
    asked.clear()
    assert core_s(*((None, [one]) for one in seeds), similarity_s=similarity_s) == pytest.approx(3 * (plain + 90))
    assert len(asked) == 1


def test_comparisons_cost_their_networks_once_a_block_and_their_pairs() -> None:
    asked: list[TrialConfig] = []

    def cost(config: TrialConfig, image_shape: Any, between: Between) -> ComparisonCost:
        asked.append(config)
        assert image_shape == SHAPE
        return ComparisonCost(10.0 * config.algorithm.inner_steps, 1.0)

    def s(*blocks: tuple[list[TrialConfig], int], **between: Any) -> float:
        return comparisons_core_s(blocks, Between(**between), cost=cost)

    short = [trial(training={"seed": seed}) for seed in range(3)]
    long = [trial(training={"seed": seed}, algorithm={"inner_steps": 2}) for seed in range(2)]
    assert s() == 0
    assert s((short, 3)) == 30 * (3 * 10 + 3)
    assert len(asked) == 1, "seeds take the same time"
    assert s((short, 3), (short[:2], 1)) == 30 * (5 * 10 + 4)
    assert s((short + long, 10), adapted=True) == 30 * (3 * 10 + 2 * 20 + 10)
    assert s((short + long, 10)) == 30 * (5 * 10 + 10), "without their inner loop they take the same time"


def test_the_time_of_a_comparison_is_that_of_doing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock by which a network takes 7 s, and a pair 2."""
    now = [0.0]

    def similarities(sides: list[Side], pairs: list[tuple[int, int]], data: ImageTable, between: Between) -> list[Any]:
        done = between_trainings.similarities(sides, pairs, data, between)
        assert all(len(column) == 1 for its in done for column in its.values())
        assert {column.partition(".")[0] for its in done for column in its} == {"cca", "cka"}
        now[0] += 7 * len(sides) + 2 * len(pairs)
        return done

    monkeypatch.setattr(comparison_cost.time, "process_time", lambda: now[0])
    monkeypatch.setattr(comparison_cost, "similarities", similarities)
    config = trial(backbone={"width": 3, "pooling": "stride"}, evaluation={"queries": 5})
    assert comparison_cost.measured_comparison(config, SHAPE, Between(adapted=True)) == ComparisonCost(7.0, 2.0)


def test_the_time_of_similarities_is_that_of_doing_them(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 5.0, 5.0, 7.0])
    monkeypatch.setattr(cost.time, "process_time", lambda: next(clock))
    done: list[list[str]] = []
    monkeypatch.setattr(cost, "task_changes", lambda *arguments: done.append(arguments[4]))
    config = trial(evaluation={"measure": "similarity", "queries": 15})
    assert cost.measured_similarity_s(config, SHAPE) == 2
    assert done == [["cca", "cka", "distance", "relative_distance"]] * 2
