"""How a dataset is made: what is known before any pixel is read, and the finding of its images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainers.datasets.image_file import ImageClass, Pixels, Splits
from trainers.errors import DatasetError

Progress = Callable[[int, int], None]
"""Called with (images done, images in all) while a dataset is made."""


@dataclass(frozen=True)
class Job:
    """Makes rows ``first`` … ``first + count - 1``. Pickles, unless it never leaves its process."""

    first: int
    count: int
    render: Callable[[], Pixels]
    """Gives uint8 [count, height, width, channels]; raises DatasetError where an image can't be read."""


@dataclass(frozen=True, eq=False)
class Listing:
    """All of a dataset but its pixels, and the jobs that make these."""

    image_shape: tuple[int, int, int]
    """(height, width, channels)"""
    classes: Sequence[ImageClass]
    samples: npt.NDArray[np.int32]
    splits: Splits
    jobs: Sequence[Job]
    """Together they make every row once, in order."""

    @property
    def images(self) -> int:
        """How many rows."""
        return len(self.samples)


@dataclass(frozen=True)
class Wishes:
    """What a user may choose of an import, where the recipe leaves it open."""

    size: int | None = None
    """Side of the square images, in pixels."""
    grey: bool = False
    """One channel instead of three."""
    split_file: Path | None = None
    """Says which class is in which part."""

    def named(self) -> list[str]:
        """The options that were given, as they are typed."""
        options = {"--size": self.size, "--grey": self.grey, "--split-file": self.split_file}
        return [option for option, value in options.items() if value]


NO_WISHES = Wishes()


@dataclass(frozen=True)
class Archive:
    """An original file that can be downloaded."""

    url: str
    """Ends in the name that the recipe looks for."""
    md5: str

    @property
    def name(self) -> str:
        """Its name in a folder."""
        return self.url.rpartition("/")[2]


class Recipe(ABC):
    """A dataset that can be made into one Arrow file. A new one is a subclass in a file of its own."""

    name: str
    title: str
    """One line for ``orchestrate data list``: what it is and how large."""
    splits: Mapping[str, Mapping[str, int]]
    """Its split tables, the usual one first: name -> part (train, validation, test) -> classes; parts whose size only
    the images tell are left out."""
    image_shape: tuple[int, int, int]
    """(height, width, channels), as usual where ``labelled``."""
    images_per_class: int | None = None
    """Of the smallest class; None where only the images tell."""
    rotations: bool = False
    """Whether episodes usually rotate each class by a random quarter turn, as the original MAML code does."""
    embedded: bool = False
    """True: made from what is installed, without ``--source``."""
    labelled: bool = False
    """True: a home may hold several, each as ``<name>.<label>``, and the import takes ``Wishes``."""
    archives: Sequence[Archive] = ()
    """All of the original files, where they can be downloaded without asking anybody."""
    origin: str = ""
    """Where the original files are, where a user has to get them."""

    def check_episodes(self, split: str, ways: int, images_per_class: int) -> None:
        """What ``ImageTable.check_episodes`` will say of the images, as far as it is known before there are any.

        Raises:
            DatasetError: a part has too few classes, or a class too few images.
        """
        for part, classes in self.splits[split].items():
            if classes < ways:
                raise DatasetError(f"{self.name}, split {split}: {part} has {classes} classes, too few for {ways} ways")
        if self.images_per_class is not None and self.images_per_class < images_per_class:
            raise DatasetError(
                f"{self.name}: a class has {self.images_per_class} images, "
                f"fewer than shots + queries = {images_per_class}"
            )

    @abstractmethod
    def find(self, source: Path | None, wishes: Wishes) -> Listing:
        """All images of the dataset, found and checked as far as that needs no decoding.

        Args:
            source: folder or zip that holds the original files; None for an embedded dataset.
            wishes: all unset where the recipe is not ``labelled``.

        Raises:
            DatasetError: the source is absent, damaged or of another layout; says which file and the way out.
        """
