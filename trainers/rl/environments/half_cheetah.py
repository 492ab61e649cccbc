"""The body of HalfCheetah-v5 (Gymnasium): many of them in lockstep, by MuJoCo itself.

The same numbers as Gymnasium's environment, to the bit, at twice its rate and more: one ``MjData`` steps all of them,
each from its row of an array, so there is no environment, wrapper or dictionary an episode, and the one working memory
stays in the cache. Forces that only Gymnasium's other bodies observe are not computed.

The tasks' rewards are those of ``half_cheetah_direction.py`` and ``half_cheetah_velocity.py``. Departure from the code
base that the paper's authors used: observations are the 17 of version 5, which lack its three coordinates of the torso.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import mujoco
import numpy as np

from trainers.rl.environments.environment import Floats
from trainers.rl.noise import normal

MODEL = "envs/mujoco/assets/half_cheetah.xml"
"""Where Gymnasium has the body."""
FRAMES = 5
"""Steps of MuJoCo to a step of ours."""
RESET_SPREAD = 0.1
"""First positions are uniform within that of the body at rest, first velocities normal with that deviation."""
CONTROL_COST = 0.05
"""Of a squared action, in every task."""

OBSERVATION_SIZE = 17
ACTION_SIZE = 6
JOINTS = 9
"""Positions, and as many velocities; the first is how far the body is, which is not observed."""
RESET_UNIFORMS = JOINTS + 2 * -(-JOINTS // 2)
"""Normal numbers come in pairs."""

# What decides the next step, as ``mj_getState`` orders it. The solver starts from its last answer (warm start), so
# without that the numbers would not be Gymnasium's.
_STATE = int(
    mujoco.mjtState.mjSTATE_QPOS
    | mujoco.mjtState.mjSTATE_QVEL
    | mujoco.mjtState.mjSTATE_WARMSTART
    | mujoco.mjtState.mjSTATE_CTRL
)
_OBSERVED = slice(1, 2 * JOINTS)
_CONTROLS = slice(3 * JOINTS, 3 * JOINTS + ACTION_SIZE)

# MuJoCo writes its warnings to stderr and to a file where the process happens to run: of an attribute of Gymnasium's
# file, and of states that a policy has driven to infinity, which it sets back. Returns show the latter.
mujoco.set_mju_user_warning(lambda message: None)


class HalfCheetahs:
    """A batch of bodies. Positions and velocities in metres, radians and seconds."""

    def __init__(self) -> None:
        gymnasium = find_spec("gymnasium")  # where it is, without the import of what it needs for other environments
        assert gymnasium is not None, "checked before it is opened"
        self._model = mujoco.MjModel.from_xml_path(str(Path(str(gymnasium.origin)).parent / MODEL))
        self._data = mujoco.MjData(self._model)
        self._step_s = self._model.opt.timestep * FRAMES
        assert mujoco.mj_stateSize(self._model, _STATE) == _CONTROLS.stop

    def reset(self, uniforms: Floats) -> Floats:
        """A body a row of uniforms [B, RESET_UNIFORMS] -> observations [B, 17]."""
        self._states = np.zeros((len(uniforms), _CONTROLS.stop))
        self._states[:, :JOINTS] = self._model.qpos0 + RESET_SPREAD * (2 * uniforms[:, :JOINTS] - 1)
        self._states[:, JOINTS : 2 * JOINTS] = RESET_SPREAD * normal(uniforms[:, JOINTS:])[:, :JOINTS]
        return self._states[:, _OBSERVED].copy()

    def step(self, actions: Floats) -> tuple[Floats, Floats]:
        """Actions [B, 6], cut to ±1 by the motors -> observations [B, 17], forward velocities [B] over the step."""
        model, data = self._model, self._data
        self._states[:, _CONTROLS] = actions
        before = self._states[:, 0].copy()
        for state in self._states:
            mujoco.mj_setState(model, data, state, _STATE)
            mujoco.mj_step(model, data, FRAMES)
            mujoco.mj_getState(model, data, state, _STATE)
        return self._states[:, _OBSERVED].copy(), (self._states[:, 0] - before) / self._step_s


def control_cost(actions: Floats) -> Floats:
    """Of actions [B, 6] as they are asked for, not as the motors cut them: [B]."""
    squares: Floats = np.square(actions).sum(axis=1)
    return CONTROL_COST * squares
