"""Contract of every sampler: proposals repeat, keep to their domains, and depend on nothing but what they are told."""

from __future__ import annotations

import json
import logging
import random
import statistics
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.search.proposals import (
    Outcome,
    Proposal,
    default_window,
    known_before,
    propose,
    told_digest,
)
from orchestrator.search.samplers import SAMPLERS
from orchestrator.spec import SearchSpec
from orchestrator.spec_file import load_spec
from trainers.config import TrialConfig

WINDOW = 4
BASE = TrialConfig()
SPEC = """\
search:
  seed: 5
  trials: 30
  space:
    algorithm.name: {choice: [maml, anil, nil]}
    algorithm.inner_lr: {loguniform: [0.01, 1.0]}
    algorithm.inner_steps: {int: [1, 5]}
    algorithm.frozen_layers: {choice: [0, 2, [conv1, head]], when: {algorithm.name: maml}}
    training.clip: {choice: [null, 10.0], when: {algorithm.name: [anil, nil], backbone.width: 32}}
    backbone.pooling: {choice: [max, stride], when: {backbone.width: 64}}
    training.meta_lr: {uniform: [0.001, 0.01]}
    episodes.ways: {int: [5, 5]}
  start:
  - {algorithm.inner_lr: 1, algorithm.name: maml, algorithm.frozen_layers: [conv1, head]}
  - {algorithm.inner_steps: 4}
"""


@pytest.fixture(params=sorted(SAMPLERS))
def search(request: pytest.FixtureRequest, tmp_path: Path) -> SearchSpec:
    (tmp_path / "s.yaml").write_text(SPEC)
    found = load_spec(tmp_path / "s.yaml", [f"search.sampler={request.param}"]).search
    assert found is not None
    return found


def quality(values: dict[str, float]) -> float:
    return 0.9 - (values["algorithm.inner_lr"] - 0.3) ** 2 - 0.1 * abs(values["algorithm.inner_steps"] - 3)


def ended(proposal: Proposal) -> Outcome:
    if proposal.number % 6 == 5:
        return Outcome(proposal.number, "failed")
    return Outcome(proposal.number, "complete", quality(proposal.values))


def run(search: SearchSpec, count: int, window: int = WINDOW, base: TrialConfig = BASE) -> list[Proposal]:
    proposals: list[Proposal] = []
    for number in range(count):
        outcomes = [ended(proposals[one]) for one in known_before(number, window)]
        proposals.append(propose(search, base, number, proposals, outcomes, window))
    return proposals


def test_values_lie_in_their_domains_and_conditions_hold(search: SearchSpec) -> None:
    names = set()
    for proposal in run(search, 30):
        values = proposal.values
        config = proposal.config(BASE)
        names.add(config.algorithm.name)
        assert all(search.space[path].contains(value) for path, value in values.items())
        assert ("algorithm.frozen_layers" in values) == (values["algorithm.name"] == "maml")
        assert ("training.clip" in values) == (values["algorithm.name"] != "maml")
        assert "backbone.pooling" not in values  # its condition on the base config never holds
        assert [path for path in search.space if path in values] == list(values)
        assert isinstance(values["algorithm.inner_steps"], int)
        assert isinstance(values["algorithm.inner_lr"], float)
    assert names == {"maml", "anil", "nil"}


def test_conditions_look_at_the_base_config(search: SearchSpec) -> None:
    wide = BASE.model_copy(update={"backbone": BASE.backbone.model_copy(update={"width": 64})})
    for proposal in run(search, 8, base=wide):
        assert "backbone.pooling" in proposal.values
        assert "training.clip" not in proposal.values


def test_the_same_seed_gives_the_same_proposals_and_another_gives_others(search: SearchSpec) -> None:
    once = run(search, 20)
    assert run(search, 20) == once
    other = run(search.model_copy(update={"seed": 6}), 20)
    assert all(a.values != b.values for a, b in zip(once[1:], other[1:], strict=True))


def test_numbers_give_different_points(search: SearchSpec) -> None:
    points = [json.dumps(proposal.to_json()["values"]) for proposal in run(search, 30)]
    assert len(set(points)) == 30


def test_records_are_all_that_a_search_needs(search: SearchSpec) -> None:
    once = run(search, 24)
    records = json.loads(json.dumps([proposal.to_json() for proposal in once], sort_keys=True))
    again = [Proposal.from_json(record) for record in records]
    assert again == once
    for number in range(24):
        outcomes = [ended(one) for one in again[: max(0, number - WINDOW + 1)]]
        assert propose(search, BASE, number, again[:number], outcomes, WINDOW) == once[number]
        assert told_digest(search, number, again, outcomes, WINDOW) == once[number].told


def test_nothing_depends_on_the_order_or_earliness_of_results(search: SearchSpec) -> None:
    proposals = run(search, 24)
    number = 23
    every = [ended(proposal) for proposal in proposals[:number]]
    shuffled_outcomes, shuffled_proposals = every.copy(), proposals[:number]
    random.Random(0).shuffle(shuffled_outcomes)
    random.Random(1).shuffle(shuffled_proposals)
    # outcomes within the window are known early here, and must not be looked at
    assert propose(search, BASE, number, shuffled_proposals, shuffled_outcomes, WINDOW) == proposals[number]
    late = [Outcome(one.number, "complete", 0.99) if one.number > number - WINDOW else one for one in shuffled_outcomes]
    assert propose(search, BASE, number, shuffled_proposals, late, WINDOW) == proposals[number]


def test_start_points_come_first(search: SearchSpec) -> None:
    first, second, third = run(search, 3)
    assert first.values["algorithm.inner_lr"] == 1.0
    assert (first.values["algorithm.name"], first.values["algorithm.frozen_layers"]) == ("maml", ("conv1", "head"))
    assert second.values["algorithm.inner_steps"] == 4
    assert second.values["algorithm.inner_lr"] != 1.0
    assert third.values == run(search.model_copy(update={"start": search.start[:2]}), 3)[2].values


def test_failed_proposals_are_told_as_failed(search: SearchSpec) -> None:
    proposals = run(search, 12)
    failed = [Outcome(number, "failed") for number in range(12)]
    propose(search, BASE, 12, proposals, failed, 1)
    digests = {told_digest(search, 12, proposals, failed[:n], 13 - n) for n in range(1, 13)}
    assert len(digests) == 12


def test_the_digest_covers_all_that_a_proposal_rests_on(search: SearchSpec) -> None:
    proposals = run(search, 10)
    outcomes = [ended(proposal) for proposal in proposals]
    told = told_digest(search, 10, proposals, outcomes, WINDOW)
    changed = [Outcome(0, "complete", 0.123), *outcomes[1:]]
    other = [Proposal(0, {**proposals[0].values, "algorithm.inner_lr": 0.5}, "x"), *proposals[1:]]
    space = dict(reversed(search.space.items()))
    assert told not in {
        told_digest(search, 10, proposals, changed, WINDOW),
        told_digest(search, 10, other, outcomes, WINDOW),
        told_digest(search, 10, proposals, outcomes, WINDOW + 1),
        told_digest(search, 9, proposals, outcomes, WINDOW),
        told_digest(search.model_copy(update={"seed": 1}), 10, proposals, outcomes, WINDOW),
        told_digest(search.model_copy(update={"space": space}), 10, proposals, outcomes, WINDOW),
    }
    grown = search.model_copy(update={"trials": 99})
    assert told_digest(grown, 10, proposals, outcomes, WINDOW) == told


@pytest.mark.parametrize(("proposals", "outcomes"), [(9, 10), (10, 6)])
def test_what_must_be_known_is_asked_for(search: SearchSpec, proposals: int, outcomes: int) -> None:
    known = run(search, 10)
    with pytest.raises(ValueError, match="first"):
        propose(search, BASE, 10, known[:proposals], [ended(one) for one in known[:outcomes]], WINDOW)


def test_optuna_is_silent(search: SearchSpec, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(search, 16)
    assert [str(one.message) for one in caught] == []
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("optuna").level >= logging.ERROR


def test_tpe_proposes_apart_from_running_trials(tmp_path: Path) -> None:
    """Forty trials that run at the best point so far push the next proposal away from it."""

    def distance(seed: int, running: int) -> float:
        search = in_ranges(tmp_path, "tpe", seed, "algorithm.inner_lr")
        done = [Proposal(n, {"algorithm.inner_lr": 0.05 + 0.05 * n}, "") for n in range(19)]
        outcomes = [Outcome(one.number, "complete", -abs(one.values["algorithm.inner_lr"] - 0.5)) for one in done]
        crowd = [Proposal(19 + n, {"algorithm.inner_lr": 0.5}, "") for n in range(running)]
        proposal = propose(search, BASE, 19 + running, [*done, *crowd], outcomes, running + 1)
        return abs(float(proposal.values["algorithm.inner_lr"]) - 0.5)

    assert statistics.median(distance(seed, 40) for seed in range(9)) > 2 * statistics.median(
        distance(seed, 0) for seed in range(9)
    )


def in_ranges(tmp_path: Path, sampler: str, seed: int, *paths: str) -> SearchSpec:
    space = ", ".join(f"{path}: {{uniform: [0.01, 1]}}" for path in paths)
    (tmp_path / "s.yaml").write_text(f"search: {{trials: 40, sampler: {sampler}, seed: {seed}, space: {{{space}}}}}\n")
    found = load_spec(tmp_path / "s.yaml").search
    assert found is not None
    return found


def best_of(search: SearchSpec, value: Callable[[dict[str, float]], float], count: int) -> float:
    proposals: list[Proposal] = []
    outcomes: list[Outcome] = []
    for number in range(count):
        proposals.append(propose(search, BASE, number, proposals, outcomes, WINDOW))
        outcomes.append(Outcome(number, "complete", value(proposals[-1].values)))
    return max(outcome.value for outcome in outcomes if outcome.value is not None)


def test_tpe_beats_random_on_a_quadratic(tmp_path: Path) -> None:
    def bowl(values: dict[str, float]) -> float:
        return -((values["algorithm.inner_lr"] - 0.7) ** 2) - (values["training.meta_lr"] - 0.3) ** 2

    paths = ("algorithm.inner_lr", "training.meta_lr")
    means = {
        sampler: statistics.mean(best_of(in_ranges(tmp_path, sampler, seed, *paths), bowl, 40) for seed in range(10))
        for sampler in ("tpe", "random")
    }
    assert means["tpe"] > means["random"] / 2  # both negative: less than half the distance


@pytest.mark.parametrize("record", [None, [], {"number": 1}, {"number": "1", "values": {}, "told": ""}])
def test_a_record_of_something_else(record: Any) -> None:
    with pytest.raises(ValueError, match="a proposal has number, values and told, got"):
        Proposal.from_json(record)


def test_outcomes_are_final_and_finite() -> None:
    for state, value in [("complete", None), ("complete", float("nan")), ("failed", 0.5)]:
        with pytest.raises(ValueError, match="finite"):
            Outcome(0, state, value)  # type: ignore[arg-type]


def test_window() -> None:
    assert [default_window(n) for n in (1, 4, 5, 100)] == [8, 8, 10, 200]
    assert [list(known_before(n, 3)) for n in (0, 2, 3, 5)] == [[], [], [0], [0, 1, 2]]
