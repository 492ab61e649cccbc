"""Analyses: how alike the representations of different trainings of a grid are; a record for every two of them.

analyses/<key>/scores.arrow    CCA and CKA of every layer in every test episode, in order; one atomic put

Two trainings are compared where they have different seeds and are tested on the same points. A record names the sha256
of both weights and counts only beside manifests that name the same. It is calculated once, whichever sweeps ask for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from orchestrator.grid import GridPoint, expand
from orchestrator.record_shapes import AnalysisShape, shaped
from orchestrator.seal import number_columns, open_table, seal_table
from orchestrator.spec import SweepSpec
from orchestrator.store import Keys, Store, keys_of
from trainers.canonical import analysis_key, digest, points_identity
from trainers.config import Between, TrialConfig
from trainers.problems import few_shot

if TYPE_CHECKING:  # it brings torch, which reading commands do without
    from trainers.evaluation import Scores


AT_ONCE = 20
"""Analyses that a worker does at a time. It runs each of their networks once; a kill costs no more than these."""


@dataclass(frozen=True)
class Analysis:
    """One pair of trainings."""

    configs: tuple[TrialConfig, TrialConfig]
    keys: tuple[Keys, Keys]
    between: Between
    fingerprint: str

    @property
    def key(self) -> str:
        """Where its record is."""
        return analysis_key(*self.configs, self.fingerprint, self.between)

    @property
    def networks(self) -> dict[tuple[str, str], TrialConfig]:
        """Both, each by its training and how it is tested."""
        return {(keys.training, keys.evaluation): its for its, keys in zip(self.configs, self.keys, strict=True)}

    @property
    def points(self) -> str:
        """Equal for those on the same points."""
        return digest(points_identity(self.configs[0]))

    @property
    def seeds(self) -> tuple[int, int]:
        """Of the trainings."""
        one, other = self.configs
        return one.training.seed, other.training.seed

    @property
    def name(self) -> str:
        """For people: ``maml of seed 0 and anil of seed 1``."""
        return " and ".join(f"{config.algorithm.name} of seed {config.training.seed}" for config in self.configs)


@dataclass(frozen=True)
class CellPair:
    """Two cells, or one with itself, and the pairs of their trainings."""

    cells: tuple[int, int]
    analyses: tuple[Analysis, ...]


def cell_pairs(spec: SweepSpec, fingerprints: Mapping[str, str]) -> list[CellPair]:
    """All pairs of cells that a grid compares, each cell first with itself; none where it compares nothing.

    Args:
        spec: of the sweep.
        fingerprints: dataset name -> fingerprint.
    """
    if spec.grid is None or spec.grid.between is None:
        return []
    cells: dict[int, list[GridPoint]] = {}
    for point in expand(spec):
        cells.setdefault(point.cell, []).append(point)
    found = []
    for one, points in cells.items():
        for other, others in ((number, its) for number, its in cells.items() if number >= one):
            if points_identity(few_shot(points[0].config)) == points_identity(few_shot(others[0].config)):
                both = _trainings(points, others, fingerprints, spec.grid.between)
                found += [CellPair((one, other), both)] if both else []
    return found


def _trainings(
    points: Sequence[GridPoint], others: Sequence[GridPoint], fingerprints: Mapping[str, str], between: Between
) -> tuple[Analysis, ...]:
    """Of different seeds; within a cell each pair once."""
    same_cell = points[0].cell == others[0].cell
    both = [
        (one.config, other.config)
        for one in points
        for other in others
        if (one.seed < other.seed if same_cell else one.seed != other.seed)
    ]
    fingerprint = fingerprints[points[0].config.source]
    return analyses_of([few_shot(config) for pair in both for config in pair], between, fingerprint)


def analyses_of(configs: Sequence[TrialConfig], between: Between, fingerprint: str) -> tuple[Analysis, ...]:
    """The analyses of each two configs that follow each other: of the first and second, third and fourth …"""
    keys = [keys_of(config, fingerprint) for config in configs]
    return tuple(
        Analysis((configs[at], configs[at + 1]), (keys[at], keys[at + 1]), between, fingerprint)
        for at in range(0, len(configs), 2)
    )


def lacking(store: Store, pairs: Iterable[CellPair]) -> list[Analysis]:
    """The analyses that can be done and are not. Each key once."""
    return [analysis for analysis in distinct_analyses(pairs) if is_lacking(store, analysis)]


def is_lacking(store: Store, analysis: Analysis) -> bool:
    """Whether an analysis can be done and is not: both trainings are complete, and there is no record."""
    return _weights(store, analysis) is not None and read_scores(store, analysis) is None


def distinct_analyses(pairs: Iterable[CellPair]) -> list[Analysis]:
    """Those of all pairs; what several pairs share is there once."""
    return list({analysis.key: analysis for pair in pairs for analysis in pair.analyses}.values())


def count_analyses(store: Store, pairs: Iterable[CellPair]) -> dict[str, int]:
    """``planned`` and ``completed``; what several pairs share counts once."""
    asked = distinct_analyses(pairs)
    return {"planned": len(asked), "completed": sum(read_scores(store, analysis) is not None for analysis in asked)}


def in_blocks(analyses: Iterable[Analysis]) -> list[list[Analysis]]:
    """Analyses on the same points, ``AT_ONCE`` at a time."""
    by_points: dict[str, list[Analysis]] = {}
    for analysis in analyses:
        by_points.setdefault(analysis.points, []).append(analysis)
    return [its[first : first + AT_ONCE] for its in by_points.values() for first in range(0, len(its), AT_ONCE)]


def read_scores(store: Store, analysis: Analysis) -> Scores | None:
    """The columns of an analysis, each [episodes]; NaN where a network was not finite. None where it is not done."""
    weights, stored = _weights(store, analysis), store.home.read_record(_path(analysis), _read_scores)
    if weights is None or stored is None:
        return None
    compared, scores = stored
    return scores if compared == sorted(sha256 for _, _, sha256 in weights) else None


def _read_scores(data: bytes) -> tuple[list[str], Scores]:
    """Sha256 of both weights, sorted, and the columns."""
    header, table = open_table(data)
    shaped(header, AnalysisShape)
    scores = number_columns(table)
    if not scores:
        raise ValueError("its columns are none of an analysis")
    return header["weights_sha256"], scores


def put_scores(store: Store, analysis: Analysis, scores: Scores) -> None:
    """Records the columns of an analysis, in one put."""
    weights = _weights(store, analysis)
    assert weights is not None  # they were read
    header = {
        "analysis_key": analysis.key,
        "between": analysis.between.model_dump(mode="json"),
        "points": points_identity(analysis.configs[0]),
        "training_keys": sorted(keys.training for keys in analysis.keys),
        "weights_sha256": sorted(sha256 for _, _, sha256 in weights),
    }
    episodes = len(next(iter(scores.values())))
    table = pa.table(
        {"episode": pa.array(range(episodes), pa.int32())}
        | {column: pa.array(values, pa.float64()) for column, values in scores.items()}
    )
    store.home.put(_path(analysis), seal_table(table, header))


def _weights(store: Store, analysis: Analysis) -> list[tuple[str, str, str]] | None:
    """(training, path, sha256) of both weights; None where a training is not complete."""
    found = [weights_file(store, config, keys) for config, keys in zip(analysis.configs, analysis.keys, strict=True)]
    return [one for one in found if one is not None] if None not in found else None


def weights_file(store: Store, config: TrialConfig, keys: Keys) -> tuple[str, str, str] | None:
    """(training, path below its folder, sha256) of the weights that a config tests; None where they are not there."""
    manifest = store.trained(config, keys)
    tested = store.tested(config, keys, manifest) if manifest else None
    if tested is None:
        return None
    training, its = tested
    path = its.weights(config)
    return training, path, its.files[path]


def _path(analysis: Analysis) -> str:
    return f"analyses/{analysis.key}/scores.arrow"
