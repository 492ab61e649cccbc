"""Rows as bytes of a file that other programs read."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet


def encode(table: pa.Table, as_format: str) -> bytes:
    """The table as ``csv`` (with a header), ``json`` (a list of rows) or ``parquet``."""
    if as_format == "json":
        return (json.dumps(table.to_pylist(), indent=1) + "\n").encode()
    sink = io.BytesIO()
    if as_format == "csv":
        pyarrow.csv.write_csv(table, sink)
    else:
        pyarrow.parquet.write_table(table, sink)
    return sink.getvalue()
