"""Who plays where and learns from what: addresses of a whole trial, and an iteration of two inner steps by its
definition."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from trainers.rl import trial, trpo
from trainers.rl.config import RLConfig
from trainers.rl.environments import navigation_2d
from trainers.rl.environments.environment import Floats
from trainers.rl.inner_loop import InnerLoop
from trainers.rl.noise import TEST_SEED, VALIDATION_SEED, Address, normal, uniform
from trainers.rl.play import Played, Player
from trainers.rl.policy import LOG_STD, init
from trainers.rl.sampling import Trajectories
from trainers.rl.trpo import OuterObjective
from trainers.snapshots import Progress

Play = tuple[Address, Floats, Trajectories]


def config_of(**sections: dict[str, Any]) -> RLConfig:
    """Two inner steps in training, and three in the test."""
    return RLConfig.model_validate(
        {
            "environment": {"horizon": 9},
            "policy": {"hidden": [6, 5]},
            "sampling": {"trajectories": 4},
            "algorithm": {"inner_steps": 2},
            "training": {"iterations": 2, "validate_every": 2, "meta_batch": 3, "validation_tasks": 5, "seed": 7},
            "evaluation": {"tasks": 5, "inner_steps": 3},
            **sections,
        }
    )


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[Play]:
    """Gets all that ``Player.play`` is asked for, and gives."""
    plays: list[Play] = []
    original = Player.play

    def recorded(self: Player, params: Mapping[str, Tensor], tasks: Floats, address: Address) -> Trajectories:
        found = original(self, params, tasks, address)
        plays.append((address, tasks, found))
        return found

    monkeypatch.setattr(Player, "play", recorded)
    return plays


def test_every_play_has_numbers_of_its_own(played: list[Play], monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks are those of their part: new ones each iteration, the same before and after each inner step."""
    monkeypatch.setattr(trial, "TASKS_AT_ONCE", 2)  # so that validation and test are played in groups
    monkeypatch.setattr(navigation_2d, "ARRIVED_WITHIN", 0.15)  # so that episodes end before the horizon
    config = config_of()
    (progress,) = trial.train(config)
    trial.evaluate([config], progress.params)

    moments = {
        "training": {(7, task, task // 3, step) for task in range(6) for step in range(3)},
        "validation": {(VALIDATION_SEED, task, 0, step) for task in range(5) for step in range(3)},
        "test": {(TEST_SEED, task, 0, step) for task in range(5) for step in range(4)},
    }
    for part, expected in moments.items():
        asked = Counter(
            (address.seed, task, address.iteration, address.inner_step)
            for address, _, _ in played
            if address.part == part
            for task in address.tasks
        )
        assert asked == dict.fromkeys(expected, 1)
    goals: dict[str, dict[int, bytes]] = {part: {} for part in moments}
    for address, tasks, _ in played:
        for task, goal in zip(address.tasks, tasks, strict=True):
            assert goals[address.part].setdefault(task, goal.tobytes()) == goal.tobytes()
    assert [len(its) for its in goals.values()] == [6, 5, 5]
    assert len({goal for its in goals.values() for goal in its.values()}) == 6 + 5 + 5
    actions = [row.tobytes() for _, _, found in played for row in found.actions[:, :, 0].flatten(0, 1).numpy()]
    assert len(set(actions)) == len(actions) == 4 * sum(map(len, moments.values()))


def test_environment_steps_are_those_of_the_training_that_were_played(
    played: list[Play], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(navigation_2d, "ARRIVED_WITHIN", 0.15)
    given = list(
        trial.train(config_of(training={"iterations": 4, "validate_every": 2, "meta_batch": 3, "validation_tasks": 2}))
    )
    lengths = [0] * 4
    for address, _, found in played:
        if address.part == "training":
            lengths[address.iteration] += sum(int(alive) for alive in found.alive.flatten())
    first, last = given[-1].curve
    assert (first.others["environment_steps"], last.others["environment_steps"]) == (sum(lengths[:2]), sum(lengths))
    assert sum(lengths) < 4 * 3 * 3 * 4 * 9  # iterations, rounds, tasks, trajectories, horizon: some ended before it


def advantages_alone(walked: Trajectories, task: int, discount: float, gae_lambda: float) -> list[list[float]]:
    """Of a task's episodes, as far as they go: ridge regression, generalised advantages step by step, normalised."""
    lengths = [int(alive.sum()) for alive in walked.alive[task]]
    rewards = [walked.rewards[task, j, :steps].tolist() for j, steps in enumerate(lengths)]
    rows, targets = [], []
    for episode, steps in enumerate(lengths):
        for time, seen in enumerate(walked.observations[task, episode, :steps].numpy()):
            clock = time / 100
            rows.append([*seen, *seen**2, clock, clock**2, clock**3, 1.0])
            targets.append(sum(discount**k * reward for k, reward in enumerate(rewards[episode][time:])))
    features = np.array(rows)
    gram = features.T @ features + 1e-5 * np.eye(features.shape[1])
    expected = iter(features @ np.linalg.solve(gram, features.T @ np.array(targets)))
    raw = []
    for its in rewards:
        values = [next(expected) for _ in its] + [0.0]
        surprises = [reward + discount * values[time + 1] - values[time] for time, reward in enumerate(its)]
        raw.append(
            [
                sum((discount * gae_lambda) ** k * later for k, later in enumerate(surprises[time:]))
                for time in range(len(its))
            ]
        )
    flat = np.concatenate(raw)
    return [[(one - flat.mean()) / (flat.std() + 1e-8) for one in its] for its in raw]


def mean_alone(params: Mapping[str, Tensor], seen: Tensor) -> Tensor:
    for layer in ("hidden1", "hidden2"):
        seen = (seen @ params[f"{layer}.weight"].T + params[f"{layer}.bias"]).relu()
    return seen @ params["head.weight"].T + params["head.bias"]


def loss_alone(
    params: Mapping[str, Tensor], walked: Trajectories, task: int, old: Mapping[str, Tensor] | None
) -> Tensor:
    """Mean over a task's steps of −log π · advantage, or of −π / π_old · advantage where there are old parameters."""
    terms = []
    for episode, its in enumerate(advantages_alone(walked, task, 0.9, 0.7)):
        seen, done = (part[task, episode, : len(its)] for part in (walked.observations, walked.actions))

        def log_density(of: Mapping[str, Tensor], seen: Tensor = seen, done: Tensor = done) -> Tensor:
            off = (done - mean_alone(of, seen)) * (-of[LOG_STD]).exp()
            return -(0.5 * off.square() + of[LOG_STD] + 0.5 * math.log(2 * math.pi)).sum(1)

        new = log_density(params)
        score = new if old is None else (new - log_density(old).detach()).exp()
        terms.append(-score * torch.tensor(its, dtype=torch.float64))
    return torch.cat(terms).mean()


@pytest.mark.parametrize("name", ["maml", "anil"])
def test_an_iteration_of_two_inner_steps_is_its_definition(
    name: str, played: list[Play], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inner gradient k is of round k, which policy k played; the outer one is of the last round, through both."""
    monkeypatch.setattr(navigation_2d, "ARRIVED_WITHIN", 0.15)
    config = config_of(
        sampling={"trajectories": 4, "discount": 0.9, "gae_lambda": 0.7},
        algorithm={"name": name, "inner_steps": 2, "inner_lr": (0.2, 0.3, 0.4)},
        training={"iterations": 1, "validate_every": 1, "meta_batch": 3, "validation_tasks": 1, "seed": 7},
    )
    rng = np.random.default_rng(2)
    start = {key: value.double() for key, value in init(config.policy, 2, 2, 7).items()}
    start = {key: value + torch.from_numpy(rng.normal(0, 0.2, value.shape)) for key, value in start.items()}
    outer: list[tuple[OuterObjective, Played]] = []
    adaptations: list[Played] = []
    adapt, step = Player.adapt, trpo.outer_step

    def adapted(self: Player, *asked: Any) -> Played:
        adaptations.append(adapt(self, *asked))
        return adaptations[-1]

    def stepped(objective: OuterObjective, *asked: Any) -> Any:
        outer.append((objective, adaptations[-1]))
        return step(objective, *asked)

    monkeypatch.setattr(Player, "adapt", adapted)
    monkeypatch.setattr(trial, "outer_step", stepped)
    list(trial.train(config, Progress(0, start, {}, {})))
    ((objective, its),) = outer
    rounds = [found for address, _, found in played if address.part == "training"]
    assert len(rounds) == 3
    assert all(round_ is kept for round_, kept in zip(rounds, its.rounds, strict=True))
    assert any((found.alive == 0).any() for found in rounds)

    meta = {key: value.clone().requires_grad_() for key, value in start.items()}
    rates = {"hidden1": 0.2, "hidden2": 0.3, "head": 0.4} if name == "maml" else {"head": 0.4}
    moving = {f"{layer}.{kind}": rate for layer, rate in rates.items() for kind in ("weight", "bias")}
    surrogates = []
    for task in range(3):
        policies = [dict(meta)]
        for round_ in rounds[:2]:
            before = policies[-1]
            loss = loss_alone(before, round_, task, None)
            slopes = torch.autograd.grad(loss, [before[key] for key in moving], create_graph=True)
            change = {key: rate * slope for (key, rate), slope in zip(moving.items(), slopes, strict=True)}
            policies.append({key: value - change[key] if key in moving else value for key, value in before.items()})
        for number, (policy, round_) in enumerate(zip(policies, rounds, strict=True)):
            key = f"navigation_2d/training/7/iteration 0/inner step {number}/actions"
            noise = normal(uniform(key, [task], 4, 9 * 2)).reshape(4, 9, 2)
            alive = round_.alive[task][..., None]
            actions = mean_alone(policy, round_.observations[task]) + policy[LOG_STD].exp() * torch.from_numpy(noise)
            torch.testing.assert_close(round_.actions[task], actions.detach() * alive, rtol=1e-7, atol=1e-9)
        for key, value in policies[-1].items():
            own = its.params[key][task] if key in moving else its.params[key]
            torch.testing.assert_close(own, value.detach(), rtol=1e-7, atol=1e-9)
        surrogates.append(loss_alone(policies[-1], rounds[-1], task, policies[-1]))
    expected = torch.autograd.grad(torch.stack(surrogates).mean(), list(meta.values()))
    found = objective.named(objective.gradient())
    for key, slope in zip(meta, expected, strict=True):
        torch.testing.assert_close(found[key], slope, rtol=1e-6, atol=1e-9)
    assert InnerLoop.of_training(config).rates == moving
    assert all(math.isfinite(value) for value in its.returns[1].tolist())
