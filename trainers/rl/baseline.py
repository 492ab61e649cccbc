"""Advantages: how much better than a baseline each action turned out.

The baseline is the linear one of Duan et al. (2016): a ridge regression of what is still to be got on the observation,
its squares and powers of the time. It is fitted to the very trajectories that it is used on, for each task alone, all
tasks at once. Advantages are generalised ones (GAE, Schulman et al. 2016).
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.rl.sampling import Trajectories

RIDGE = 1e-5
"""Added to the diagonal; ten times as much, again and again, where the regression can't be solved."""
RAISED_AT_MOST = 12
"""Times; what can't be solved then is not finite, and so is its baseline."""
TIME_UNIT = 100
SMALLEST_DEVIATION = 1e-8
"""Added to the deviation of a task's advantages, which may all be the same."""


def advantages(trajectories: Trajectories, discount: float, gae_lambda: float) -> Tensor:
    """Advantages of all actions, mean 0 and deviation 1 a task: [tasks, trajectories, time], 0 after an end."""
    alive = trajectories.alive
    raw = generalised_advantages(trajectories, values(trajectories, discount), discount, gae_lambda)
    count = alive.sum(dim=(1, 2), keepdim=True)
    centred = (raw - raw.sum(dim=(1, 2), keepdim=True) / count) * alive
    deviation = (centred.square().sum(dim=(1, 2), keepdim=True) / count).sqrt()
    return centred / (deviation + SMALLEST_DEVIATION)


def generalised_advantages(trajectories: Trajectories, values: Tensor, discount: float, gae_lambda: float) -> Tensor:
    """As they are (equation 16 of Schulman et al. 2016), 0 after an end; nothing is to be got after the last step."""
    following = torch.cat([values[..., 1:], torch.zeros_like(values[..., :1])], dim=-1)
    surprises = trajectories.rewards + discount * following - values
    return discounted_sums(surprises, discount * gae_lambda)


def discounted_sums(numbers: Tensor, discount: float) -> Tensor:
    """Of each number and those after it, [..., time]: the one k steps later counts ``discount``ᵏ."""
    steps = numbers.movedim(-1, 0).contiguous()
    sums = torch.empty_like(steps)
    later = torch.zeros_like(steps[0])
    for time in reversed(range(len(steps))):
        torch.add(steps[time], later, alpha=discount, out=sums[time])
        later = sums[time]
    return sums.movedim(0, -1)


def values(trajectories: Trajectories, discount: float) -> Tensor:
    """What the baseline expects to be still got, discounted: [tasks, trajectories, time], 0 after an end.

    In float64 inside: squares of observations and powers of the time make an ill-conditioned regression.
    """
    described = _features(trajectories).flatten(1, 2)
    targets = discounted_sums(trajectories.rewards.double(), discount).flatten(1, 2)[..., None]
    gram, moments = described.mT @ described, described.mT @ targets
    fitted = described @ _solve(gram, moments)
    return fitted.view(trajectories.rewards.shape).to(trajectories.rewards.dtype)


def _features(trajectories: Trajectories) -> Tensor:
    """[tasks, trajectories, time, 2 · observation + 4], float64, 0 after an end."""
    observations, alive = trajectories.observations.double(), trajectories.alive.double()[..., None]
    time = torch.arange(observations.shape[2], dtype=torch.float64, device=alive.device)[:, None] / TIME_UNIT
    clock = torch.cat([time, time**2, time**3, torch.ones_like(time)], dim=1)
    return torch.cat([observations, observations.square(), clock.expand(*observations.shape[:3], 4)], dim=3) * alive


def _solve(gram: Tensor, moments: Tensor) -> Tensor:
    """(gram + ridge) x = moments of every task, each with the smallest ridge tried that makes it positive definite."""
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    ridge = gram.new_full((len(gram), 1, 1), RIDGE)
    for _ in range(RAISED_AT_MOST):
        factor, failed = torch.linalg.cholesky_ex(gram + ridge * identity)
        if not failed.any():
            break
        ridge = torch.where(failed[:, None, None] > 0, 10 * ridge, ridge)
    solved = torch.cholesky_solve(moments, factor)
    return torch.where(failed[:, None, None] > 0, torch.nan, solved)
