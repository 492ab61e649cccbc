"""An estimate is the sum over what is to be made, of what each of it costs. No time is measured: a clock is made up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from trainers.rl import estimate
from trainers.rl.config import RLConfig

BASE: dict[str, dict[str, Any]] = {
    "environment": {"horizon": 40},
    "policy": {"hidden": [8, 8]},
    "sampling": {"trajectories": 4},
    "training": {"iterations": 12, "validate_every": 3, "meta_batch": 5, "validation_tasks": 7},
    "evaluation": {"tasks": 90},
}


def config_of(**changes: dict[str, Any]) -> RLConfig:
    sections = {name: BASE.get(name, {}) | changes.get(name, {}) for name in {**BASE, **changes}}
    return RLConfig.model_validate(sections)


def iteration_s(config: RLConfig) -> float:
    """Made up, in proportion to the horizon; everything that may cost is in it, and no number twice."""
    its, steps = config.training, config.algorithm.inner_steps * len(config.adapted_layers)
    search = its.line_search_steps + 100 * its.line_search_ratio + 1000 * its.max_kl + 1e5 * its.damping
    played = (1 + steps) * config.sampling.trajectories + 10 * its.cg_iterations + search
    return its.meta_batch * played * config.environment.resolved() * (0.5 if config.algorithm.first_order else 1)


def task_s(config: RLConfig) -> float:
    rounds = 1 + config.test_inner_steps * len(config.test_adapted_layers)
    return rounds * config.test_trajectories * config.environment.resolved() * sum(config.policy.hidden)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[RLConfig]:
    """Gets the configs that are measured."""
    found: list[RLConfig] = []
    clock = [1000.0]

    def train(config: RLConfig, due: Callable[[], bool]) -> Iterator[None]:
        found.append(config)
        clock[0] += 7777  # it loads what it needs
        for number in range(1, config.training.iterations + 1):
            assert number % config.training.validate_every, "a validation would be in what an iteration takes"
            clock[0] += iteration_s(config)
            yield None

    def evaluate(configs: Sequence[RLConfig], params: Any) -> None:
        (config,) = configs
        found.append(config)
        clock[0] += config.evaluation.tasks * task_s(config) + 5555 * (found.count(config) == 1)

    monkeypatch.setattr(estimate, "train", train)
    monkeypatch.setattr(estimate, "evaluate", evaluate)
    monkeypatch.setattr(estimate, "time", SimpleNamespace(process_time=lambda: clock[0]))
    return found


def expected(config: RLConfig) -> float:
    as_trained = config.model_copy(update={"evaluation": type(config.evaluation)()})
    return 12 * iteration_s(config) + 4 * 7 * task_s(as_trained) + config.evaluation.tasks * task_s(config)


CHANGES: list[dict[str, dict[str, Any]]] = [
    {"evaluation": {"inner_steps": 4}},
    {"evaluation": {"inner_steps": 0}},
    {"evaluation": {"trajectories": 9}},
    {"evaluation": {"frozen_layers": 2}},
    {"evaluation": {"tasks": 300}},
    {"evaluation": {"tasks": 2}},
    {"training": {"cg_iterations": 3}},
    {"training": {"line_search_steps": 4}},
    {"training": {"line_search_ratio": 0.5}},
    {"training": {"max_kl": 0.5}},
    {"training": {"damping": 0.5}},
    {"training": {"meta_batch": 1}},
    {"training": {"meta_batch": 60}},
    {"algorithm": {"inner_steps": 3}},
    {"algorithm": {"name": "anil"}},
    {"algorithm": {"frozen_layers": ["hidden2", "head"]}},
    {"algorithm": {"first_order": True}},
    {"sampling": {"trajectories": 6}},
    {"policy": {"hidden": [16]}},
    {"environment": {"horizon": 80}},
    {"environment": {"horizon": 3}},
]


@pytest.mark.parametrize("change", [{}, *CHANGES], ids=str)
def test_of_a_training_and_its_test(change: dict[str, dict[str, Any]], measured: list[RLConfig]) -> None:
    config = config_of(**change)
    assert estimate.core_s([(config, [config])]) == pytest.approx(expected(config), rel=1e-12)
    assert all(its.environment.resolved() <= estimate.HORIZON for its in measured)


def test_a_sum_over_all_is_that_of_each(measured: list[RLConfig]) -> None:
    """Nothing of one config is taken for another's, in whatever order they come."""
    configs = [config_of(**change) for change in ({}, *CHANGES)]
    for some in (configs, configs[::-1]):
        work = [(config, [config]) for config in some]
        assert estimate.core_s(work) == pytest.approx(sum(map(expected, configs)), rel=1e-12)


def test_a_validation_is_as_the_training_is_and_not_as_the_test(measured: list[RLConfig]) -> None:
    config = config_of(evaluation={"inner_steps": 9, "trajectories": 50, "frozen_layers": 1, "tasks": 30})
    assert estimate.core_s([(config, [])]) == pytest.approx(12 * iteration_s(config) + 28 * task_s(config_of()))
    assert 9 not in {its.test_inner_steps for its in measured}


def test_what_costs_the_same_is_measured_once(measured: list[RLConfig]) -> None:
    one = [
        config_of(),
        config_of(training={"seed": 4}),
        config_of(training={"iterations": 24, "snapshots": [12]}),
        config_of(algorithm={"inner_lr": 1e30}),
        config_of(evaluation={"tasks": 70, "weights": "final"}),
        config_of(environment={"horizon": 80}),
    ]
    estimate.core_s([(config, [config]) for config in one])
    kinds = set(measured)
    assert (len(kinds), len(measured)) == (3, 5)  # a training, once; a validation and a test, each twice


def test_of_what_is_there_already_only_tests_are_left(measured: list[RLConfig]) -> None:
    config = config_of()
    assert estimate.core_s([(None, [config])]) == pytest.approx(90 * task_s(config))
    assert estimate.core_s([]) == 0


def test_a_rate_that_makes_policies_diverge_is_no_hindrance() -> None:
    config = config_of(algorithm={"inner_lr": 1e38, "inner_steps": 2}, environment={"horizon": 5})
    assert estimate.core_s([(config, [config])]) > 0
