"""Addressed episodes: episode i of a part of a dataset is a pure function of (data, split, part, seed, i).

There is no sampler state, so any step can be repeated or resumed. The bits come from the counter-based generator Philox
(Salmon et al. 2011) and are turned into orders by sorting, which no version of numpy changes. The order of classes
and of the images of a class depends neither on ways nor on shots nor on queries: an episode takes the first N classes,
the support from the front of a class's images and the queries from the back. So results of different shots are paired.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from trainers.config import Between, TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.datasets.recipe import Recipe
from trainers.representation import check_points

VALIDATION_SEED = 1_000_003
"""Seed of the validation episodes of every trial."""

TEST_SEED = 1_000_033
"""Seed of the test episodes of every trial."""

Pixels = npt.NDArray[np.uint8]

_QUARTER_TURNS: tuple[Callable[[Pixels], Pixels], ...] = (
    lambda images: images,
    lambda images: images[:, :, ::-1].swapaxes(1, 2),
    lambda images: images[:, ::-1, ::-1],
    lambda images: images.swapaxes(1, 2)[:, :, ::-1],
)
"""``np.rot90`` of [images, height, width, channels] by 0 … 3 turns, in a tenth of its time."""


def quarter_turned(images: Pixels, turns: int) -> Pixels:
    """Images [images, height, width, channels] by 0 … 3 quarter turns; a view of them."""
    return _QUARTER_TURNS[turns](images)


@dataclass(frozen=True)
class Episode:
    """One few-shot task. Label of a class = its position in the first axis."""

    support: Pixels
    """[ways, shots, height, width, channels]"""
    query: Pixels
    """[ways, queries, height, width, channels]"""


@dataclass(frozen=True)
class EpisodeSampler:
    """Addresses the episodes of one part ("train", "validation", "test") of a split under a seed."""

    data: ImageTable
    split: str
    part: str
    rotations: bool
    ways: int
    shots: int
    queries: int
    seed: int

    def rows(self, index: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Rows of episode ``index``: support [ways, shots], query [ways, queries]; quarter turns [ways]."""
        candidates = self.data.splits[self.split][self.part]
        stream = self._stream(index)
        order = _first(stream.random_raw(len(candidates)), self.ways)
        turns = (stream.random_raw(len(candidates))[order] >> np.uint64(62)).astype(np.int64)
        support = np.empty((self.ways, self.shots), np.int64)
        query = np.empty((self.ways, self.queries), np.int64)
        for label, candidate in enumerate(order):
            images = self.data.classes[candidates[candidate]]
            shuffled = images.first + np.argsort(stream.random_raw(images.count), kind="stable")
            support[label] = shuffled[: self.shots]
            query[label] = shuffled[::-1][: self.queries]
        return support, query, turns if self.rotations else np.zeros_like(turns)

    def episode(self, index: int) -> Episode:
        """Episode ``index``, gathered from the table."""
        support, query, turns = self.rows(index)
        images = self._gather(np.concatenate([support, query], axis=1), turns)
        return Episode(images[:, : self.shots], images[:, self.shots :])

    def episodes(self, indices: Iterable[int]) -> list[Episode]:
        """Several episodes, in the order asked."""
        return [self.episode(index) for index in indices]

    @cached_property
    def _key(self) -> int:
        address = f"{self.data.fingerprint}/{self.split}/{self.part}/{self.seed}"
        return int.from_bytes(hashlib.sha256(address.encode()).digest()[:16], "little")

    def _stream(self, index: int) -> np.random.Philox:
        return np.random.Philox(key=self._key, counter=index << 64)  # 2**64 blocks of its own for every episode

    def _gather(self, rows: npt.NDArray[np.int64], turns: npt.NDArray[np.int64]) -> Pixels:
        images = self.data.pixels[rows]
        for label in np.flatnonzero(turns):
            images[label] = quarter_turned(images[label], turns[label])
        return images


def _first(numbers: npt.NDArray[np.uint64], count: int) -> npt.NDArray[np.int64]:
    """Where the ``count`` smallest numbers are, smallest first; equal ones in the order of a stable sort."""
    bound = np.partition(numbers, count - 1)[count - 1]
    places = np.flatnonzero(numbers <= bound)
    return places[np.argsort(numbers[places], kind="stable")][:count]


def training_sampler(config: TrialConfig, data: ImageTable) -> EpisodeSampler:
    """Training episodes; iteration j of a meta-batch of B uses episodes j·B … j·B + B − 1."""
    return _sampler(config, data, "train", config.episodes.queries, config.training.seed)


def validation_sampler(config: TrialConfig, data: ImageTable) -> EpisodeSampler:
    """Validation episodes, the same for every trial on this data."""
    return _sampler(config, data, "validation", config.episodes.queries, VALIDATION_SEED)


def test_sampler(config: TrialConfig, data: ImageTable) -> EpisodeSampler:
    """Test episodes, the same for every trial on this data."""
    return _sampler(config, data, "test", config.test_queries, TEST_SEED)


def check_data(config: TrialConfig, data: ImageTable | Recipe, between: Between | None = None) -> None:
    """Refuses data, made or still to be made, that can't fill the episodes of a config.

    ``between`` says what is compared between trainings, if anything is.

    Raises:
        DatasetError: a part has fewer classes than ways, or a class fewer images than shots + queries.
        ConfigError: a similarity is asked for, and CCA would have too few points.
    """
    split, _ = config.dataset.resolved()
    queries = max(config.episodes.queries, config.test_queries)
    data.check_episodes(split, config.episodes.ways, config.episodes.shots + queries)
    check_points(config, None if isinstance(data, Recipe) and data.labelled else data.image_shape, between)


def _sampler(config: TrialConfig, data: ImageTable, part: str, queries: int, seed: int) -> EpisodeSampler:
    split, rotations = config.dataset.resolved()
    return EpisodeSampler(
        data=data,
        split=split,
        part=part,
        rotations=rotations,
        ways=config.episodes.ways,
        shots=config.episodes.shots,
        queries=queries,
        seed=seed,
    )
