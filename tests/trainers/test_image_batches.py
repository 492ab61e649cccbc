"""Batches of images are addressed, go through all training images in epochs, and are labelled by class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.image_batches import ImageBatches, training_images

IMAGES = 120  # ten training classes of twelve


@pytest.fixture
def batches(strokes: ImageTable) -> ImageBatches:
    return ImageBatches(strokes, "scripts", rotations=False, size=50, seed=3)


def test_an_epoch_has_every_training_image_once_in_an_order_of_its_own(batches: ImageBatches) -> None:
    row = np.concatenate([batches.rows(index)[0] for index in range(12)])  # five epochs; batches lie across their ends
    epochs = row.reshape(5, IMAGES)
    assert all(sorted(epoch) == list(range(IMAGES)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 5
    for epoch in epochs:  # a shuffle moves half of the images by more than a few places
        assert (np.abs(epoch - np.arange(IMAGES)) > 5).mean() > 0.5


def test_a_batch_may_be_longer_than_several_epochs(batches: ImageBatches) -> None:
    whole = np.concatenate([batches.rows(index)[0] for index in range(12)])
    assert np.array_equal(replace(batches, size=300).rows(1)[0], whole[300:])


def test_labels_are_places_among_the_training_classes(batches: ImageBatches, strokes: ImageTable) -> None:
    splits = {"odd": {"train": (3, 8, 29), "validation": (0,), "test": (1,)}}
    few = replace(batches, data=replace(strokes, splits=splits), split="odd")
    rows, labels, _ = few.rows(0)
    assert few.classes == 3
    assert [(3, 8, 29).index(row // 12) for row in rows] == labels.tolist()
    assert set(batches.rows(0)[1]) == set(range(10))


def test_a_batch_is_a_function_of_its_address(batches: ImageBatches, strokes: ImageTable) -> None:
    fresh = ImageBatches(strokes, "scripts", rotations=False, size=50, seed=3)
    fresh.batch(9)
    images, labels = fresh.batch(4)
    assert np.array_equal(images, batches.batch(4)[0])
    assert np.array_equal(labels, batches.batch(4)[1])
    assert np.array_equal(images, strokes.pixels[batches.rows(4)[0]])
    for other in (replace(batches, seed=4), replace(batches, data=replace(strokes, fingerprint="other"))):
        assert not np.array_equal(other.rows(4)[0], batches.rows(4)[0])


def test_the_bits_never_change(batches: ImageBatches, strokes: ImageTable) -> None:
    """Stored results rest on them."""
    pinned = replace(batches, data=replace(strokes, fingerprint="f" * 20), rotations=True)
    rows, _, turns = pinned.rows(2)
    assert (rows[:8].tolist(), turns[:8].tolist()) == PINNED


PINNED = ([90, 91, 46, 105, 106, 11, 15, 111], [1, 2, 2, 0, 2, 1, 0, 1])


def test_rotations_turn_images_one_by_one(batches: ImageBatches, strokes: ImageTable) -> None:
    turned = replace(batches, rotations=True)
    rows, labels, turns = turned.rows(0)
    assert np.array_equal(rows, batches.rows(0)[0])
    images, same_labels = turned.batch(0)
    assert np.array_equal(labels, same_labels)
    for image, row, turn in zip(images, rows, turns, strict=True):
        assert np.array_equal(image, np.rot90(strokes.pixels[row], turn))
    assert set(turns) == {0, 1, 2, 3}
    assert any(len(set(turns[labels == label])) > 1 for label in range(10))


def test_a_batch_has_as_many_images_as_a_meta_batch(strokes: ImageTable) -> None:
    sections = {
        "dataset": {"rotations": True},
        "episodes": {"ways": 3, "shots": 2, "queries": 4},
        "algorithm": {"name": "multiclass"},
        "training": {"meta_batch": 7, "seed": 5},
    }
    found = training_images(TrialConfig.model_validate(sections), strokes)
    assert (found.size, found.seed, found.rotations, found.split) == (7 * 3 * (2 + 4), 5, True, "scripts")
    assert found.batch(0)[0].shape == (126, 16, 16, 1)
