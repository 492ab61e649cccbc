"""Writes a dataset's Arrow file in bounded memory: the file first, with black pixels, then the pixels in place.

The workers that make pixels write them into the file themselves, so that no pixel travels between processes and none
has to wait for its neighbours. The fingerprint, known only when all are there, and the seal then take the place of
zeros of the same length.
"""

from __future__ import annotations

import json
import math
import os
import uuid
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from trainers.datasets.image_file import (
    FORMAT,
    METADATA_KEY,
    UNSEALED,
    ImageTable,
    Pixels,
    check_tables,
    class_column,
    pixel_offset,
    seal_of,
    stored_fingerprint,
)
from trainers.datasets.recipe import Job, Listing, Progress
from trainers.datasets.rendering import render_into

NO_FINGERPRINT = "0" * 20


def write_images(
    name: str, listing: Listing, folder: Path, progress: Progress, processes: int, path_of: Callable[[str], Path]
) -> Path:
    """Makes the images of ``listing`` and puts them into a file, in one atomic step.

    Args:
        name: the dataset's.
        listing: which images, and how each is made.
        folder: where the file is made, under a temporary name.
        progress: called as images are done.
        processes: how many make images; 1 is this one.
        path_of: the file's path, on the same disk, given the fingerprint. A file there that holds the same stays, and
            becomes the newest.

    Returns:
        The path.

    Raises:
        DatasetError: an image can't be read.
        OSError: disk full, no permission. Whatever is raised, no temporary file and no process stays.
    """
    check_tables((listing.images, *listing.image_shape), listing.samples, listing.classes, listing.splits)
    temporary = folder / f".{name}.{uuid.uuid4().hex}.tmp"
    try:
        offset = _create(name, listing, temporary)
        done = 0
        for rows in render_into(temporary, offset, listing.image_shape, listing.jobs, processes):
            done += rows
            progress(done, listing.images)
        path = path_of(_seal(listing, temporary, offset))
        if _same(temporary, path):
            path.touch()
        else:
            temporary.replace(path)
            _sync(folder)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_image_file(table: ImageTable, path: Path) -> None:
    """Writes a table that is in memory; atomic, as ``write_images``."""
    rows = Job(0, len(table.pixels), lambda: table.pixels)
    listing = Listing(table.image_shape, table.classes, table.samples, table.splits, [rows])
    write_images(table.name, listing, path.parent, lambda done, total: None, 1, lambda fingerprint: path)


def _create(name: str, listing: Listing, path: Path) -> int:
    """Writes the file with black pixels, digests left open; gives the place where its pixels begin.

    All of its bytes are written now, so that a disk too small says so before hours of decoding.
    """
    schema, batch = _to_arrow(name, listing)
    with path.open("xb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_batch(batch)
    whole = pa.memory_map(os.fspath(path)).read_buffer()
    return pixel_offset(whole, pa.ipc.open_file(whole).get_batch(0))


def _to_arrow(name: str, listing: Listing) -> tuple[Any, Any]:
    image_type = pa.fixed_shape_tensor(pa.uint8(), listing.image_shape, dim_names=["height", "width", "channel"])
    size = math.prod(listing.image_shape)
    black: Pixels = np.zeros(listing.images * size, np.uint8)  # pages that nobody writes to take no memory
    storage = pa.FixedSizeListArray.from_arrays(pa.array(black), size)
    metadata = {
        "format": FORMAT,
        "name": name,
        "fingerprint": NO_FINGERPRINT,
        "seal": UNSEALED,
        "classes": [asdict(entry) for entry in listing.classes],
        "splits": listing.splits,
    }
    schema = pa.schema(
        [("image", image_type), ("class", pa.int32()), ("sample", pa.int32())],
        metadata={METADATA_KEY: json.dumps(metadata, sort_keys=True, separators=(",", ":"))},
    )
    images = pa.ExtensionArray.from_storage(image_type, storage)
    columns = [images, pa.array(class_column(listing.classes)), pa.array(listing.samples)]
    return schema, pa.record_batch(columns, schema=schema)


def _seal(listing: Listing, path: Path, offset: int) -> str:
    """Fills in fingerprint and seal, and syncs the file; gives the fingerprint."""
    shape = (listing.images, *listing.image_shape)
    fingerprint = stored_fingerprint(path, offset, shape, listing.classes, listing.splits)
    end = offset + math.prod(shape)
    with path.open("r+b") as file:
        head = _filled(file.read(offset), "fingerprint", NO_FINGERPRINT, fingerprint)
        file.seek(end)
        tail = _filled(file.read(), "fingerprint", NO_FINGERPRINT, fingerprint)
        seal = seal_of(head, tail)
        for start, part in ((0, head), (end, tail)):
            file.seek(start)
            file.write(_filled(part, "seal", UNSEALED, seal))
        file.flush()
        os.fsync(file.fileno())
    return fingerprint


def _filled(part: bytes, key: str, zeros: str, value: str) -> bytes:
    """A part of the file with a digest in the place kept for it: the schema stands at its head and in its tail."""
    kept = f'"{key}":"{zeros}"'.encode()
    if part.count(kept) != 1:
        raise ValueError(f"the metadata stands {part.count(kept)} times in a part of the file instead of once")
    return part.replace(kept, f'"{key}":"{value}"'.encode())


def _same(one: Path, other: Path) -> bool:
    """Whether both files are there and hold the same bytes."""
    if not other.exists() or one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        while chunk := first.read(1 << 20):
            if chunk != second.read(len(chunk)):
                return False
    return True


def _sync(folder: Path) -> None:
    """Makes a rename in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
