"""``orchestrate rm``: takes a sweep out of a home. Its trainings stay, since other sweeps may ask for them."""

from __future__ import annotations

import time
from contextlib import suppress

from orchestrator.analyses import cell_pairs, lacking
from orchestrator.errors import InputError
from orchestrator.home_lock import alone
from orchestrator.home_objects import Home, StoredFile
from orchestrator.record import SweepRecord, lost_specs, sweep_names
from orchestrator.rows import find_sweep, load_rows
from orchestrator.store import Store
from orchestrator.sweep_state import count_asked, sweep_state
from trainers.registry import nearest

QUIET_S = 3600.0
"""How long a sweep on an object store must have written nothing to count as one that does not run."""


def check_forgettable(home: Home, name: str, quiet_s: float = QUIET_S) -> list[StoredFile]:
    """The record of a sweep, if it can be forgotten now.

    Args:
        home: where it is.
        name: the sweep's; its record may be one that can't be read.
        quiet_s: how long nothing must have been written of a sweep that is not done, where nobody can tell whether it
            runs (on object stores).

    Raises:
        InputError: no such sweep; it runs now, or may be running.
    """
    names = [*sweep_names(home), *lost_specs(home)]
    if name not in names:
        way_out = nearest(name, names) if names else "there is none"
        raise InputError(f"no sweep {name!r} in {home.url}; {way_out}")
    record = SweepRecord(home, name)
    if record.locked:
        raise _runs(record)
    files = record.files()
    if home.local is None:
        _check_quiet(home, name, files, quiet_s)
    return files


def forget_sweep(home: Home, name: str) -> None:
    """Removes the record of a sweep; a kill on the way leaves all of it or, for who asks, none.

    Raises:
        InputError: it runs now.
    """
    record = SweepRecord(home, name)
    try:
        with record.lock():
            record.forget()
    except InputError as error:
        raise (_runs(record) if record.locked else error) from None
    with alone(home) as nobody_begins:
        if nobody_begins and name not in sweep_names(home):  # else a driver may be waiting for this very lock
            home.remove(f"sweeps/{name}/.lock")
            for folder in ("proposals", "runs", "report/tables", "report/figures"):
                home.prune(f"sweeps/{name}/{folder}")
            home.prune(f"sweeps/{name}")


def _check_quiet(home: Home, name: str, record_files: list[StoredFile], quiet_s: float) -> None:
    files = [*record_files]
    with suppress(InputError):  # a record that can't be read can't be run either
        record, spec = find_sweep(home, name)
        rows = load_rows(Store(home), record, spec)
        analyses_left = bool(lacking(Store(home), cell_pairs(spec, record.fingerprints)))
        if sweep_state(record, count_asked(record, spec, rows), analyses_left) == "done":
            return
        for key in {row.keys.training for row in rows}:
            files += home.files(f"trainings/{key}")
    ago_s = time.time() - max(file.modified_s for file in files)
    if ago_s < quiet_s:
        raise InputError(
            f"sweep {name!r} is not done and wrote something {max(ago_s, 0):.0f} s ago, so it may be running; stop it, "
            f"and wait or give: orchestrate rm {name} --older-than SECONDS"
        )


def _runs(record: SweepRecord) -> InputError:
    run = record.run
    where = f" (process {run['pid']} on {run['node']})" if run else ""
    return InputError(f"sweep {record.name!r} runs now{where}; stop it, or wait for its end")
