"""The rows of a sweep as an Arrow table."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from orchestrator.home import open_home
from orchestrator.rows import Row, find_sweep, front_rows, load_rows
from orchestrator.spec import SearchSpec
from orchestrator.store import Store
from trainers.config import flatten
from trainers.problems import problem_of


def table(name: str, rows: list[Row], search: SearchSpec | None = None) -> pa.Table:
    """Flat rows as an Arrow table: keys, every leaf of the config as asked under its dotted path, metrics, error.

    Of a search that is confirmed also ``confirms``; of one with several objectives also ``pareto``: whether the row is
    on the front, null where that is not known.
    """
    objectives = search.objective if search else ()
    front = front_rows(rows, objectives)
    on_front = None if front is None else {row.number for row in front}
    records = []
    for row in rows:
        records.append(
            {
                "sweep": name,
                "number": row.number,
                **({"confirms": row.confirms} if search and search.confirm else {}),
                "training_key": row.keys.training,
                "evaluation_key": row.keys.evaluation,
                "state": row.state,
                "seed": row.config.training.seed,
                **flatten(row.config),
                **{metric: row.metrics.get(metric) for metric in problem_of(row.config).metrics},
                **({"pareto": None if on_front is None else row.number in on_front} if len(objectives) > 1 else {}),
                "error": row.error,
            }
        )
    types = {"confirms": pa.int64(), "pareto": pa.bool_()}  # all of their values may be null
    columns = records[0] if records else {}
    return pa.table(
        {column: arrow_column([record[column] for record in records], types.get(column)) for column in columns}
    )


def results(name: str, home: str = "./runs") -> pa.Table:
    """The rows of a stored sweep as an Arrow table.

    Args:
        name: the sweep's.
        home: folder or URL.

    Raises:
        InputError: no such home, or no such sweep in it.
    """
    opened = open_home(home, create=False)
    record, spec = find_sweep(opened, name)
    return table(name, load_rows(Store(opened), record, spec), spec.search)


def arrow_column(values: list[Any], of_type: pa.DataType | None = None) -> pa.Array:
    """Values of one type as a column: lists (of layers, of rates) are joined by ``+``, ``2`` beside them is text.

    ``of_type``: where that is not to be told from the values.
    """
    values = ["+".join(map(str, value)) if isinstance(value, list | tuple) else value for value in values]
    mixed = len({type(value) for value in values if value is not None} - {int, float}) > 0
    if mixed and any(isinstance(value, str) for value in values):
        values = [None if value is None else str(value) for value in values]
    return pa.array(values, of_type)
