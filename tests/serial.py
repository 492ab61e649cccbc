"""``orchestrate``, but its sweeps run trial after trial in this process, without Ray. ``processes.SERIAL`` runs it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from orchestrator import cli, place, sweep_run
from orchestrator.cluster.execute import NextTrial, OnEvent, run_request


def execute(next_trial: NextTrial, on_event: OnEvent, *_: Any) -> None:
    """As ``orchestrator.cluster.execute.execute``."""
    while True:
        try:
            request = next_trial()
        except StopIteration:
            return
        assert request is not None  # nothing is in flight that it could wait for
        for event in run_request(request, {}):
            on_event(request.number, event)
        on_event(request.number, {"kind": "ended"})


if __name__ == "__main__":
    sweep_run.execute = execute
    place.cluster = lambda address: nullcontext([])
    cli.main()
