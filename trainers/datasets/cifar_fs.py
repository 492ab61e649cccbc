"""CIFAR-FS: the classes of CIFAR-100, parted at random.

Bertinetto, Henriques, Torr, Vedaldi, "Meta-learning with differentiable closed-form solvers" (ICLR 2019). The parts are
those of the authors' ``splits/bertinetto``. Officially a class has 600 images; any number of them is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trainers.datasets.cifar100 import IMAGE_SHAPE, ORIGIN, SUPERCLASS_OF, WAY_OUT, open_tree, split_files
from trainers.datasets.class_listing import check_counts, list_classes, parts_of
from trainers.datasets.recipe import Listing, Recipe, Wishes
from trainers.errors import DatasetError


class CifarFs(Recipe):
    """CIFAR-FS at 32×32 in colour; ``alphabet`` is the superclass."""

    name = "cifar_fs"
    title = "CIFAR-FS: the 100 classes of CIFAR-100 parted at random, 32×32 colour"
    splits: Mapping[str, Mapping[str, int]] = {"bertinetto": {"train": 64, "validation": 16, "test": 20}}
    image_shape = IMAGE_SHAPE
    origin = ORIGIN

    def find(self, source: Path | None, wishes: Wishes) -> Listing:
        """Reads the split files; ``source`` is the folder or zip ``cifar100``, or a folder above it."""
        tree, root, files = open_tree(self.name, source)
        folder = f"{root}splits/bertinetto"
        assignments = list(split_files(tree, folder))
        if not assignments:
            raise DatasetError(f"{tree.place(folder)}: no train.txt, val.txt and test.txt there; {WAY_OUT}")
        parts = parts_of(assignments, files)
        check_counts(tree.place(folder), parts, self.splits["bertinetto"], WAY_OUT)
        return list_classes(tree, files, parts, "bertinetto", SUPERCLASS_OF, self.image_shape)


CIFAR_FS = CifarFs()
