"""Why a worker of Tune's failed, where no trial of ours could say it."""

from __future__ import annotations

import re
from pathlib import Path

WORKER_LOST = "its worker was lost, again and again (killed, out of memory, or its machine is gone)"

_EXCEPTION = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception)\b.*")
_LONGEST = 500


def failure_cause(error_file: str | None) -> str:
    """The last exception in what Tune wrote of a trial's failures; without one, its worker just went away.

    Tune tells its searcher no more than that a trial has failed.
    """
    try:
        lines = Path(error_file or "").read_text(errors="replace").splitlines()
    except OSError:
        return WORKER_LOST
    exceptions = [line for line in lines if _EXCEPTION.match(line)]
    return f"its worker failed, again and again: {exceptions[-1][:_LONGEST]}" if exceptions else WORKER_LOST
