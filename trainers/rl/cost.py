"""Floating-point operations of an iteration, counted by shapes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from trainers.rl.config import RLConfig
from trainers.rl.inner_loop import Experience, InnerLoop
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
    with FlopCounterMode(display=False) as counter:
        objective = OuterObjective(loop, params, [experience] * loop.steps, experience)
        objective.gradient()
        objective.compared(dict(params))
    once = int(counter.get_total_flops())
    vector: Tensor = torch.cat([value.flatten() for value in params.values()])
    with FlopCounterMode(display=False) as counter:
        objective.fisher_product(vector)
    products = config.training.cg_iterations * int(counter.get_total_flops())
    weights = sum(value.numel() for name, value in params.items() if name.endswith(".weight"))
    playing = 2 * weights * steps * (loop.steps + 1)
    return config.training.meta_batch * (once + products + playing)
