"""A dataset as one Arrow file: images sorted by class, class table and split tables in the schema metadata.

Arrow IPC *file* format, uncompressed, one record batch, one row an image, so that every process of a machine maps the
same pages and a class is a slice of rows. Columns: ``image`` (fixed-shape tensor, uint8 [height, width, channels]),
``class`` and ``sample`` (int32). Nothing in the file depends on when, where or from which archive it was made.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainers.errors import DatasetError

PARTS = ("train", "validation", "test")
METADATA_KEY = b"metasweep"
FORMAT = 1

Pixels = npt.NDArray[np.uint8]
Splits = Mapping[str, Mapping[str, tuple[int, ...]]]


@dataclass(frozen=True)
class ImageClass:
    """A class: rows ``first`` … ``first + count - 1`` of the table."""

    name: str
    alphabet: str
    """The group that the class comes from (alphabet, script, superclass)."""
    first: int
    count: int


@dataclass(frozen=True, eq=False)
class ImageTable:
    """All images of a dataset. Made by ``ImageTable.build`` or ``open_image_file``."""

    name: str
    pixels: Pixels
    """[images, height, width, channels]; a read-only view of the map where the table was opened from a file."""
    samples: npt.NDArray[np.int32]
    """[images]: number of the drawer, hand or photograph within its class."""
    classes: tuple[ImageClass, ...]
    """Sorted by name; together they cover all rows in order."""
    splits: Splits
    """Name of a split table -> part (train, validation, test) -> class indices, ascending. Parts share no class."""
    fingerprint: str
    """First 20 hex digits of the SHA-256 of pixels, class table and split tables: who the dataset is."""

    @classmethod
    def build(
        cls,
        name: str,
        pixels: Pixels,
        samples: npt.NDArray[np.int32],
        classes: Sequence[ImageClass],
        splits: Splits,
    ) -> ImageTable:
        """The table of these arrays, checked, with its fingerprint computed.

        Raises:
            ValueError: arrays, class table and split tables do not fit together (a mistake in a recipe).
        """
        splits = {split: {part: tuple(parts[part]) for part in parts} for split, parts in splits.items()}
        _check(pixels, samples, classes, splits)
        fingerprint = compute_fingerprint(pixels, classes, splits)
        return cls(name, pixels, samples, tuple(classes), splits, fingerprint)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)"""
        _, height, width, channels = self.pixels.shape
        return height, width, channels

    def check_episodes(self, split: str, ways: int, images_per_class: int) -> None:
        """Checks that every part of ``split`` can hold episodes of ``ways`` classes.

        Args:
            split: name of a split table.
            ways: classes an episode.
            images_per_class: shots + queries, which share no image.

        Raises:
            DatasetError: no such split table, a part has too few classes, or a class too few images.
        """
        if split not in self.splits:
            raise DatasetError(f"{self.name} has no split {split!r}; it has {', '.join(self.splits)}")
        for part, indices in self.splits[split].items():
            if len(indices) < ways:
                raise DatasetError(
                    f"{self.name}, split {split}: {part} has {len(indices)} classes, too few for {ways} ways"
                )
            smallest = min((self.classes[index] for index in indices), key=lambda entry: entry.count)
            if smallest.count < images_per_class:
                raise DatasetError(
                    f"{self.name}, split {split}: class {smallest.name} of {part} has {smallest.count} images, "
                    f"fewer than shots + queries = {images_per_class}"
                )


def compute_fingerprint(pixels: Pixels, classes: Sequence[ImageClass], splits: Splits) -> str:
    """First 20 hex digits of the SHA-256 of shape, class table, split tables and pixels."""
    tables = {"shape": pixels.shape, "classes": [asdict(entry) for entry in classes], "splits": splits}
    digest = hashlib.sha256(json.dumps(tables, sort_keys=True, separators=(",", ":")).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()[:20]


def _check(pixels: Pixels, samples: npt.NDArray[np.int32], classes: Sequence[ImageClass], splits: Splits) -> None:
    if pixels.ndim != 4 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise ValueError(f"pixels must be uint8 [images, height, width, channels], got {pixels.dtype} {pixels.shape}")
    if samples.shape != pixels.shape[:1] or samples.dtype != np.int32:
        raise ValueError(f"samples must be int32 [{len(pixels)}], got {samples.dtype} {samples.shape}")
    for earlier, later in pairwise(classes):
        if earlier.name >= later.name:
            raise ValueError(f"classes must be sorted by name without repeats, got {earlier.name} before {later.name}")
    row = 0
    for entry in classes:
        if entry.first != row or entry.count < 1:
            raise ValueError(f"class {entry.name} must start at row {row} and have images, got {entry}")
        row += entry.count
    if row != len(pixels):
        raise ValueError(f"classes hold {row} images, the table {len(pixels)}")
    if not splits:
        raise ValueError("a dataset needs a split table")
    for split, parts in splits.items():
        if set(parts) != set(PARTS):
            raise ValueError(f"split {split} must have the parts {', '.join(PARTS)}, got {', '.join(parts)}")
        if any(list(part) != sorted(part) for part in parts.values()):
            raise ValueError(f"split {split}: class indices of a part must ascend")
        indices = [index for part in parts.values() for index in part]
        if len(set(indices)) < len(indices) or not set(indices) <= set(range(len(classes))):
            raise ValueError(f"split {split}: parts must share no class and name only classes of the table")


def write_image_file(table: ImageTable, path: Path) -> None:
    """Writes ``table`` to ``path`` in one atomic step: temporary name beside it, fsync, rename.

    Raises:
        OSError: disk full, no permission. Whatever is raised, no temporary file stays.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            schema, batch = _to_arrow(table)
            with pa.ipc.new_file(file, schema) as writer:
                writer.write_batch(batch)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:  # KeyboardInterrupt too
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Makes a rename in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _to_arrow(table: ImageTable) -> tuple[Any, Any]:
    shape = table.pixels.shape[1:]
    flat = pa.array(np.ascontiguousarray(table.pixels).reshape(-1))
    image_type = pa.fixed_shape_tensor(pa.uint8(), shape, dim_names=["height", "width", "channel"])
    images = pa.ExtensionArray.from_storage(image_type, pa.FixedSizeListArray.from_arrays(flat, int(np.prod(shape))))
    metadata = {
        "format": FORMAT,
        "name": table.name,
        "fingerprint": table.fingerprint,
        "classes": [asdict(entry) for entry in table.classes],
        "splits": table.splits,
    }
    schema = pa.schema(
        [("image", image_type), ("class", pa.int32()), ("sample", pa.int32())],
        metadata={METADATA_KEY: json.dumps(metadata, sort_keys=True, separators=(",", ":"))},
    )
    columns = [images, pa.array(_class_column(table.classes)), pa.array(table.samples)]
    return schema, pa.record_batch(columns, schema=schema)


def _class_column(classes: Sequence[ImageClass]) -> npt.NDArray[np.int32]:
    return np.repeat(np.arange(len(classes), dtype=np.int32), [entry.count for entry in classes])


def open_image_file(path: Path) -> ImageTable:
    """Maps a file of ``write_image_file``; no pixel is read or copied.

    The fingerprint is the recorded one: ``compute_fingerprint`` tells whether the pixels still are what it says.

    Raises:
        DatasetError: the file is absent, damaged or not an image file of MetaSweep.
    """
    try:
        # Without the validation a damaged length would make a view that ends beyond the map.
        reader = pa.ipc.open_file(pa.memory_map(os.fspath(path)))
        if reader.num_record_batches != 1:
            raise ValueError(f"{reader.num_record_batches} record batches instead of 1")
        batch = reader.get_batch(0)
        batch.validate()
        return _from_arrow(batch)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file; import the dataset again") from error
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DatasetError(f"{path} is damaged or not an image file ({reason}); import the dataset again") from error


def _from_arrow(batch: Any) -> ImageTable:
    stored = (batch.schema.metadata or {}).get(METADATA_KEY)
    if stored is None:
        raise ValueError("no MetaSweep metadata")
    metadata = json.loads(stored)
    if metadata["format"] != FORMAT:
        raise ValueError(f"format {metadata['format']} instead of {FORMAT}")
    pixels = batch.column("image").to_numpy_ndarray()
    samples = batch.column("sample").to_numpy(zero_copy_only=True)
    classes = tuple(ImageClass(**entry) for entry in metadata["classes"])
    splits = {
        split: {part: tuple(indices) for part, indices in parts.items()} for split, parts in metadata["splits"].items()
    }
    _check(pixels, samples, classes, splits)
    if not np.array_equal(batch.column("class").to_numpy(zero_copy_only=True), _class_column(classes)):
        raise ValueError("class column and class table differ")
    return ImageTable(metadata["name"], pixels, samples, classes, splits, metadata["fingerprint"])
