"""Trainings and evaluations by key: the record of what is done. What is in it is never run again.

trainings/<key>/config.json              canonical and resolved config
trainings/<key>/attempts/<id>/           one execution: progress, snapshots, attempt.json
trainings/<key>/manifest.json            put last: names the files of the complete training, with their sha256
trainings/<key>/failure.json             the training fails, and would again
trainings/<key>/evaluations/<key>.arrow  accuracy of every episode, in order, and what else was measured of it

Outside its own attempt a writer puts only config, manifest, failure and evaluations, each in one atomic operation.
Readers follow manifests. An evaluation names the sha256 of its weights and counts only beside a manifest that names
the same. Records are sealed (``seal``), and a damaged one counts as absent (``Home``). docs/store.md has the order of
the writes, and why none of them can be lost or count twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from orchestrator.errors import HomeError
from orchestrator.home_objects import Home
from orchestrator.record_shapes import (
    AttemptShape,
    ConfigShape,
    EvaluationShape,
    FailureShape,
    ManifestShape,
    shaped,
)
from orchestrator.seal import number_columns, open_json, open_table, seal_json, seal_table
from trainers.canonical import evaluation_key, training_key
from trainers.problems import PROBLEMS, Config, problem_named, problem_of

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Keys:
    """Where a config's results are in a store."""

    training: str
    evaluation: str

    @property
    def digest(self) -> str:
        """What all lengths of the training share."""
        return self.training.rpartition("-")[0]

    def shortened(self, iterations: int) -> str:
        """Key of the first iterations of the training, as one of its own."""
        return f"{self.digest}-{iterations}"


def keys_of(config: Config, fingerprint: str) -> Keys:
    """The keys of a config on a source of this fingerprint."""
    return Keys(training_key(config, fingerprint), evaluation_key(config, fingerprint))


@dataclass(frozen=True)
class Manifest:
    """A complete training."""

    attempt: str
    """Id of the attempt that completed it."""
    files: dict[str, str]
    """Path below the training's folder -> sha256."""
    final: int
    """Iterations."""
    best: dict[str, dict[str, float]]
    """By head: ``{"iteration", "validation_accuracy"}`` of the best validation."""
    train_flops: int
    """Counted floating-point operations of the whole training."""

    def snapshot(self, step: int) -> str:
        """Path of the weights after ``step`` iterations, below the training's folder."""
        return f"attempts/{self.attempt}/snapshots/{step}.safetensors"

    def weights(self, config: Config) -> str:
        """Path of the weights that a config's evaluation asks for."""
        if config.evaluation.weights == "best":
            return self.snapshot(int(self.best[config.algorithm_entry.head]["iteration"]))
        return self.snapshot(self.final)  # those after so many iterations end the training of that length

    def validation_accuracy(self, config: Config) -> float:
        """Best validation accuracy, by the head that the config's algorithm predicts with; or score of its problem."""
        return float(self.best[config.algorithm_entry.head]["validation_accuracy"])


class Store:
    """Trainings and evaluations in a home."""

    def __init__(self, home: Home) -> None:
        self.home = home

    def manifest(self, key: str) -> Manifest | None:
        """The complete training, or None."""
        return self.home.read_record(_manifest_path(key), _read_manifest)

    def failure(self, key: str) -> str | None:
        """Why this training fails every time, or None."""
        record = self.home.read_json(f"trainings/{key}/failure.json", FailureShape)
        return None if record is None else str(record["cause"])

    def trained(self, config: Config, keys: Keys) -> Manifest | None:
        """The complete training of a config; None too where a snapshot that it asks for is not there."""
        manifest = self.manifest(keys.training)
        if manifest is not None and config.algorithm_entry.head not in manifest.best:
            raise HomeError(
                f"{self.home.url}/{_manifest_path(keys.training)}: names no best weights of the "
                f"{config.algorithm_entry.head} head, so it is of another training; move it away to have it made again"
            )
        snapshots = (self.manifest(keys.shortened(step)) for step in config.training.snapshots)
        return manifest if manifest is not None and None not in snapshots else None

    def tested(self, config: Config, keys: Keys, manifest: Manifest) -> tuple[str, Manifest] | None:
        """Key and manifest of the training whose weights an evaluation tests; None where a snapshot is not there.

        It is the training that ``manifest`` names, or the first iterations of it.
        """
        step = config.evaluation.weights
        if not isinstance(step, int) or step == manifest.final:
            return keys.training, manifest
        shorter = self.manifest(keys.shortened(step))
        return None if shorter is None else (keys.shortened(step), shorter)

    def accuracies(self, config: Config, keys: Keys, manifest: Manifest) -> Array | None:
        """Accuracy of every test episode, in order, of the training that the manifest names; None if not evaluated.

        Of another problem its score of every test task.
        """
        scores = self.scores(config, keys, manifest)
        return None if scores is None else scores[problem_of(config).score.column]

    def scores(self, config: Config, keys: Keys, manifest: Manifest) -> dict[str, Array] | None:
        """All that an evaluation measured of every test episode, in order, by column; None if not evaluated."""
        its = self.tested(config, keys, manifest)
        found = self.home.read_record(_evaluation_path(keys), _read_evaluation)
        if found is None or its is None:
            return None
        (header, scores), (_, trained) = found, its
        return scores if header["weights_sha256"] == trained.files.get(trained.weights(config)) else None

    def timed_on(self, keys: Keys) -> dict[str, Any] | None:
        """The environment in which the times of an evaluation were taken; None where it has none."""
        found = self.home.read_record(_evaluation_path(keys), _read_evaluation)
        return None if found is None else found[0].get("timed_on")

    def put_config(self, config: Config, keys: Keys, fingerprint: str) -> None:
        """Records what the training's key means."""
        path = f"trainings/{keys.training}/config.json"
        if self.home.read_json(path, ConfigShape) is None:
            problem = problem_of(config)
            record = {
                "canonical": problem.training_identity(config),
                "dataset_fingerprint": fingerprint,
                "resolved": problem.resolved_training(config),
            }
            self.home.put_first(path, seal_json(record))

    def put_manifest(self, key: str, manifest: Manifest) -> Manifest:
        """Commits a complete training. The first manifest wins and is returned.

        Raises:
            OSError: what was put can't be read back.
        """
        self.home.put_first(_manifest_path(key), seal_json(vars(manifest)))
        committed = self.manifest(key)
        if committed is None:
            raise OSError(f"{self.home.url}/{_manifest_path(key)}: can't be read back")
        return committed

    def set_training_aside(self, key: str, reason: str) -> None:
        """Takes a training for incomplete again: its manifest names what is not there any more."""
        self.home.set_aside(_manifest_path(key), reason)

    def put_failure(self, key: str, attempt: str, cause: str) -> None:
        """Records that the training fails and would fail again."""
        self.home.put_first(f"trainings/{key}/failure.json", seal_json({"attempt": attempt, "cause": cause}))

    def remove_failure(self, key: str) -> None:
        """Forgets that the training fails; what its attempts recorded stays."""
        self.home.remove(f"trainings/{key}/failure.json")

    def put_accuracies(
        self,
        config: Config,
        keys: Keys,
        manifest: Manifest,
        accuracies: Array,
        others: Mapping[str, Array] = MappingProxyType({}),
        timed_on: Mapping[str, Any] | None = None,
    ) -> None:
        """Records an evaluation, in one put: the accuracies, and by column what else was measured of every episode.

        The first one stays: times would come out otherwise. ``timed_on``: the environment, where times were measured.
        Nothing else that is recorded depends on it.
        """
        if self.scores(config, keys, manifest) is not None:
            return
        its = self.tested(config, keys, manifest)
        assert its is not None  # else nothing could be tested
        _, trained = its
        problem = problem_of(config)
        header = {
            "canonical": problem.evaluation_identity(config),
            "evaluation_key": keys.evaluation,
            "training_key": keys.training,
            "weights_sha256": trained.files[trained.weights(config)],
        } | ({"timed_on": dict(timed_on)} if timed_on else {})
        columns = {problem.score.column: accuracies, **others}
        table = pa.table(
            {"episode": pa.array(range(len(accuracies)), pa.int32())}
            | {name: pa.array(values, pa.float64()) for name, values in columns.items()}
        )
        self.home.put(_evaluation_path(keys), seal_table(table, header))

    def put_attempt(self, key: str, attempt: str, record: dict[str, Any]) -> None:
        """Records what is known of an attempt so far."""
        self.home.put_json(f"trainings/{key}/attempts/{attempt}/attempt.json", record)

    def attempt(self, key: str, attempt: str) -> dict[str, Any]:
        """What is known of an attempt; empty where nothing is."""
        return dict(self.home.read_json(f"trainings/{key}/attempts/{attempt}/attempt.json", AttemptShape) or {})

    def attempts(self, key: str) -> list[dict[str, Any]]:
        """The attempts at a training, oldest first, by how many came before: a clock may have been set back."""
        folder = f"trainings/{key}/attempts"
        records = [self.attempt(key, name) for name in self.home.names(folder)]
        began = [record for record in records if record]
        return sorted(began, key=lambda record: (record.get("after", 0), int(record["started_ms"])))

    def put_file(self, key: str, attempt: str, name: str, data: bytes) -> tuple[str, str]:
        """Puts a file of an attempt; gives its path below the training's folder and its sha256."""
        path = f"attempts/{attempt}/{name}"
        self.home.put(f"trainings/{key}/{path}", data)
        return path, hashlib.sha256(data).hexdigest()

    def read_file(self, key: str, path: str, sha256: str) -> bytes | None:
        """A file that a manifest names; None where it is gone or its content is another."""
        data = self.home.read(f"trainings/{key}/{path}")
        return data if data is not None and hashlib.sha256(data).hexdigest() == sha256 else None

    def read_weights(self, key: str, manifest: Manifest, config: Config) -> bytes | None:
        """The weights that a config's evaluation asks for; None where they are gone, or not those that were named."""
        path = manifest.weights(config)
        sha256 = manifest.files.get(path)
        return None if sha256 is None else self.read_file(key, path, sha256)


def _read_manifest(data: bytes) -> Manifest:
    record = shaped(open_json(data), ManifestShape)
    manifest = Manifest(**{field.name: record[field.name] for field in fields(Manifest)})  # later versions may say more
    for step in (manifest.final, *(best["iteration"] for best in record["best"].values())):
        if manifest.snapshot(step) not in manifest.files:
            raise ValueError(f"its files are none after {step} iterations")
    return manifest


def _read_evaluation(data: bytes) -> tuple[dict[str, Any], dict[str, Array]]:
    """Header, which names the sha256 of the weights, and what was measured of every episode, by column."""
    header, table = open_table(data)
    shaped(header, EvaluationShape)
    scores = number_columns(table)
    if not scores.keys() & {problem_named(name).score.column for name in PROBLEMS}:
        raise ValueError("its columns are none of an evaluation")
    return header, scores


def _manifest_path(key: str) -> str:
    return f"trainings/{key}/manifest.json"


def _evaluation_path(keys: Keys) -> str:
    return f"trainings/{keys.training}/evaluations/{keys.evaluation}.arrow"
