"""What an estimate says about a claim, in words: it holds, it does not, or it cannot be told at this size.

A claim is a range of values, and the interval of the estimate decides: inside the range it holds, outside it does not,
across a bound it cannot be told. So interval and verdict never disagree, and both kinds of error are at most 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from numpy.typing import ArrayLike

from orchestrator.stats import CONFIDENCE, Estimate, Spread, Unit, estimate_difference
from trainers.problem import with_minus

Outcome = Literal["holds", "does not hold", "cannot be told at this size"]

# Larger sizes are not proposed.
MOST_SEEDS = 100
MOST_EPISODES = 100_000


@dataclass(frozen=True)
class Claim:
    """A range of values, in the unit of the estimate it is about: fractions for accuracies, logarithms for ratios.

    Made by ``at_most``, ``at_least``, ``above`` and ``within``, which are the claims there are words for.
    """

    low: float
    high: float
    includes_low: bool = True

    def outcome(self, low: float, high: float) -> Outcome:
        """Of an interval from ``low`` to ``high``."""
        if high < self.low or low > self.high or (high == self.low and not self.includes_low):
            return "does not hold"
        if high > self.high or low < self.low or (low == self.low and not self.includes_low):
            return "cannot be told at this size"
        return "holds"

    def text(self, unit: Unit) -> str:
        """``at most 1``, in the unit as shown."""
        if self.low == -math.inf:
            return f"at most {_bound(self.high, unit)}"
        if self.high < math.inf:
            return f"within ±{_bound(self.high, unit)}"
        return f"{'at least' if self.includes_low else 'above'} {_bound(self.low, unit)}"


def at_most(bound: float) -> Claim:
    """A cost is no more than a bound: non-inferiority, where the estimate is what something costs."""
    return Claim(-math.inf, bound)


def at_least(bound: float) -> Claim:
    """A value is no less than a bound."""
    return Claim(bound, math.inf)


def above(bound: float = 0.0) -> Claim:
    """A value is greater than a bound: superiority, where the estimate is a difference."""
    return Claim(bound, math.inf, includes_low=False)


def within(margin: float) -> Claim:
    """A difference is at most ``margin`` either way: equivalence."""
    return Claim(-margin, margin)


@dataclass(frozen=True)
class Verdict:
    """What came out, and a sentence that begins with it and has the numbers and the reason."""

    outcome: Outcome
    sentence: str


def judge(what: str, estimate: Estimate, claim: Claim) -> Verdict:
    """The verdict on one claim. ``what`` is what the value is of, with its verb: ``freezing conv1–4 costs``."""
    outcome: Outcome = claim.outcome(estimate.low, estimate.high)
    reason = ""
    if estimate.no_verdict:
        outcome, reason = "cannot be told at this size", f"; {estimate.no_verdict}"
    elif outcome == "cannot be told at this size":
        reason = f"; {_size_that_tells(estimate, claim)}"
    numbers = estimate_text(estimate, _decimals(estimate, claim))
    return Verdict(outcome, f"{outcome}: {what} {numbers}, {claim.text(estimate.unit)} asked{reason}")


def judge_all(what: str, verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on several relations at once: it holds where all do, and does not where one does not.

    The estimates behind them are made with ``comparisons=len(verdicts)``.

    Raises ``ValueError`` where there are none.
    """
    if not verdicts:
        raise ValueError("verdicts: must be at least 1, got 0")
    outcomes = {verdict.outcome for verdict in verdicts}
    order: tuple[Outcome, ...] = ("does not hold", "cannot be told at this size", "holds")
    outcome = next(one for one in order if one in outcomes)
    deciding = [one.sentence.removeprefix(f"{outcome}: ") for one in verdicts if one.outcome == outcome]
    return Verdict(outcome, f"{outcome}: {what}, by {len(deciding)} of {len(verdicts)}: {' | '.join(deciding)}")


def judge_order(
    cells: Mapping[str, ArrayLike], *, same_trainings: bool, same_episodes: bool, margin: float = 0.0
) -> Verdict:
    """Whether each cell is above the next by more than ``margin``: a > b > c, from names and matrices of the cells.

    ``same_trainings`` and ``same_episodes`` as in ``orchestrator.stats.estimate_difference``.

    Raises ``ValueError`` for fewer than two cells, and where ``estimate_difference`` does.
    """
    names, matrices = list(cells), list(cells.values())
    if len(names) < 2:
        raise ValueError(f"cells: an order needs at least 2, got {len(names)}")
    verdicts = []
    for first in range(len(names) - 1):
        difference = estimate_difference(
            matrices[first],
            matrices[first + 1],
            same_trainings=same_trainings,
            same_episodes=same_episodes,
            comparisons=len(names) - 1,
        )
        verdicts.append(judge(f"{names[first]} − {names[first + 1]} is", difference, above(margin)))
    return judge_all(" > ".join(names), verdicts)


def estimate_text(estimate: Estimate, decimals: int | None = None) -> str:
    """``0.4 points (95 % interval −0.2 to 1.0)``; says which factor, seeds or episodes, the interval leaves out."""
    places = _first_decimals(estimate.unit) if decimals is None else decimals
    unit = estimate.unit if estimate.unit == "×" else f" {estimate.unit}" if _is_per_cent(estimate.unit) else ""
    value, low, high = (_number(x, estimate.unit, places) for x in (estimate.value, estimate.low, estimate.high))
    if math.isinf(estimate.low):
        return f"{value}{unit} (no interval: one value)"
    kind = f"{100 * CONFIDENCE:.0f} % interval"
    if estimate.comparisons > 1:
        kind = f"simultaneous {kind}"
    if not estimate.spread.seeds_df:
        kind += " over episodes only, seeds are not in it:"
    elif not estimate.spread.episodes_df:
        kind += " over seeds,"
    return f"{value}{unit} ({kind} {low} to {high})"


def _decimals(estimate: Estimate, claim: Claim) -> int:
    """The fewest with which the interval, as printed, is on the side of the claim's bounds that it is on."""
    outcome = claim.outcome(estimate.low, estimate.high)
    first = _first_decimals(estimate.unit)
    for places in range(first, first + 4):
        bounds = (f"{_shown(bound, estimate.unit):.{places}f}" for bound in (estimate.low, estimate.high))
        printed = (_meant(float(bound), estimate.unit) for bound in bounds)
        if claim.outcome(*printed) == outcome:
            return places
    return first + 4


def _size_that_tells(estimate: Estimate, claim: Claim) -> str:
    """How many episodes, else how many seeds, would put the interval on one side, were the value what it is now.

    Episodes come first: they are tests, and seeds are trainings.
    """

    def tells(spread: Spread) -> bool:
        half = spread.half_width(1 - (1 - CONFIDENCE) / estimate.comparisons)
        return claim.outcome(estimate.value - half, estimate.value + half) != "cannot be told at this size"

    episodes = estimate.episodes
    while estimate.spread.episodes_df and (episodes := 2 * episodes) <= MOST_EPISODES:
        if tells(with_episodes(estimate, episodes)):
            return f"about {episodes:,} episodes would tell, were the value the same"
    if estimate.spread.seeds_df:
        for seeds in range(estimate.seeds + 1, MOST_SEEDS + 1):
            if tells(with_seeds(estimate, seeds)):
                return f"about {seeds} seeds would tell, were the value the same"
    return "the value is too near the bound for any size in reach"


def with_episodes(estimate: Estimate, episodes: int) -> Spread:
    """The spread expected with so many episodes."""
    spread, more = estimate.spread, episodes / estimate.episodes
    return Spread(
        max(0.0, spread.seeds - spread.residual) + spread.residual / more,
        spread.seeds_df,
        spread.residual / more,
        spread.episodes / more,
        spread.episodes_df * more,
    )


def with_seeds(estimate: Estimate, seeds: int) -> Spread:
    """The spread expected with so many seeds."""
    spread, more = estimate.spread, seeds / estimate.seeds
    return Spread(
        spread.seeds / more,
        spread.seeds_df * (seeds - 1) / (estimate.seeds - 1),
        spread.residual / more,
        max(0.0, spread.episodes - spread.residual) + spread.residual / more,
        spread.episodes_df,
    )


def _number(value: float, unit: Unit, places: int) -> str:
    return with_minus(f"{_shown(value, unit):.{places}f}")


def _bound(value: float, unit: Unit) -> str:
    return with_minus(f"{_shown(value, unit):.4g}")


def _shown(value: float, unit: Unit) -> float:
    """A value as it is printed."""
    return math.exp(value) if unit == "×" else 100 * value if _is_per_cent(unit) else value


def _meant(shown: float, unit: Unit) -> float:
    """The value that is printed so."""
    if unit == "×":
        return math.log(shown) if shown > 0 else -math.inf
    return shown / 100 if _is_per_cent(unit) else shown


def _is_per_cent(unit: Unit) -> bool:
    return unit in ("%", "points")


def _first_decimals(unit: Unit) -> int:
    return 1 if unit in ("%", "points", "return") else 2
