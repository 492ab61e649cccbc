"""Why a worker of Tune's failed, where no trial of ours could say it."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.failure import Failure

WORKER_LOST = "its worker was lost (killed, or its machine is gone)"
OUT_OF_MEMORY = "out of memory: Ray ended its worker, since its machine had too little left"

_EXCEPTION = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception)\b.*")
_OUT_OF_MEMORY = "killed due to the node running low on memory"
_HOW_MUCH = re.compile(r"[\d.]+GB used / [\d.]+GB limit")
_LONGEST = 500


def worker_failure(error_file: str | None) -> Failure:
    """What Tune wrote of a trial's failure: the last exception in it; without one, its worker just went away.

    Tune tells its searcher no more than that a trial has failed. All of it may pass: exceptions of the trial itself are
    recorded by the trial, so what is left is a worker that could not start or did not stay.
    """
    try:
        text = Path(error_file or "").read_text(errors="replace")
    except OSError:
        return Failure("lost", WORKER_LOST)
    if _OUT_OF_MEMORY in text:
        found = _HOW_MUCH.search(text)
        return Failure("memory", f"{OUT_OF_MEMORY} ({found.group()})" if found else OUT_OF_MEMORY)
    exceptions = [line for line in text.splitlines() if _EXCEPTION.match(line)]
    return Failure("lost", f"its worker failed: {exceptions[-1][:_LONGEST]}" if exceptions else WORKER_LOST)
