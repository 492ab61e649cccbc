"""Any tree with a folder a class: PNG and JPEG images of one's own.

A class is a folder that holds images, named by its path below the folder that all classes share; its ``alphabet`` is
the path above its own name. Who is in which part is said by, in this order,

* ``--split-file FILE``, or ``split.csv`` beside the classes or above them: lines ``class,part``, part one of train,
  validation (or val), test; a first line ``class,part`` is a heading;
* folders ``train``, ``val`` (or ``validation``) and ``test`` that hold all class folders, and then are no part of
  their names;
* else a shuffle of the classes, always the same one: 64, 16 and 20 per cent, at least one each.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from trainers.datasets.class_listing import PART_NAMES, Assignment, list_classes, normal, parts_of
from trainers.datasets.decode import ENDINGS
from trainers.datasets.image_file import PARTS
from trainers.datasets.recipe import Listing, Recipe, Wishes
from trainers.datasets.source import Source, as_text
from trainers.errors import DatasetError

SIZE = 84
"""Pixels, where ``--size`` is left out: as miniImageNet."""
SPLIT = "classes"
SPLIT_FILE = "split.csv"
OTHER_IMAGES = (".gif", ".bmp", ".tif", ".tiff", ".webp")
"""Passed over in silence, they would be missed in a sweep only."""

Classes = dict[str, list[str]]
"""Class -> names of its images in the source."""


class Folder(Recipe):
    """A home may hold several, as ``folder.<label>``."""

    name = "folder"
    title = "Your own images: a folder a class, PNG or JPEG"
    splits: Mapping[str, Mapping[str, int]] = {SPLIT: {}}
    image_shape = (SIZE, SIZE, 3)
    labelled = True

    def find(self, source: Path | None, wishes: Wishes) -> Listing:
        """Looks through a folder or a zip, at any depth; a folder above that holds nothing else makes no difference."""
        if source is None:
            raise DatasetError("folder needs --source PATH: a folder or zip with a folder of images for each class")
        tree = Source(source)
        top, classes = _classes(tree)
        assignments, classes = _assignments(tree, top, classes, wishes.split_file)
        parts = parts_of(assignments, classes)
        left_out = next((name for name in sorted(classes) if name not in parts), None)
        if left_out is not None:
            raise DatasetError(f"{assignments[0][2]}: class {left_out!r} is in no part; add a line for it")
        alphabets = {name: os.path.dirname(name) for name in classes if "/" in name}
        side = wishes.size or SIZE
        return list_classes(tree, classes, parts, SPLIT, alphabets, (side, side, 1 if wishes.grey else 3))


FOLDER = Folder()


def _classes(source: Source) -> tuple[str, Classes]:
    """(the folder that all classes share, the classes by their path below it)."""
    by_folder: Classes = {}
    for name in source.sizes:
        if name.lower().endswith(OTHER_IMAGES):
            raise DatasetError(f"{source.place(name)}: only PNG and JPEG are read; convert it or take it out")
        if name.lower().endswith(ENDINGS):
            by_folder.setdefault(os.path.dirname(name), []).append(name)
    if not by_folder:
        raise DatasetError(f"{source.path} holds no PNG or JPEG; --source takes a folder or zip with a folder a class")
    if source.empty_folders:
        raise DatasetError(f"{source.place(source.empty_folders[0])} is empty; fill it or take it out")
    shared = os.path.commonpath(by_folder) if "" not in by_folder else ""
    top = os.path.dirname(shared) if shared in by_folder else shared
    if "" in by_folder:
        raise DatasetError(f"{source.place(by_folder[''][0])} is in no class folder; make one for each class")
    classes: Classes = {}
    for folder, names in by_folder.items():
        classes.setdefault(normal(os.path.relpath(folder, top or ".")), []).extend(names)
    return top, classes


def _assignments(
    source: Source, top: str, classes: Classes, split_file: Path | None
) -> tuple[list[Assignment], Classes]:
    """Who is in which part; the classes, renamed where their part was in the name."""
    if split_file is not None:
        try:
            data = split_file.read_bytes()
        except OSError as error:
            raise DatasetError(f"--split-file {split_file}: {error.strerror or error}; name a file to read") from error
        return list(_lines(as_text(data, str(split_file)), str(split_file))), classes
    above = (PurePosixPath(top), *PurePosixPath(top).parents)
    own = next((name for folder in above if (name := str(folder / SPLIT_FILE)) in source.sizes), None)
    if own is not None:
        return list(_lines(source.read_text(own), source.place(own))), classes
    if {name.partition("/")[0] for name in classes} <= PART_NAMES.keys() and all("/" in name for name in classes):
        return _by_folder(source, top, classes)
    return _shuffled(source, sorted(classes)), classes


def _lines(text: str, place: str) -> Iterator[Assignment]:
    rows = csv.reader(text.splitlines())
    for row in filter(None, rows):
        cells = [cell.strip() for cell in row]
        if rows.line_num == 1 and cells == ["class", "part"]:
            continue
        if len(cells) != 2 or cells[1] not in PART_NAMES:
            known = ", ".join(PARTS)
            raise DatasetError(f"{place}:{rows.line_num}: must be class,part with part one of {known}; got {row}")
        yield normal(cells[0]), PART_NAMES[cells[1]], f"{place}:{rows.line_num}"


def _by_folder(source: Source, top: str, classes: Classes) -> tuple[list[Assignment], Classes]:
    found: list[Assignment] = []
    renamed: Classes = {}
    for path, names in classes.items():
        part, _, name = path.partition("/")
        found.append((name, PART_NAMES[part], source.place(str(PurePosixPath(top, path)))))
        renamed[name] = names
    return found, renamed


def _shuffled(source: Source, names: list[str]) -> list[Assignment]:
    if len(names) < 3:
        raise DatasetError(f"{source.path} holds {len(names)} classes; training, validation and test need one each")
    test, validation = (max(1, (per_cent * len(names) + 50) // 100) for per_cent in (20, 16))
    # Raw bits: numpy promises that they never change, and does not promise that of its shuffle.
    order = np.argsort(np.random.Philox(key=0).random_raw(len(names)), kind="stable").tolist()
    bounds = {"test": order[:test], "validation": order[test : test + validation], "train": order[test + validation :]}
    return [(names[index], part, str(source.path)) for part, indices in bounds.items() for index in indices]
