"""HalfCheetah-Velocity (Finn et al. 2017): run as fast as a goal says that the body is not told."""

from __future__ import annotations

import numpy as np

from trainers.rl.environments.environment import Flags, Floats
from trainers.rl.environments.half_cheetah import (
    ACTION_SIZE,
    OBSERVATION_SIZE,
    RESET_UNIFORMS,
    HalfCheetahs,
    control_cost,
)

FASTEST = 2.0
"""Goal, in metres a second; all of them are forwards."""


class Velocity:
    """A task is the velocity to reach; the reward the difference to it, negated, less the cost of the action."""

    name = "half_cheetah_velocity"
    observation_size = OBSERVATION_SIZE
    action_size = ACTION_SIZE
    task_size = task_uniforms = 1
    reset_uniforms = RESET_UNIFORMS

    def __init__(self) -> None:
        self._bodies = HalfCheetahs()

    def tasks(self, uniforms: Floats) -> Floats:
        """Velocities [n, 1], uniform up to ``FASTEST``."""
        return FASTEST * uniforms

    def reset(self, tasks: Floats, uniforms: Floats) -> Floats:
        """Bodies near rest."""
        self._goals = tasks[:, 0]
        return self._bodies.reset(uniforms)

    def step(self, actions: Floats) -> tuple[Floats, Floats, Flags]:
        """Never ends an episode: a body that has fallen may go on."""
        observations, velocities = self._bodies.step(actions)
        rewards = -np.abs(velocities - self._goals) - control_cost(actions)
        return observations, rewards, np.zeros(len(rewards), bool)
