"""Where policies go in environments whose observations are places, for a picture: no score rests on it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

from trainers.backbones import Params
from trainers.rl.config import RLConfig
from trainers.rl.environments.navigation_2d import LONGEST_STEP
from trainers.rl.inner_loop import InnerLoop
from trainers.rl.noise import TEST_SEED, Address
from trainers.rl.play import Player
from trainers.rl.sampling import Trajectories, draw_tasks


def paths(config: RLConfig, params: Params, tasks: int = 4, device: str = "cpu") -> dict[str, npt.NDArray[np.float64]]:
    """The first tasks of a config's test, played as there.

    Args:
        config: of ``navigation_2d``.
        params: the trained weights.
        tasks: how many.
        device: where to calculate.

    Returns:
        ``goals`` [tasks, 2]; ``before`` and ``after`` adaptation [tasks, trajectories, time + 1, 2], the start first,
        NaN after the end of an episode.
    """
    params = {name: value.to(device) for name, value in params.items()}
    player = Player.of(config, config.test_trajectories)
    address = Address("test", TEST_SEED, tuple(range(tasks)))
    rounds = player.adapt(InnerLoop.of_test(config), params, address).rounds
    goals = draw_tasks(player.environment, address)
    return {"goals": goals, "before": _places(rounds[0]), "after": _places(rounds[-1])}


def _places(played: Trajectories) -> npt.NDArray[np.float64]:
    observations, actions, alive = (_float64(one) for one in (played.observations, played.actions, played.alive))
    after = observations + np.clip(actions, -LONGEST_STEP, LONGEST_STEP)
    after[alive == 0] = np.nan
    return np.concatenate([observations[:, :, :1], after], axis=2)


def _float64(values: Tensor) -> npt.NDArray[np.float64]:
    return np.asarray(values.double().numpy())
