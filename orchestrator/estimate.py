"""How much computing a grid asks for, before any of it has run: operations are counted, rates are measured here."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from trainers.config import AlgorithmConfig, Between, TrainingConfig, TrialConfig
from trainers.datasets import recipe_of
from trainers.problems import Config, few_shot
from trainers.rl.config import RLConfig

if TYPE_CHECKING:
    from trainers.adapt_cost import ImageShape
    from trainers.comparison_cost import ComparisonCost
    from trainers.cost import Calculation

Asked = tuple[TrialConfig | None, Sequence[TrialConfig]]
"""A training still to be made, None where it is stored; and the evaluations of it still to be made, all different."""

MEASURED = 8
"""Calculations whose rate is measured, each in a few tenths of a second."""

TRAINING_S = 0.2
"""CPU time of an attempt beside its calculations: its own count of operations, its first and last records. It and the
next are of one machine, and matter only to trainings of a few seconds."""

VALIDATION_S = 0.01
"""CPU time of recording a validation."""


def estimate_core_s(
    work: Iterable[Asked],
    image_shapes: Mapping[str, ImageShape] | None = None,
    rate: Callable[[Calculation], float] | None = None,
    similarity_s: Callable[[TrialConfig, ImageShape], float] | None = None,
) -> float:
    """Core-seconds that trials of one thread on this machine would take. Needs no data, and takes some seconds.

    Args:
        work: what is still to be made.
        image_shapes: (height, width, channels) by dataset, where they are known; otherwise as usual for the dataset.
        rate: FLOP/s in a calculation; measured on this machine where left out.
        similarity_s: seconds for the similarities of one test episode; measured in the same way.
    """
    groups = _alike(work)
    if not groups:
        return 0.0

    from trainers.cost import measured_rate, measured_similarity_s

    seconds = 0.0
    measured = cache(similarity_s or measured_similarity_s)
    episodes: Counter[Calculation] = Counter()
    for (training, evaluations), count in groups:
        if training is not None:
            validations = training.training.iterations // training.training.validate_every
            seconds += count * (TRAINING_S + VALIDATION_S * validations)
        for config in evaluations:
            if config.evaluation.compares_layers:
                like = _as_measured(config)
                seconds += count * config.evaluation.episodes * measured(like, _shape(like, image_shapes or {}))
        for calculation, its_episodes in _calculations(training, evaluations, image_shapes or {}).items():
            episodes[calculation] += count * its_episodes
    return seconds + _calculating_s(episodes, rate or measured_rate)


def estimate_any_core_s(
    left: Sequence[tuple[Config | None, Sequence[Config]]], shapes: Mapping[str, ImageShape]
) -> float:
    """As ``estimate_core_s``, of trials of any problem.

    Raises:
        EnvironmentAbsent: an environment can't be measured, since its packages are not installed.
    """
    images: list[tuple[TrialConfig | None, list[TrialConfig]]] = []
    policies: list[tuple[RLConfig | None, list[RLConfig]]] = []
    for training, tests in left:
        if isinstance(training or next(iter(tests), None), RLConfig):
            its = [test for test in tests if isinstance(test, RLConfig)]
            policies.append((training if isinstance(training, RLConfig) else None, its))
        else:
            images.append((few_shot(training) if training else None, list(map(few_shot, tests))))
    seconds = estimate_core_s(images, shapes)
    if policies:
        from trainers.rl.estimate import core_s

        seconds += core_s(policies)
    return seconds


def comparisons_core_s(
    blocks: Iterable[tuple[Sequence[TrialConfig], int]],
    between: Between,
    image_shapes: Mapping[str, ImageShape] | None = None,
    cost: Callable[[TrialConfig, ImageShape, Between], ComparisonCost] | None = None,
) -> float:
    """Core-seconds that comparisons between trainings would take, in threads and on a machine as above.

    Args:
        blocks: what is done together: its networks, as the configs that test them, and how many pairs of them.
        between: what is compared.
        image_shapes: as above.
        cost: of a network and of a pair; measured on this machine where left out.
    """
    blocks = list(blocks)
    if not blocks:
        return 0.0

    from trainers.comparison_cost import measured_comparison

    measured = cache(cost or measured_comparison)
    seconds = 0.0
    for networks, pairs in blocks:
        costs = [
            measured(_as_compared(config, between), _shape(config, image_shapes or {}), between) for config in networks
        ]
        mean_pair_s = sum(its.pair_s for its in costs) / len(costs)
        of_episode = sum(its.network_s for its in costs) + pairs * mean_pair_s
        seconds += networks[0].evaluation.episodes * of_episode
    return seconds


def _as_compared(config: TrialConfig, between: Between) -> TrialConfig:
    """The same for networks whose comparison takes the same time."""
    like = _as_measured(config)
    if between.adapted:
        return like
    evaluation = like.evaluation.model_copy(update={"inner_steps": None, "frozen_layers": None, "head": None})
    return like.model_copy(update={"algorithm": AlgorithmConfig(), "evaluation": evaluation})


def _alike(work: Iterable[Asked]) -> list[tuple[Asked, int]]:
    """One of each group of equal cost, and how many it has. Those without work are left out."""
    first: dict[Hashable, Asked] = {}
    counts: Counter[Hashable] = Counter()
    for training, evaluations in work:
        if training is None and not evaluations:
            continue
        tests = tuple((config.algorithm, config.evaluation) for config in evaluations)
        key: Hashable = (training is None, _training_costs(training or evaluations[0]), tests)
        first.setdefault(key, (training, evaluations))
        counts[key] += 1
    return [(first[key], count) for key, count in counts.items()]


def _training_costs(config: TrialConfig) -> Hashable:
    """Equal only where trainings cost the same. Seeds are all that often differs between those."""
    its = config.training
    lengths = its.iterations, its.meta_batch, its.validate_every, its.validation_episodes
    return config.source, config.episodes, config.backbone, config.algorithm, lengths


def _calculations(
    training: TrialConfig | None, evaluations: Sequence[TrialConfig], image_shapes: Mapping[str, ImageShape]
) -> Counter[Calculation]:
    from trainers.cost import of_evaluations, of_training

    image_shape = _shape(training or evaluations[0], image_shapes)
    found = of_evaluations(evaluations, image_shape)
    return found if training is None else found + of_training(training, image_shape)


def _shape(config: TrialConfig, image_shapes: Mapping[str, ImageShape]) -> ImageShape:
    name = config.source
    return image_shapes.get(name) or recipe_of(name).image_shape


def _as_measured(config: TrialConfig) -> TrialConfig:
    """The same for tests whose similarities take the same time."""
    evaluation = config.evaluation.model_copy(update={"weights": "final", "episodes": 2})
    return config.model_copy(update={"evaluation": evaluation, "training": TrainingConfig()})


def _calculating_s(episodes: Counter[Calculation], rate: Callable[[Calculation], float]) -> float:
    """Of all calculations. Those that are not measured go at the rate of the measured ones of their network, or of all
    networks where it has none: width and images decide most of a rate."""
    from trainers.cost import flops

    work = {calculation: float(count * flops(calculation)) for calculation, count in episodes.items()}
    total, done, spent = (defaultdict[Hashable, float](float) for _ in range(3))
    for calculation, flop in work.items():
        total[_network(calculation)] += flop
    for calculation in _worth_measuring(work):
        done[_network(calculation)] += work[calculation]
        spent[_network(calculation)] += work[calculation] / rate(calculation)
    s_per_flop = sum(spent.values()) / sum(done.values())
    return sum(
        flop * (spent[network] / done[network] if network in done else s_per_flop) for network, flop in total.items()
    )


def _worth_measuring(work: Mapping[Calculation, float]) -> list[Calculation]:
    """The largest of each network, then the largest others."""
    by_size = sorted(work, key=lambda calculation: -work[calculation])
    firsts = {_network(calculation): calculation for calculation in reversed(by_size)}
    return sorted(by_size, key=lambda calculation: calculation is not firsts[_network(calculation)])[:MEASURED]


def _network(calculation: Calculation) -> Hashable:
    return calculation.image_shape, calculation.backbone
