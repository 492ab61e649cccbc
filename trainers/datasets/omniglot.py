"""Omniglot: 1,623 handwritten characters of 50 alphabets, each by 20 drawers.

Lake, Salakhutdinov, Tenenbaum, "Human-level concept learning through probabilistic program induction", Science 350
(2015). 105×105 one-bit images, black on white, become 28×28 greys with ink 255, as few-shot learning has used them
since. They are resized with Pillow's LANCZOS, the filter that the original MAML code names. (Pillow silently takes
NEAREST for one-bit images, which breaks thin strokes, so they are made greys first.)

The two archives are read where they lie: nothing is ever unpacked to disk.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np

from trainers.datasets.decode import decode, resize
from trainers.datasets.image_file import ImageClass, Pixels, Splits
from trainers.datasets.recipe import Archive, Job, Listing, Recipe, Wishes
from trainers.datasets.source import Source
from trainers.errors import DatasetError

SIZE = 28
SOURCE_SIZE = 105
DRAWERS = 20
CHARACTERS = {"images_background": 964, "images_evaluation": 659}
"""The two archives and how many characters each holds."""
VALIDATION_ALPHABETS = 6
MAML_BOUNDS = {"train": (0, 1100), "validation": (1100, 1200), "test": (1200, 1623)}
"""Places of the three parts in the shuffled classes."""
JOB_CLASSES = 12
ORIGIN = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"
WAY_OUT = "get images_background.zip and images_evaluation.zip anew from github.com/brendenlake/omniglot, folder python"

_IMAGE = re.compile(r"/([^/]+)/(character\d\d)/\d+_(\d\d)\.png\Z")

Key = tuple[str, int]
"""Class name and drawer: sorts as the table does."""
File = tuple[Source, str]
"""An image: where it is found, and its name there."""


class Omniglot(Recipe):
    """Omniglot at 28×28, ink 255. ``samples`` holds the drawer, 1 to 20."""

    name = "omniglot"
    title = "Omniglot: 1,623 characters of 50 alphabets by 20 drawers, 28×28 grey"
    splits: Mapping[str, Mapping[str, int]] = {
        "official": {"train": 780, "validation": 184, "test": 659},
        "maml": {"train": 1100, "validation": 100, "test": 423},
    }
    image_shape = (SIZE, SIZE, 1)
    images_per_class = 20
    rotations = True
    archives = (
        Archive(f"{ORIGIN}/images_background.zip", "68d2efa1b9178cc56df9314c21c6e718"),
        Archive(f"{ORIGIN}/images_evaluation.zip", "6b91aef0f799c5bb55b94e3f2daec811"),
    )

    def find(self, source: Path | None, wishes: Wishes) -> Listing:
        """Reads both archives, or the folders they unpack to.

        Args:
            source: the folder that holds the archives or the unpacked folders, one of these itself, or a folder above.
            wishes: all unset.
        """
        if source is None:
            raise DatasetError("omniglot needs --source PATH: the folder with its two archives; " + WAY_OUT)
        images: dict[Key, File] = {}
        background: set[str] = set()
        for part, count in CHARACTERS.items():
            place = _find(source, part)
            found = _index(Source(place))
            names = _check_counts(place, found, count)
            if part == "images_background":
                background = names
            elif background & names:
                raise DatasetError(f"{place} repeats {min(background & names)} of images_background; {WAY_OUT}")
            images.update(found)
        keys = sorted(images)
        classes: list[ImageClass] = []
        for name, drawers in groupby(keys, key=lambda key: key[0]):
            first = classes[-1].first + classes[-1].count if classes else 0
            classes.append(ImageClass(name, name.partition("/")[0], first, len(list(drawers))))
        samples = np.array([drawer for _, drawer in keys], np.int32)
        jobs = list(_jobs([images[key] for key in keys]))
        return Listing(self.image_shape, classes, samples, split_tables(classes, background), jobs)


OMNIGLOT = Omniglot()


def split_tables(classes: list[ImageClass], background: set[str]) -> Splits:
    """The split tables of these classes, of which ``background`` names those in images_background.

    ``official`` tests on images_evaluation; of the background alphabets, the last six by name validate. ``maml``
    shuffles all classes once and takes 1,100/100/423, as the original MAML code does; which classes these are depends
    there on the order of a directory listing, so here they are others.
    """
    alphabets = sorted({entry.alphabet for entry in classes if entry.name in background})
    validation = set(alphabets[-VALIDATION_ALPHABETS:])
    official: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for index, entry in enumerate(classes):
        part = "test" if entry.name not in background else "validation" if entry.alphabet in validation else "train"
        official[part].append(index)
    # Raw bits: numpy promises that they never change, and does not promise that of its shuffle.
    order = np.argsort(np.random.Philox(key=0).random_raw(len(classes)), kind="stable").tolist()
    return {
        "official": {part: tuple(indices) for part, indices in official.items()},
        "maml": {part: tuple(sorted(order[first:end])) for part, (first, end) in MAML_BOUNDS.items()},
    }


def _find(source: Path, part: str) -> Path:
    """The archive or folder ``part`` at, in, beside, or one folder below ``source``."""
    if not source.exists():
        raise DatasetError(f"{source}: no such file or folder; --source takes the folder that holds {part}.zip")
    folders = [source] if source.is_dir() else []
    if source.stem in CHARACTERS:
        folders.append(source.absolute().parent)
    folders += sorted(path for path in source.iterdir() if path.is_dir()) if source.is_dir() else []
    for folder in folders:
        for place in (folder / f"{part}.zip", folder / part):
            if place.exists():
                return place
    raise DatasetError(f"{source} holds neither {part}.zip nor a folder {part}; {WAY_OUT}")


def _index(source: Source) -> dict[Key, File]:
    """The images of a source; other files (a read-me) are passed over, folders above ignored."""
    found: dict[Key, File] = {}
    for name in source.sizes:
        image = _IMAGE.search(f"/{name}")
        if image:
            key = f"{image[1]}/{image[2]}", int(image[3])
            if key in found:
                raise DatasetError(
                    f"{source.place(name)} is the second image of {key[0]} by drawer {key[1]}; {WAY_OUT}"
                )
            found[key] = source, name
    return found


def _check_counts(place: Path, found: Mapping[Key, File], characters: int) -> set[str]:
    """Names of the classes found, which must be all of them with all drawers."""
    drawers = Counter(name for name, _ in found)
    if len(drawers) != characters:
        raise DatasetError(f"{place} holds {len(drawers)} characters instead of {characters}; {WAY_OUT}")
    for name, count in drawers.items():
        if count != DRAWERS:
            raise DatasetError(f"{place}: {name} has {count} images instead of {DRAWERS}; {WAY_OUT}")
    return set(drawers)


def _jobs(files: Sequence[File]) -> Iterator[Job]:
    rows = JOB_CLASSES * DRAWERS
    for first in range(0, len(files), rows):
        part = files[first : first + rows]
        yield Job(first, len(part), partial(_greys, part))


def _greys(files: Sequence[File]) -> Pixels:
    """The images as uint8 [files, 28, 28, 1], ink 255."""
    pixels = np.empty((len(files), SIZE, SIZE, 1), np.uint8)
    for row, (source, name) in enumerate(files):
        image = decode(source.read(name), source.place(name), channels=1)
        if image.size != (SOURCE_SIZE, SOURCE_SIZE):
            raise DatasetError(
                f"{source.place(name)} is of size {image.size} instead of {SOURCE_SIZE}×{SOURCE_SIZE}; {WAY_OUT}"
            )
        pixels[row] = 255 - resize(image, SIZE)
    return pixels
