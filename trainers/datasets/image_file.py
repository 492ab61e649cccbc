"""A dataset as one Arrow file: images sorted by class, class table and split tables in the schema metadata.

Arrow IPC *file* format, uncompressed, one record batch, one row an image, so that every process of a machine maps the
same pages and a class is a slice of rows. Columns: ``image`` (fixed-shape tensor, uint8 [height, width, channels]),
``class`` and ``sample`` (int32). Nothing in the file depends on when, where or from which archive it was made.

Two digests in the metadata find any byte that changed: the *fingerprint* is that of the content, pixels included, and
is recomputed by ``verify_image_file``; the *seal* is the SHA-256 of all bytes around the pixels, with the seal itself
as zeros, and cheap enough for every opening.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
FORMAT = 2
UNSEALED = "0" * 64
"""What stands in place of the seal while it is computed."""
_CHUNK = 1 << 20
"""Bytes of pixels read at once: mapped pages of a whole dataset would count as memory of the process."""

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
        check_tables(pixels.shape, samples, classes, splits)
        if pixels.dtype != np.uint8:
            raise ValueError(f"pixels must be uint8, got {pixels.dtype}")
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
    return _fingerprint(pixels.shape, classes, splits, [np.ascontiguousarray(pixels).data])


def stored_fingerprint(
    path: Path, offset: int, shape: Sequence[int], classes: Sequence[ImageClass], splits: Splits
) -> str:
    """``compute_fingerprint`` of the pixels that lie in a file from ``offset`` on, in little memory."""
    return _fingerprint(shape, classes, splits, _chunks(path, offset, math.prod(shape)))


def _fingerprint(
    shape: Sequence[int], classes: Sequence[ImageClass], splits: Splits, pixels: Iterable[memoryview]
) -> str:
    tables = {"shape": shape, "classes": [asdict(entry) for entry in classes], "splits": splits}
    digest = hashlib.sha256(json.dumps(tables, sort_keys=True, separators=(",", ":")).encode())
    for part in pixels:
        digest.update(part)
    return digest.hexdigest()[:20]


def _chunks(path: Path, offset: int, size: int) -> Iterator[memoryview]:
    chunk = memoryview(bytearray(_CHUNK))
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        while size:
            got = file.readinto(chunk[: min(size, _CHUNK)])
            if not got:
                raise EOFError(f"{path} ends {size} bytes early")
            yield chunk[:got]
            size -= got


def check_tables(
    shape: Sequence[int], samples: npt.NDArray[np.int32], classes: Sequence[ImageClass], splits: Splits
) -> None:
    """Checks that pixels of ``shape`` [images, height, width, channels], samples, classes and splits fit together.

    Raises:
        ValueError: they don't.
    """
    if len(shape) != 4 or 0 in shape:
        raise ValueError(f"pixels must be [images, height, width, channels], got {tuple(shape)}")
    if samples.shape != (shape[0],) or samples.dtype != np.int32:
        raise ValueError(f"samples must be int32 [{shape[0]}], got {samples.dtype} {samples.shape}")
    for earlier, later in pairwise(classes):
        if earlier.name >= later.name:
            raise ValueError(f"classes must be sorted by name without repeats, got {earlier.name} before {later.name}")
    row = 0
    for entry in classes:
        if entry.first != row or entry.count < 1:
            raise ValueError(f"class {entry.name} must start at row {row} and have images, got {entry}")
        row += entry.count
    if row != shape[0]:
        raise ValueError(f"classes hold {row} images, the table {shape[0]}")
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


def class_column(classes: Sequence[ImageClass]) -> npt.NDArray[np.int32]:
    """The class of every row."""
    return np.repeat(np.arange(len(classes), dtype=np.int32), [entry.count for entry in classes])


def open_image_file(path: Path) -> ImageTable:
    """Maps a file of ``image_writer``; no pixel is read or copied.

    Raises:
        DatasetError: the file is absent, of another format, or damaged anywhere but in its pixels.
    """
    return _open(path)[0]


def verify_image_file(path: Path) -> ImageTable:
    """Opens a file as ``open_image_file`` does and reads all its pixels: no byte of it has changed.

    Raises:
        DatasetError: as ``open_image_file``; or the pixels are not those that the fingerprint was taken of.
    """
    table, offset = _open(path)
    try:
        found = stored_fingerprint(path, offset, table.pixels.shape, table.classes, table.splits)
    except (OSError, EOFError) as error:
        raise DatasetError(f"{path} can't be read ({error}); import the dataset again") from error
    if found != table.fingerprint:
        raise DatasetError(
            f"{path} is damaged (its pixels have fingerprint {found} instead of {table.fingerprint}); "
            "import the dataset again"
        )
    return table


def _open(path: Path) -> tuple[ImageTable, int]:
    """The table, and where its pixels begin in the file."""
    try:
        whole = pa.memory_map(os.fspath(path)).read_buffer()
        # Without the validation a damaged length would make a view that ends beyond the map.
        reader = pa.ipc.open_file(whole)
        if reader.num_record_batches != 1:
            raise ValueError(f"{reader.num_record_batches} record batches instead of 1")
        batch = reader.get_batch(0)
        batch.validate()
        metadata = _metadata(batch.schema)
        if metadata["format"] == FORMAT:
            offset = pixel_offset(whole, batch)
            _check_seal(whole, offset, batch.column("image").to_numpy_ndarray().nbytes, metadata["seal"])
            return _from_arrow(batch, metadata), offset
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file; import the dataset again") from error
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DatasetError(f"{path} is damaged or not an image file ({reason}); import the dataset again") from error
    raise DatasetError(
        f"{path} is of format {metadata['format']!r}, this version reads {FORMAT}; import the dataset again"
    )


def _metadata(schema: Any) -> dict[str, Any]:
    stored = (schema.metadata or {}).get(METADATA_KEY)
    if stored is None:
        raise ValueError("no MetaSweep metadata")
    metadata: dict[str, Any] = json.loads(stored)
    return metadata


def pixel_offset(whole: Any, batch: Any) -> int:
    """Where in the buffer of a whole file the pixels of its record batch begin, in bytes."""
    offset: int = batch.column("image").storage.buffers()[-1].address - whole.address
    return offset


def seal_of(head: bytes, tail: bytes) -> str:
    """The seal of the bytes before and after the pixels; where the seal goes they hold ``UNSEALED``."""
    digest = hashlib.sha256(b"%d %d " % (len(head), len(tail)))
    digest.update(head)
    digest.update(tail)
    return digest.hexdigest()


def _check_seal(whole: Any, offset: int, size: int, recorded: str) -> None:
    own, unsealed = recorded.encode(), UNSEALED.encode()
    head, tail = (bytes(part).replace(own, unsealed) for part in (whole[:offset], whole[offset + size :]))
    if len(own) != len(unsealed) or seal_of(head, tail) != recorded:
        raise ValueError("the bytes around its pixels are not those that were sealed")


def _from_arrow(batch: Any, metadata: Mapping[str, Any]) -> ImageTable:
    pixels = batch.column("image").to_numpy_ndarray()
    samples: Any = np.from_dlpack(batch.column("sample"))  # to_numpy imports pandas
    classes = tuple(ImageClass(**entry) for entry in metadata["classes"])
    splits = {
        split: {part: tuple(indices) for part, indices in parts.items()} for split, parts in metadata["splits"].items()
    }
    check_tables(pixels.shape, samples, classes, splits)
    if not np.array_equal(np.from_dlpack(batch.column("class")), class_column(classes)):
        raise ValueError("class column and class table differ")
    return ImageTable(metadata["name"], pixels, samples, classes, splits, metadata["fingerprint"])
