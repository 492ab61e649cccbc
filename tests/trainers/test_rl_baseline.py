"""Baseline and advantages against numpy's least squares and loops over steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from trainers.rl.baseline import advantages, discounted_sums, generalised_advantages, values
from trainers.rl.sampling import Trajectories

TASKS, EPISODES, TIME, SEEN = 3, 4, 12, 2


@pytest.fixture
def walked() -> Trajectories:
    """Float64 noise whose episodes end at different times, some at the horizon, one after a step."""
    rng = np.random.default_rng(5)
    lengths = rng.integers(1, TIME + 1, (TASKS, EPISODES))
    lengths[0, :2] = (1, TIME)
    alive = torch.from_numpy((np.arange(TIME) < lengths[..., None]).astype(float))

    def noise(*last: int) -> Tensor:
        numbers = torch.from_numpy(rng.normal(size=(TASKS, EPISODES, TIME, *last)))
        return numbers * alive.view(TASKS, EPISODES, TIME, *(1 for _ in last))

    return Trajectories(noise(SEEN), noise(2), noise(), alive)


def length(walked: Trajectories, task: int, episode: int) -> int:
    return int(walked.alive[task, episode].sum())


def to_come(rewards: Tensor, discount: float) -> list[float]:
    return [
        sum(discount**later * reward for later, reward in enumerate(rewards[time:].tolist()))
        for time in range(len(rewards))
    ]


def plain_values(walked: Trajectories, task: int, discount: float, ridge: float = 1e-5) -> list[np.ndarray]:
    """Ridge regression over the steps of a task that were, as least squares with rows for the ridge."""
    rows, targets = [], []
    for episode in range(EPISODES):
        steps = length(walked, task, episode)
        for time, seen in enumerate(walked.observations[task, episode, :steps].numpy()):
            clock = time / 100
            rows.append([*seen, *seen**2, clock, clock**2, clock**3, 1])
        targets += to_come(walked.rewards[task, episode, :steps], discount)
    features = np.array(rows)
    extended = np.concatenate([features, ridge**0.5 * np.eye(features.shape[1])])
    weights = np.linalg.lstsq(extended, np.concatenate([targets, np.zeros(features.shape[1])]), rcond=None)[0]
    ends = np.cumsum([length(walked, task, episode) for episode in range(EPISODES)])
    return np.split(features @ weights, ends[:-1])


def test_the_baseline_is_the_least_squares_of_each_task_alone(walked: Trajectories) -> None:
    fitted = values(walked, 0.9)
    for task in range(TASKS):
        for episode, expected in enumerate(plain_values(walked, task, 0.9)):
            steps = length(walked, task, episode)
            np.testing.assert_allclose(fitted[task, episode, :steps], expected, rtol=1e-6)
            assert not fitted[task, episode, steps:].any()


@pytest.mark.parametrize("discount", [1.0, 0.9, 0.01])
@pytest.mark.parametrize("gae_lambda", [1.0, 0.6, 0.0])
def test_advantages_are_a_loop_over_steps(walked: Trajectories, discount: float, gae_lambda: float) -> None:
    found = advantages(walked, discount, gae_lambda)
    for task in range(TASKS):
        raw = []
        for episode, expected in enumerate(plain_values(walked, task, discount)):
            rewards = walked.rewards[task, episode].tolist()
            following = [*expected[1:], 0]
            surprises = [rewards[time] + discount * following[time] - expected[time] for time in range(len(expected))]
            raw.append(
                [
                    sum((discount * gae_lambda) ** later * surprise for later, surprise in enumerate(surprises[time:]))
                    for time in range(len(expected))
                ]
            )
        flat = np.concatenate(raw)
        for episode, own in enumerate(raw):
            normalised = (np.array(own) - flat.mean()) / (flat.std() + 1e-8)
            np.testing.assert_allclose(found[task, episode, : len(own)], normalised, rtol=1e-5, atol=1e-7)
            assert not found[task, episode, len(own) :].any()


def test_lambda_of_one_is_what_was_got_less_the_baseline(walked: Trajectories) -> None:
    expected = values(walked, 0.9)
    found = generalised_advantages(walked, expected, 0.9, 1.0)
    torch.testing.assert_close(found, discounted_sums(walked.rewards, 0.9) - expected)


def test_lambda_of_none_is_the_surprise_of_a_step(walked: Trajectories) -> None:
    expected = values(walked, 0.9)
    following = torch.cat([expected[..., 1:], torch.zeros(TASKS, EPISODES, 1)], dim=-1)
    found = generalised_advantages(walked, expected, 0.9, 0.0)
    torch.testing.assert_close(found, walked.rewards + 0.9 * following - expected)


def test_a_later_horizon_changes_nothing_of_what_has_ended(walked: Trajectories) -> None:
    def longer(numbers: Tensor) -> Tensor:
        return torch.cat([numbers, torch.zeros_like(numbers)], dim=2)

    later = Trajectories(*map(longer, (walked.observations, walked.actions, walked.rewards, walked.alive)))
    found = advantages(later, 0.9, 0.8)
    torch.testing.assert_close(found[:, :, :TIME], advantages(walked, 0.9, 0.8))
    assert not found[:, :, TIME:].any()


def test_a_task_does_not_know_the_others(walked: Trajectories) -> None:
    alone = Trajectories(walked.observations[1:2], walked.actions[1:2], walked.rewards[1:2], walked.alive[1:2])
    torch.testing.assert_close(advantages(alone, 0.9, 0.8)[0], advantages(walked, 0.9, 0.8)[1])


def test_float32_is_float64_up_to_rounding(walked: Trajectories) -> None:
    single = Trajectories(
        walked.observations.float(), walked.actions.float(), walked.rewards.float(), walked.alive.float()
    )
    found = advantages(single, 0.9, 0.8)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, advantages(walked, 0.9, 0.8).float(), rtol=1e-4, atol=1e-4)


def test_the_ridge_is_raised_for_a_task_that_needs_it_and_for_no_other(walked: Trajectories) -> None:
    huge = walked.observations.clone()
    huge[0] = walked.alive[0][..., None] * 1e9  # the columns of a task are one: singular, and 1e-5 is lost beside it
    found = values(replace(walked, observations=huge), 0.9)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found[1:], values(walked, 0.9)[1:])


def test_a_task_of_what_is_not_finite_has_no_baseline(walked: Trajectories) -> None:
    broken = walked.rewards.clone()
    seen = walked.observations.clone()
    broken[0, 1, 3], seen[1, 0, 0, 0] = torch.nan, torch.inf
    found = values(replace(walked, rewards=broken, observations=seen), 0.9)
    assert not torch.isfinite(found[:2]).all(dim=2).any()
    assert torch.isfinite(found[2]).all()


def test_advantages_that_are_all_the_same_are_none(walked: Trajectories) -> None:
    once = torch.zeros_like(walked.alive)
    once[:, 0, 0] = 1
    single = Trajectories(
        walked.observations * once[..., None], walked.actions * once[..., None], walked.rewards * once, once
    )
    assert not advantages(single, 0.99, 1.0).any()
