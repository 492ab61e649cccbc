"""How a worker gets at a dataset: it maps the file of its own machine, or shares the one copy that its node holds.

The driver puts the pixels into Ray's object store once; Ray brings them to a node when a worker there first asks, and
all workers of that node map the same pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.data import data_folder, find_dataset
from orchestrator.errors import DatasetError
from trainers.datasets.image_file import ImageTable, open_image_file

Shared = Mapping[str, Any]
"""Fingerprint -> reference to a table; who holds it holds no pixels yet."""


def share(tables: Iterable[ImageTable]) -> Shared:
    """Puts datasets into the object store, where they stay as long as this process is connected."""
    import ray

    return {table.fingerprint: ray.put(table) for table in tables}


def open_here(home: str, name: str, fingerprint: str, shared: Shared) -> ImageTable:
    """The dataset on this machine: its own file where it has one with that fingerprint, else the node's copy.

    Args:
        home: path or URL of the home, as this machine knows it.
        name: of the dataset.
        fingerprint: which of its versions.
        shared: what the driver has put.

    Raises:
        DatasetError: neither is there.
    """
    folder = data_folder(home)
    try:
        path = find_dataset(folder, name, fingerprint)
        if path is None:
            raise DatasetError(f"{name}, fingerprint {fingerprint}, is not in {folder}; import the dataset again")
        table = open_image_file(path)
        if table.fingerprint != fingerprint:
            raise DatasetError(f"{path} holds {table.fingerprint}; import the dataset again")
    except DatasetError:
        if fingerprint not in shared:
            raise
        import ray

        table = ray.get(shared[fingerprint])
    return table
