"""Rows as bytes of a file that other programs read."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from orchestrator.home_objects import printable


def encode(table: pa.Table, as_format: str, for_terminal: bool = False) -> bytes:
    """The table as ``csv`` (with a header), ``json`` (a list of rows) or ``parquet``.

    ``for_terminal``: what a terminal would obey is escaped in the texts of csv; causes of failure may quote anything.
    """
    if for_terminal and as_format == "csv":
        table = _printable(table)
    if as_format == "json":
        return (json.dumps(table.to_pylist(), indent=1) + "\n").encode()
    sink = io.BytesIO()
    if as_format == "csv":
        pyarrow.csv.write_csv(table, sink)
    else:
        pyarrow.parquet.write_table(table, sink)
    return sink.getvalue()


def _printable(table: pa.Table) -> pa.Table:
    for at, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            texts = [None if text is None else printable(text) for text in table[at].to_pylist()]
            table = table.set_column(at, field, [pa.array(texts, field.type)])
    return table
