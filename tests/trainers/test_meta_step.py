"""The outer step against torch's own classes, bit for bit; and that it is taken without torch's compiler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from trainers.config import TrainingConfig
from trainers.flop_counter import FlopCounter
from trainers.meta_step import Adam

STEPS, STOP = 12, 5


@pytest.mark.parametrize("clip", [None, 0.3])
def test_adam_is_that_of_torch_and_goes_on_from_its_moments(clip: float | None) -> None:
    random = torch.Generator().manual_seed(3)
    params = {name: torch.randn(shape, generator=random) for name, shape in {"a": (50, 7), "b": (4,)}.items()}
    theirs = {name: value.clone().requires_grad_() for name, value in params.items()}
    reference = torch.optim.Adam(theirs.values(), lr=0.01, foreach=False)
    ours = Adam(TrainingConfig(clip=clip, meta_lr=0.01), params)
    for step in range(STEPS):
        if step == STOP:
            ours = Adam(TrainingConfig(clip=clip, meta_lr=0.01), ours.params, ours.moments(), step)
        gradient = {name: torch.randn(value.shape, generator=random) for name, value in params.items()}
        for name, value in theirs.items():
            value.grad = gradient[name] if clip is None else gradient[name].clamp(-clip, clip)
        reference.step()
        ours.step(gradient)
    moments = ours.moments()
    for name, value in theirs.items():
        assert torch.equal(ours.params[name], value)
        for moment in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(moments[f"{name}.{moment}"], reference.state[value][moment])


@pytest.mark.parametrize("inference", [False, True])
def test_operations_are_counted_as_torch_counts_them(inference: bool) -> None:
    """Products alone and in batches, a convolution and, where there is one, its gradient; in inference mode they come
    to a counter before they are taken apart."""
    images = torch.ones(2, 3, 5, 5, requires_grad=not inference)
    weights = torch.ones(4, 3, 3, 3, requires_grad=not inference)

    def work() -> None:
        maps = torch.nn.functional.conv2d(images, weights)
        square = (
            torch.matmul(maps.flatten(1), maps.flatten(1).T).sum()
            + torch.einsum("bij,bjk->bik", maps[0], maps[1]).sum()
        )
        if not inference:
            torch.autograd.grad(square, [weights, images])

    counts = []
    for counter in (FlopCounter(), FlopCounterMode(display=False)):
        with torch.inference_mode(inference), counter:
            work()
        counts.append(counter.total if isinstance(counter, FlopCounter) else counter.get_total_flops())
    assert counts[0] == counts[1] > 0


PROGRAM = """
import sys
from trainers.config import TrialConfig
from trainers.datasets.image_file import open_image_file
from trainers.trial import run_trial

config = {
    "episodes": {"ways": 2, "shots": 1, "queries": 1},
    "backbone": {"width": 2},
    "training": {"iterations": 1, "validate_every": 1, "meta_batch": 1, "validation_episodes": 2},
    "evaluation": {"episodes": 2},
}
run_trial(TrialConfig.model_validate(config), open_image_file(sys.argv[1]))
print("torch._dynamo" in sys.modules)
"""


def test_a_trial_does_not_import_the_compiler(glyphs_file: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(glyphs_file)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
