"""The samplers: each a function that makes the sampler of one proposal, and its line in the table.

None is kept, so none may hold what it has learnt: all that it knows are the trials of the study that it is asked for.
Parameters with a condition are not in every trial; what a sampler does with them stands in its docstring.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.spec import SearchSpec

if TYPE_CHECKING:
    import numpy as np
    import optuna

Sampler = TypeVar("Sampler")

STARTUP = 5
"""Told trials without which ``tpe`` and ``gp`` draw at random; failed ones don't count. With a window W these are at
least the first 4 + W proposals: Optuna's 10 would leave half of a search of 40 to chance (``benchmarks/search.py``)."""

POPULATION = 10
"""Trials of a generation of ``nsga2``, the first of which is drawn at random."""


def _seeded(sampler: Sampler, independent: Any, search: SearchSpec, number: int) -> Sampler:
    """The sampler, and the one in it for parameters that are drawn one by one, with random numbers of the proposal:
    neighbours share nothing, nor do searches.

    Their generators are set, for ``seed=`` costs as much as half of a proposal: each of the two makes a Mersenne
    Twister, with a seed of the system's first.
    """
    import numpy as np

    generator = np.random.RandomState(np.random.PCG64([search.seed, number]))
    held: Any
    for held in (sampler, independent):
        held._rng._rng = generator  # in its place: parts of a sampler may share what holds it
    return sampler


def _tpe(search: SearchSpec, number: int) -> optuna.samplers.BaseSampler:
    """Tree-structured Parzen estimators (Bergstra et al. 2011; multivariate: Falkner et al. 2018).

    multivariate: learning rates and steps of an inner loop act together, so their densities are joint. With conditions,
    parameters that act under the same ones are modelled jointly, each group on the trials that have it (``GROUPING``).
    constant_liar: the window always leaves proposals without outcome, and they count as bad, or the same point would be
    proposed again beside them.
    """
    from optuna.samplers._lazy_random_state import LazyRandomState

    sampler = copy.copy(_untold_tpe())
    sampler._random_sampler = copy.copy(sampler._random_sampler)
    sampler._rng, sampler._random_sampler._rng = LazyRandomState(), LazyRandomState()
    return _seeded(sampler, sampler._random_sampler, search, number)


@lru_cache(maxsize=1)
def _untold_tpe() -> optuna.samplers.TPESampler:
    """What every proposal's is a copy of. To make one takes longer than to copy it; nobody asks this one."""
    from orchestrator.search.column_tpe import ColumnTPE

    return ColumnTPE(n_startup_trials=STARTUP, multivariate=True, constant_liar=True)


def _random(search: SearchSpec, number: int) -> optuna.samplers.BaseSampler:
    """Independent draws: the baseline."""
    draws = random.Random(f"{search.seed}/{number}")
    return _at(search, (draws.random() for _ in search.space))


def _gp(search: SearchSpec, number: int) -> optuna.samplers.BaseSampler:
    """A Gaussian process (Matérn 5/2, a length scale a parameter) and its expected improvement (Ament et al. 2023).

    Running proposals are part of the improvement, so that it looks elsewhere. Parameters that some told trial lacks are
    drawn at random. A proposal takes a second or more of a core, and brings torch and scipy into the driver.
    """
    import optuna

    independent = optuna.samplers.RandomSampler()
    sampler = optuna.samplers.GPSampler(n_startup_trials=STARTUP, independent_sampler=independent)
    return _seeded(sampler, independent, search, number)


def _nsga2(search: SearchSpec, number: int) -> optuna.samplers.BaseSampler:
    """A genetic algorithm: NSGA-II (Deb et al. 2002).

    Generations of ``POPULATION`` trials, not Optuna's 50: searches have tens of trials. Parameters that some told trial
    lacks are drawn at random. A child may be a twin of an earlier trial: its result is known already.
    """
    import optuna

    sampler = optuna.samplers.NSGAIISampler(population_size=POPULATION)
    return _seeded(sampler, sampler._random_sampler, search, number)


GENERATION = "NSGAIISampler:generation"
"""Optuna's name of the attribute of a trial that says of which generation it is."""


class Generations:
    """The generation of each proposal, as Optuna counts them at each ask (``BaseGASampler.get_trial_generation``).

    A proposal belongs to the newest generation that it was told a complete member of, or to the next one where it was
    told ``POPULATION`` of them. So generations follow from what was told, and are stored nowhere.
    """

    def __init__(self) -> None:
        self._found: list[int] = []
        self._told = self._newest = self._members = 0

    def next(self) -> int:
        """The generation of the proposal after those that were added."""
        return self._newest + (self._members >= POPULATION)

    def add(self) -> None:
        """Adds a proposal."""
        self._found.append(self.next())

    def tell(self, complete: bool) -> None:
        """How the first that was not told yet has ended."""
        generation = self._found[self._told]
        self._told += 1
        if complete:
            if generation > self._newest:
                self._newest, self._members = generation, 0
            self._members += generation == self._newest


def _qmc(search: SearchSpec, number: int) -> optuna.samplers.BaseSampler:
    """Point ``number`` of a scrambled Sobol' sequence of the search's seed (Owen 1998), whatever was told.

    Each parameter of the space is a dimension, whether it is active or not, so those with conditions come from the
    sequence as well. Optuna's own QMCSampler counts points in the study, and leaves such parameters to chance.
    """
    return _at(search, _sobol(len(search.space), search.seed, number.bit_length())[number].tolist())


@lru_cache(maxsize=2)
def _sobol(dimensions: int, seed: int, bits: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Points 0 … 2^bits - 1 of the sequence, [point, dimension]."""
    from scipy.stats import qmc

    points: np.ndarray[Any, np.dtype[np.float64]] = qmc.Sobol(dimensions, scramble=True, rng=seed).random_base2(bits)
    return points


def _at(search: SearchSpec, shares: Iterable[float]) -> optuna.samplers.BaseSampler:
    from orchestrator.search.point_sampler import PointSampler

    return PointSampler(dict(zip(search.space, shares, strict=True)), search.space)


SAMPLERS: dict[str, Callable[[SearchSpec, int], optuna.samplers.BaseSampler]] = {
    "tpe": _tpe,
    "random": _random,
    "gp": _gp,
    "nsga2": _nsga2,
    "qmc": _qmc,
}
"""Name in ``search.sampler`` -> what makes the sampler of one proposal from search and number; ``SearchSpec.sampler``
lists the names too."""

LEARNING = frozenset({"tpe", "gp", "nsga2"})
"""Samplers that look at earlier trials. The others are not shown any."""

GROUPING = frozenset({"tpe"})
"""Learning samplers that model every group of parameters which occur together; the others one group, of those that all
trials have."""

EVOLVING = frozenset({"nsga2"})
"""Samplers whose generations have parents, chosen once each."""
