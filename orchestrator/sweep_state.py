"""How far a sweep is, from its record and the store: its state, its trials by theirs, and the status object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from orchestrator.analyses import cell_pairs, count_analyses, lacking
from orchestrator.budget import Begun, budget_json, spent
from orchestrator.confirm import most_confirmations
from orchestrator.home_objects import Home
from orchestrator.record import SweepRecord
from orchestrator.record_shapes import TrackingShape
from orchestrator.rows import Row, all_tried, best_row, find_sweep, front_rows, load_rows
from orchestrator.spec import SweepSpec
from orchestrator.store import Store

SweepState = Literal["running", "interrupted", "done"]


def status(home: Home, name: str) -> dict[str, Any]:
    """The status object of a sweep, as ``--json`` prints it.

    Raises:
        InputError: no such sweep.
    """
    record, spec = find_sweep(home, name)
    store = Store(home)
    rows = load_rows(store, record, spec)
    counts = count_asked(record, spec, rows)
    not_begun = count_trials(spec, rows)["planned"] - counts["planned"]
    pairs = cell_pairs(spec, record.fingerprints)
    best = best_row(rows)
    objectives = spec.search.objective if spec.search else ()
    front = front_rows(rows, objectives) if len(objectives) > 1 else None
    return {
        "name": name,
        "state": sweep_state(record, counts, bool(lacking(store, pairs))),
        "trials": counts,
        "budget": budget_json(spec.budget, record.used, not_begun) if spec.budget else None,
        "analyses": count_analyses(store, pairs),
        "best": None if best is None else _plain(best),
        "front": None if front is None else [{"number": row.number, **_plain(row)} for row in front],
        "home": home.url,
        "tracking": home.read_json(f"sweeps/{name}/tracking.json", TrackingShape) or {"uri": None, "synced": False},
    }


def _plain(row: Row) -> dict[str, Any]:
    config = row.config.model_dump(mode="json")
    return {"training_key": row.keys.training, "config": config, "metrics": dict(row.metrics)}


def sweep_state(record: SweepRecord, counts: Mapping[str, int], analyses_left: bool) -> SweepState:
    """Whether a process drives the sweep now; else whether all is done, by ``count_trials`` and of its analyses."""
    if record.locked:
        return "running"
    finished = counts["completed"] + counts["pruned"] + counts["failed"]
    return "done" if finished == counts["planned"] and not analyses_left else "interrupted"


def count_asked(record: SweepRecord, spec: SweepSpec, rows: list[Row]) -> dict[str, int]:
    """``count_trials``, held against the budget."""
    if spec.budget is None:
        return count_trials(spec, rows)
    used = record.used
    return count_trials(spec, rows, used.begun if spent(spec.budget, used) else None)


def count_trials(spec: SweepSpec, rows: list[Row], begun: Begun | None = None) -> dict[str, int]:
    """Trials by state, confirmations among them; for a grid, trainings. Completed + pruned + failed = planned at the
    end.

    ``begun``: given where the budget is spent. Then only trials that have ended or begun are planned.
    """
    if spec.grid is not None:  # a training is as far as the least of its evaluations
        order = {"failed": 0, "running": 1, "planned": 2, "completed": 3}
        least: dict[str, Row] = {}
        for row in rows:
            known = least.get(row.keys.training)
            if known is None or order[row.state] < order[known.state]:
                least[row.keys.training] = row
        rows = list(least.values())
    counted = {state: sum(row.state == state for row in rows) for state in ("completed", "pruned", "failed", "running")}
    if begun is not None:
        planned = sum(row.state != "planned" or (row.keys.training, row.keys.evaluation) in begun for row in rows)
    elif spec.search is not None:
        tried = [row for row in rows if row.confirms is None]
        again = len(rows) - len(tried) if all_tried(spec, tried) else most_confirmations(spec.search)
        planned = spec.search.trials + again
    else:
        planned = len(rows)
    return {"planned": planned, **counted, "cached": sum(row.cached for row in rows)}
