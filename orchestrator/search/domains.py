"""A parameter of a space as Optuna holds it."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from orchestrator.config_paths import plain_value
from orchestrator.space import Parameter

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def encoded(parameter: Parameter, value: Any) -> Any:
    """The value as Optuna holds it: choices that are lists as JSON text, a number of a float range as float."""
    if parameter.kind in ("uniform", "loguniform"):
        return float(value)
    return json.dumps(plain_value(value)) if isinstance(value, tuple) else value


def distribution(parameter: Parameter) -> BaseDistribution:
    """The domain as Optuna's distribution."""
    from optuna import distributions

    if parameter.kind == "choice":
        return distributions.CategoricalDistribution([encoded(parameter, value) for value in parameter.domain])
    low, high = parameter.domain
    if parameter.kind == "int":
        return distributions.IntDistribution(low, high)
    return distributions.FloatDistribution(low, high, log=parameter.kind == "loguniform")


def value_at(parameter: Parameter, share: float) -> Any:
    """The value that lies at ``share`` of the domain, 0 <= share < 1, as Optuna holds it: equal parts of [0, 1) are
    equally many choices or whole numbers, equal lengths of a range, or of its logarithm."""
    if parameter.kind == "choice":
        return encoded(parameter, parameter.domain[int(share * len(parameter.domain))])
    low, high = parameter.domain
    if parameter.kind == "int":
        return low + int(share * (high - low + 1))
    if parameter.kind == "uniform":
        return low + share * (high - low)
    value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    return min(max(value, low), high)  # a rounding away from the end
