"""FC100, fewshot-CIFAR100: the classes of CIFAR-100, parted by superclass, so that test classes are far from training.

Oreshkin, Rodríguez López, Lacoste, "TADAM: Task dependent adaptive metric for improved few-shot learning" (NeurIPS
2018): of the 20 superclasses 12 train, 4 validate, 4 test. Officially a class has 600 images; any number is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trainers.datasets.cifar100 import IMAGE_SHAPE, ORIGIN, SUPERCLASS_OF, WAY_OUT, open_tree, split_files
from trainers.datasets.class_listing import check_counts, list_classes, parts_of
from trainers.datasets.recipe import Listing, Recipe, Wishes

VALIDATION = ("large_carnivores", "large_omnivores_and_herbivores", "non-insect_invertebrates", "small_mammals")
TEST = ("aquatic_mammals", "insects", "medium_mammals", "people")


class Fc100(Recipe):
    """FC100 at 32×32 in colour; ``alphabet`` is the superclass."""

    name = "fc100"
    title = "FC100: the 100 classes of CIFAR-100 parted by superclass, 32×32 colour"
    splits: Mapping[str, Mapping[str, int]] = {"oreshkin": {"train": 60, "validation": 20, "test": 20}}
    image_shape = IMAGE_SHAPE
    origin = ORIGIN

    def find(self, source: Path | None, wishes: Wishes) -> Listing:
        """``source`` is as for CIFAR-FS; the parts are those of ``splits/fc100`` where it has such files."""
        tree, root, files = open_tree(self.name, source)
        folder = f"{root}splits/fc100"
        assignments = list(split_files(tree, folder)) or [
            (name, _part(superclass), tree.place(f"{root}data")) for name, superclass in SUPERCLASS_OF.items()
        ]
        parts = parts_of(assignments, files)
        check_counts(tree.place(folder), parts, self.splits["oreshkin"], WAY_OUT)
        return list_classes(tree, files, parts, "oreshkin", SUPERCLASS_OF, self.image_shape)


FC100 = Fc100()


def _part(superclass: str) -> str:
    return "validation" if superclass in VALIDATION else "test" if superclass in TEST else "train"
