"""How a dataset is made: what is known before any pixel is read, and the reading itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

from trainers.datasets.image_file import ImageTable
from trainers.errors import DatasetError

Progress = Callable[[int, int], None]
"""Called with (images done, images in all) while a dataset is made."""


class Recipe(ABC):
    """A dataset that can be made into one Arrow file. A new one is a subclass in a file of its own."""

    name: str
    title: str
    """One line for ``orchestrate data list``: what it is and how large."""
    splits: Mapping[str, Mapping[str, int]]
    """Its split tables, the usual one first: name -> part (train, validation, test) -> classes."""
    images_per_class: int
    """Of the smallest class."""
    rotations: bool
    """Whether episodes usually rotate each class by a random quarter turn (paper.md, section 4)."""
    embedded: bool
    """True: made from what is installed, without ``--source``."""

    def check_episodes(self, split: str, ways: int, images_per_class: int) -> None:
        """What ``ImageTable.check_episodes`` will say of the images, known before there are any.

        Raises:
            DatasetError: a part has too few classes, or a class too few images.
        """
        for part, classes in self.splits[split].items():
            if classes < ways:
                raise DatasetError(f"{self.name}, split {split}: {part} has {classes} classes, too few for {ways} ways")
        if self.images_per_class < images_per_class:
            raise DatasetError(
                f"{self.name}: a class has {self.images_per_class} images, "
                f"fewer than shots + queries = {images_per_class}"
            )

    @abstractmethod
    def read(self, source: Path | None, progress: Progress) -> ImageTable:
        """All images of the dataset.

        Args:
            source: folder or zip that holds the original files; None for an embedded dataset.
            progress: called as images are done.

        Raises:
            DatasetError: the source is absent, damaged or of another layout; says which file and the way out.
        """
