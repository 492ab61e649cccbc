"""Seals: any byte of a record that changes is found, or changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from orchestrator.seal import (
    METADATA_KEY,
    number_columns,
    open_json,
    open_table,
    open_text,
    seal_json,
    seal_table,
    seal_text,
)

RECORD = {"number": 3, "values": {"algorithm.inner_lr": 0.1, "path": ["a", 'line\n "seal": "' + "0" * 64]}, "z": None}
TABLE = pa.table({"episode": pa.array([0, 1], pa.int32()), "accuracy": pa.array([0.5, 1.0])})


def _table(data: bytes) -> Any:
    header, table = open_table(data)
    return header, table.to_pydict()


KINDS: dict[str, tuple[bytes, Callable[[bytes], Any], Any]] = {
    "json": (seal_json(RECORD), open_json, RECORD),
    "table": (seal_table(TABLE, RECORD), _table, (RECORD, TABLE.to_pydict())),
    "text": (seal_text("a: 1\n# seal: no\n"), lambda data: open_text(data).splitlines()[1], b"a: 1"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_sealed_opens(kind: str) -> None:
    data, opened, content = KINDS[kind]
    assert opened(data) == content


def test_numbers_are_read_as_they_are_and_nothing_else_passes_for_one() -> None:
    values = [0.5, float("nan")]
    table = pa.table({"episode": pa.array([0, 1], pa.int32()), "accuracy": pa.array(values)})
    columns = number_columns(table)
    assert list(columns) == ["accuracy"]
    np.testing.assert_array_equal(columns["accuracy"], values)
    for other in (pa.array([1, 2]), pa.array([0.5, None]), pa.array(["0.5", "1"])):
        with pytest.raises(ValueError, match="'cka'"):
            number_columns(table.append_column("cka", other))


@pytest.mark.parametrize("kind", KINDS)
def test_every_byte_counts(kind: str) -> None:
    data, opened, _ = KINDS[kind]
    for place in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            with pytest.raises(ValueError, match=r".+"):
                print(kind, place, bit, opened(bytes(changed)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_is_no_record(kind: str) -> None:
    data, opened, _ = KINDS[kind]
    for length in [0, *range(75, len(data) - 1)]:  # a text is short enough to lose all but its seal
        with pytest.raises(ValueError, match=r".+"):
            opened(data[:length])


def test_records_of_before_are_taken_as_they_are() -> None:
    old = TABLE.replace_schema_metadata({METADATA_KEY: json.dumps({"a": 1})})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, old.schema) as writer:
        writer.write_table(old)
    assert _table(sink.getvalue().to_pybytes()) == ({"a": 1}, TABLE.to_pydict())
    assert open_json(b'{"a": 1}') == {"a": 1}
    assert open_text(b"a: 1\n") == b"a: 1\n"
