"""Early stopping: cut-offs and decisions against their definitions, and trials that end by them."""

from __future__ import annotations

import math
import random
import typing
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.attempt import attempt_trial
from orchestrator.early_stopping import (
    EARLY_STOPPERS,
    Curve,
    Cutoffs,
    Decision,
    EarlyStopping,
    Standings,
    cutoffs,
    decide,
    rungs,
)
from orchestrator.home import open_home
from orchestrator.rows import Row, read_row
from orchestrator.store import Store, keys_of
from trainers import trial
from trainers.captured_step import MetaStep
from trainers.config import TrainingConfig, TrialConfig
from trainers.datasets.image_file import ImageTable

NAN = math.nan


def stopping(grace: int, reduction: int = 3) -> EarlyStopping:
    return EarlyStopping(name="asha", grace_iterations=grace, reduction=reduction)


def training(iterations: int, validate_every: int) -> TrainingConfig:
    return TrainingConfig(iterations=iterations, validate_every=validate_every)


def random_curve(order: random.Random, every: int, longest: int) -> list[tuple[int, float]]:
    """Of a few different values, so that there are ties; some points are no numbers."""
    end = order.randrange(0, longest + 1, every)
    return [
        (at, NAN if order.random() < 0.1 else order.randrange(12) / 12 + 0.1) for at in range(every, end + 1, every)
    ]


def reached(curve: Curve, rung: int) -> list[float]:
    """All numbers up to a rung, if the curve has come to it."""
    if not any(at >= rung for at, _ in curve):
        return []
    return [value for at, value in curve if at <= rung and value == value]


def slow_cutoffs(grace: int, reduction: int, iterations: int, every: int, curves: Sequence[Curve]) -> Cutoffs:
    """Word by word: the largest value that at most one in ``reduction`` of those at the rung have or exceed, but where
    there are ties; tried one by one."""
    found = []
    for rung in range(every, iterations, every):
        if not any(-(-grace * reduction**k // every) * every == rung for k in range(20)):
            continue
        bests = [max(values) for curve in curves if (values := reached(curve, rung))]
        if len(bests) < reduction:
            continue
        passing = [value for value in bests if Fraction(sum(b > value for b in bests) + 1, len(bests)) * reduction <= 1]
        found.append((rung, min(passing)))
    return tuple(found)


def slow_decision(curve: Curve, its: Cutoffs, iterations: int) -> Decision:
    """As a trial lives: validation by validation."""
    best = -math.inf
    at = 0
    for at, value in curve:
        if value > best:
            best = value
        for rung, cutoff in its:
            if rung == at and rung < iterations and best < cutoff:
                return Decision("pruned", rung)
        if at == iterations:
            return Decision("complete", at)
    return Decision("running", at)


@pytest.mark.parametrize("seed", range(300))
def test_cutoffs_and_decisions_are_those_of_their_definitions(seed: int) -> None:
    order = random.Random(seed)
    every, reduction = order.choice([1, 2, 5]), order.choice([2, 3, 4])
    grace, length = every * order.randint(1, 3), every * order.randint(4, 30)
    curves = [random_curve(order, every, length) for _ in range(order.randrange(20))]
    its = cutoffs(stopping(grace, reduction), training(length, every), Standings(curves))
    assert its == slow_cutoffs(grace, reduction, length, every, curves)
    for _ in range(5):
        curve = random_curve(order, every, length)
        assert decide(curve, its, length) == slow_decision(curve, its, length)


def test_standings_that_grow_are_those_of_all_curves() -> None:
    """Whichever trainings ask for cut-offs on the way: their rungs differ."""
    for seed in range(50):
        order = random.Random(seed)
        every, reduction, grown = order.choice([1, 2]), order.choice([2, 3]), Standings()
        curves = [random_curve(order, every, 40) for _ in range(25)]
        for count, curve in enumerate(curves, start=1):
            grown.add(curve)
            if order.random() < 0.5:
                its = stopping(every * order.randint(1, 2), reduction), training(every * order.randint(4, 20), every)
                assert cutoffs(*its, grown) == cutoffs(*its, Standings(curves[:count]))


def test_a_decision_does_not_change_as_a_curve_grows() -> None:
    for seed in range(200):
        order = random.Random(seed)
        its = ((2, 0.5), (6, 0.7))
        curve = random_curve(order, 1, 30)
        decisions = [decide(curve[:length], its, 12) for length in range(len(curve) + 1)]
        states = [one.state for one in decisions]
        ended = next((index for index, state in enumerate(states) if state != "running"), len(states))
        assert set(states[ended:]) <= {states[min(ended, len(states) - 1)]}
        if "pruned" in states:
            assert {one.iteration for one in decisions[ended:]} == {decisions[ended].iteration}


def test_rungs() -> None:
    assert list(rungs(stopping(100, 3), training(3000, 100))) == [100, 300, 900, 2700]
    assert list(rungs(stopping(100, 3), training(2700, 100))) == [100, 300, 900]
    assert list(rungs(stopping(100, 2), training(100, 100))) == []
    # what a spec refuses: rounded up, each once
    assert list(rungs(stopping(30, 2), training(800, 100))) == [100, 200, 300, 500]


def test_few_trials() -> None:
    ends = [[(1, value)] for value in (0.1, 0.5, 0.3, 0.4, 0.2, 0.6)]
    found = [cutoffs(stopping(1), training(9, 1), Standings(ends[:count])) for count in range(7)]
    assert found == [(), (), (), ((1, 0.5),), ((1, 0.5),), ((1, 0.5),), ((1, 0.5),)]
    assert decide([(1, 0.5)], found[3], 9) == Decision("running", 1)  # a tie
    assert decide([(1, 0.4)], found[3], 9) == Decision("pruned", 1)


def test_what_is_no_number_neither_passes_nor_counts() -> None:
    curves = [[(1, NAN)], [(1, 0.5)], [(1, 0.3)]]
    assert cutoffs(stopping(1), training(9, 1), Standings(curves)) == ()
    assert cutoffs(stopping(1), training(9, 1), Standings([*curves, [(1, 0.1)]])) == ((1, 0.5),)
    assert decide([(1, NAN)], ((1, 0.0),), 9) == Decision("pruned", 1)
    assert decide([(1, 0.5), (2, NAN)], ((2, 0.5),), 9) == Decision("running", 2)


def test_trainings_of_any_length_are_compared_after_equally_many_iterations() -> None:
    curves = [[(at, 0.1 * at) for at in range(1, end + 1)] for end in (2, 2, 9, 9)]  # two of them are complete at 2
    assert cutoffs(stopping(2, 2), training(9, 1), Standings(curves)) == ((2, 0.2), (4, 0.4), (8, 0.8))
    assert cutoffs(stopping(2, 2), training(3, 1), Standings(curves)) == ((2, 0.2),)
    assert decide([(1, 0.0), (2, 0.0)], ((2, 0.5),), 2) == Decision("complete", 2)  # its end is no rung


def test_each_early_stopper_is_named_in_the_spec() -> None:
    assert set(typing.get_args(EarlyStopping.model_fields["name"].annotation)) == EARLY_STOPPERS.keys()


ASKED_BY = {"sweep": "s", "number": 0, "run": "r"}
IMPOSSIBLE = 2.0
"""No accuracy."""


def config(trial: dict[str, Any], **training: Any) -> TrialConfig:
    return TrialConfig.model_validate(trial | {"training": trial["training"] | {"validate_every": 2} | training})


def row_of(store: Store, asked: TrialConfig, data: ImageTable, its: Cutoffs | None) -> Row:
    return read_row(store, 0, asked, keys_of(asked, data.fingerprint), "s", "r", live=False, cutoffs=its)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(trial, "count_flops", lambda *_: 3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a sweep
    yield Store(open_home(str(tmp_path / "home")))
    torch.set_num_threads(threads)


def kinds(store: Store, asked: TrialConfig, data: ImageTable, its: Cutoffs | None) -> list[str]:
    return [event["kind"] for event in attempt_trial(store, [asked], data, ASKED_BY, cutoffs=its)]


def test_two_trials_of_a_training_each_have_their_own_end(
    store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any]
) -> None:
    asked = config(tiny_trial)
    early, late, never = ((2, IMPOSSIBLE),), ((2, 0.0), (6, IMPOSSIBLE)), ((2, 0.0), (6, 0.0))
    assert kinds(store, asked, glyphs, early) == ["validated", "pruned"]
    assert (row_of(store, asked, glyphs, early).metrics["iterations"], row_of(store, asked, glyphs, late).state) == (
        *(2, "planned"),
    )
    assert kinds(store, asked, glyphs, late) == ["validated", "validated", "pruned"]
    assert kinds(store, asked, glyphs, never) == ["validated", "tested"]
    rows = [row_of(store, asked, glyphs, its) for its in (early, late, never, (), None)]
    assert [(row.state, row.metrics["iterations"]) for row in rows] == [
        *(("pruned", 2), ("pruned", 6), ("completed", 8), ("completed", 8), ("completed", 8)),
    ]
    assert [[at for at, _ in row.curve] for row in rows] == [[2], [2, 4, 6], [2, 4, 6, 8], [2, 4, 6, 8], []]
    assert [row.metrics["train_flops"] for row in rows] == [6, 18, 24, 24, 24]
    # asked to run by who did not know: the store has it
    assert kinds(store, asked, glyphs, early) == ["pruned"]
    assert [one["state"] for one in store.attempts(rows[0].keys.training)] == ["pruned", "pruned", "complete"]


def test_pruned_on_the_way_to_a_snapshot(store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any]) -> None:
    asked = config(tiny_trial, snapshots=[2, 6])
    its = ((4, IMPOSSIBLE),)
    assert kinds(store, asked, glyphs, its) == ["validated", "validated", "pruned"]
    assert (row_of(store, asked, glyphs, its).state, row_of(store, asked, glyphs, its).metrics["iterations"]) == (
        *("pruned", 4),
    )
    keys = keys_of(asked, glyphs.fingerprint)
    assert [store.manifest(keys.shortened(step)) is not None for step in (2, 6)] == [True, False]
    assert [one["state"] for one in store.attempts(keys.shortened(6))] == ["pruned"]
    assert kinds(store, asked, glyphs, None) == ["validated", "validated", "tested"]


def test_what_a_training_comes_to_behind_the_rung_plays_no_part(
    store: Store, glyphs: ImageTable, tiny_trial: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = config(tiny_trial)
    learned = MetaStep.__call__

    def diverging(step: MetaStep, tasks: Any) -> Any:
        result = learned(step, tasks)
        steps.append(1)
        return replace(result, loss=math.nan) if len(steps) == 5 else result

    steps: list[int] = []
    monkeypatch.setattr(MetaStep, "__call__", diverging)
    assert kinds(store, asked, glyphs, None) == ["validated", "validated", "failed"]
    keys = keys_of(asked, glyphs.fingerprint)
    assert store.failure(keys.training) is not None
    assert row_of(store, asked, glyphs, ((2, IMPOSSIBLE),)).state == "pruned"
    assert row_of(store, asked, glyphs, ((6, IMPOSSIBLE),)).state == "failed"
    assert row_of(store, asked, glyphs, ((6, IMPOSSIBLE),)).final
    (progress,) = Path(store.home.url).glob(f"trainings/{keys.training}/attempts/*/progress.safetensors")
    progress.unlink()  # now nobody knows, so it is run
    assert not row_of(store, asked, glyphs, ((2, IMPOSSIBLE),)).final
    assert kinds(store, asked, glyphs, ((2, IMPOSSIBLE),)) == ["validated", "pruned"]
    assert row_of(store, asked, glyphs, ((2, IMPOSSIBLE),)).state == "pruned"
