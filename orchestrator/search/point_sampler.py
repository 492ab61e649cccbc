"""A sampler that takes the values of one point, whatever was tried before. Imports Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from orchestrator.search.domains import value_at
from orchestrator.space import Parameter


class PointSampler(BaseSampler):
    """Takes values at given shares of their domains.

    Args:
        shares: path of every parameter -> in [0, 1).
        space: path -> parameter.
    """

    def __init__(self, shares: Mapping[str, float], space: Mapping[str, Parameter]) -> None:
        self._shares, self._space = shares, space

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """None: parameters need not know of each other."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """None."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value at its share."""
        return value_at(self._space[param_name], self._shares[param_name])
