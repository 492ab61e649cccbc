"""What an environment is: many episodes of many tasks in lockstep, as numpy arrays."""

from __future__ import annotations

from typing import Protocol

import numpy.typing as npt
from numpy import bool_, float64

Floats = npt.NDArray[float64]
Flags = npt.NDArray[bool_]


class Environment(Protocol):
    """A family of Markov decision processes, and the batch of B episodes of it that runs.

    It holds no random numbers: tasks and first states are functions of the uniform ones that it is given, so an episode
    is the same whatever runs beside it. Nothing of it knows how numbers are addressed (``trainers.rl.noise``).
    """

    name: str
    """Its key in ``ENVIRONMENTS``."""
    observation_size: int
    action_size: int
    task_size: int
    """Numbers that say which task it is."""
    task_uniforms: int
    """Uniform numbers that a task is made of."""
    reset_uniforms: int
    """Uniform numbers that a first state is made of."""

    def tasks(self, uniforms: Floats) -> Floats:
        """Tasks [n, task_size] of numbers in (0, 1), [n, task_uniforms]."""

    def reset(self, tasks: Floats, uniforms: Floats) -> Floats:
        """Begins an episode of every row of tasks [B, task_size]; forgets the batch before.

        uniforms [B, reset_uniforms], each in (0, 1) -> first observations [B, observation_size].
        """

    def step(self, actions: npt.NDArray[float64]) -> tuple[Floats, Floats, Flags]:
        """One step of every episode: actions [B, action_size] -> observations, rewards [B], whether it has ended [B].

        Arrays are new ones, the caller's to keep. An episode that has ended may be stepped on: what it then says does
        not count. The horizon is the sampler's affair.
        """
