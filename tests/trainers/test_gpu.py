"""The same code on a CUDA device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable
from trainers.episodes import Episode
from trainers.inner_loop import InnerLoop
from trainers.meta_step import meta_gradient, meta_gradient_by_autograd
from trainers.network import Network
from trainers.tasks import as_tasks
from trainers.trial import run_trial

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("name", ["maml", "anil", "nil"])
def test_a_trial_on_cuda_agrees_with_the_cpu_and_repeats_itself(strokes: ImageTable, name: str) -> None:
    config = TrialConfig.model_validate(
        {
            "episodes": {"ways": 3, "shots": 1, "queries": 2},
            "backbone": {"width": 4},
            "algorithm": {"name": name, "inner_steps": 2},
            "training": {"iterations": 8, "validate_every": 4, "meta_batch": 2, "validation_episodes": 6},
            "evaluation": {"episodes": 20},
        }
    )
    on_cpu = run_trial(config, strokes)
    on_cuda, again = (run_trial(config, strokes, device="cuda") for _ in range(2))
    assert on_cuda.progress.to_bytes() == again.progress.to_bytes()
    losses = [[point.train_loss for point in result.progress.curve] for result in (on_cpu, on_cuda)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-2)
    assert abs(on_cpu.accuracies.mean() - on_cuda.accuracies.mean()) < 0.1


@pytest.mark.parametrize("name", ["maml", "anil"])
def test_a_meta_gradient_on_cuda_is_that_of_autograd(name: str) -> None:
    config = TrialConfig.model_validate(
        {
            "episodes": {"ways": 3, "shots": 2, "queries": 2},
            "backbone": {"width": 4},
            "algorithm": {"name": name, "inner_steps": 3},
        }
    )
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (3, 2, 20, 20, 3), dtype=np.uint8) for _ in range(8)]
    network = Network(config, (20, 20, 3))
    params = {key: value.double().cuda() for key, value in network.init(0).items()}
    tasks = as_tasks([Episode(*pair) for pair in zip(images[::2], images[1::2], strict=True)], params["head.bias"])
    loop = InnerLoop.of_training(config)
    found = meta_gradient(network, params, tasks, loop)
    expected = meta_gradient_by_autograd(network, params, tasks, loop)
    for key, value in expected.gradient.items():
        torch.testing.assert_close(found.gradient[key], value, rtol=1e-9, atol=1e-11)
