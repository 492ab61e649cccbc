"""All that can be refused before anything is started or written: names, addresses, servers, data that is not there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from orchestrator.cluster.connect import check_address
from orchestrator.config_paths import leaves, with_values
from orchestrator.data import check_present, data_folder, known_data
from orchestrator.environment import cpu_count, may_have_gpus
from orchestrator.errors import SpecError, TrackingError
from orchestrator.grid import expand
from orchestrator.home import existing_home
from orchestrator.layout import check_points
from orchestrator.placement import concurrency
from orchestrator.record import SweepRecord
from orchestrator.space import MAX_CHECKED, assignments, candidates
from orchestrator.spec import SweepSpec, differences
from orchestrator.tracking_uri import check_uri, reachable
from orchestrator.url_secrets import masked
from trainers.config import TrialConfig
from trainers.episodes import check_data
from trainers.problem import Problem
from trainers.problems import Config, problem_of


@dataclass(frozen=True)
class Where:
    """Where a sweep runs and is shown; none of it can change a result."""

    home: str = "./runs"
    address: str | None = None
    """``HOST:PORT`` of a Ray cluster; None starts one on this machine."""
    tracking_uri: str | None = None
    """MLflow's; None is ``MLFLOW_TRACKING_URI``, or SQLite in the home."""
    require_tracking: bool = False
    log_weights: Literal["none", "best", "all"] = "none"
    """Of which completed trials MLflow gets the weights that were tested; ``best`` is the best by validation."""
    track_report: bool = True
    """Whether MLflow gets the report once the sweep is done; making it takes some seconds."""


HERE = Where()
"""This machine, and ``./runs``."""


@dataclass(frozen=True)
class Checked:
    """A sweep that can be started."""

    spec: SweepSpec
    """As asked; of a sweep that is continued, with its window."""
    tracking_uri: str | None
    """A server that answers; None for the home's own store."""
    tracked: bool
    """False where the server asked for does not answer."""


def check_inputs(
    spec: SweepSpec, where: Where, on_warning: Callable[[str], None], need_data: bool = True, fresh: bool = False
) -> Checked:
    """Checks everything that needs no cluster and no pixels; writes nothing.

    Args:
        spec: as asked.
        where: home, cluster and tracking.
        on_warning: gets a line where the tracking server is out of reach and not required.
        need_data: refuse datasets that have to be imported first.
        fresh: an earlier sweep of that name will be forgotten.

    Raises:
        InputError: the home can't be used; another spec has that name; nothing answers at the address; no machine
            can hold a trial; the tracking URI is malformed, or out of reach and required; a dataset is absent,
            damaged, or too small for the episodes.
    """
    if spec.search is None and spec.grid is None:
        raise SpecError(f"sweep {spec.name!r} has neither search: nor grid:; add one, or use `orchestrate trial`")
    home = existing_home(where.home)
    asked, spec = spec, continued(spec, SweepRecord(home, spec.name).spec if home and not fresh else None)
    if asked.search is not None and spec.search is not None and asked.search.trials < spec.search.trials:
        on_warning(
            f"search.trials: {asked.search.trials} asked, but sweep {spec.name!r} has {spec.search.trials} and keeps "
            "them; choose another --name for fewer"
        )
    uri, tracked = _tracking(where, on_warning)
    if where.address is not None:
        check_address(where.address)
    elif not spec.resources.gpu or not may_have_gpus():  # only Ray can count them
        concurrency(spec.resources, [{"CPU": float(cpu_count())}])
    data = {name: known_data(data_folder(where.home), name) for name in datasets_of(spec)}
    if spec.grid is not None:
        check_points(expand(spec), data, spec.grid.between)
    else:
        for config in configs_of(spec):
            if isinstance(config, TrialConfig):
                check_data(config, data[config.source])
    if need_data:
        for name, problem in sources_of(spec).items():
            if problem.needs_dataset:
                check_present(data_folder(where.home), name)
            else:
                problem.source(name)
    return Checked(spec, uri, tracked)


def continued(spec: SweepSpec, stored: SweepSpec | None) -> SweepSpec:
    """The spec to run, given the one that its name already stands for: it may have grown, and keeps its window.

    Fewer trials than it has are no change: it keeps what it has.

    Raises:
        SpecError: it asks for something else; says what differs.
    """
    if stored is None:
        return spec
    changed = differences(stored, spec)
    if changed:
        raise SpecError(
            f"sweep {spec.name!r} exists with another spec; choose another --name, forget that one by --fresh, or "
            f"undo: {'; '.join(changed)}"
        )
    if spec.search is not None and stored.search is not None:
        trials = max(spec.search.trials, stored.search.trials)  # a search only grows
        search = spec.search.model_copy(update={"window": stored.search.window, "trials": trials})
        return spec.model_copy(update={"search": search})
    return spec


def configs_of(spec: SweepSpec) -> Iterable[Config]:
    """Configs with every kind of episode and dataset that a sweep can ask for."""
    if spec.grid is not None:
        return [cell.config for cell in expand(spec)]
    assert spec.search is not None  # check_inputs has seen to it
    space = spec.search.space
    conditions = {path for parameter in space.values() for path in parameter.when or {}}
    sizes = ("dataset.", "episodes.", "evaluation.", "backbone.")
    chosen = {
        path: values[: None if path.startswith(sizes) or path in conditions else 1]
        for path, values in candidates(space).items()
    }
    combinations = islice(assignments(space, leaves(spec.trial), chosen), MAX_CHECKED)
    return [with_values(spec.trial, values) for values in combinations]


def sources_of(spec: SweepSpec) -> dict[str, Problem[Any]]:
    """Names of the datasets or environments that a sweep uses, with the problem that each is of."""
    return {config.source: problem_of(config) for config in configs_of(spec)}


def datasets_of(spec: SweepSpec) -> list[str]:
    """Names of the datasets that a sweep uses."""
    return [name for name, problem in sources_of(spec).items() if problem.needs_dataset]


def _tracking(where: Where, on_warning: Callable[[str], None]) -> tuple[str | None, bool]:
    """(server that answers, whether to track at all)."""
    uri = where.tracking_uri if where.tracking_uri is not None else os.environ.get("MLFLOW_TRACKING_URI") or None
    if uri is None:
        if "://" not in where.home:
            return None, True
        if where.require_tracking:
            raise TrackingError(f"--home {where.home} has no tracking store of its own; name one by --tracking-uri")
        on_warning(f"tracking: {where.home} has no tracking store of its own; name one by --tracking-uri to have it")
        return None, False
    check_uri(uri)
    reason = reachable(uri)
    if reason is None:
        return uri, True
    if where.require_tracking:
        raise TrackingError(f"--tracking-uri {masked(uri)}: {reason}; start it, or leave --require-tracking out")
    on_warning(
        f"tracking: {masked(uri)} can't be reached ({reason}); the sweep runs without it, and "
        "`orchestrate track` writes to it afterwards"
    )
    return None, False
