"""Policies on their tasks: they play, adapt to what they got, and play again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from trainers.backbones import Params
from trainers.rl.baseline import advantages
from trainers.rl.config import RLConfig
from trainers.rl.environments import open_environment
from trainers.rl.environments.environment import Environment, Floats
from trainers.rl.inner_loop import Experience, InnerLoop, one_step
from trainers.rl.noise import Address
from trainers.rl.policy import LOG_STD, act, device_of
from trainers.rl.sampling import Trajectories, draw_tasks, sample


@dataclass(frozen=True)
class Played:
    """What came of some tasks."""

    rounds: Sequence[Trajectories]
    """Before the first inner step, after it, … and after the last."""
    inner: Sequence[Experience]
    """What each inner step learned from."""
    params: Params
    """After the last one: a task's own where they adapt."""

    @property
    def returns(self) -> tuple[Tensor, Tensor]:
        """Mean return of every task before and after adaptation, float64 [tasks]."""
        return self.rounds[0].returns, self.rounds[-1].returns

    @property
    def steps(self) -> int:
        """Environment steps of all of it."""
        return sum(trajectories.steps for trajectories in self.rounds)

    @property
    def is_finite(self) -> bool:
        """Whether the policies and their returns are numbers."""
        return all(value.isfinite().all() for value in (*self.params.values(), *self.returns))

    @property
    def fault(self) -> str:
        """Where it ended, in words, if with something that is not finite."""
        what = "a return" if len(self.rounds) > len(self.inner) else "an adapted policy"
        where = f"after inner step {len(self.inner)}" if self.inner else "before adaptation"
        return f"{what} {where} is not finite"


@dataclass(frozen=True)
class Player:
    """How the policies of a config play."""

    environment: Environment
    layers: tuple[str, ...]
    trajectories: int
    """Of a task, each time."""
    horizon: int
    discount: float
    gae_lambda: float

    @classmethod
    def of(cls, config: RLConfig, trajectories: int | None = None) -> Player:
        """That of a config's training and validation, or with another number of trajectories.

        Raises:
            EnvironmentAbsent: its packages are not installed.
        """
        return cls(
            environment=open_environment(config.environment.name),
            layers=config.layers,
            trajectories=trajectories or config.sampling.trajectories,
            horizon=config.environment.resolved(),
            discount=config.sampling.discount,
            gae_lambda=config.sampling.gae_lambda,
        )

    def experience(self, trajectories: Trajectories, device: str) -> Experience:
        """What is to be learned from trajectories."""
        return Experience.of(trajectories, advantages(trajectories, self.discount, self.gae_lambda), device)

    def play(self, params: Params, tasks: Floats, address: Address) -> Trajectories:
        """Trajectories of tasks [tasks, task_size] by one policy, or by each task's own."""
        device = device_of(params)

        def answer(observations: Tensor, noise: Tensor) -> Tensor:
            return act(self.layers, params, observations.to(device), noise.to(device)).cpu()

        dtype = params[LOG_STD].dtype
        return sample(self.environment, tasks, answer, self.trajectories, address, self.horizon, dtype)

    def adapt(self, loop: InnerLoop, params: Params, address: Address, start: Trajectories | None = None) -> Played:
        """Plays the tasks at an address before each inner step and after the last one.

        ``start`` are the trajectories before the first step, where they are known. It ends early with a policy or a
        return that is not finite.
        """
        tasks = draw_tasks(self.environment, address)
        rounds: list[Trajectories] = [start or self.play(params, tasks, address)]
        inner: list[Experience] = []
        device = device_of(params)
        for number in range(loop.steps):
            if not Played(rounds, inner, params).is_finite:
                break
            inner.append(self.experience(rounds[-1], device))
            params = one_step(loop, params, inner[-1])
            if all(value.isfinite().all() for value in params.values()):
                rounds.append(self.play(params, tasks, replace(address, inner_step=number + 1)))
        return Played(rounds, inner, params)
