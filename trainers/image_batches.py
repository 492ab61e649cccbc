"""Addressed batches of training images, for classification: batch i is a pure function of (data, split, seed, i).

As with episodes there is no sampler state, and the bits come from Philox. The images of all training classes come in
epochs, each in an order of its own; batch i takes images i·size … (i + 1)·size − 1 of that endless row.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.episodes import Pixels, quarter_turned

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ImageBatches:
    """Addresses batches of the training images of a split under a seed. Label of an image = place of its class among
    the training classes."""

    data: ImageTable
    split: str
    rotations: bool
    """Turn each image by a random number of quarter turns of its own: what episodes show, and the label stays."""
    size: int
    """Images a batch."""
    seed: int

    @property
    def classes(self) -> int:
        """How many training classes there are."""
        return len(self._members)

    def rows(self, index: int) -> tuple[Numbers, Numbers, Numbers]:
        """Of batch ``index``: rows of the images, their labels, and quarter turns; [size] each."""
        epochs, places = np.divmod(np.arange(index * self.size, (index + 1) * self.size), len(self._rows))
        drawn = [self._epoch(int(epoch)) for epoch in np.unique(epochs)]
        order, turns = (np.stack(values)[epochs - epochs[0], places] for values in zip(*drawn, strict=True))
        return self._rows[order], self._labels[order], turns if self.rotations else np.zeros_like(turns)

    def batch(self, index: int) -> tuple[Pixels, Numbers]:
        """Images [size, height, width, channels] and labels [size] of batch ``index``."""
        rows, labels, turns = self.rows(index)
        images = self.data.pixels[rows]
        for turn in np.unique(turns[turns > 0]):
            turned = turns == turn
            images[turned] = quarter_turned(images[turned], turn)
        return images, labels

    def _epoch(self, epoch: int) -> tuple[Numbers, Numbers]:
        """Order of the images in an epoch, and the quarter turn of each place."""
        stream = np.random.Philox(key=self._key, counter=epoch << 64)  # 2**64 blocks of its own for every epoch
        order = np.argsort(stream.random_raw(len(self._rows)), kind="stable")
        return order, (stream.random_raw(len(self._rows)) >> np.uint64(62)).astype(np.int64)

    @cached_property
    def _key(self) -> int:
        address = f"{self.data.fingerprint}/{self.split}/train/{self.seed}/images"
        return int.from_bytes(hashlib.sha256(address.encode()).digest()[:16], "little")

    @cached_property
    def _members(self) -> list[Numbers]:
        """Rows of each training class."""
        classes = [self.data.classes[index] for index in self.data.splits[self.split]["train"]]
        return [np.arange(its.first, its.first + its.count) for its in classes]

    @cached_property
    def _rows(self) -> Numbers:
        return np.concatenate(self._members)

    @cached_property
    def _labels(self) -> Numbers:
        return np.repeat(np.arange(self.classes), [len(rows) for rows in self._members])


def training_images(config: TrialConfig, data: ImageTable) -> ImageBatches:
    """The batches of a multiclass training; each has as many images as a meta-batch of episodes."""
    split, rotations = config.dataset.resolved()
    its = config.episodes
    size = config.training.meta_batch * its.ways * (its.shots + its.queries)
    return ImageBatches(data, split, rotations, size, config.training.seed)
