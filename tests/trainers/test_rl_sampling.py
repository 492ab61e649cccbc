"""Sampling in lockstep against one episode after another; which numbers an episode gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from trainers.rl.environments import ENVIRONMENTS, open_environment
from trainers.rl.environments.environment import Environment
from trainers.rl.noise import Address, normal, uniform
from trainers.rl.sampling import NOISE_AT_ONCE, Trajectories, draw_tasks, sample

ADDRESS = Address("training", 3, (4, 1, 7), iteration=2, inner_step=1)
PARTS = ("observations", "actions", "rewards", "alive")


def leaning(observations: Tensor, noise: Tensor) -> Tensor:
    """A policy of element-by-element operations, whose bits no batch changes."""
    return 0.1 * torch.tanh(observations[..., :2]).sum(dim=-1, keepdim=True) - 0.05 + 0.1 * noise


def sampled(environment: Environment, address: Address = ADDRESS, **changes: Any) -> Trajectories:
    asked = {"act": leaning, "trajectories": 4, "horizon": 9} | changes
    return sample(environment, draw_tasks(environment, address), address=address, **asked)


def assert_same(one: Trajectories, other: Trajectories) -> None:
    for part in PARTS:
        assert torch.equal(getattr(one, part), getattr(other, part)), part


def some(trajectories: Trajectories, where: Any) -> Trajectories:
    return Trajectories(**{part: getattr(trajectories, part)[where] for part in PARTS})


@pytest.fixture(params=ENVIRONMENTS)
def environment(request: pytest.FixtureRequest) -> Environment:
    return open_environment(request.param)


def test_lockstep_is_one_episode_after_another(environment: Environment) -> None:
    together = sampled(environment, dtype=torch.float64)
    tasks = draw_tasks(environment, ADDRESS)
    size = environment.action_size
    moment = f"{environment.name}/training/3/iteration 2/inner step 1"
    for place, index in enumerate(ADDRESS.tasks):
        resets = uniform(f"{moment}/reset", [index], 4, environment.reset_uniforms)[0]
        noises = normal(uniform(f"{moment}/actions", [index], 4, 10 * size))[0, :, : 9 * size].reshape(4, 9, size)
        for trajectory in range(4):
            seen = environment.reset(tasks[place : place + 1], resets[trajectory : trajectory + 1])
            for time in range(9):
                action = leaning(torch.from_numpy(seen), torch.from_numpy(noises[trajectory, time]))
                at = (place, trajectory, time)
                assert torch.equal(together.observations[at], torch.from_numpy(seen)[0])
                assert torch.equal(together.actions[at], action[0])
                seen, reward, ended = environment.step(action.numpy())
                assert (together.rewards[at].item(), together.alive[at].item()) == (reward[0], 1)
                assert not ended


def test_an_episode_is_the_same_in_any_company(environment: Environment) -> None:
    whole = sampled(environment)
    assert_same(sampled(environment, replace(ADDRESS, tasks=(7, 4))), some(whole, [2, 0]))
    assert_same(sampled(environment, trajectories=2), some(whole, np.s_[:, :2]))
    assert_same(sampled(environment, horizon=5), some(whole, np.s_[:, :, :5]))
    assert_same(sampled(environment), whole)


def test_company_that_needs_several_draws_changes_nothing() -> None:
    navigation = open_environment("navigation_2d")
    many = replace(ADDRESS, tasks=tuple(range(10)))
    trajectories = NOISE_AT_ONCE // 60  # three tasks at a time
    whole = sampled(navigation, many, trajectories=trajectories, horizon=10)
    assert_same(
        sampled(navigation, replace(many, tasks=(9, 3)), trajectories=5, horizon=10), some(whole, np.s_[[9, 3], :5])
    )


@pytest.mark.parametrize("change", [{"part": "test"}, {"seed": 4}, {"iteration": 3}, {"inner_step": 0}])
def test_another_moment_has_other_noise(environment: Environment, change: dict[str, Any]) -> None:
    one, other = sampled(environment), sampled(environment, replace(ADDRESS, **change))
    assert not torch.isin(one.actions, other.actions).any()


def test_tasks_are_of_part_seed_and_index_alone(environment: Environment) -> None:
    tasks = draw_tasks(environment, replace(ADDRESS, tasks=tuple(range(50))))
    later = replace(ADDRESS, tasks=(9, 2), iteration=8, inner_step=5)
    np.testing.assert_array_equal(draw_tasks(environment, later), tasks[[9, 2]])
    for change in ({"part": "test"}, {"seed": 4}):
        other = draw_tasks(environment, replace(ADDRESS, tasks=tuple(range(50)), **change))
        assert not np.array_equal(other, tasks)


def test_nothing_is_left_of_what_comes_after_an_end() -> None:
    navigation = open_environment("navigation_2d")
    goals = np.array([[0.1, 0.1], [0.3, 0.3], [0.5, -0.5]])

    def straight(observations: Tensor, noise: Tensor) -> Tensor:
        """Along the diagonal, and nowhere from the first goal on that nobody asked to pass."""
        beyond = observations[..., :1] > 0.35
        return torch.where(beyond, torch.nan, torch.full_like(noise, 0.1))

    walked = sample(navigation, goals, straight, 2, ADDRESS, horizon=4)
    assert walked.alive[:, 0].tolist() == [[1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    gone = walked.alive == 0
    for values in (walked.observations, walked.actions, walked.rewards):
        assert not values[gone].any()
    assert walked.steps == 2 * (1 + 3 + 4)
    torch.testing.assert_close(walked.returns[:2], torch.tensor([0.0, -0.3 * 2**0.5], dtype=torch.float64))


def test_what_the_policy_gets_is_its_own_to_keep() -> None:
    kept = []

    def straight(observations: Tensor, noise: Tensor) -> Tensor:
        kept.append((observations, observations.clone(), noise, noise.clone()))
        return torch.full_like(noise, 0.1)

    goals = np.array([[0.1, 0.1], [0.3, 0.3], [0.5, -0.5]])
    walked = sample(open_environment("navigation_2d"), goals, straight, 2, ADDRESS, horizon=4)
    assert not walked.observations[0, :, 1:].any()
    for observations, as_given, noise, noise_as_given in kept:
        assert torch.equal(observations, as_given)
        assert torch.equal(noise, noise_as_given)


def test_sampling_stops_once_every_episode_has_ended() -> None:
    calls = []

    def arrives(observations: Tensor, noise: Tensor) -> Tensor:
        calls.append(noise)
        return torch.full_like(noise, 0.1)

    goals = np.full((3, 2), 0.1)
    walked = sample(open_environment("navigation_2d"), goals, arrives, 2, ADDRESS, horizon=50)
    assert (len(calls), walked.steps, walked.rewards.shape) == (1, 6, (3, 2, 50))


def test_the_policy_is_asked_once_a_step_and_without_gradients() -> None:
    weight = torch.ones(1, requires_grad=True)
    asked = []

    def act(observations: Tensor, noise: Tensor) -> Tensor:
        asked.append((tuple(observations.shape), tuple(noise.shape), torch.is_grad_enabled()))
        return weight * noise

    walked = sampled(open_environment("navigation_2d"), act=act)
    assert asked == [((3, 4, 2), (3, 4, 2), False)] * 9
    assert not walked.actions.requires_grad
    assert {getattr(walked, part).dtype for part in PARTS} == {torch.float32}
