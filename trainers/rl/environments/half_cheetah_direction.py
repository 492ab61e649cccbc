"""HalfCheetah-Direction (Finn et al. 2017): run forwards, or backwards; the body is not told which."""

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


class Direction:
    """A task is the direction, 1 or −1; the reward the velocity that way, less the cost of the action."""

    name = "half_cheetah_direction"
    observation_size = OBSERVATION_SIZE
    action_size = ACTION_SIZE
    task_size = task_uniforms = 1
    reset_uniforms = RESET_UNIFORMS

    def __init__(self) -> None:
        self._bodies = HalfCheetahs()

    def tasks(self, uniforms: Floats) -> Floats:
        """Directions [n, 1], either as likely."""
        return np.where(uniforms < 0.5, -1.0, 1.0)

    def reset(self, tasks: Floats, uniforms: Floats) -> Floats:
        """Bodies near rest."""
        self._directions = tasks[:, 0]
        return self._bodies.reset(uniforms)

    def step(self, actions: Floats) -> tuple[Floats, Floats, Flags]:
        """Never ends an episode: a body that has fallen may go on."""
        observations, velocities = self._bodies.step(actions)
        rewards = velocities * self._directions - control_cost(actions)
        return observations, rewards, np.zeros(len(rewards), bool)
