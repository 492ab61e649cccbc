"""2D-Navigation (Finn et al. 2017): a point in the plane walks to a goal that it is not told.

As in the code base that the paper's authors used: it starts at the origin, an action is its displacement, the reward
the distance to the goal, negated, after the step.
"""

from __future__ import annotations

import numpy as np

from trainers.rl.environments.environment import Flags, Floats

LONGEST_STEP = 0.1
"""Of either coordinate; longer ones are cut to it."""
GOAL_WITHIN = 0.5
"""Goals are uniform in a square about the origin, that far to each side."""
ARRIVED_WITHIN = 0.01
"""Of the goal, in both coordinates: there an episode ends."""


class Navigation2D:
    """A task is a goal, an observation the position."""

    name = "navigation_2d"
    observation_size = action_size = task_size = task_uniforms = 2
    reset_uniforms = 0

    def tasks(self, uniforms: Floats) -> Floats:
        """Goals [n, 2]."""
        return GOAL_WITHIN * (2 * uniforms - 1)

    def reset(self, tasks: Floats, uniforms: Floats) -> Floats:
        """Every episode at the origin."""
        self._goals = tasks
        self._positions = np.zeros_like(tasks)
        return self._positions

    def step(self, actions: Floats) -> tuple[Floats, Floats, Flags]:
        """Moves each point, at most ``LONGEST_STEP`` a coordinate."""
        self._positions = self._positions + np.clip(actions, -LONGEST_STEP, LONGEST_STEP)
        away = self._positions - self._goals
        x, y = away[:, 0], away[:, 1]
        arrived = (np.abs(x) < ARRIVED_WITHIN) & (np.abs(y) < ARRIVED_WITHIN)
        return self._positions, -np.sqrt(x * x + y * y), arrived
