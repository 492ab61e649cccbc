"""Progress of trainings as attempts have saved it: a file each, put over itself, that holds the whole curve."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from typing import Any

from orchestrator.record_shapes import CurveShape, shaped
from orchestrator.store import Store

HEADER_READS = 3
"""How often a header is read before it is called damaged: on S3 its length and it may be of two versions."""

_LENGTH = re.compile("[0-9]{1,10}")
"""Of a training, at the end of its key; a folder with something else there is none of ours."""


def progress_path(key: str, attempt: str) -> str:
    """Where an attempt at a training saves."""
    return f"trainings/{key}/attempts/{attempt}/progress.safetensors"


def progress_files(store: Store, digest: str, iterations: int) -> Iterator[tuple[str, str, bytes]]:
    """(key, attempt, progress) of all attempts at this training, or at shorter ones of the same digest."""
    for key in store.home.names("trainings"):
        its_digest, _, length = key.rpartition("-")
        if its_digest == digest and _LENGTH.fullmatch(length) and int(length) <= iterations:
            for attempt in store.home.names(f"trainings/{key}/attempts"):
                data = store.home.read(progress_path(key, attempt))
                if data is not None:
                    yield key, attempt, data


def validations(store: Store, key: str, attempt: str) -> list[dict[str, Any]]:
    """The validations of an attempt so far, oldest first, read from the header of its progress alone."""
    header = progress_header(store, key, attempt)
    return [] if header is None else list(header["curve"])


def progress_header(store: Store, key: str, attempt: str) -> dict[str, Any] | None:
    """What the progress of an attempt says of itself: ``curve``, ``flops`` of an iteration; None if it is gone."""
    path = progress_path(key, attempt)
    for left in reversed(range(HEADER_READS)):
        try:
            header = store.home.read_json_header(path)
            return None if header is None else _read_progress(header)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            if left == 0:
                store.home.pass_over(path, str(error))
    return None


def _read_progress(header: Any) -> dict[str, Any]:
    """The part of its own in the header of ``trainers.snapshots.Progress``."""
    wrapper = json.loads(header["__metadata__"]["metasweep"])
    text = wrapper["header"]
    found = hashlib.sha256(text.encode()).hexdigest()
    if wrapper.get("header_sha256", found) != found:
        raise ValueError("its header does not match the digest")
    its: dict[str, Any] = shaped(json.loads(text), CurveShape)
    for point in its["curve"]:
        point["validation_accuracy"] = _ByHead(point["validation_accuracy"])
    return its


class _ByHead(dict[str, float]):
    """NaN of a head that a foreign record says nothing of."""

    def __missing__(self, head: str) -> float:
        return math.nan
