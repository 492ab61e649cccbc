"""Memory of a meta-step, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

STEP = """
import sys
from pathlib import Path

import numpy as np
import torch

from trainers.config import TrialConfig
from trainers.episodes import Episode
from trainers.inner_loop import InnerLoop
from trainers.memory import keep_freed_memory
from trainers.meta_step import meta_gradient
from trainers.network import Network
from trainers.tasks import as_tasks

def peak_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024

torch.set_num_threads(1)
keep_freed_memory()
tasks, steps = map(int, sys.argv[1:])
config = TrialConfig.model_validate(
    {"episodes": {"queries": 1}, "backbone": {"width": 32}, "algorithm": {"inner_steps": steps}}
)
network = Network(config, (28, 28, 1))
params = network.init(0)
images = np.zeros((5, 1, 28, 28, 1), np.uint8)
batch = as_tasks([Episode(images, images)] * tasks, params["head.bias"])
before = peak_mb()
meta_gradient(network, params, batch, InnerLoop.of_training(config))
print(peak_mb() - before)
"""


def step_mb(tasks: int, steps: int = 1) -> float:
    command = [sys.executable, "-c", STEP, str(tasks), str(steps)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to tell a process's peak memory")
def test_memory_does_not_grow_with_the_meta_batch_and_hardly_with_inner_steps() -> None:
    """A step of 400 tasks would need five times the memory of one of 80, were it not cut into chunks."""
    some = step_mb(80)
    assert 20 < some < 250
    assert step_mb(400) < 2 * some
    assert step_mb(80, steps=10) < 3 * some
