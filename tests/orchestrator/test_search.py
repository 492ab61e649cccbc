"""Contract of every sampler: proposals repeat, keep to their domains, and depend on nothing but what they are told."""

from __future__ import annotations

import inspect
import json
import logging
import random
import statistics
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from orchestrator.early_stopping import EarlyStopping
from orchestrator.search.column_tpe import ColumnTPE
from orchestrator.search.domains import value_at
from orchestrator.search.proposals import Outcome, Proposal, default_window, known_before
from orchestrator.search.samplers import EVOLVING, GENERATION, GROUPING, LEARNING, POPULATION, SAMPLERS
from orchestrator.search.searcher import Searcher, propose, told_digest, window_behind
from orchestrator.search.study import ToldStudy
from orchestrator.space import Parameter
from orchestrator.spec import SearchSpec
from orchestrator.spec_file import load_spec
from trainers.config import TrialConfig

WINDOW = 4
COUNT = 18
"""Proposals of a search here: the last three know ten results that are not failures, and rest on them."""
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


@pytest.fixture(scope="module", params=sorted(SAMPLERS))
def search(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SearchSpec:
    path = tmp_path_factory.mktemp("search") / "s.yaml"
    path.write_text(SPEC)
    found = load_spec(path, [f"search.sampler={request.param}"]).search
    assert found is not None
    return found


@pytest.fixture(scope="module")
def once(search: SearchSpec) -> list[Proposal]:
    """Made once: each of gp's last three takes half a second of a core."""
    return run(search, COUNT)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Optuna switches torch to one thread and back at each of many small steps; that takes longer than the steps."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def quality(values: dict[str, float]) -> float:
    return 0.9 - (values["algorithm.inner_lr"] - 0.3) ** 2 - 0.1 * abs(values.get("algorithm.inner_steps", 3) - 3)


def ended(proposal: Proposal) -> Outcome:
    if proposal.number % 6 == 5:
        return Outcome(proposal.number, "failed")
    return Outcome(proposal.number, "complete", (quality(proposal.values),))


def run(search: SearchSpec, count: int, window: int = WINDOW, base: TrialConfig = BASE) -> list[Proposal]:
    proposals: list[Proposal] = []
    for number in range(count):
        outcomes = [ended(proposals[one]) for one in known_before(number, window)]
        proposals.append(propose(search, base, number, proposals, outcomes, window))
    return proposals


def test_values_lie_in_their_domains_and_conditions_hold(search: SearchSpec, once: list[Proposal]) -> None:
    names = set()
    for proposal in once:
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


def test_the_same_seed_gives_the_same_proposals_and_another_gives_others(
    search: SearchSpec, once: list[Proposal]
) -> None:
    assert run(search, 16) == once[:16]
    other = run(search.model_copy(update={"seed": 6}), 16)
    assert all(a.values != b.values for a, b in zip(once[1:], other[1:], strict=False))


def test_numbers_give_different_points(search: SearchSpec, once: list[Proposal]) -> None:
    new = once[:POPULATION] if search.sampler == "nsga2" else once  # a child may be its parent again
    points = [json.dumps(proposal.to_json()["values"]) for proposal in new]
    assert len(set(points)) == len(new)


def test_records_are_all_that_a_search_needs(search: SearchSpec, once: list[Proposal]) -> None:
    records = json.loads(json.dumps([proposal.to_json() for proposal in once], sort_keys=True))
    again = [Proposal.from_json(record) for record in records]
    assert again == once
    for number in range(COUNT):
        outcomes = [ended(one) for one in again[: max(0, number - WINDOW + 1)]]
        assert propose(search, BASE, number, again[:number], outcomes, WINDOW) == once[number]
        assert told_digest(search, number, again, outcomes, WINDOW) == once[number].told


def test_nothing_depends_on_the_order_or_earliness_of_results(search: SearchSpec, once: list[Proposal]) -> None:
    number = COUNT - 1
    earlier = once[:number]
    outcomes = [ended(proposal) for proposal in earlier]
    random.Random(0).shuffle(outcomes)
    random.Random(1).shuffle(earlier)
    # outcomes within the window are known early here, and must not be looked at
    late = [Outcome(one.number, "complete", (0.99,)) if one.number > number - WINDOW else one for one in outcomes]
    for known in (outcomes, late):
        assert propose(search, BASE, number, earlier, known, WINDOW) == once[number]


def test_what_is_kept_between_proposals_changes_none(search: SearchSpec, once: list[Proposal]) -> None:
    """A searcher that lives on, and is told results in any order, as early as they can come; one that is made anew is
    ``propose``. Both know what each proposal was told."""
    searcher = Searcher(search, BASE, WINDOW)
    order = random.Random(2)
    running: list[Proposal] = []
    for number in range(COUNT):
        while not searcher.ready:
            searcher.end(ended(running.pop(order.randrange(len(running)))))
        assert number % 2 or searcher.propose() == once[number]
        assert searcher.propose() == once[number]
        searcher.add(once[number])
        running.append(once[number])
    assert [searcher.told(number) for number in range(COUNT)] == [proposal.told for proposal in once]


def test_a_proposal_out_of_order_is_refused(search: SearchSpec, once: list[Proposal]) -> None:
    with pytest.raises(ValueError, match="proposal 0 comes first"):
        Searcher(search, BASE, WINDOW).add(once[1])


def test_the_window_behind_a_proposal(search: SearchSpec, once: list[Proposal]) -> None:
    assert window_behind(search, once[0]) == WINDOW
    assert window_behind(search.model_copy(update={"window": WINDOW}), once[0]) == WINDOW
    assert window_behind(search.model_copy(update={"window": WINDOW + 1}), once[0]) is None
    assert window_behind(search.model_copy(update={"seed": 6}), once[0]) is None


def test_parameters_that_occur_together_are_modelled_jointly(
    search: SearchSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samplers that can do with one group only get the parameters that all have; one value is no parameter."""
    asked: list[list[str]] = []

    class Recorder(optuna.samplers.RandomSampler):
        def sample_relative(self, study: Any, trial: Any, search_space: dict[str, Any]) -> dict[str, Any]:
            asked.append(list(search_space))
            return {}

    monkeypatch.setitem(SAMPLERS, search.sampler, lambda search, number: Recorder())
    always = {"algorithm.inner_lr": 0.1, "algorithm.inner_steps": 2, "training.meta_lr": 0.002, "episodes.ways": 5}
    study = ToldStudy(search.model_copy(update={"start": ()}))
    told: list[dict[str, Any]] = [
        {"algorithm.name": "maml", "algorithm.frozen_layers": 2, **always},
        {"algorithm.name": "nil", "training.clip": None, **always},
        {"algorithm.name": "nil", "training.clip": 10.0, "backbone.pooling": "max", **always},
    ]
    for number, values in enumerate(told):
        study.add(values)
        if number < 2:
            study.tell(Outcome(number, "complete", (0.5,)))
    study.tell(Outcome(2, "failed"))
    study.ask(3, {"backbone.width": 32})
    common = ["algorithm.inner_lr", "algorithm.inner_steps", "algorithm.name", "training.meta_lr"]
    if search.sampler in GROUPING:
        assert sorted(asked) == [["algorithm.frozen_layers"], common, ["training.clip"]]
    else:
        assert asked == [common]


def test_lists_of_samplers_hold_samplers() -> None:
    assert SAMPLERS.keys() >= LEARNING >= GROUPING | EVOLVING


def test_more_trials_continue_the_same_search(search: SearchSpec, once: list[Proposal]) -> None:
    grown = search.model_copy(update={"trials": 99})
    outcomes = [ended(one) for one in once]
    assert propose(grown, BASE, COUNT - 1, once[:-1], outcomes, WINDOW) == once[-1]


def test_start_points_come_first(search: SearchSpec, once: list[Proposal]) -> None:
    first, second, third = once[:3]
    assert first.values["algorithm.inner_lr"] == 1.0
    assert (first.values["algorithm.name"], first.values["algorithm.frozen_layers"]) == ("maml", ("conv1", "head"))
    assert second.values["algorithm.inner_steps"] == 4
    assert second.values["algorithm.inner_lr"] != 1.0
    assert third.values == run(search.model_copy(update={"start": search.start[:2]}), 3)[2].values


def test_failed_proposals_are_told_as_failed(search: SearchSpec, once: list[Proposal]) -> None:
    failed = [Outcome(number, "failed") for number in range(12)]
    digests = {told_digest(search, 12, once, failed[:n], 13 - n) for n in range(1, 13)}
    assert len(digests) == 12


def test_failures_teach_nothing_and_results_teach_those_who_learn(search: SearchSpec, once: list[Proposal]) -> None:
    """After twelve failures a proposal is what it is while nothing has ended; after twelve results only where the
    sampler learns nothing."""

    def values(state: str, window: int) -> dict[str, Any]:
        results = [Outcome(one.number, "complete", (quality(one.values),)) for one in once[:12]]
        outcomes = results if state == "complete" else [Outcome(number, "failed") for number in range(12)]
        return propose(search, BASE, 12, once, outcomes, window).values

    nothing = values("failed", 13)
    assert values("failed", 1) == nothing
    assert (values("complete", 1) == nothing) == (search.sampler not in LEARNING)


def test_the_digest_covers_all_that_a_proposal_rests_on(search: SearchSpec, once: list[Proposal]) -> None:
    proposals = once[:10]
    outcomes = [ended(proposal) for proposal in proposals]
    told = told_digest(search, 10, proposals, outcomes, WINDOW)
    changed = [Outcome(0, "complete", (0.123,)), *outcomes[1:]]
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


def curve_of(proposal: Proposal, end: int) -> tuple[tuple[int, float], ...]:
    """Rises to what the proposal is worth after 500 iterations."""
    return tuple((at, quality(proposal.values) * at / 500) for at in range(100, end + 1, 100))


def test_cutoffs_follow_from_the_curves_that_were_told(search: SearchSpec, once: list[Proposal]) -> None:
    stopping = EarlyStopping(name="asha", grace_iterations=100, reduction=2)
    search = search.model_copy(update={"early_stopping": stopping})
    earlier, told = once[:10], list(known_before(10, WINDOW))
    outcomes = [
        Outcome(one.number, "failed", curve=curve_of(one, 300))
        if one.number == 1
        else Outcome(one.number, "pruned", (quality(one.values) / 5,), curve_of(one, 100))
        if one.number == 2
        else Outcome(one.number, "complete", (quality(one.values),), curve_of(one, 500))
        for one in once[:10]
    ]
    made = propose(search, BASE, 10, earlier, outcomes, WINDOW)
    by_rung = {
        rung: sorted((curve_of(once[n], 500)[rung // 100 - 1][1] for n in told if n not in left_out), reverse=True)
        for rung, left_out in ((100, [1]), (200, [1, 2]), (400, [1, 2]))
    }
    assert made.cutoffs == tuple((rung, values[len(values) // 2 - 1]) for rung, values in by_rung.items())
    assert Proposal.from_json(json.loads(json.dumps(made.to_json()))) == made
    plain = propose(search.model_copy(update={"early_stopping": None}), BASE, 10, earlier, outcomes, WINDOW)
    assert (plain.values, plain.cutoffs) == (made.values, ())
    assert "cutoffs" not in plain.to_json()
    # of what it rests on, nothing may change
    changed = [replace(one, curve=((100, 0.0), *one.curve[1:])) if one.number == 0 else one for one in outcomes]
    milder = search.model_copy(update={"early_stopping": stopping.model_copy(update={"reduction": 4})})
    completed = [replace(one, state="complete") if one.number == 2 else one for one in outcomes]
    assert told_digest(search, 10, earlier, outcomes, WINDOW) == made.told
    assert made.told not in {
        plain.told,
        told_digest(search, 10, earlier, changed, WINDOW),
        told_digest(search, 10, earlier, completed, WINDOW),
        told_digest(milder, 10, earlier, outcomes, WINDOW),
    }


def test_a_pruned_trial_teaches_its_best_validation(search: SearchSpec, once: list[Proposal]) -> None:
    """To samplers it is as one that came no further."""
    complete = [Outcome(one.number, "complete", (quality(one.values),)) for one in once[:12]]
    pruned = [replace(one, state="pruned") if one.number % 2 else one for one in complete]
    found, other = (propose(search, BASE, 12, once[:12], outcomes, 1) for outcomes in (pruned, complete))
    assert found.values == other.values
    assert found.told != other.told


@pytest.mark.parametrize(("proposals", "outcomes"), [(9, 10), (10, 6)])
def test_what_must_be_known_is_asked_for(
    search: SearchSpec, once: list[Proposal], proposals: int, outcomes: int
) -> None:
    known = once[:10]
    with pytest.raises(ValueError, match="first"):
        propose(search, BASE, 10, known[:proposals], [ended(one) for one in known[:outcomes]], WINDOW)


def test_optuna_is_silent(search: SearchSpec, once: list[Proposal], capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in (0, 1, 2, COUNT - 1):
            propose(search, BASE, number, once, [ended(one) for one in once], WINDOW)
    assert [str(one.message) for one in caught] == []
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("optuna").level >= logging.ERROR


def test_tpe_proposes_apart_from_running_trials(tmp_path: Path) -> None:
    """Forty trials that run at the best point so far push the next proposal away from it."""

    def distance(seed: int, running: int) -> float:
        search = in_ranges(tmp_path, "tpe", seed, "algorithm.inner_lr")
        done = [Proposal(n, {"algorithm.inner_lr": 0.05 + 0.05 * n}, "") for n in range(19)]
        outcomes = [Outcome(one.number, "complete", (-abs(one.values["algorithm.inner_lr"] - 0.5),)) for one in done]
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


def best_of(search: SearchSpec, value: Callable[[dict[str, float]], float], count: int, window: int) -> float:
    proposals: list[Proposal] = []
    outcomes: list[Outcome] = []
    for number in range(count):
        proposals.append(propose(search, BASE, number, proposals, outcomes, window))
        outcomes.append(Outcome(number, "complete", (value(proposals[-1].values),)))
    return max(outcome.values[0] for outcome in outcomes)


PATHS = ("algorithm.inner_lr", "training.meta_lr")


def bowl(values: dict[str, float]) -> float:
    return -((values["algorithm.inner_lr"] - 0.7) ** 2) - (values["training.meta_lr"] - 0.3) ** 2


@pytest.mark.parametrize(
    ("sampler", "count", "window", "times"), [("tpe", 40, WINDOW, 2), ("gp", 16, 1, 5)], ids=["tpe", "gp"]
)
def test_samplers_that_learn_beat_random_on_a_quadratic(
    tmp_path: Path, sampler: str, count: int, window: int, times: int
) -> None:
    """Random has 40 trials; distances from the best are means over the seeds, ``times`` as long with random."""
    seeds = range(10 if sampler == "tpe" else 2)
    learnt, drawn = (
        statistics.mean(best_of(in_ranges(tmp_path, name, seed, *PATHS), bowl, trials, window) for seed in seeds)
        for name, trials in ((sampler, count), ("random", 40))
    )
    assert learnt > drawn / times  # both negative


@pytest.mark.parametrize("share_of_failures", [0.0, 0.3])
def test_tpe_on_columns_proposes_what_optunas_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share_of_failures: float
) -> None:
    """Long enough for arrays to grow and weights to fall; with ties, failures, running trials and conditions."""
    path = tmp_path / "s.yaml"
    path.write_text(SPEC)
    search = load_spec(path).search
    assert search is not None

    def proposed() -> list[dict[str, Any]]:
        draws, searcher = random.Random(0), Searcher(search, BASE, WINDOW)
        found = []
        for number in range(60):
            proposal = searcher.propose()
            searcher.add(proposal)
            found.append(proposal.values)
            failed, value = draws.random() < share_of_failures, round(quality(proposal.values), 1)
            searcher.end(Outcome(number, "failed") if failed else Outcome(number, "complete", (value,)))
        return found

    ours = proposed()
    with monkeypatch.context() as patched:
        patched.setattr(ColumnTPE, "_sample", optuna.samplers.TPESampler._sample)
        assert proposed() == ours


@pytest.mark.parametrize("window", [1, WINDOW])
def test_nsga2_has_the_generations_of_a_study_that_lives_on(tmp_path: Path, window: int) -> None:
    """And its proposals, but for the first of a generation: there the study that lives on has the parents in the order
    of their merit."""
    search = in_ranges(tmp_path, "nsga2", 0, *PATHS)
    study = optuna.create_study(direction="maximize")
    proposals: list[Proposal] = []
    for number in range(45):
        outcomes = [ended(proposals[one]) for one in known_before(number, window)]
        for outcome in outcomes[-1:]:
            failed = optuna.trial.TrialState.FAIL if outcome.state == "failed" else None
            study.tell(outcome.number, outcome.values or None, state=failed)
        study.sampler = SAMPLERS["nsga2"](search, number)
        trial = study.ask()
        drawn = {path: trial.suggest_float(path, 0.01, 1) for path in PATHS}
        made = propose(search, BASE, number, proposals, outcomes, window)
        counted = [trial.system_attrs[GENERATION] for trial in study.trials]
        if counted[-1] == 0 or counted[-1] in counted[:-1]:
            assert made.values == drawn
        proposals.append(Proposal(number, drawn, made.told))
    assert counted[-1] >= 3


def test_nsga2_has_as_many_generations_as_a_long_search_brings(tmp_path: Path) -> None:
    """Parents follow from parents, but a thousand generations are no depth of calls."""
    search = in_ranges(tmp_path, "nsga2", 0, *PATHS)
    searcher = Searcher(search, BASE, 1)
    draws = random.Random(0)
    for number in range(100 * POPULATION):
        searcher.add(Proposal(number, {path: draws.uniform(0.01, 1) for path in PATHS}, ""))
        searcher.end(Outcome(number, "complete", (draws.random(),)))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 150)
    try:
        assert set(searcher.propose().values) == set(PATHS)
    finally:
        sys.setrecursionlimit(limit)


def test_qmc_is_a_sequence_of_the_seed_that_fills_every_dimension_evenly(tmp_path: Path) -> None:
    """Of 32 points of a Sobol' sequence one lies in each 32nd of each dimension."""
    search = in_ranges(tmp_path, "qmc", 3, *PATHS)
    points = run_of_bowl(search, 32, WINDOW)
    for path in PATHS:
        assert sorted(int((values[path] - 0.01) / 0.99 * 32) for values in points) == list(range(32))
    assert run_of_bowl(search, 8, 1) == points[:8]


def run_of_bowl(search: SearchSpec, count: int, window: int) -> list[dict[str, Any]]:
    proposals: list[Proposal] = []
    for number in range(count):
        outcomes = [Outcome(one, "complete", (bowl(proposals[one].values),)) for one in known_before(number, window)]
        proposals.append(propose(search, BASE, number, proposals, outcomes, window))
    return [proposal.values for proposal in proposals]


@pytest.mark.parametrize(
    ("parameter", "values"),
    [
        ({"choice": ["a", "b", ["c", "d"]]}, ["a", "a", "b", '["c", "d"]', '["c", "d"]']),
        ({"int": [3, 5]}, [3, 3, 4, 5, 5]),
        ({"int": [7, 7]}, [7, 7, 7, 7, 7]),
        ({"uniform": [-1, 3]}, [-1.0, 0.0, 1.0, 2.0, 3.0]),
        ({"loguniform": [0.01, 100]}, [0.01, 0.1, 1.0, 10.0, 100.0]),
    ],
)
def test_shares_of_a_domain(parameter: dict[str, Any], values: list[Any]) -> None:
    found = [value_at(Parameter.model_validate(parameter), share) for share in (0, 0.25, 0.5, 0.75, 1 - 2**-53)]
    assert found == (pytest.approx(values) if isinstance(values[0], float) else values)


@pytest.mark.parametrize("low", [0.003, 0.006, 0.008, 0.012])  # exp(log(low)) < low
def test_the_ends_of_a_logarithmic_range_are_not_left(low: float) -> None:
    parameter = Parameter.model_validate({"loguniform": [low, 3 * low]})
    assert all(parameter.contains(value_at(parameter, share)) for share in (0, 1 - 2**-53))


@pytest.mark.parametrize("record", [None, [], {"number": 1}, {"number": "1", "values": {}, "told": ""}])
def test_a_record_of_something_else(record: Any) -> None:
    with pytest.raises(ValueError, match="a proposal has number, values and told, got"):
        Proposal.from_json(record)


@pytest.mark.parametrize("its", ["x", {"100": 0.5}, [[100]], [[100, "0.5"]], [[100.5, 0.5]], [[100, 0.5, 1]], [100]])
def test_cutoffs_of_something_else(its: Any) -> None:
    whole = {"number": 1, "values": {}, "told": ""}
    assert Proposal.from_json(whole | {"cutoffs": [[100, 1]]}).cutoffs == ((100, 1.0),)
    with pytest.raises(ValueError, match=r"cutoffs(\.0)?"):
        Proposal.from_json(whole | {"cutoffs": its})


def test_outcomes_are_final_and_finite() -> None:
    for state, values in [("complete", ()), ("pruned", ()), ("complete", (0.5, float("nan"))), ("failed", (0.5,))]:
        with pytest.raises(ValueError, match="finite"):
            Outcome(0, state, values)  # type: ignore[arg-type]


def test_window() -> None:
    assert [default_window(n) for n in (1, 4, 5, 100)] == [8, 8, 10, 200]
    assert [list(known_before(n, 3)) for n in (0, 2, 3, 5)] == [[], [], [0], [0, 1, 2]]
