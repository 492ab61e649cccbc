"""Floating-point operations of an iteration, counted by shapes."""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.backbones import Params
from trainers.flop_counter import FlopCounter
from trainers.rl.config import RLConfig
from trainers.rl.inner_loop import Experience, InnerLoop, one_step
from trainers.rl.policy import init
from trainers.rl.trpo import OuterObjective


def count_flops(config: RLConfig) -> int:
    """Of the matrix products of one iteration: playing, inner loop, and an outer step whose first length is good.

    Episodes count as if each went on to the horizon. What the environments themselves cost is not in it.
    """
    entry, loop = config.environment.entry, InnerLoop.of_training(config)
    params = init(config.policy, entry.observation_size, entry.action_size, 0)
    steps = config.sampling.trajectories * config.environment.resolved()
    experience = Experience(
        torch.zeros(1, steps, entry.observation_size),
        torch.zeros(1, steps, entry.action_size),
        torch.zeros(1, steps),
        torch.full((1, steps), 1 / steps),
    )
    with FlopCounter() as counter:
        adapted: Params = params
        for _ in range(loop.steps):
            adapted = one_step(loop, adapted, experience)
        objective = OuterObjective(loop, params, [experience] * loop.steps, experience)
        objective.gradient()
        objective.compared(dict(params))
    once: int = counter.total
    vector: Tensor = torch.cat([value.flatten() for value in params.values()])
    with FlopCounter() as counter:
        objective.fisher_product(vector)
    products: int = config.training.cg_iterations * counter.total
    weights = sum(value.numel() for name, value in params.items() if name.endswith(".weight"))
    playing = 2 * weights * steps * (loop.steps + 1)
    return config.training.meta_batch * (once + products + playing)
