"""miniImageNet: 100 classes of ImageNet, 600 photographs each, at 84×84.

Vinyals, Blundell, Lillicrap, Kavukcuoglu, Wierstra, "Matching Networks for One Shot Learning" (NeurIPS 2016), in the
parts of Ravi and Larochelle, "Optimization as a Model for Few-Shot Learning" (ICLR 2017): their ``train.csv``,
``val.csv`` and ``test.csv`` name every image and its class.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from trainers.datasets.class_listing import PART_NAMES, check_counts, list_classes, normal, parts_of
from trainers.datasets.decode import ENDINGS
from trainers.datasets.recipe import Listing, Recipe, Wishes
from trainers.datasets.source import Source
from trainers.errors import DatasetError

COLUMNS = ["filename", "label"]
SPLIT_FILES = ("train.csv", "val.csv", "test.csv")
SPLITS_ORIGIN = "github.com/twitter-research/meta-learning-lstm, data/miniImagenet"
WAY_OUT = f"--source takes the folder or zip of the images with train.csv, val.csv and test.csv ({SPLITS_ORIGIN})"


class MiniImageNet(Recipe):
    """miniImageNet at 84×84 in colour."""

    name = "mini_imagenet"
    title = "miniImageNet: 100 classes of ImageNet, 84×84 colour"
    splits: Mapping[str, Mapping[str, int]] = {"ravi": {"train": 64, "validation": 16, "test": 20}}
    image_shape = (84, 84, 3)
    origin = f"image-net.org (the images) and {SPLITS_ORIGIN} (train.csv, val.csv, test.csv)"

    def find(self, source: Path | None, wishes: Wishes) -> Listing:
        """Reads the three files; images lie in folders by class or in one, wherever. Others are passed over.

        Args:
            source: the folder or zip that holds images and split files, at any depth.
            wishes: all unset.
        """
        if source is None:
            raise DatasetError(f"{self.name} needs --source PATH; {WAY_OUT}")
        tree = Source(source)
        rows = {file: list(_rows(tree, file)) for file in _split_files(tree)}
        labels = {file: dict.fromkeys(label for _, label in found) for file, found in rows.items()}
        parts = parts_of(
            [(label, _part(file), tree.place(file)) for file, found in labels.items() for label in found],
            {label for found in labels.values() for label in found},
        )
        check_counts(str(source), parts, self.splits["ravi"], WAY_OUT)
        by_file = _images_by_file(tree)
        files: dict[str, list[str]] = {label: [] for label in parts}
        seen = set()
        for part_file, found in rows.items():
            for filename, label in found:
                name = _image(tree, by_file, part_file, filename, label)
                if name in seen:
                    raise DatasetError(f"{tree.place(part_file)} names {filename} a second time; {WAY_OUT}")
                seen.add(name)
                files[label].append(name)
        return list_classes(tree, files, parts, "ravi", {}, self.image_shape)


MINI_IMAGENET = MiniImageNet()


def _images_by_file(source: Source) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in source.sizes:
        if name.lower().endswith(ENDINGS):
            found.setdefault(PurePosixPath(name).name, []).append(name)
    return found


def _part(file: str) -> str:
    return PART_NAMES[PurePosixPath(file).stem]


def _split_files(source: Source) -> list[str]:
    """Names of the three files in the source."""
    found = []
    for file in SPLIT_FILES:
        names = [name for name in source.sizes if PurePosixPath(name).name == file]
        if len(names) != 1:
            raise DatasetError(f"{source.path} holds {len(names)} files {file} instead of one; {WAY_OUT}")
        found.append(names[0])
    return found


def _rows(source: Source, file: str) -> Iterator[tuple[str, str]]:
    """(filename, label) of every line."""
    rows = csv.reader(source.read_text(file).splitlines())
    if next(rows, None) != COLUMNS:
        raise DatasetError(f"{source.place(file)}: the first line must be {','.join(COLUMNS)}; {WAY_OUT}")
    for row in filter(None, rows):
        if len(row) != 2:
            raise DatasetError(f"{source.place(file)}:{rows.line_num}: must be filename,label; {WAY_OUT}")
        yield PurePosixPath(row[0].strip()).name, normal(row[1].strip())


def _image(source: Source, by_file: Mapping[str, list[str]], part_file: str, filename: str, label: str) -> str:
    """The image of that file name: the one in the folder of its class where several have the name."""
    names = by_file.get(filename, [])
    if len(names) > 1:
        names = [name for name in names if normal(PurePosixPath(name).parent.name) == label]
    if len(names) != 1:
        raise DatasetError(
            f"{source.place(part_file)} names {filename} of class {label}, and {source.path} holds {len(names)} "
            f"such images; {WAY_OUT}"
        )
    return names[0]
