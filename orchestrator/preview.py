"""What a sweep would run, found without data, Ray or a home that is written to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.confirm import most_confirmations
from orchestrator.data import check_present, data_folder
from orchestrator.errors import DatasetError, InputError
from orchestrator.grid import distinct, expand, group_by_training
from orchestrator.inputs import Where, check_inputs, datasets_of, sources_of
from orchestrator.spec import SweepSpec
from trainers.canonical import training_key


def preview(spec: SweepSpec, where: Where, on_warning: Callable[[str], None], fresh: bool = False) -> dict[str, Any]:
    """Name, kind and size of a sweep, after the same checks of its inputs as for a run.

    Raises:
        InputError: what ``run_sweep`` would refuse before it looks at data.
    """
    spec = check_inputs(spec, where, on_warning, need_data=False, fresh=fresh).spec
    names = datasets_of(spec)
    for name in names:
        try:
            check_present(data_folder(where.home), name)
        except DatasetError as error:
            on_warning(f"before it can run: {error}")
    found: dict[str, Any] = {"name": spec.name, "home": where.home}
    if any(problem.needs_dataset for problem in sources_of(spec).values()):
        found["datasets"] = names
    for name, problem in sources_of(spec).items():
        if not problem.needs_dataset:
            found.setdefault("environments", []).append(name)
            try:
                problem.source(name)
            except InputError as error:
                on_warning(f"before it can run: {error}")
    if spec.budget is not None:
        found["budget"] = ", ".join(f"{limit:g} {name}" for name, limit in spec.budget.limits.items())
    if spec.search is not None:
        found |= {"kind": "search", "trials": spec.search.trials, "parameters": list(spec.search.space)}
        return found | ({"confirmations": most_confirmations(spec.search)} if spec.search.confirm else {})
    asked = expand(spec)
    # Without data there is no fingerprint; within one preview the dataset's name tells the same apart.
    trainings = group_by_training(asked, lambda config: training_key(config, config.source))
    return found | {"kind": "grid", "cells": len(distinct(asked)), "trainings": len(trainings)}
