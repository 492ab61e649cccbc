"""A search as a study of Optuna's own: a file that its other programs, such as optuna-dashboard, open."""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import InputError
from orchestrator.search.domains import distribution, encoded
from orchestrator.spec import SearchSpec

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage
    from optuna.trial import FrozenTrial

SQLITE = (".db", ".sqlite", ".sqlite3")
"""Endings of the files that become SQLite; others become Optuna's journal."""

OWNER = "metasweep"
"""User attribute of the study: home and sweep that it shows."""

_STATES = {
    "completed": "COMPLETE",
    "pruned": "PRUNED",
    "failed": "FAIL",
    "running": "RUNNING",
    "planned": "WAITING",
}
"""State of a row -> Optuna's. A proposal that nobody runs at the moment waits, with its parameters."""


@dataclass(frozen=True)
class StudyTrial:
    """A proposal and what became of it."""

    state: str
    """A key of ``_STATES``."""
    chosen: Mapping[str, Any]
    """Config path -> value, of the active parameters."""
    values: tuple[float, ...]
    """One an objective where it is completed, else none."""
    curve: Mapping[int, float]
    """Iteration -> validation accuracy."""
    started_ms: int | None
    ended_ms: int | None
    """Since 1970, where they are recorded."""
    attributes: Mapping[str, Any]
    """JSON values."""


def write_study(path: Path, name: str, owner: str, search: SearchSpec, trials: Sequence[StudyTrial]) -> None:
    """Writes the file whole or not at all: it comes to its place by a rename.

    A file that is there already is replaced only where it holds this study of this owner and nothing else.

    Args:
        path: of the file; its ending decides what it becomes (``SQLITE``).
        name: of the study.
        owner: what the study shows, the same for every export of it.
        search: for directions and distributions.
        trials: in the order in which Optuna is to count them.

    Raises:
        InputError: the file holds something else.
        OSError: it can't be written.
    """
    if path.is_dir():
        raise InputError(f"--output {path}: is a folder; name a file")
    if path.exists() and _holds(path) != {name: owner}:
        raise InputError(
            f"--output {path}: is there, and is not an export of sweep {name!r} of this home alone; name another file"
        )
    with tempfile.TemporaryDirectory() as folder:  # a disk that SQLite can lock, at a path that fits into a URL
        made = Path(folder) / f"study{_ending(path)}"
        with _storage(made) as storage:
            _fill(storage, name, owner, search, trials)
        beside = path.parent / f".{path.name}.{uuid.uuid4().hex}"
        try:
            shutil.copyfile(made, beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def _ending(path: Path) -> str:
    return ".db" if path.suffix.lower() in SQLITE else ".log"


def _fill(storage: BaseStorage, name: str, owner: str, search: SearchSpec, trials: Sequence[StudyTrial]) -> None:
    import optuna

    directions = [one.direction for one in search.objective]
    study = optuna.create_study(storage=storage, study_name=name, directions=directions)
    study.set_user_attr(OWNER, owner)
    study.set_user_attr("sampler", search.sampler)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([one.metric for one in search.objective])
    distributions = {path: distribution(parameter) for path, parameter in search.space.items()}
    known = [ms for trial in trials for ms in (trial.started_ms, trial.ended_ms) if ms is not None]
    first = min(known, default=0)  # stands where a record of times is gone: Optuna must have some
    frozen = [_frozen(trial, search, distributions, first) for trial in trials]
    if isinstance(storage, optuna.storages.RDBStorage):
        _add_to_database(storage, name, frozen)
    else:
        study.add_trials(frozen)


def _add_to_database(storage: RDBStorage, name: str, trials: Sequence[FrozenTrial]) -> None:
    """As ``Study.add_trials``, which asks the database three times for each point of a curve, and takes minutes."""
    from optuna.storages._rdb.models import TrialIntermediateValueModel, TrialUserAttributeModel
    from sqlalchemy import insert

    study_id = storage.get_study_id_from_name(name)
    points: list[dict[str, Any]] = []
    attributes: list[dict[str, Any]] = []
    for trial in trials:
        bare = copy.copy(trial)
        bare.intermediate_values, bare.user_attrs = {}, {}
        trial_id = storage.create_new_trial(study_id, bare)
        for step, value in trial.intermediate_values.items():
            stored, kind = TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
            point = {"trial_id": trial_id, "step": step}
            points.append(point | {"intermediate_value": stored, "intermediate_value_type": kind})
        for key, attribute in trial.user_attrs.items():
            attributes.append({"trial_id": trial_id, "key": key, "value_json": json.dumps(attribute)})
    with storage.engine.begin() as connection:
        for model, rows in ((TrialIntermediateValueModel, points), (TrialUserAttributeModel, attributes)):
            if rows:
                connection.execute(insert(model), rows)


def _frozen(trial: StudyTrial, search: SearchSpec, distributions: Mapping[str, Any], first_ms: int) -> FrozenTrial:
    from optuna.trial import FrozenTrial, TrialState

    state = TrialState[_STATES[trial.state]]
    started = first_ms if trial.started_ms is None else trial.started_ms
    ended = started if trial.ended_ms is None else trial.ended_ms
    params = {path: encoded(search.space[path], value) for path, value in trial.chosen.items()}
    waiting = state == TrialState.WAITING
    return FrozenTrial(
        number=-1,  # the study counts
        trial_id=-1,
        state=state,
        value=None,
        values=trial.values or None,
        datetime_start=None if waiting else _time(started),
        datetime_complete=_time(max(started, ended)) if state.is_finished() else None,
        params=params,
        distributions={path: distributions[path] for path in params},
        user_attrs=dict(trial.attributes),
        system_attrs={},
        intermediate_values=dict(trial.curve),
    )


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000)  # of this place and without its zone, as Optuna has them


@contextmanager
def _storage(path: Path) -> Iterator[BaseStorage]:
    """Of a study file that ends as ``_ending`` has it; made where there is none."""
    import optuna
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend
    from sqlalchemy import StaticPool, text

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        if path.suffix == ".log":
            yield JournalStorage(JournalFileBackend(str(path)))
            return
        # One connection that trusts the disk: the file is made anew, or thrown away.
        storage = RDBStorage(f"sqlite:///{path}", engine_kwargs={"poolclass": StaticPool})
        with storage.engine.connect() as connection:
            connection.execute(text("PRAGMA synchronous = OFF"))
            connection.execute(text("PRAGMA journal_mode = MEMORY"))
        try:
            yield storage
        finally:
            storage.remove_session()
            storage.engine.dispose()
    finally:
        optuna.logging.set_verbosity(before)


def _holds(path: Path) -> dict[str, Any]:
    """Studies of a file, with their owners; empty where it is none of Optuna's. Looks at a copy: opening changes."""
    import optuna
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"study{_ending(path)}"
        shutil.copyfile(path, copy)
        try:
            with _storage(copy) as storage:
                return {one.study_name: one.user_attrs.get(OWNER) for one in optuna.get_all_study_summaries(storage)}
        except (ValueError, LookupError, TypeError, AttributeError, RuntimeError, SQLAlchemyError, OptunaError):
            return {}
