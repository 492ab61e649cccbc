"""What a device is told before anything is calculated on it."""

from __future__ import annotations

import torch


def settle(device: str, tf32: bool) -> None:
    """Has CUDA give the same bits each time, and round float32 as asked; says nothing to a CPU.

    Args:
        device: ``cpu`` or ``cuda``.
        tf32: whether convolutions and matrix products may round their inputs to TF32.
    """
    if not device.startswith("cuda"):
        return
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
