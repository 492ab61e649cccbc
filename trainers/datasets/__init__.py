"""The datasets: one file each, one line here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trainers.errors import ConfigError
from trainers.registry import lookup, nearest

if TYPE_CHECKING:
    from trainers.datasets.recipe import Recipe

DATASETS = {
    "glyphs": "trainers.datasets.glyphs:GLYPHS",
    "omniglot": "trainers.datasets.omniglot:OMNIGLOT",
    "cifar_fs": "trainers.datasets.cifar_fs:CIFAR_FS",
    "fc100": "trainers.datasets.fc100:FC100",
    "mini_imagenet": "trainers.datasets.mini_imagenet:MINI_IMAGENET",
    "folder": "trainers.datasets.folder:FOLDER",
}


def recipe_of(name: str) -> Recipe:
    """The recipe of a dataset: a key of ``DATASETS``, or ``<key>.<label>`` where a home may hold several.

    Raises:
        ConfigError: no such dataset, or a label that is not to be; the way out is said.
    """
    key, dot, label = name.partition(".")
    if key not in DATASETS:
        raise ConfigError(f"unknown dataset {name!r}; {nearest(key or name, DATASETS)}")
    recipe: Recipe = lookup("dataset", DATASETS, key)
    if dot and not recipe.labelled:
        raise ConfigError(f"unknown dataset {name!r}; {key} takes no label: write {key!r}")
    if dot and not re.fullmatch("[a-z0-9_]+", label):
        raise ConfigError(f"unknown dataset {name!r}; a label is of a-z, 0-9 and _, as in '{key}.birds'")
    return recipe
