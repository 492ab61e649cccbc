"""What comparing trainings costs on this machine: measured on networks that are not trained, and images of noise."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
import torch

from trainers.adapt_cost import ImageShape
from trainers.between_trainings import Side, similarities
from trainers.config import Between, TrialConfig
from trainers.datasets.image_file import PARTS, ImageClass, ImageTable
from trainers.network import Network

PAIRS = 9
"""Of the longer measurement. The two networks are the same ones, so what it takes longer is the pairs' alone."""

RUNS = 2


class ComparisonCost(NamedTuple):
    """CPU seconds of one thread in one test episode."""

    network_s: float
    """Of each network: its inner loop, if it has one, its layers, and what is prepared of them for all pairs."""
    pair_s: float
    """Of each pair."""


def measured_comparison(config: TrialConfig, image_shape: ImageShape, between: Between) -> ComparisonCost:
    """What comparing networks of a config takes. The fastest of some runs, since what else runs only slows them."""
    one = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"episodes": 1})})
    sides = [Side(one, Network(one, image_shape).init(seed)) for seed in range(2)]
    data = _noise(one, image_shape)

    def measured_s(pairs: int) -> float:
        started = time.process_time()
        similarities(sides, [(0, 1)] * pairs, data, between)
        return time.process_time() - started

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        measured_s(1)  # warms up
        few, many = (min(measured_s(pairs) for _ in range(RUNS)) for pairs in (1, PAIRS))
    finally:
        torch.set_num_threads(threads)
    pair_s = max(0.0, many - few) / (PAIRS - 1)
    return ComparisonCost(max(0.0, few - pair_s) / 2, pair_s)


def _noise(config: TrialConfig, image_shape: ImageShape) -> ImageTable:
    """As many classes and images as a test episode has."""
    ways, count = config.episodes.ways, config.episodes.shots + config.test_queries
    pixels = np.random.default_rng(0).integers(0, 256, (ways * count, *image_shape), dtype=np.uint8)
    classes = [ImageClass(f"{index:06d}", "", index * count, count) for index in range(ways)]
    split, _ = config.dataset.resolved()
    parts = dict.fromkeys(PARTS, ()) | {"test": tuple(range(ways))}
    return ImageTable.build(config.dataset.name, pixels, np.zeros(ways * count, np.int32), classes, {split: parts})
