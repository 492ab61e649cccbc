"""What a trial costs: its calculations by their shapes, their floating-point operations, and the rate of this machine.

No image is needed, and nothing is trained: operations are counted, and a rate is measured on a small sample of the
real thing, with images of noise.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch

from trainers.adapt_cost import ImageShape, loop_of_test
from trainers.algorithms.algorithm import Objective
from trainers.closed_form.flops import ChainFlops, Loop
from trainers.config import BackboneConfig, EpisodesConfig, TrainingConfig, TrialConfig
from trainers.datasets.image_file import PARTS, ImageClass, ImageTable
from trainers.episodes import EpisodeSampler
from trainers.evaluation import EPISODES_AT_ONCE, Adaptation, accuracy, predict
from trainers.feature_loss import FEATURE_LOSSES
from trainers.flop_counter import FlopCounter
from trainers.inner_loop import InnerLoop
from trainers.layer_change import change_kinds, task_changes
from trainers.memory import keep_freed_memory
from trainers.meta_step import Adam, meta_gradient
from trainers.network import Network
from trainers.tasks import as_tasks

SAMPLE_FLOPS = 3e9
"""Operations of a sample, where that can be reached: a tenth of a second or so on one core."""

FEW_EPISODES = 4
"""Fewer at once run at a lower rate than many, so other sizes of a sample shrink first."""

SAMPLE_S = 0.15
"""CPU time of a measurement, behind its warm-up."""

FEWEST_RUNS = 3


@dataclass(frozen=True)
class Calculation:
    """What is calculated of every episode of one kind; trials that differ in nothing here cost the same."""

    image_shape: ImageShape
    backbone: BackboneConfig
    ways: int
    shots: int
    queries: int
    loops: tuple[Loop | None, ...]
    """Ways of adapting; None is the NIL head."""
    learns: bool
    """A meta-gradient and its update; otherwise predictions."""
    objective: Objective
    """Of what learns; ``classes`` counts as ``shared``."""
    at_once: int
    """Episodes that are calculated in one call. Small ones are slower one by one."""


def of_training(config: TrialConfig, image_shape: ImageShape) -> Counter[Calculation]:
    """The calculations of a whole training, its validations included, with the number of their episodes.

    Images of multiclass training count as the queries of as many episodes: its wider head is small beside its body.
    """
    settings, step = config.training, _step(config, image_shape)
    learning = _learning(config)
    validating = tuple(
        None if head == "nil" else replace(learning, second_order=False) for head in config.validation_heads
    )
    at_once = settings.validation_episodes
    validation = _calculation(config, image_shape, config.episodes.queries, validating, False, at_once)
    if config.algorithm_entry.objective == "none":
        return Counter({validation: settings.validation_episodes})
    validations = settings.iterations // settings.validate_every
    return Counter(
        {
            step: settings.iterations * settings.meta_batch,
            validation: validations * settings.validation_episodes,
        }
    )


def _learning(config: TrialConfig) -> Loop:
    adapted = config.adapted_layers
    return Loop(adapted, config.algorithm.inner_steps if adapted else 0, not config.algorithm.first_order)


def _step(config: TrialConfig, image_shape: ImageShape) -> Calculation:
    """What an iteration calculates of each episode."""
    episodes, at_once = config.episodes, config.training.meta_batch
    step = _calculation(config, image_shape, episodes.queries, (_learning(config),), True, at_once)
    if config.algorithm_entry.objective == "classes":
        return replace(step, objective="shared", shots=0, queries=episodes.shots + episodes.queries)
    return step


def of_evaluations(configs: Sequence[TrialConfig], image_shape: ImageShape) -> Counter[Calculation]:
    """The calculations of different evaluations of one training, as ``orchestrator.attempt`` makes them: those of the
    same weights on the same episodes together."""
    together: dict[tuple[str | int, int, int], list[TrialConfig]] = {}
    for config in configs:
        asked = config.evaluation.weights
        weights = config.algorithm_entry.head if asked == "best" else asked
        together.setdefault((weights, config.test_queries, config.evaluation.episodes), []).append(config)
    found: Counter[Calculation] = Counter()
    for (_, queries, episodes), group in together.items():
        loops = tuple(map(loop_of_test, group))
        found[_calculation(group[0], image_shape, queries, loops, False, EPISODES_AT_ONCE)] += episodes
        for config, loop in zip(group, loops, strict=True):
            if config.evaluation.measure == "speed":
                found[_step(config, image_shape)] += episodes * config.training.meta_batch
                found[_calculation(config, image_shape, queries, (loop,), False, 1)] += episodes
    return found


def _calculation(
    config: TrialConfig,
    image_shape: ImageShape,
    queries: int,
    loops: tuple[Loop | None, ...],
    learns: bool,
    at_once: int,
) -> Calculation:
    episodes, objective = config.episodes, config.algorithm_entry.objective if learns else "adapted"
    sizes = episodes.ways, episodes.shots, queries
    return Calculation(image_shape, config.backbone, *sizes, loops, learns, objective, at_once)


@lru_cache(maxsize=4096)
def flops(calculation: Calculation) -> int:
    """Floating-point operations of the convolutions and matrix products of one episode."""
    its = calculation
    chain = _chain(its.backbone, its.image_shape, its.ways)
    if chain is None:
        with FlopCounter() as counter:
            _call(replace(its, at_once=1))()
        return int(counter.total)
    support, query = its.ways * its.shots, its.ways * its.queries
    if not its.learns:
        return chain.predict(support, query, its.loops)
    if its.objective != "adapted":
        return chain.learn_shared(support, query, nil=its.objective == "nil")
    (loop,) = its.loops
    assert loop is not None  # what learns has a head
    return chain.learn(support, query, loop)


@lru_cache(maxsize=256)
def _chain(backbone: BackboneConfig, image_shape: ImageShape, ways: int) -> ChainFlops | None:
    """None where the closed form does not know the backbone: then autograd decides what is calculated."""
    network = _network(backbone, image_shape, ways)
    if network.blocks is None:
        return None
    weights = {name: tuple(value.shape) for name, value in network.init(0).items()}
    return ChainFlops(network.blocks, {layer: weights[f"{layer}.weight"] for layer in network.layers}, image_shape)


def _network(backbone: BackboneConfig, image_shape: ImageShape, ways: int) -> Network:
    return Network(TrialConfig(backbone=backbone, episodes=EpisodesConfig(ways=ways)), image_shape)


def sample_of(calculation: Calculation) -> Calculation:
    """A calculation of the same kind that one call does fast: fewer steps, then episodes, queries, shots, ways."""
    its = replace(calculation, at_once=min(calculation.at_once, EPISODES_AT_ONCE))
    while (size := flops(its) * its.at_once) > SAMPLE_FLOPS:
        if any(loop is not None and loop.steps > 1 for loop in its.loops):
            its = replace(its, loops=tuple(_one_step(loop) for loop in its.loops))
        elif its.at_once > FEW_EPISODES:
            its = replace(its, at_once=max(FEW_EPISODES, int(SAMPLE_FLOPS * its.at_once / size)))
        elif its.queries > 1:
            its = replace(its, queries=its.queries // 2)
        elif its.shots > 1:
            its = replace(its, shots=its.shots // 2)
        elif its.at_once > 1:
            its = replace(its, at_once=max(1, int(SAMPLE_FLOPS * its.at_once / size)))
        elif its.ways > 2:
            its = replace(its, ways=its.ways // 2)
        else:
            break
    return its


def _one_step(loop: Loop | None) -> Loop | None:
    return loop if loop is None else replace(loop, steps=min(loop.steps, 1))


def measured_rate(calculation: Calculation) -> float:
    """FLOP/s of one thread of this machine in such a calculation: with its episodes made, and its update if it learns.

    The fastest of a few runs, since what else runs on a machine only slows them. Takes a few tenths of a second.
    """
    sample = sample_of(calculation)
    keep_freed_memory()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        call = _call(sample)
        call()  # warms up
        seconds: list[float] = []
        while len(seconds) < FEWEST_RUNS or sum(seconds) < SAMPLE_S:
            started = time.process_time()
            call()
            seconds.append(time.process_time() - started)
    finally:
        torch.set_num_threads(threads)
    return flops(sample) * sample.at_once / min(seconds)


def _call(calculation: Calculation) -> Callable[[], None]:
    """Does ``at_once`` episodes, as a trial does them."""
    its = calculation
    network = _network(its.backbone, its.image_shape, its.ways)
    optimizer = Adam(TrainingConfig(), network.init(0))
    like = optimizer.params["head.bias"]
    rates = dict.fromkeys(network.layers, 0.01)
    loops = [
        None if loop is None else InnerLoop(loop.layers, rates, loop.steps, loop.second_order) for loop in its.loops
    ]
    sampler = _sampler(its)

    def learn() -> None:
        tasks = as_tasks(sampler.episodes(range(its.at_once)), like)
        learning = loops[0] if its.objective == "adapted" else FEATURE_LOSSES[its.objective]
        assert learning is not None
        optimizer.step(meta_gradient(network, optimizer.params, tasks, learning).gradient)

    nil = Adaptation("nil", InnerLoop((), rates, 0, second_order=False))
    adaptations = [nil if loop is None else Adaptation("linear", loop) for loop in loops]

    def test() -> None:
        tasks = as_tasks(sampler.episodes(range(its.at_once)), like)
        for scores in predict(network, optimizer.params, tasks, adaptations):
            accuracy(scores, tasks.query_labels)

    return learn if its.learns else test


def measured_similarity_s(config: TrialConfig, image_shape: ImageShape) -> float:
    """CPU seconds that one thread of this machine takes for the similarities of one test episode.

    That of a config whose test measures them; the faster of two episodes of noise.
    """
    (calculation,) = of_evaluations([config], image_shape)
    network = Network(config, image_shape)
    params = network.init(0)
    tasks = as_tasks(_sampler(calculation).episodes(range(2)), params["head.bias"])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = []
        for task in tasks:
            started = time.process_time()
            task_changes(
                network, params, task, InnerLoop.of_test(config), change_kinds(config), config.evaluation.flattening
            )
            seconds.append(time.process_time() - started)
    finally:
        torch.set_num_threads(threads)
    return min(seconds)


def _sampler(its: Calculation) -> EpisodeSampler:
    return EpisodeSampler(_noise(its), "noise", "train", False, its.ways, its.shots, its.queries, seed=0)


def _noise(calculation: Calculation) -> ImageTable:
    """As many classes and images as an episode has; the time does not depend on what they show."""
    its = calculation
    count = its.shots + its.queries
    images = its.ways * count
    pixels = np.random.default_rng(0).integers(0, 256, (images, *its.image_shape), dtype=np.uint8)
    classes = [ImageClass(f"{index:06d}", "", index * count, count) for index in range(its.ways)]
    parts = {part: tuple(range(its.ways)) if part == "train" else () for part in PARTS}
    return ImageTable.build("noise", pixels, np.zeros(images, np.int32), classes, {"noise": parts})
