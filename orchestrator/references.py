"""What the sweeps of a home ask for: trainings, evaluations, datasets. The rest of it nothing refers to."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from orchestrator.analyses import cell_pairs
from orchestrator.confirm import Confirmation, confirmations_of
from orchestrator.errors import HomeError, InputError
from orchestrator.home_objects import Home
from orchestrator.record import SweepRecord, sweep_names
from orchestrator.rows import all_tried, asked_configs, find_sweep, load_rows, to_confirm
from orchestrator.spec import SweepSpec
from orchestrator.store import Keys, Store, keys_of
from trainers.problems import Config


@dataclass(frozen=True)
class References:
    """What is asked for, by key."""

    trainings: frozenset[str] = frozenset()
    """Done or not; snapshots, which are the first iterations of a training, too."""
    evaluations: frozenset[Keys] = frozenset()
    analyses: frozenset[str] = frozenset()
    fingerprints: frozenset[str] = frozenset()
    """Of the data that sweeps began with."""

    def __or__(self, other: References) -> References:
        return References(
            self.trainings | other.trainings,
            self.evaluations | other.evaluations,
            self.analyses | other.analyses,
            self.fingerprints | other.fingerprints,
        )


def references_of(home: Home, names: Iterable[str], with_analyses: bool = True, by_results: bool = True) -> References:
    """What these sweeps ask for; what a search has not proposed yet is nobody's.

    Args:
        home: where.
        names: of the sweeps.
        with_analyses: there may be thousands, which take seconds.
        by_results: whether results, which take time to read, say what confirms a search; else whatever might.

    Raises:
        InputError: no such sweep, or its record can't be read.
    """
    asked = References()
    for name in names:
        record, spec = find_sweep(home, name)
        fingerprints = record.fingerprints
        trainings: set[str] = set()
        evaluations: set[Keys] = set()
        for config in _configs(record, spec, by_results):
            if config.source not in fingerprints:
                raise HomeError(f"{home.url}/sweeps/{name}/datasets.json: does not name {config.source}")
            keys = keys_of(config, fingerprints[config.source])
            tested = config.evaluation.weights
            steps = {*config.training.snapshots, *([tested] if isinstance(tested, int) else [])}
            trainings |= {keys.training, *map(keys.shortened, steps)}
            evaluations.add(keys)
        pairs = cell_pairs(spec, fingerprints) if with_analyses else []
        analyses = {analysis.key for pair in pairs for analysis in pair.analyses}
        asked |= References(
            frozenset(trainings), frozenset(evaluations), frozenset(analyses), frozenset(fingerprints.values())
        )
    return asked


def _configs(record: SweepRecord, spec: SweepSpec, by_results: bool) -> list[Config]:
    """All that a sweep asks for."""
    asked = asked_configs(record, spec)
    if spec.search is None or spec.search.confirm is None:
        again: list[Confirmation] = []
    elif by_results:
        again = _confirming(record, spec)
    else:
        again = [one for trial in asked for one in confirmations_of(spec, *trial)]
    return [config for _, config in asked] + [one.config for one in again]


def _confirming(record: SweepRecord, spec: SweepSpec) -> list[Confirmation]:
    """What confirms a search; what may, as long as what becomes of a trial is open: it may be one that had ended and
    been confirmed, and whose record was damaged since."""
    rows = [row for row in load_rows(Store(record.home), record, spec) if row.confirms is None]
    if all_tried(spec, rows) and all(row.final for row in rows):
        return to_confirm(spec, rows)
    candidates = [row for row in rows if row.state == "completed" or not row.final]
    return [one for row in candidates for one in confirmations_of(spec, row.number, row.config)]


class DiskUse(NamedTuple):
    """What a sweep takes of a home."""

    size_bytes: int
    """Of the trainings that it asks for, whoever ran them."""
    shared_bytes: int
    """Of those among them that other sweeps ask for as well."""


def disk_use(home: Home, name: str) -> DiskUse:
    """What the trainings of a sweep take; other sweeps that can't be read are passed over.

    Raises:
        InputError: no such sweep, or its record can't be read.
    """
    own = references_of(home, [name], with_analyses=False).trainings
    others: set[str] = set()
    for other in sweep_names(home):
        if other != name:
            with suppress(InputError):  # it says so itself when it is asked for
                if own & references_of(home, [other], with_analyses=False, by_results=False).trainings:
                    others |= references_of(home, [other], with_analyses=False).trainings
    sizes = {key: sum(file.size_bytes for file in home.files(f"trainings/{key}")) for key in own}
    return DiskUse(sum(sizes.values()), sum(size for key, size in sizes.items() if key in others))
