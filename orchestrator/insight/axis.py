"""Where a value of a parameter lies on the parameter's axis."""

from __future__ import annotations

import math
from typing import Any

from orchestrator.space import Parameter, same


def level_of(parameter: Parameter, value: Any) -> int:
    """Index of a choice.

    Raises:
        ValueError: it is none of them.
    """
    for index, level in enumerate(parameter.domain):
        if same(level, value):
            return index
    raise ValueError(f"{value!r}: none of the choices {parameter.domain!r}")


def position(parameter: Parameter, value: Any) -> float:
    """Between 0 and 1, so that a uniform position is how the space weights the values: logarithmic for a
    ``loguniform``; choices and whole numbers take equal parts, and lie in the middle of theirs."""
    if parameter.kind == "choice":
        return (level_of(parameter, value) + 0.5) / len(parameter.domain)
    low, high = parameter.domain
    if parameter.kind == "int":
        return float((value - low + 0.5) / (high - low + 1))
    if low == high:
        return 0.5
    if parameter.kind == "loguniform":
        return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
    return float((value - low) / (high - low))
