"""Trajectories of a policy: all episodes of all tasks in lockstep, with one call of the policy a step.

Trajectory j of task i is a function of environment, part, seed, iteration, inner step, i, j and the policy's answers to
it: neither of the tasks and trajectories beside it, nor of the horizon before its end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainers.rl.environments.environment import Environment, Floats
from trainers.rl.noise import Address, normal, uniform

Act = Callable[[Tensor, Tensor], Tensor]
"""Observations [tasks, trajectories, observation], standard normal noise [tasks, trajectories, action] -> actions."""

NOISE_AT_ONCE = 2**17
"""Random numbers made together, so that what makes them stays in a cache."""


@dataclass(frozen=True)
class Trajectories:
    """What was seen, done and got; everything is 0 after the end of an episode."""

    observations: Tensor
    """[tasks, trajectories, time, observation], each before its action"""
    actions: Tensor
    """[tasks, trajectories, time, action]"""
    rewards: Tensor
    """[tasks, trajectories, time], each of its action"""
    alive: Tensor
    """[tasks, trajectories, time], 1 where the episode has not ended before, and 0"""

    @property
    def returns(self) -> Tensor:
        """Mean over a task's trajectories of the sum of rewards, [tasks], float64."""
        return self.rewards.double().sum(dim=2).mean(dim=1)

    @property
    def steps(self) -> int:
        """Environment steps of all episodes."""
        return int(self.alive.sum(dtype=torch.float64))


def draw_tasks(environment: Environment, address: Address) -> Floats:
    """The tasks at an address, [tasks, task_size]: functions of environment, part, seed and index alone."""
    key = f"{environment.name}/{address.part}/{address.seed}/task"
    return environment.tasks(uniform(key, address.tasks, 1, environment.task_uniforms)[:, 0])


def sample(
    environment: Environment,
    tasks: Floats,
    act: Act,
    trajectories: int,
    address: Address,
    horizon: int,
    dtype: torch.dtype = torch.float32,
) -> Trajectories:
    """Episodes of tasks [tasks, task_size], which ``address`` names, by a policy: ``trajectories`` each.

    ``act`` is called without gradients, and what it gets is its own to keep, on the CPU.
    """
    shape = (len(tasks), trajectories)
    resets, noise = _random(environment, trajectories, address, horizon)
    noises = torch.from_numpy(noise).to(dtype)
    observations = torch.zeros(horizon, *shape, environment.observation_size, dtype=dtype)
    actions = torch.zeros(horizon, *shape, environment.action_size, dtype=dtype)
    rewards = np.zeros((horizon, shape[0] * shape[1]))
    alive = np.zeros((horizon, shape[0] * shape[1]), bool)
    running = np.ones(shape[0] * shape[1], bool)
    seen = environment.reset(np.repeat(tasks, trajectories, axis=0), resets)
    with torch.no_grad():
        for time in range(horizon):
            observations[time] = torch.from_numpy(seen).view(*shape, -1)
            actions[time] = act(observations[time], noises[time])
            done_by = actions[time].view(-1, environment.action_size).numpy().astype(np.float64)
            alive[time] = running
            seen, rewards[time], ended = environment.step(done_by)
            running = running & ~ended
            if not running.any():
                break
    lives = _by_task(torch.from_numpy(alive).view(horizon, *shape))
    return Trajectories(
        observations=_by_task(observations).masked_fill_(~lives[..., None], 0),
        actions=_by_task(actions).masked_fill_(~lives[..., None], 0),
        rewards=_by_task(torch.from_numpy(rewards).to(dtype).view(horizon, *shape)).masked_fill_(~lives, 0),
        alive=lives.to(dtype),
    )


def _by_task(values: Tensor) -> Tensor:
    """A copy: [time, tasks, trajectories, ...] -> [tasks, trajectories, time, ...], in one piece."""
    return values.movedim(0, 2).clone(memory_format=torch.contiguous_format)


def _random(environment: Environment, trajectories: int, address: Address, horizon: int) -> tuple[Floats, Floats]:
    """Uniform numbers of first states [episodes, reset_uniforms]; normal ones [time, tasks, trajectories, action]."""
    moment = f"iteration {address.iteration}/inner step {address.inner_step}"
    key = f"{environment.name}/{address.part}/{address.seed}/{moment}"
    resets = uniform(f"{key}/reset", address.tasks, trajectories, environment.reset_uniforms)
    numbers = horizon * environment.action_size
    noise = np.empty((horizon, len(address.tasks), trajectories, environment.action_size))
    together = max(1, NOISE_AT_ONCE // (trajectories * numbers))
    for first in range(0, len(address.tasks), together):
        tasks = address.tasks[first : first + together]
        flat = normal(uniform(f"{key}/actions", tasks, trajectories, numbers + numbers % 2))[..., :numbers]
        by_time = flat.reshape(len(tasks), trajectories, horizon, environment.action_size)
        noise[:, first : first + together] = np.moveaxis(by_time, 2, 0)
    return resets.reshape(len(address.tasks) * trajectories, -1), noise
