"""What an algorithm says: what its training minimises, which layers adapt in the inner loop, which head predicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Head = Literal["linear", "nil"]

Objective = Literal["adapted", "nil", "shared", "classes", "none"]
"""What a training minimises: the query loss of the linear head behind the inner loop (``adapted``); without an inner
loop, a loss of ``trainers.feature_loss``; or nothing (``none``)."""

HEAD_LAYER = "head"
"""Name of the last layer in lists of layers; the others are the backbone's (``conv1`` … ``conv4``)."""


@dataclass(frozen=True)
class Algorithm:
    """A point of the space that MAML, ANIL and NIL span (Raghu et al. 2020, sections 3 to 5), or a training regime
    without inner loop that they are compared with (the same, Table 5)."""

    name: str
    adapted_layers: Callable[[Sequence[str], frozenset[str]], tuple[str, ...]]
    """(body layers, frozen layers) -> the layers that get inner updates in training, in network order."""
    head: Head = "linear"
    """The head that predicts in validation (so selects ``best``) and, unless asked otherwise, in tests."""
    objective: Objective = "adapted"


def no_layers(body: Sequence[str], frozen: frozenset[str]) -> tuple[str, ...]:
    """``adapted_layers`` of a training without inner loop."""
    return ()
