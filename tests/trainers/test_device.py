"""What is asked of CUDA reaches torch; it can be seen without a GPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from trainers.canonical import training_digest
from trainers.config import TrialConfig
from trainers.device import settle


def asked() -> tuple[bool, bool, bool, bool]:
    cudnn = torch.backends.cudnn
    return cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, cudnn.deterministic, cudnn.benchmark


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    conv, matmul, deterministic, benchmark = asked()
    yield
    torch.backends.cudnn.allow_tf32 = conv
    torch.backends.cuda.matmul.allow_tf32 = matmul
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = deterministic, benchmark


def test_cuda_is_settled_and_the_cpu_left_alone() -> None:
    before = asked()
    settle("cpu", tf32=True)
    assert asked() == before
    settle("cuda", tf32=True)
    assert asked() == (True, True, True, False)
    settle("cuda:1", tf32=False)
    assert asked() == (False, False, True, False)


def test_tf32_is_another_training() -> None:
    plain, rounded, said = (
        TrialConfig.model_validate({"training": how}) for how in ({}, {"tf32": True}, {"tf32": False})
    )
    assert training_digest(plain, "f" * 20) == training_digest(said, "f" * 20)
    assert training_digest(plain, "f" * 20) != training_digest(rounded, "f" * 20)
