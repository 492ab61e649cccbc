"""Optuna's TPE on columns that are kept, not gathered trial by trial at each proposal. Imports Optuna."""

from __future__ import annotations

from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import default_gamma
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from orchestrator.search.told_trials import EarlierTrials


class ColumnTPE(TPESampler):
    """The same proposals to the bit, for less.

    Densities and draws are Optuna's; what its ``_sample`` gathers for them is taken from arrays. Several objectives,
    which it splits by fronts, are left to it.
    """

    def _sample(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        earlier = study._storage
        if study.directions != [StudyDirection.MAXIMIZE] or not isinstance(earlier, EarlierTrials):
            return super()._sample(study, trial, search_space)
        columns = earlier.columns
        below, above = (
            self._parzen_estimator_cls(
                columns.of(numbers, search_space), search_space, self._parzen_estimator_parameters
            )
            for numbers in columns.split(default_gamma)
        )
        drawn = below.sample(self._rng.rng, self._n_ei_candidates)
        best = self._compare(drawn, self._compute_acquisition_func(drawn, below, above))
        return {path: domain.to_external_repr(best[path]) for path, domain in search_space.items()}
