"""Environments against plain ones of a single episode: a loop in Python, Gymnasium's HalfCheetah-v5."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from trainers.errors import ConfigError, EnvironmentAbsent
from trainers.rl import environments
from trainers.rl.environments import ENVIRONMENTS, check_installed, entry_of, open_environment
from trainers.rl.environments.environment import Environment


@pytest.fixture(params=ENVIRONMENTS)
def environment(request: pytest.FixtureRequest) -> Environment:
    return open_environment(request.param)


def begun(environment: Environment, episodes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tasks and first observations of some episodes, and the numbers that the first states are made of."""
    rng = np.random.default_rng(seed)
    tasks = environment.tasks(rng.uniform(size=(episodes, environment.task_uniforms)))
    uniforms = rng.uniform(size=(episodes, environment.reset_uniforms))
    return tasks, uniforms, environment.reset(tasks, uniforms)


def walk(steps: int, episodes: int, environment: Environment) -> np.ndarray:
    """Actions, some of them longer than any motor goes."""
    return np.random.default_rng(7).normal(scale=1.5, size=(steps, episodes, environment.action_size))


class TestEveryEnvironment:
    """What a new one gets unasked."""

    def test_it_is_what_its_entry_says(self, environment: Environment) -> None:
        entry = entry_of(environment.name)
        sizes = (environment.observation_size, environment.action_size)
        assert sizes == (entry.observation_size, entry.action_size)
        assert entry.horizon > 0
        assert type(open_environment(environment.name)) is type(environment)

    def test_shapes(self, environment: Environment) -> None:
        tasks, _, observations = begun(environment, 5)
        assert (tasks.shape, tasks.dtype) == ((5, environment.task_size), np.float64)
        assert (observations.shape, observations.dtype) == ((5, environment.observation_size), np.float64)
        seen, rewards, ended = environment.step(np.zeros((5, environment.action_size)))
        assert (seen.shape, rewards.shape, ended.shape, ended.dtype) == (observations.shape, (5,), (5,), bool)

    def test_what_it_gives_is_the_callers_to_keep(self, environment: Environment) -> None:
        tasks, uniforms, observations = begun(environment, 3)
        actions = walk(2, 3, environment)
        given = [tasks, uniforms, observations, *actions, *environment.step(actions[0])]
        before = [array.copy() for array in given]
        environment.step(actions[1])
        environment.reset(tasks + 1, uniforms / 2)
        for array, copy in zip(given, before, strict=True):
            np.testing.assert_array_equal(array, copy)

    def test_an_episode_is_the_same_whatever_runs_beside_it(self, environment: Environment) -> None:
        tasks, uniforms, _ = begun(environment, 3)
        actions = walk(30, 3, environment)
        together = list(told(environment, tasks, uniforms, actions))
        for episode in range(3):
            one = slice(episode, episode + 1)
            alone = told(environment, tasks[one], uniforms[one], actions[:, one])
            for many, single in zip(together, alone, strict=True):
                np.testing.assert_array_equal(many[one], single)

    def test_tasks_differ(self, environment: Environment) -> None:
        tasks, _, _ = begun(environment, 200)
        assert len(np.unique(tasks, axis=0)) > 1


def told(
    environment: Environment, tasks: np.ndarray, uniforms: np.ndarray, actions: np.ndarray
) -> Iterator[np.ndarray]:
    """Observations, rewards and ends of episodes, one after another."""
    yield environment.reset(tasks, uniforms)
    for action in actions:
        yield from environment.step(action)


def test_navigation_is_the_plain_loop() -> None:
    environment = open_environment("navigation_2d")
    tasks, _, observations = begun(environment, 40)
    actions = walk(60, 40, environment) / 10
    np.testing.assert_array_equal(observations, np.zeros((40, 2)))
    told = [environment.step(action) for action in actions]
    for episode, (goal_x, goal_y) in enumerate(tasks.tolist()):
        x = y = 0.0
        for time, (right, up) in enumerate(actions[:, episode].tolist()):
            x, y = x + min(max(right, -0.1), 0.1), y + min(max(up, -0.1), 0.1)
            reward = -math.sqrt((x - goal_x) ** 2 + (y - goal_y) ** 2)
            ended = abs(x - goal_x) < 0.01 and abs(y - goal_y) < 0.01
            seen, rewards, ends = (array[episode] for array in told[time])
            assert (seen.tolist(), rewards, ends) == ([x, y], reward, ended)


def test_navigation_ends_where_both_coordinates_have_arrived() -> None:
    environment = open_environment("navigation_2d")
    goals = np.array([[0.05, 0.05], [0.05, 0.05], [0.05, 0.05], [0.05, -0.02]])
    environment.reset(goals, np.empty((4, 0)))
    _, _, ended = environment.step(np.array([[0.045, 0.055], [0.045, 0.0], [0.0, 0.045], [0.0405, -0.0295]]))
    assert ended.tolist() == [True, False, False, True]


def test_tasks_are_those_of_the_paper() -> None:
    corners = np.array([[1e-9, 1e-9], [0.5, 0.25], [1 - 1e-9, 1 - 1e-9]])
    navigation, direction, velocity = (open_environment(name) for name in ENVIRONMENTS)
    np.testing.assert_allclose(navigation.tasks(corners), [[-0.5, -0.5], [0, -0.25], [0.5, 0.5]], atol=1e-8)
    np.testing.assert_array_equal(direction.tasks(np.array([[0.1], [0.49], [0.51], [0.9]]))[:, 0], [-1, -1, 1, 1])
    np.testing.assert_allclose(velocity.tasks(corners[:, :1])[:, 0], [0, 1, 2], atol=1e-8)


@pytest.mark.parametrize("name", ["half_cheetah_direction", "half_cheetah_velocity"])
def test_half_cheetah_is_gymnasiums_to_the_bit(name: str) -> None:
    environment = open_environment(name)  # first: from here on MuJoCo's warnings are not written to a file
    import gymnasium

    steps = 200
    tasks, uniforms, observations = begun(environment, 3)
    actions = walk(steps, 3, environment)
    told = [environment.step(action) for action in actions]
    body = gymnasium.make("HalfCheetah-v5").unwrapped
    for episode in range(3):
        body.reset(seed=0)
        body.step(np.ones(6))  # a past that a reset must forget
        body.reset(seed=0)
        turned = np.sqrt(-2 * np.log(uniforms[episode, 9::2])), 2 * np.pi * uniforms[episode, 10::2]
        pairs = np.stack([turned[0] * np.cos(turned[1]), turned[0] * np.sin(turned[1])], axis=1)
        positions = body.init_qpos + 0.1 * (2 * uniforms[episode, :9] - 1)
        body.set_state(positions, 0.1 * pairs.ravel()[:9])
        np.testing.assert_array_equal(observations[episode], np.concatenate([positions[1:], 0.1 * pairs.ravel()[:9]]))
        for time in range(steps):
            action = actions[time, episode]
            seen, _, ended, _, info = body.step(action)
            speed, task = info["x_velocity"], tasks[episode, 0]
            drive = speed * task if name.endswith("direction") else -abs(speed - task)
            assert told[time][1][episode] == drive - 0.05 * np.square(action).sum()
            np.testing.assert_array_equal(told[time][0][episode], seen)
            assert told[time][2][episode] == ended


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_policy_gone_wild_is_seen_in_rewards_alone(
    bad: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # where MuJoCo would leave a log
    environment = open_environment("half_cheetah_velocity")
    tasks, uniforms, _ = begun(environment, 2)
    environment.step(np.array([[bad] * 6, [0.5] * 6]))
    _, rewards, _ = environment.step(np.array([[bad] * 6, [0.5] * 6]))
    assert not np.isfinite(rewards[0])
    tame = open_environment("half_cheetah_velocity")
    tame.reset(tasks[1:], uniforms[1:])
    tame.step(np.full((1, 6), 0.5))
    assert tame.step(np.full((1, 6), 0.5))[1][0] == rewards[1]
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_an_environment_without_its_packages_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "find_spec", lambda name: None)
    check_installed("navigation_2d")
    with pytest.raises(EnvironmentAbsent) as told:
        open_environment("half_cheetah_direction")
    assert str(told.value) == (
        "environment half_cheetah_direction needs gymnasium and mujoco: install them with pip install 'metasweep[rl]'"
    )
    assert told.value.exit_code == 2


def test_an_unknown_environment_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown environment 'navigation'; did you mean 'navigation_2d'"):
        open_environment("navigation")
