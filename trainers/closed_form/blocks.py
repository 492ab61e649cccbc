"""What a body must be for the closed form to know it, and constants of that. No torch: reading commands count by it."""

from __future__ import annotations

from dataclasses import dataclass

BATCH_NORM_EPS = 1e-5

STEPS_KEPT = 5
"""Inner steps whose passes are kept for the adjoint; those of earlier steps are run again, which bounds the memory."""


@dataclass(frozen=True)
class Blocks:
    """Blocks of 3×3 convolution without bias, transductive batch norm with γ and β, ReLU, and 2×2 max-pool or none."""

    stride: int
    """Of the convolutions."""
    pooling: bool
    mean: bool
    """Features are the last map's spatial mean; otherwise the flattened map."""
