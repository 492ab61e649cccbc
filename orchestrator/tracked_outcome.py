"""What MLflow gets of a sweep that has ended, from the store: its report, and weights where they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from orchestrator.home_objects import Home
from orchestrator.results import load_study
from orchestrator.rows import Row, best_row, by_scale, find_sweep, load_rows
from orchestrator.store import Store
from orchestrator.tracking_parent import Outcome, Report
from orchestrator.tracking_rows import identity_of

Weights = Literal["none", "best", "all"]
"""Of which completed trials; ``best`` is the best by validation, of each environment where there are several."""


def outcome(home: Home, name: str, weights: Weights, with_report: bool) -> Outcome:
    """What is added to the runs of a sweep.

    Args:
        home: its home.
        name: the sweep's.
        weights: whose weights.
        with_report: whether its report; only of a sweep that is done.
    """
    record, spec = find_sweep(home, name)
    store = Store(home)
    rows = load_rows(store, record, spec) if weights != "none" else []
    best = [best_row(its) for its in by_scale(rows)]
    chosen = rows if weights == "all" else [row for row in best if row is not None]
    read = {identity_of(row, spec): _weights_of(row, store) for row in chosen if row.state == "completed"}
    return Outcome((lambda: _report(home, name)) if with_report else None, read)


def _weights_of(row: Row, store: Store) -> Callable[[], bytes | None]:
    def read() -> bytes | None:
        manifest = store.manifest(row.keys.training)
        its = store.tested(row.config, row.keys, manifest) if manifest else None
        return None if its is None else store.read_weights(*its, row.config)

    return read


def _report(home: Home, name: str) -> Report:
    from orchestrator.report.write import report_files  # with what draws: seconds

    # The sweep is locked by who asks, so that it would count as running.
    files, relations = report_files(replace(load_study(name, home.url), state="done"))
    return Report(files, tuple(f"{one.name}: {one.sentence}" for one in relations))
