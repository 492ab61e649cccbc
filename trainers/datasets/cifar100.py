"""CIFAR-100 as single images, which two datasets of few-shot learning part in their own ways.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009): 100 classes of 600 images, 32×32 in colour,
in 20 superclasses of five. The tree is that of Bertinetto et al. (2019): ``data/<class>/*.png`` and
``splits/<name>/{train,val,test}.txt``, one class a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from trainers.datasets.class_listing import PART_NAMES, Assignment, normal
from trainers.datasets.source import Source
from trainers.errors import DatasetError

IMAGE_SHAPE = (32, 32, 3)
ORIGIN = "github.com/bertinetto/r2d2"
WAY_OUT = f"--source takes the folder or zip cifar100 of CIFAR-FS ({ORIGIN})"

SUPERCLASSES = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}
SUPERCLASS_OF = {name: superclass for superclass, names in SUPERCLASSES.items() for name in names.split()}

_IMAGE = re.compile(r"(.*/|)data/([^/]+)/[^/]+\.(?:png|jpe?g)", re.IGNORECASE)


def open_tree(name: str, path: Path | None) -> tuple[Source, str, Mapping[str, list[str]]]:
    """(the source, what comes before ``data/`` in its names, the images of each class).

    Raises:
        DatasetError: no source, or one that does not hold this tree once.
    """
    if path is None:
        raise DatasetError(f"{name} needs --source PATH; {WAY_OUT}")
    source = Source(path)
    files: dict[str, list[str]] = {}
    roots = set()
    for file in source.sizes:
        image = _IMAGE.fullmatch(file)
        if image:
            roots.add(image[1])
            files.setdefault(normal(image[2]), []).append(file)
    if len(roots) != 1:
        raise DatasetError(f"{path} holds {len(roots)} trees data/<class>/*.png instead of one; {WAY_OUT}")
    return source, roots.pop(), files


def split_files(source: Source, folder: str) -> Iterator[Assignment]:
    """What the three files of ``folder`` say; nothing where none of them is there.

    Raises:
        DatasetError: one is missing, or no text.
    """
    files = [f"{folder}/{part}.txt" for part in ("train", "val", "test")]
    there = [file for file in files if file in source.sizes]
    for file in files if there else []:
        if file not in there:
            raise DatasetError(f"{source.place(file)} is not there, but {source.place(there[0])} is; {WAY_OUT}")
        part = PART_NAMES[Path(file).stem]
        for line in source.read_text(file).splitlines():
            if line.strip():
                yield normal(line.strip()), part, source.place(file)
