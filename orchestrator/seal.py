"""Seals: every record of a home carries the SHA-256 of its own bytes, so that any byte that changed is found.

The digest is that of the whole record with zeros where the digest itself goes. In JSON it is the value of ``seal``, in
an Arrow file that of ``seal`` in the JSON of its schema metadata, in text its first line, a comment. Records without a
seal, made before there were any, are taken as they are.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

METADATA_KEY = b"metasweep"
_BLANK = b"0" * 64
_SEAL = re.compile(rb'^( "seal": "|# seal: )([0-9a-f]{64})', re.MULTILINE)
"""At the start of a line, where no string of a record can put it: inside of strings JSON has no line breaks."""
_MAIMED = re.compile(rb'^(?:.{8}|.{10})(?=.*[0-9a-f]{31}).{64}(?:",?)?$', re.MULTILINE)
"""A line as long as that of a seal, with half of a digest in it: where there is no seal, this was one."""


def seal_json(record: Mapping[str, Any]) -> bytes:
    """A JSON record: sorted keys, indented for people, sealed."""
    return _sealed(_json({**record, "seal": _BLANK.decode()}))


def open_json(data: bytes) -> Any:
    """The inverse of ``seal_json``; of a record without a seal, what it holds.

    Raises:
        ValueError: not JSON, or not the bytes that were sealed.
    """
    found = _check(data)
    record = json.loads(data)
    if isinstance(record, dict) and "seal" in record:
        if not found:
            raise ValueError("its seal is none")
        del record["seal"]
    return record


def seal_table(table: pa.Table, header: Mapping[str, Any]) -> bytes:
    """A table as an Arrow IPC file with ``header``, JSON values, in its schema metadata; sealed."""
    metadata = {METADATA_KEY: _json({**header, "seal": _BLANK.decode()})}
    sink = io.BytesIO()
    sealed = table.replace_schema_metadata(metadata)
    with pa.ipc.new_file(sink, sealed.schema) as writer:
        writer.write_table(sealed)
    return _sealed(sink.getvalue())


def open_table(data: bytes) -> tuple[dict[str, Any], pa.Table]:
    """Header and table: the inverse of ``seal_table``, whose metadata the table keeps.

    Raises:
        ValueError: no such file, or not the bytes that were sealed.
    """
    _check(data)  # before Arrow follows any offset in it
    try:
        table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(str(error)) from error
    stored = (table.schema.metadata or {}).get(METADATA_KEY)
    if stored is None:
        raise ValueError("no MetaSweep metadata")
    header = json.loads(stored)
    if not isinstance(header, dict):
        raise ValueError("its header is no record")
    header.pop("seal", None)
    return header, table


def number_columns(table: pa.Table) -> dict[str, npt.NDArray[np.float64]]:
    """The columns of a table of episodes, by name, without the numbers of the episodes.

    Raises:
        ValueError: a column holds something else than numbers.
    """
    columns = {name: table[name].combine_chunks() for name in table.column_names if name != "episode"}
    for name, column in columns.items():
        if column.type != pa.float64() or column.null_count:
            raise ValueError(f"its column {name!r} holds something else than numbers ({column.type})")
    numbers: dict[str, Any] = {name: np.from_dlpack(column) for name, column in columns.items()}
    return numbers  # by to_numpy they would be the same, and pandas imported


def seal_text(text: str) -> bytes:
    """A text whose comments begin with ``#``, sealed in a line before it."""
    return _sealed(b"# seal: " + _BLANK + b"\n" + text.encode())


def open_text(data: bytes) -> bytes:
    """The text as it stands, its seal included.

    Raises:
        ValueError: empty, or not the bytes that were sealed.
    """
    if not data:
        raise ValueError("it is empty")
    _check(data)
    return data


def _json(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()


def _sealed(data: bytes) -> bytes:
    return _SEAL.sub(rb"\g<1>" + hashlib.sha256(data).hexdigest().encode(), data)


def _check(data: bytes) -> bool:
    """Whether there is a seal.

    Raises:
        ValueError: it is not that of these bytes.
    """
    seals = {found[1] for found in _SEAL.findall(data)}
    if not seals:
        if _MAIMED.search(data):
            raise ValueError("its seal is none")
        return False
    blank = _SEAL.sub(rb"\g<1>" + _BLANK, data)
    if seals != {hashlib.sha256(blank).hexdigest().encode()}:
        raise ValueError("its bytes are not those that were sealed")
    return True
