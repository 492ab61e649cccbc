"""One attempt at a trial: runs what the store does not have yet, and records it.

Whatever kills an attempt leaves whole records behind, and the next attempt goes on from them. What it finds damaged it
sets aside and does again. A snapshot is a training
of its own: the first iterations of the one asked for (``training.snapshots`` says why). So the trainings that are
lacking run shortest first, each going on from the one before it.

A trial with cut-offs ends where ``early_stopping.decide`` says so. Its training is then as one that was killed there,
but for the word in the attempt's record: who asks for the whole of it goes on from its progress.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from orchestrator.attempt_record import AttemptRecord
from orchestrator.curves import stored_curve
from orchestrator.early_stopping import Curve, Cutoffs, Decision, decide
from orchestrator.environment import environment
from orchestrator.failure import failure_of
from orchestrator.saving import ProgressSaver
from orchestrator.store import Array, Keys, Manifest, Store, keys_of
from orchestrator.stored_progress import progress_files, progress_path
from trainers.algorithms.algorithm import Head
from trainers.backbones import Params
from trainers.errors import AdaptationDiverged, TrainingDiverged
from trainers.problem import Problem, Source
from trainers.problems import Config, problem_of
from trainers.snapshots import DamagedSnapshot, Progress, Weights

Event = dict[str, Any]
"""What is said of a running trial, as JSON: ``{"kind": "validated" | "tested" | "pruned" | "failed" | "warned"}`` …"""

Clock = Callable[[], float]
"""Seconds, as ``time.monotonic`` counts them."""


def attempt_trial(
    store: Store,
    configs: Sequence[Config],
    data: Source,
    asked_by: dict[str, Any],
    device: str = "cpu",
    clock: Clock = time.monotonic,
    cutoffs: Cutoffs | None = None,
) -> Iterator[Event]:
    """Runs one training and its evaluations as far as the store does not have them, saying what happens.

    A failure of the trial is recorded and said, not raised: ``{"kind": "failed", "failure": kind, "cause": …}`` is then
    the last event. A validation is said when it is reached, and may be saved somewhat later.
    ``{"kind": "warned", "line": …}`` says what of the store was damaged. ``{"kind": "pruned", "iteration": rung}`` is
    the last event of a trial that is stopped early: its progress is stored, and nothing is tested.

    Args:
        store: where results are looked up and recorded.
        configs: share one training key; each asks for an evaluation.
        data: the dataset, or what else its tasks are made from.
        asked_by: sweep, number and run that asked for the trial, kept in the attempt's record.
        device: ``cpu`` or ``cuda``.
        clock: decides when progress is saved, and nothing else.
        cutoffs: of the one config, where its sweep stops trials early.

    Raises:
        OSError: the home is full or read-only, so that nothing can be recorded.
    """
    lines: list[str] = []
    mending = Store(store.home.mending(lines.append))
    with closing(_attempt(mending, configs, data, asked_by, device, clock, cutoffs)) as events:
        for event in events:
            yield from _warnings(lines)
            yield event
    yield from _warnings(lines)


def _warnings(lines: list[str]) -> Iterator[Event]:
    while lines:
        yield {"kind": "warned", "line": lines.pop(0)}


@dataclass(frozen=True)
class _End:
    """Where the trial ends, at the latest."""

    iterations: int
    cutoffs: Cutoffs
    head: Head
    """By whose validations it is judged."""

    def decide(self, curve: Curve) -> Decision:
        """What becomes of the trial by its curve so far."""
        return decide(curve, self.cutoffs, self.iterations)

    def at(self, progress: Progress) -> Decision:
        """The same by the progress of its training."""
        return self.decide([(point.iteration, point.validation_accuracy[self.head]) for point in progress.curve])


def _attempt(
    store: Store,
    configs: Sequence[Config],
    data: Source,
    asked_by: dict[str, Any],
    device: str,
    clock: Clock,
    cutoffs: Cutoffs | None,
) -> Generator[Event, None, None]:
    keys = [keys_of(config, data.fingerprint) for config in configs]
    attempt = AttemptRecord(store, keys[0].training, asked_by, [its.evaluation for its in keys])
    tested: set[str] = set()
    try:
        place = environment(device)
        end = _End(configs[0].training.iterations, cutoffs or (), configs[0].algorithm_entry.head)
        if cutoffs is not None:
            _set_lost_curve_aside(store, attempt.key)
            known = end.decide(stored_curve(store, attempt.key).by(end.head))
            if known.state == "pruned":
                yield _pruned(known)
                return
        _set_lost_weights_aside(store, list(zip(configs, keys, strict=True)))
        yield from _snapshots(attempt, configs, keys[0], data, device, place, end, clock)
        manifest = store.manifest(attempt.key)
        if manifest is None:
            trained = yield from _training(attempt, configs[0], keys[0], data, device, place, end, clock)
            if isinstance(trained, Decision):
                attempt.end(pruned=True)
                yield _pruned(trained)
                return
            manifest = trained
        for event in _evaluations(store, list(zip(configs, keys, strict=True)), manifest, data, device, place):
            tested.add(event["evaluation_key"])
            yield event
        if attempt.begun:
            attempt.end()
    except Exception as error:  # whatever it is, it is this trial's failure and not the sweep's
        if isinstance(error, TrainingDiverged):
            store.put_failure(attempt.key, attempt.id, str(error))
        failure = failure_of(error)
        if failure.kind == "disk":
            raise
        attempt.fail(failure, tested)
        yield failure.event("failed")


def _snapshots(
    attempt: AttemptRecord,
    configs: Sequence[Config],
    keys: Keys,
    data: Source,
    device: str,
    place: dict[str, Any],
    end: _End,
    clock: Clock,
) -> Iterator[Event]:
    """Trains as far as each snapshot that is asked for and lacking. All the while ``attempt`` counts as running.

    Where the trial is pruned on the way, the training itself finds that it is, when it goes on from there.
    """
    iterations = configs[0].training.iterations
    for step in sorted({step for config in configs for step in config.training.snapshots} - {iterations}):
        if attempt.store.manifest(keys.shortened(step)) is not None:
            continue
        if not attempt.begun:
            attempt.begin(place)
        config = configs[0].shortened(step)
        its = AttemptRecord(attempt.store, keys.shortened(step), attempt.asked_by)
        try:
            its_keys = keys_of(config, data.fingerprint)
            trained = yield from _training(its, config, its_keys, data, device, place, end, clock)
        except Exception as error:
            its.fail(failure_of(error))
            raise
        its.end(pruned=isinstance(trained, Decision))
        if isinstance(trained, Decision):
            return


def _set_lost_weights_aside(store: Store, asked: list[tuple[Config, Keys]]) -> None:
    """Takes trainings whose weights an evaluation needs, and which are gone or damaged, for incomplete: they go on from
    their progress to the same weights, so what was evaluated counts again."""
    for config, keys in asked:
        manifest = store.manifest(keys.training)
        if manifest is None or store.accuracies(config, keys, manifest) is not None:
            continue
        its = store.tested(config, keys, manifest)
        if its is not None:
            training, trained = its
            path = trained.weights(config)
            if store.read_weights(training, trained, config) is None:
                store.set_training_aside(training, f"{path} is gone or not what it names")


def _set_lost_curve_aside(store: Store, key: str) -> None:
    """Takes a complete training whose curve is gone or damaged for incomplete: it decides what becomes of trials."""
    manifest = store.manifest(key)
    if manifest is not None and stored_curve(store, key).reached < manifest.final:
        store.set_training_aside(key, f"attempts/{manifest.attempt}/progress.safetensors is gone or damaged")


def _training(
    attempt: AttemptRecord,
    config: Config,
    keys: Keys,
    data: Source,
    device: str,
    place: dict[str, Any],
    end: _End,
    clock: Clock,
) -> Generator[Event, None, Manifest | Decision]:
    """Trains and commits one training; or, where the trial is pruned before, saves its progress and says so."""
    store, iterations = attempt.store, config.training.iterations
    store.put_config(config, keys, data.fingerprint)
    start, seconds = latest_progress(store, keys, iterations)
    attempt.begin(place, start.iteration if start else 0, seconds)
    saver = ProgressSaver(attempt, seconds, clock)
    progress = start
    if start is not None:  # so that the attempt's own file holds the whole curve from its start
        saver.take(start)
        saver.save()
        if end.at(start).state == "pruned":
            return end.at(start)
    try:
        for progress in problem_of(config).train(config, data, start, device, saver.pace.due):
            if not progress.validated:
                saver.take(progress)
                continue
            timestamp_ms = attempt.validated(progress.iteration)
            saver.take(progress)
            yield _validated(progress, timestamp_ms, end.iterations)
            if end.at(progress).state == "pruned":
                saver.save()
                return end.at(progress)
    except Exception:
        with suppress(Exception):  # what stopped the training may stop this too, and is what will be told
            saver.save()
        raise
    saver.save()
    assert progress is not None  # a training has at least one validation
    assert saver.file is not None
    return _commit(attempt, keys, progress, dict([saver.file]))


def latest_progress(store: Store, keys: Keys, iterations: int) -> tuple[Progress | None, float]:
    """The longest stored progress of this training that is not beyond ``iterations``, and the seconds spent on it.

    Damaged files count as absent, see ``Home``; (None, 0.0) where there is nothing to go on from.
    """
    longest: Progress | None = None
    seconds = 0.0
    for key, attempt, data in progress_files(store, keys.digest, iterations):
        try:
            progress = Progress.from_bytes(data)
        except DamagedSnapshot as error:
            store.home.give_up(progress_path(key, attempt), data, str(error))
            continue
        if progress.iteration <= iterations and (longest is None or progress.iteration > longest.iteration):
            longest, seconds = progress, store.attempt(key, attempt).get("train_seconds", 0.0)
    return longest, seconds


def _validated(progress: Progress, timestamp_ms: int, iterations: int) -> Event:
    point = progress.curve[-1]
    return {
        "kind": "validated",
        "iteration": point.iteration,
        "iterations": iterations,
        "validation_accuracy": point.validation_accuracy,
        "train_loss": point.train_loss,
        "train_accuracy": point.train_accuracy,
        "validation_loss": point.validation_loss,
        "timestamp_ms": timestamp_ms,
    }


def _pruned(decision: Decision) -> Event:
    return {"kind": "pruned", "iteration": decision.iteration}


def _commit(attempt: AttemptRecord, keys: Keys, progress: Progress, files: dict[str, str]) -> Manifest:
    """Puts the weights that evaluations can ask for, then the manifest that makes the training complete."""
    wanted = {weights.iteration: weights for weights in progress.best.values()}
    wanted[progress.iteration] = Weights(progress.iteration, progress.params)
    for step, weights in sorted(wanted.items()):
        files |= [_put(attempt, f"snapshots/{step}.safetensors", weights.to_bytes())]
    reached = {point.iteration: point.validation_accuracy for point in progress.curve}
    best = {
        head: {"iteration": weights.iteration, "validation_accuracy": reached[weights.iteration][head]}
        for head, weights in progress.best.items()
    }
    manifest = Manifest(attempt.id, files, progress.iteration, best, progress.flops * progress.iteration)
    return attempt.store.put_manifest(keys.training, manifest)


def _put(attempt: AttemptRecord, name: str, data: bytes) -> tuple[str, str]:
    return attempt.store.put_file(attempt.key, attempt.id, name, data)


def _evaluations(
    store: Store,
    asked: list[tuple[Config, Keys]],
    manifest: Manifest,
    data: Source,
    device: str,
    place: dict[str, Any],
) -> Iterator[Event]:
    """Tests what is not in the store; evaluations of the same weights on the same episodes together, so that a kill
    costs all of those, but what they share is calculated once."""
    diverged: AdaptationDiverged | None = None
    together: dict[tuple[Any, ...], dict[str, tuple[Config, Keys]]] = {}
    trained: dict[str, Manifest] = {}
    for config, keys in asked:
        accuracies = store.accuracies(config, keys, manifest)
        if accuracies is not None:
            yield _tested(keys, accuracies)
            continue
        its = store.tested(config, keys, manifest)
        assert its is not None  # every snapshot has been made
        training, trained[training] = its
        same = training, trained[training].weights(config), problem_of(config).tested_together(config)
        together.setdefault(same, {})[keys.evaluation] = config, keys
    for (training, path, *_), by_key in together.items():
        group = list(by_key.values())
        stored = store.read_weights(training, trained[training], group[0][0])
        if stored is None:
            raise OSError(f"trainings/{training}/{path} is gone or damaged since just now")  # the next attempt mends it
        params = Weights.from_bytes(stored).params
        problem = problem_of(group[0][0])
        found = _evaluated(problem, [config for config, _ in group], params, data, device)
        for (config, keys), scores in zip(group, found, strict=True):
            if isinstance(scores, AdaptationDiverged):
                diverged = diverged or scores
                continue
            accuracies = scores.pop(problem.score.column)
            try:
                others = scores | problem.measure(config, params, data, device)
            except AdaptationDiverged as error:  # a failure of this evaluation: the others come first
                diverged = diverged or error
                continue
            store.put_accuracies(
                config, keys, manifest, accuracies, others, place if problem.is_timed(config) else None
            )
            yield _tested(keys, accuracies)
    if diverged is not None:
        raise diverged


def _evaluated(
    problem: Problem[Any], configs: Sequence[Config], params: Params, data: Source, device: str
) -> list[dict[str, Array] | AdaptationDiverged]:
    """By column what is measured of each config's test, or that it diverges: then it costs the others time alone."""
    try:
        return list(problem.evaluate(configs, params, data, device))
    except AdaptationDiverged as error:
        if len(configs) == 1:
            return [error]
    return [its for config in configs for its in _evaluated(problem, [config], params, data, device)]


def _tested(keys: Keys, accuracies: Array) -> Event:
    return {"kind": "tested", "evaluation_key": keys.evaluation, "test_accuracy": float(accuracies.mean())}
