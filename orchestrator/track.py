"""Makes MLflow equal to the store, for a sweep that does not run now."""

from __future__ import annotations

import os
from dataclasses import replace

from orchestrator.errors import InputError, OutOfReach, TrackingError
from orchestrator.home import open_home
from orchestrator.rows import find_sweep, load_rows
from orchestrator.store import Store
from orchestrator.sweep_state import status
from orchestrator.tracked_outcome import Weights, outcome
from orchestrator.tracking import End, write_all
from orchestrator.tracking_rows import stored_view, sweep_view
from orchestrator.tracking_uri import check_uri, default_uri, experiment_name, reachable
from orchestrator.url_secrets import masked


def track(name: str, home_url: str, uri: str | None = None, weights: Weights = "none") -> tuple[str, int]:
    """Writes what MLflow lacks of a sweep: runs, params, tags, and each point once, at the time of its trial.

    Args:
        name: the sweep's.
        home_url: its home.
        uri: MLflow's; None is ``MLFLOW_TRACKING_URI``, or SQLite in the home.
        weights: whose weights become artifacts.

    Returns:
        The URI without its secrets, and how many trials MLflow has of the sweep now: those that were begun.

    Raises:
        InputError: no such sweep, it runs now, or the URI is malformed.
        OutOfReach: MLflow does not answer, or went away.
    """
    home = open_home(home_url, create=False)
    record, spec = find_sweep(home, name)
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or (default_uri(home.local) if home.local else None)
    if uri is None:
        raise TrackingError(f"--home {home_url} has no tracking store of its own; name one by --tracking-uri")
    check_uri(uri)
    state, shown = status(home, name)["state"], masked(uri)
    if state == "running":
        raise InputError(f"sweep {name!r} is run by a process now, which writes to MLflow itself; wait for its end")
    if reason := reachable(uri):
        raise _gone(shown, reason)
    with record.lock():
        record, spec = find_sweep(home, name)  # again, now that nobody else can change it
        store, fingerprints = Store(home), record.fingerprints
        ended = ("completed", "pruned", "failed")
        rows = [
            row if row.state in ended else replace(row, state="running")  # as the driver left it
            for row in load_rows(store, record, spec)
            if row.state in ended or store.attempts(row.keys.training)
        ]
        views = (stored_view(row, spec, fingerprints[row.config.source], store) for row in rows)
        end: End = "FINISHED" if state == "done" else "KILLED"
        try:
            made = outcome(home, name, weights, state == "done")
            write_all(uri, experiment_name(), sweep_view(spec, home), views, end, made)
        except OutOfReach as error:
            raise _gone(shown, str(error)) from error
        home.put_json(f"sweeps/{name}/tracking.json", {"uri": shown, "synced": True})
    return shown, len(rows)


def _gone(shown: str, reason: str) -> OutOfReach:
    return OutOfReach(f"tracking: {shown} can't be written ({reason}); once it answers, the same command goes on")
