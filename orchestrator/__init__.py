"""MetaSweep: runs meta-learning studies. The command line is a thin face of these functions.

>>> from orchestrator import cells_table, load_study, load_sweep, results, run_sweep
>>> run_sweep(load_sweep("sweeps/quickstart.yaml"))
>>> results("quickstart")
>>> cells_table(load_study("quickstart"))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.inputs import Where
    from orchestrator.results import cells_table, load_study
    from orchestrator.row_table import results
    from orchestrator.spec_file import load_spec as load_sweep
    from orchestrator.sweep import run_sweep

__all__ = ["Where", "cells_table", "load_study", "load_sweep", "results", "run_sweep"]

_PLACES = {
    "Where": "orchestrator.inputs:Where",
    "cells_table": "orchestrator.results:cells_table",
    "load_study": "orchestrator.results:load_study",
    "load_sweep": "orchestrator.spec_file:load_spec",
    "results": "orchestrator.row_table:results",
    "run_sweep": "orchestrator.sweep:run_sweep",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is asked for, so that ``orchestrate --help`` answers at once."""
    if name not in _PLACES:
        raise AttributeError(f"module 'orchestrator' has no attribute {name!r}")
    module, _, attribute = _PLACES[name].partition(":")
    return getattr(import_module(module), attribute)
