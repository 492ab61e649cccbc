"""A dataset small enough that whole trainings run in a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trainers.datasets.image_file import ImageClass, ImageTable, open_image_file
from trainers.datasets.image_writer import write_images
from trainers.datasets.recipe import NO_WISHES, Recipe


def no_progress(done: int, total: int) -> None:
    """Where a test does not look at progress."""


@pytest.fixture
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ImageTable]:
    """Makes the file of a recipe in a folder of its own, in which nothing else is left, and opens it."""

    def table(recipe: Recipe, source: Path | None, wishes=NO_WISHES, progress=no_progress, processes=1) -> ImageTable:
        folder = tmp_path_factory.mktemp("made")
        try:
            listing = recipe.find(source, wishes)
            path = write_images(recipe.name, listing, folder, progress, processes, lambda digest: folder / digest)
            assert list(folder.iterdir()) == [path]
        except BaseException:
            assert not list(folder.iterdir()), "a failed import left something behind"
            raise
        return open_image_file(path)

    return table


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """As in a trial: tests run beside each other, and bits depend on the number of threads."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def strokes() -> ImageTable:
    """Thirty classes of twelve 16×16 images, each class a few bright bars with noise; ten classes a part."""
    rng = np.random.default_rng(11)
    images = []
    for _ in range(30):
        bars = rng.random((16, 16)) < 0.12
        bars |= np.roll(bars, 1, axis=rng.integers(2))
        images.append(np.where(bars, 220.0, 20.0) + rng.normal(0, 30, (12, 16, 16)))
    pixels = np.clip(np.concatenate(images), 0, 255).astype(np.uint8)[..., None]
    classes = [ImageClass(f"class{index:02d}", "bars", 12 * index, 12) for index in range(30)]
    parts = {"train": range(10), "validation": range(10, 20), "test": range(20, 30)}
    return ImageTable.build(
        "strokes",
        pixels,
        np.tile(np.arange(12, dtype=np.int32), 30),
        classes,
        {"scripts": {part: tuple(indices) for part, indices in parts.items()}},
    )
