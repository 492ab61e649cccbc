"""Operations of an iteration against a count by hand."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trainers.rl.config import RLConfig
from trainers.rl.cost import count_flops

MUL_ADD = 2
STEPS = 4 * 5  # of a task: trajectories and horizon
FIRST, SECOND = MUL_ADD * STEPS * 2 * 7, MUL_ADD * STEPS * 7 * 2
"""Products of the hidden layer and of the head: two numbers observed, seven units, actions of two numbers."""


def operations(inner_steps: int) -> int:
    return count_flops(
        RLConfig.model_validate(
            {
                "environment": {"horizon": 5},
                "policy": {"hidden": [7]},
                "sampling": {"trajectories": 4},
                "algorithm": {"inner_steps": inner_steps},
                "training": {"meta_batch": 3, "cg_iterations": 6},
            }
        )
    )


@pytest.mark.parametrize("inner_steps", [1, 3])
def test_of_maml(inner_steps: int) -> None:
    """A pass is one product a layer, a gradient two but for that by the observations, a Hessian's product twice that
    of both. Its tangent has one term in the first layer and two in the second; going back, the slopes of the units move
    by two; then come the gradients, of which the second layer's has two terms."""
    forward = FIRST + SECOND
    adapt = forward + FIRST + 2 * SECOND
    hessian = FIRST + 2 * SECOND + 2 * SECOND + FIRST + 2 * SECOND
    tangent, back = FIRST + 2 * SECOND, FIRST + 2 * SECOND
    played = (inner_steps + 1) * forward + inner_steps * adapt
    learnt = 2 * (inner_steps * adapt + forward) + back + inner_steps * hessian  # where it is, and at the first length
    product = inner_steps * hessian + tangent + back + inner_steps * hessian
    assert operations(inner_steps) == 3 * (played + learnt + 6 * product)


def test_counting_imports_no_compiler() -> None:
    """It takes seconds, of every training."""
    counts = "import sys, trainers.rl.cost as cost; cost.count_flops(cost.RLConfig())"
    code = f"{counts}; assert 'torch._dynamo' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
