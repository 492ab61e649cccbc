"""How a dataset is made: what is known before any pixel is read, and the reading itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from trainers.datasets.image_file import ImageTable

Progress = Callable[[int, int], None]
"""Called with (images done, images in all) while a dataset is made."""


class Recipe(ABC):
    """A dataset that can be made into one Arrow file. A new one is a subclass in a file of its own."""

    name: str
    title: str
    """One line for ``orchestrate data list``: what it is and how large."""
    splits: tuple[str, ...]
    """Names of its split tables, the usual one first. Each table has parts train, validation and test."""
    rotations: bool
    """Whether episodes usually rotate each class by a random quarter turn (paper.md, section 4)."""
    embedded: bool
    """True: made from what is installed, without ``--source``."""

    @abstractmethod
    def read(self, source: Path | None, progress: Progress) -> ImageTable:
        """All images of the dataset.

        Args:
            source: folder or zip that holds the original files; None for an embedded dataset.
            progress: called as images are done.

        Raises:
            DatasetError: the source is absent, damaged or of another layout; says which file and the way out.
        """
