"""Every sampler with two objectives: what holds for one holds for both, and the second one is learnt from too."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from orchestrator.search.proposals import Outcome, Proposal, known_before
from orchestrator.search.samplers import GENERATION, LEARNING, SAMPLERS
from orchestrator.search.searcher import propose, told_digest
from orchestrator.spec import SearchSpec
from orchestrator.spec_file import load_spec
from trainers.config import TrialConfig

WINDOW = 4
COUNT = 19
"""The last four know ten results that are no failures, and rest on them."""
BASE = TrialConfig()
SPEC = """\
search:
  seed: 5
  trials: 30
  objective: [{maximize: validation_accuracy}, {minimize: adapt_flops}]
  space:
    algorithm.name: {choice: [maml, anil, nil]}
    algorithm.inner_lr: {loguniform: [0.01, 1.0]}
    algorithm.inner_steps: {int: [1, 5]}
    algorithm.frozen_layers: {choice: [0, 2, [conv1, head]], when: {algorithm.name: maml}}
    training.meta_lr: {uniform: [0.001, 0.01]}
  start:
  - {algorithm.inner_lr: 1, algorithm.name: maml, algorithm.frozen_layers: [conv1, head]}
"""


ONE_OBJECTIVE_TOLD = ("00f7e2687ae56c299174", "e59baa524d4099474596")
"""Of proposals 0 and 1 with the sampler ``random`` and accuracy alone; records hold such digests."""


def loaded(folder: Path, text: str, *overrides: str) -> SearchSpec:
    path = folder / "s.yaml"
    path.write_text(text)
    found = load_spec(path, overrides).search
    assert found is not None
    return found


@pytest.fixture(scope="module", params=sorted(SAMPLERS))
def search(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SearchSpec:
    return loaded(tmp_path_factory.mktemp("search"), SPEC, f"search.sampler={request.param}")


@pytest.fixture(scope="module")
def once(search: SearchSpec) -> list[Proposal]:
    """Made once: each of gp's last two takes a second or more of a core."""
    proposals: list[Proposal] = []
    for number in range(COUNT):
        outcomes = [ended(proposals[one]) for one in known_before(number, WINDOW)]
        proposals.append(propose(search, BASE, number, proposals, outcomes, WINDOW))
    return proposals


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ended(proposal: Proposal, dear: int = 1) -> Outcome:
    """The more steps the dearer; with ``dear`` −1 the cheaper."""
    if proposal.number % 6 == 5:
        return Outcome(proposal.number, "failed")
    accuracy = 0.9 - (proposal.values["algorithm.inner_lr"] - 0.3) ** 2
    steps = proposal.values["algorithm.inner_steps"]
    return Outcome(proposal.number, "complete", (accuracy, 1e6 * (6 + dear * steps)))


def test_values_lie_in_their_domains_and_conditions_hold(search: SearchSpec, once: list[Proposal]) -> None:
    for proposal in once:
        proposal.config(BASE)
        assert all(search.space[path].contains(value) for path, value in proposal.values.items())
        assert ("algorithm.frozen_layers" in proposal.values) == (proposal.values["algorithm.name"] == "maml")
    assert once[0].values["algorithm.frozen_layers"] == ("conv1", "head")


def test_a_restart_changes_nothing_nor_does_the_order_of_results(search: SearchSpec, once: list[Proposal]) -> None:
    """Proposals are read back from their records; results come shuffled, some of them before they may be looked at."""
    again = [Proposal.from_json(json.loads(json.dumps(one.to_json()))) for one in once]
    outcomes = [ended(one) for one in again]
    random.Random(0).shuffle(outcomes)
    for number in (0, 1, 9, COUNT - 1):
        assert propose(search, BASE, number, again[:number], outcomes, WINDOW) == once[number]
        assert told_digest(search, number, again, outcomes, WINDOW) == once[number].told


def test_another_seed_is_another_search(search: SearchSpec, once: list[Proposal]) -> None:
    other = search.model_copy(update={"seed": 6})
    for number in (1, 2, 3):
        assert propose(other, BASE, number, once, [], WINDOW).values != once[number].values


def test_the_cost_is_learnt_from_by_those_who_learn(search: SearchSpec, once: list[Proposal]) -> None:
    number = COUNT - 1
    cheap = [ended(one, dear=-1) for one in once]
    found = propose(search, BASE, number, once[:number], cheap, WINDOW)
    assert found.told != once[number].told
    assert (found.values == once[number].values) == (search.sampler not in LEARNING)


def test_optuna_is_told_all_values_and_both_directions(
    search: SearchSpec, once: list[Proposal], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, list[float] | None]] = []
    directions: list[str] = []

    class Witness(optuna.samplers.RandomSampler):
        def before_trial(self, study: optuna.Study, trial: Any) -> None:
            directions.extend(one.name for one in study.directions)
            seen.extend((one.state.name, one.values) for one in study.get_trials())

    monkeypatch.setitem(SAMPLERS, search.sampler, lambda search, number: Witness())
    propose(search, BASE, 7, once[:7], [ended(one) for one in once], 2)
    assert directions == ["MAXIMIZE", "MINIMIZE"]
    complete = [("COMPLETE", list(ended(one).values)) for one in once[:5]]
    assert seen == ([*complete, ("FAIL", None), ("RUNNING", None)] if search.sampler in LEARNING else [])
    digests = {
        told_digest(search.model_copy(update={"objective": objective}), 1, once, [], WINDOW)
        for objective in (search.objective, search.objective[:1], search.objective[::-1])
    }
    assert len(digests) == 3


def test_of_one_objective_records_stay_valid(tmp_path: Path) -> None:
    """Whether it stands by itself or in a list."""
    search = loaded(tmp_path, SPEC, "search.objective={maximize: validation_accuracy}", "search.sampler=random")
    assert search == loaded(
        tmp_path, SPEC, "search.objective=[{maximize: validation_accuracy}]", "search.sampler=random"
    )
    first = propose(search, BASE, 0, [], [], 1)
    outcome = Outcome(0, "complete", (0.5,))
    assert (first.told, told_digest(search, 1, [first], [outcome], 1)) == ONE_OBJECTIVE_TOLD


@pytest.mark.parametrize("window", [1, WINDOW])
def test_nsga2_has_the_generations_of_a_study_that_lives_on(tmp_path: Path, window: int) -> None:
    """And its proposals."""
    paths = ("algorithm.inner_lr", "training.meta_lr")
    space = ", ".join(f"{path}: {{uniform: [0.01, 1]}}" for path in paths)
    text = SPEC[: SPEC.index("  space:")] + f"  space: {{{space}}}\n"
    search = loaded(tmp_path, text, "search.sampler=nsga2")
    study = optuna.create_study(directions=["maximize", "minimize"])
    proposals: list[Proposal] = []

    def values(proposal: Proposal) -> Outcome:
        if proposal.number % 6 == 5:
            return Outcome(proposal.number, "failed")
        x, y = (float(proposal.values[path]) for path in paths)
        return Outcome(proposal.number, "complete", (x, (1 + y) / (1.1 - x)))

    for number in range(35):
        outcomes: Sequence[Outcome] = [values(proposals[one]) for one in known_before(number, window)]
        for outcome in outcomes[-1:]:
            failed = optuna.trial.TrialState.FAIL if outcome.state == "failed" else None
            study.tell(outcome.number, outcome.values or None, state=failed)
        study.sampler = SAMPLERS["nsga2"](search, number)
        trial = study.ask()
        drawn: dict[str, Any] = {path: trial.suggest_float(path, 0.01, 1) for path in paths}
        made = propose(search, BASE, number, proposals, outcomes, window)
        counted = [one.system_attrs[GENERATION] for one in study.trials]
        if counted[-1] == 0 or counted[-1] in counted[:-1]:  # the first has the parents in the order of their merit
            assert made.values == drawn
        proposals.append(Proposal(number, drawn, made.told))
    assert counted[-1] >= 2
