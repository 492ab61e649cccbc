"""What an algorithm says: which layers adapt in the inner loop, and which head reads the features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Head = Literal["linear", "nil"]

HEAD_LAYER = "head"
"""Name of the last layer in lists of layers; the others are the backbone's (``conv1`` … ``conv4``)."""


@dataclass(frozen=True)
class Algorithm:
    """A point of the space that MAML, ANIL and NIL span (Raghu et al. 2020, sections 3 to 5)."""

    name: str
    adapted_layers: Callable[[Sequence[str], frozenset[str]], tuple[str, ...]]
    """(body layers, frozen layers) -> the layers that get inner updates, in network order."""
    head: Head = "linear"
    """The head that predicts in validation (so selects ``best``) and, unless asked otherwise, in tests."""
