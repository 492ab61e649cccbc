"""From files by class to a listing: what datasets of pictures in a folder or a zip share."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from trainers.datasets.decode import decode_images
from trainers.datasets.image_file import PARTS, ImageClass
from trainers.datasets.recipe import Job, Listing
from trainers.datasets.source import Source
from trainers.errors import DatasetError

PART_NAMES = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
"""What split files and folders call the parts."""
JOB_IMAGES = 256
JOB_BYTES = 4 << 20
"""A job is done within a second or so: it has so many images and bytes of files at most, or one image."""

Assignment = tuple[str, str, str]
"""A class, the part that it is in, and the place that says so, for messages."""


def normal(name: str) -> str:
    """A class name in Unicode's composed form: a Mac spells é in two characters, and the fingerprint must not."""
    return unicodedata.normalize("NFC", name)


def parts_of(assignments: Iterable[Assignment], classes: Collection[str]) -> dict[str, str]:
    """Class -> part.

    Raises:
        DatasetError: a class is named twice, is none of ``classes``, or a part is left without any.
    """
    parts: dict[str, str] = {}
    places: dict[str, str] = {}
    for name, part, place in assignments:
        if parts.get(name, part) != part:
            raise DatasetError(
                f"{place}: class {name!r} is in {part}, and in {parts[name]} by {places[name]}; take it out of one"
            )
        if name in parts:
            raise DatasetError(f"{place}: class {name!r} is named twice; take one line out")
        if name not in classes:
            close = difflib.get_close_matches(name, classes, n=1)
            way_out = f"did you mean {close[0]!r}?" if close else "take it out, or add its images"
            raise DatasetError(f"{place}: class {name!r} has no images; {way_out}")
        parts[name], places[name] = part, place
    for part in PARTS:
        if part not in parts.values():
            raise DatasetError(
                f"{next(iter(places.values()), 'split file')}: no class is in {part}; each part needs one"
            )
    return parts


def list_classes(
    source: Source,
    files: Mapping[str, Sequence[str]],
    parts: Mapping[str, str],
    split: str,
    alphabets: Mapping[str, str],
    image_shape: tuple[int, int, int],
) -> Listing:
    """The listing of these files; ``samples`` numbers the files of a class from 0, in the order of their names.

    Args:
        source: holds the files.
        files: by class; classes that are in no part are left out.
        parts: class -> part.
        split: name of the split table.
        alphabets: the group of a class, where it has one; its own name elsewhere.
        image_shape: (height, width, channels) to convert to.
    """
    classes: list[ImageClass] = []
    names: list[str] = []
    for name in sorted(parts):
        classes.append(ImageClass(name, alphabets.get(name, name), len(names), len(files[name])))
        names += sorted(files[name], key=normal)
    table = {part: tuple(index for index, entry in enumerate(classes) if parts[entry.name] == part) for part in PARTS}
    samples = np.concatenate([np.arange(entry.count, dtype=np.int32) for entry in classes])
    return Listing(image_shape, classes, samples, {split: table}, list(_jobs(source, names, image_shape)))


def _jobs(source: Source, names: Sequence[str], image_shape: tuple[int, int, int]) -> Iterator[Job]:
    first, size = 0, 0
    for row, name in enumerate(names):
        if row - first == JOB_IMAGES or (row > first and size + source.sizes[name] > JOB_BYTES):
            yield Job(first, row - first, partial(decode_images, source, names[first:row], image_shape))
            first, size = row, 0
        size += source.sizes[name]
    yield Job(first, len(names) - first, partial(decode_images, source, names[first:], image_shape))


def check_counts(name: str, parts: Mapping[str, str], expected: Mapping[str, int], way_out: str) -> None:
    """Raises DatasetError unless every part has as many classes as the dataset is known to have."""
    for part, count in expected.items():
        found = sum(own == part for own in parts.values())
        if found != count:
            raise DatasetError(f"{name}: {found} classes are in {part} instead of {count}; {way_out}")
