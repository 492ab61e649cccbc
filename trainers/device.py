"""What a device is told before anything is calculated on it."""

from __future__ import annotations

import torch


def settle(device: str) -> None:
    """Has CUDA give the same bits each time, and float32 convolutions as precise as on the CPU."""
    if device.startswith("cuda"):
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False
