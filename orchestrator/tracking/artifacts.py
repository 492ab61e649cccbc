"""Artifacts of a sweep that has ended: its report, the table of its trials, and weights, each stored once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from orchestrator.environment import versions
from orchestrator.tracking.client import Client
from orchestrator.tracking_parent import REPORT, TRIALS, Report, trial_table
from orchestrator.tracking_views import SweepView, Written

WEIGHTS = "weights.safetensors"


def report_digest(sweep: SweepView, written: Sequence[Written]) -> str:
    """Of all that a report on these trials rests on: equal digests, equal reports."""
    shown, version = [one.digest for one in written], versions().get("metasweep", "")
    return sha256(json.dumps([sweep.spec_yaml, shown, version]).encode()).hexdigest()[:20]


def report_files(report: Report, sweep: SweepView, written: Sequence[Written]) -> dict[str, bytes]:
    """Files of the parent run by path."""
    files = {f"{REPORT}/{path}": data for path, data in report.files.items()}
    return files | {TRIALS: trial_table([one.view for one in written], sweep.varying)}


def put_files(client: Client, run_id: str, files: Mapping[str, bytes], left: Callable[[], bool]) -> None:
    """Stores files as artifacts of a run, by path.

    Args:
        client: of the store.
        run_id: the run's.
        files: path -> content.
        left: whether nobody waits for them any more; asked before each.

    Raises:
        TimeoutError: nobody does.
    """
    with TemporaryDirectory() as folder:
        for path, data in files.items():
            if left():
                raise TimeoutError("the sweep has ended meanwhile")
            file = Path(folder, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            below = str(file.parent.relative_to(folder))
            client.log_artifact(run_id, str(file), None if below == "." else below)
