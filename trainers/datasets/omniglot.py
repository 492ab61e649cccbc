"""Omniglot: 1,623 handwritten characters of 50 alphabets, each by 20 drawers.

Lake, Salakhutdinov, Tenenbaum, "Human-level concept learning through probabilistic program induction", Science 350
(2015). 105×105 one-bit images, black on white, become 28×28 greys with ink 255, as few-shot learning has used them
since. They are resized with Pillow's LANCZOS, the filter that the original MAML code names. (Pillow silently takes
NEAREST for one-bit images, which breaks thin strokes, so they are made greys first.)

The two archives are read where they lie: nothing is ever unpacked to disk.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from trainers.datasets.image_file import ImageClass, ImageTable, Pixels, Splits
from trainers.datasets.recipe import Progress, Recipe
from trainers.errors import DatasetError

SIZE = 28
SOURCE_SIZE = 105
DRAWERS = 20
CHARACTERS = {"images_background": 964, "images_evaluation": 659}
"""The two archives and how many characters each holds."""
VALIDATION_ALPHABETS = 6
MAML_BOUNDS = {"train": (0, 1100), "validation": (1100, 1200), "test": (1200, 1623)}
"""Places of the three parts in the shuffled classes."""
LARGEST_MEMBER = 1 << 20
"""Bytes. The real images have some hundred: anything far larger is not one of them, and not worth the memory."""
WAY_OUT = "get images_background.zip and images_evaluation.zip anew from github.com/brendenlake/omniglot, folder python"

_IMAGE = re.compile(r"([^/]+)/(character\d\d)/\d+_(\d\d)\.png\Z")

Key = tuple[str, int]
"""Class name and drawer: sorts as the table does."""
Member = tuple[str, Callable[[], bytes]]
"""Where an image lies, for messages, and how to read it."""
# What zipfile and Pillow are known to raise on damaged, encrypted or oversized input.
_DECODING_ERRORS = (
    *(OSError, EOFError, SyntaxError, ValueError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, Image.DecompressionBombError),
)


class Omniglot(Recipe):
    """Omniglot at 28×28, ink 255. ``samples`` holds the drawer, 1 to 20."""

    name = "omniglot"
    title = "Omniglot: 1,623 characters of 50 alphabets by 20 drawers, 28×28 grey"
    splits: Mapping[str, Mapping[str, int]] = {
        "official": {"train": 780, "validation": 184, "test": 659},
        "maml": {"train": 1100, "validation": 100, "test": 423},
    }
    images_per_class = 20
    rotations = True
    embedded = False

    def read(self, source: Path | None, progress: Progress) -> ImageTable:
        """Reads both archives, or the folders they unpack to; takes seconds on one core.

        Args:
            source: the folder that holds the archives or the unpacked folders, one of these itself, or a folder above.
            progress: called after each character.
        """
        if source is None:
            raise DatasetError("omniglot needs --source PATH: the folder with its two archives; " + WAY_OUT)
        with ExitStack() as opened:
            images: dict[Key, Member] = {}
            background: set[str] = set()
            for part, count in CHARACTERS.items():
                place = _find(source, part)
                found = _index(_zip_members(opened, place) if place.is_file() else _folder_members(place))
                names = _check_counts(place, found, count)
                if part == "images_background":
                    background = names
                elif background & names:
                    raise DatasetError(f"{place} repeats {min(background & names)} of images_background; {WAY_OUT}")
                images.update(found)
            return self._table(images, background, progress)

    def _table(self, images: Mapping[Key, Member], background: set[str], progress: Progress) -> ImageTable:
        pixels = np.empty((len(images), SIZE, SIZE, 1), np.uint8)
        samples = np.empty(len(images), np.int32)
        classes: list[ImageClass] = []
        for name, keys in groupby(sorted(images), key=lambda key: key[0]):
            first = classes[-1].first + classes[-1].count if classes else 0
            row = first
            for row, key in enumerate(keys, first):
                pixels[row, :, :, 0] = _greys(*images[key])
                samples[row] = key[1]
            classes.append(ImageClass(name, name.partition("/")[0], first, row + 1 - first))
            progress(row + 1, len(images))
        return ImageTable.build(self.name, pixels, samples, classes, split_tables(classes, background))


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


def _zip_members(opened: ExitStack, path: Path) -> Iterator[Member]:
    """Every file of the archive. Names are never used as a path; unsafe ones are refused all the same."""
    try:
        archive = opened.enter_context(zipfile.ZipFile(path))
    except (zipfile.BadZipFile, OSError) as error:
        raise DatasetError(f"{path} is no readable zip ({error}); {WAY_OUT}") from error
    for info in archive.infolist():
        name = PurePosixPath(info.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or re.match("[A-Za-z]:", info.filename):
            raise DatasetError(f"{path} holds the unsafe name {info.filename!r}; {WAY_OUT}")
        if not info.is_dir():
            if info.file_size > LARGEST_MEMBER:
                raise DatasetError(f"{path} holds {info.filename!r} of {info.file_size} bytes; {WAY_OUT}")
            yield f"{path}/{info.filename}", partial(archive.read, info)


def _folder_members(folder: Path) -> Iterator[Member]:
    for path in folder.rglob("*.png"):
        yield path.as_posix(), path.read_bytes


def _index(members: Iterable[Member]) -> dict[Key, Member]:
    """The images among ``members``; other files (a .DS_Store, a read-me) are passed over, folders above ignored."""
    found: dict[Key, Member] = {}
    for place, read in members:
        image = _IMAGE.search(place)
        if image and "__MACOSX" not in place:
            key = f"{image[1]}/{image[2]}", int(image[3])
            if key in found:
                raise DatasetError(f"{place} is the second image of {key[0]} by drawer {key[1]}; {WAY_OUT}")
            found[key] = place, read
    return found


def _check_counts(place: Path, found: Iterable[Key], characters: int) -> set[str]:
    """Names of the classes found, which must be all of them with all drawers."""
    drawers = Counter(name for name, _ in found)
    if len(drawers) != characters:
        raise DatasetError(f"{place} holds {len(drawers)} characters instead of {characters}; {WAY_OUT}")
    for name, count in drawers.items():
        if count != DRAWERS:
            raise DatasetError(f"{place}: {name} has {count} images instead of {DRAWERS}; {WAY_OUT}")
    return set(drawers)


def _greys(place: str, read: Callable[[], bytes]) -> Pixels:
    """The image in ``read()`` as uint8 [28, 28], ink 255."""
    try:
        with Image.open(io.BytesIO(read()), formats=["PNG"]) as image:
            if image.size != (SOURCE_SIZE, SOURCE_SIZE):
                raise DatasetError(f"{place} is of size {image.size} instead of {SOURCE_SIZE}×{SOURCE_SIZE}; {WAY_OUT}")
            small = image.convert("L").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    except _DECODING_ERRORS as error:
        raise DatasetError(f"{place} is damaged or no image ({_one_line(error)}); {WAY_OUT}") from error
    return 255 - np.asarray(small)


def _one_line(error: Exception) -> str:
    return type(error).__name__ if isinstance(error, UnidentifiedImageError) else " ".join(str(error).split())[:120]
