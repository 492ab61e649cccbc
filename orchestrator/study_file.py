"""The search of a sweep as a file that Optuna's programs open: gathers what the store knows of every trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.errors import InputError
from orchestrator.home import open_home
from orchestrator.rows import Row, find_sweep, front_unknown, load_rows, without_confirmations
from orchestrator.search.export_study import StudyTrial, write_study
from orchestrator.search.proposals import Proposal
from orchestrator.spec import SearchSpec
from orchestrator.store import Store
from orchestrator.tracking_rows import recorded_points


def export_study(name: str, home_url: str, output: str | None) -> None:
    """Writes the search of a stored sweep as an Optuna study of the same name: SQLite or a journal, by the ending.

    Args:
        name: the sweep's.
        home_url: folder or URL.
        output: the file. An earlier export of the same sweep is replaced, anything else refused.

    Raises:
        InputError: no such sweep, a grid, no output, or one that can't be written.
    """
    home = open_home(home_url, create=False)
    record, spec = find_sweep(home, name)
    if spec.search is None:
        raise InputError(f"--format optuna: {name!r} is a grid, and Optuna has searches only; use csv, json or parquet")
    if not output:
        raise InputError("--format optuna: needs --output FILE; FILE.db becomes SQLite, any other a journal")
    store = Store(home)
    proposals = {proposal.number: proposal for proposal in record.proposals()}
    rows = without_confirmations(load_rows(store, record, spec))
    if unknown := front_unknown(rows, spec.search.objective):
        raise InputError(f"--format optuna: {unknown}")
    trials = [_trial(row, proposals[row.number], spec.search, store) for row in rows]
    try:
        write_study(Path(output), name, f"{home.id}/{name}", spec.search, trials)
    except OSError as error:
        raise InputError(f"--output {output}: {error.strerror or error}; name a file that can be written") from None


def _trial(row: Row, proposal: Proposal, search: SearchSpec, store: Store) -> StudyTrial:
    attempts = store.attempts(row.keys.training)
    curve = {point.step: point.value for point in recorded_points(row, store) if point.key == row.score.validation}
    attributes: dict[str, Any] = {"number": row.number, "training_key": row.keys.training, **row.metrics}
    if row.error:
        attributes["error"] = row.error
    completed = row.state == "completed"
    return StudyTrial(
        state=row.state,
        chosen=proposal.values,
        values=tuple(row.metrics[one.metric] for one in search.objective) if completed else (),
        curve=curve,
        started_ms=attempts[0]["started_ms"] if attempts else None,
        ended_ms=attempts[-1]["ended_ms"] if attempts else None,
        attributes=attributes,
    )
