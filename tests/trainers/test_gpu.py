"""The same code on a CUDA device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable
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
