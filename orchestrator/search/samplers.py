"""The samplers: each a function that makes the sampler of one proposal, and its line in the table.

None is kept, so none may hold what it has learnt: all that it knows are the trials of the study that it is asked for.
Parameters with a condition are not in every trial; what a sampler does with them stands in its docstring.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from orchestrator.search.domains import value_at
from orchestrator.spec import SearchSpec

if TYPE_CHECKING:
    import optuna

STARTUP = 10
"""Told trials without which ``tpe``, ``gp`` and ``nsga2`` draw at random; failed ones don't count. With a window W
these are at least the first 9 + W proposals."""


def _seed(search: SearchSpec, number: int) -> int:
    """A seed for one proposal: neighbours share nothing, as ``seed + number`` of two searches would."""
    return int.from_bytes(hashlib.sha256(f"{search.seed}/{number}".encode()).digest()[:4], "big")


def _tpe(search: SearchSpec, number: int) -> optuna.samplers.BaseSampler:
    """Tree-structured Parzen estimators (Bergstra et al. 2011; multivariate: Falkner et al. 2018).

    multivariate: learning rates and steps of an inner loop act together, so their densities are joint. group: with
    conditions, parameters that act under the same ones are modelled jointly, each group on the trials that have it;
    without it they would be drawn one by one. constant_liar: the window always leaves proposals without outcome, and
    they count as bad, or the same point would be proposed again beside them.
    """
    import optuna

    return optuna.samplers.TPESampler(
        seed=_seed(search, number), n_startup_trials=STARTUP, multivariate=True, group=True, constant_liar=True
    )


def _random(search: SearchSpec, number: int) -> optuna.samplers.BaseSampler:
    """Independent draws: the baseline."""
    import optuna

    return optuna.samplers.RandomSampler(seed=_seed(search, number))


def _gp(search: SearchSpec, number: int) -> optuna.samplers.BaseSampler:
    """A Gaussian process (Matérn 5/2, a length scale a parameter) and its expected improvement (Ament et al. 2023).

    Running proposals are part of the improvement, so that it looks elsewhere. Parameters that some told trial lacks are
    drawn at random. A proposal takes a second or more of a core, and brings torch and scipy into the driver.
    """
    import optuna

    return optuna.samplers.GPSampler(seed=_seed(search, number), n_startup_trials=STARTUP)


def _nsga2(search: SearchSpec, number: int) -> optuna.samplers.BaseSampler:
    """A genetic algorithm: NSGA-II (Deb et al. 2002).

    Generations of ``STARTUP`` trials, not Optuna's 50: searches have tens of trials. Parameters that some told trial
    lacks are drawn at random. A child may be a twin of an earlier trial: its result is known already.
    """
    import optuna

    return optuna.samplers.NSGAIISampler(seed=_seed(search, number), population_size=STARTUP)


GENERATION = "NSGAIISampler:generation"
"""Optuna's name of the attribute of a trial that says of which generation it is."""


def generations(states: Sequence[str | None], window: int) -> list[int]:
    """The generation of each proposal, as Optuna counts them at each ask (``BaseGASampler.get_trial_generation``).

    A proposal belongs to the newest generation that it was told a complete member of, or to the next one where it was
    told ``STARTUP`` of them. So generations follow from what was told, and are stored nowhere.

    Args:
        states: of proposals 0 … n - 1 as told to proposal n, those of 0 … n - window at least.
        window: proposal k was told of 0 … k - window.
    """
    found: list[int] = []
    newest = members = 0
    for number in range(len(states)):
        told = number - window  # what this proposal was told and the one before was not
        if told >= 0 and states[told] == "complete":
            if found[told] > newest:
                newest, members = found[told], 0
            members += found[told] == newest
        found.append(newest + (members >= STARTUP))
    return found


def _qmc(search: SearchSpec, number: int) -> optuna.samplers.BaseSampler:
    """Point ``number`` of a scrambled Sobol' sequence of the search's seed (Owen 1998), whatever was told.

    Each parameter of the space is a dimension, whether it is active or not, so those with conditions come from the
    sequence as well. Optuna's own QMCSampler counts points in the study, and leaves such parameters to chance.
    """
    import optuna
    from scipy.stats import qmc

    sequence = qmc.Sobol(len(search.space), scramble=True, rng=search.seed)
    point = sequence.random_base2(number.bit_length())[number]
    parameters = zip(search.space.items(), point.tolist(), strict=True)
    values = {path: value_at(parameter, share) for (path, parameter), share in parameters}
    return optuna.samplers.PartialFixedSampler(values, _random(search, number))


SAMPLERS: dict[str, Callable[[SearchSpec, int], optuna.samplers.BaseSampler]] = {
    "tpe": _tpe,
    "random": _random,
    "gp": _gp,
    "nsga2": _nsga2,
    "qmc": _qmc,
}
"""Name in ``search.sampler`` -> what makes the sampler of one proposal from search and number; ``SearchSpec.sampler``
lists the names too."""
