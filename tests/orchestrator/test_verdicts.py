"""Verdicts: what decides them, what they say, and that the size they propose would tell."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from orchestrator.stats import Estimate, Spread, Unit, estimate_cell, estimate_difference, estimate_scores
from orchestrator.verdicts import (
    Claim,
    Verdict,
    above,
    at_least,
    at_most,
    estimate_text,
    judge,
    judge_all,
    judge_order,
    with_episodes,
    with_seeds,
    within,
)

CANNOT = "cannot be told at this size"


def estimated(
    low: float, high: float, *, unit: Unit = "points", comparisons: int = 1, no_verdict: str = ""
) -> Estimate:
    """An estimate with this interval, from 3 seeds and 600 episodes."""
    middle, half = (low + high) / 2, (high - low) / 2
    spread = Spread(0, 2, 0, (half / stats.t.ppf(0.975, 599)) ** 2, 599)
    return Estimate(middle, low, high, None, 3, 600, comparisons, unit, spread, no_verdict)


@pytest.mark.parametrize(
    ("claim", "holding", "failing", "open_ended"),
    [
        (at_most(0.01), [(-9, 0.009), (0, 0.01)], [(0.011, 0.02)], [(0, 0.011), (0.01, 0.02)]),
        (at_least(-0.01), [(-0.009, 9), (-0.01, 0)], [(-0.02, -0.011)], [(-0.011, 0), (-0.02, -0.01)]),
        (above(), [(0.001, 0.2)], [(-0.2, -0.1), (-0.2, 0.0), (0, 0)], [(0, 0.2), (-0.1, 0.1)]),
        (within(0.02), [(-0.02, 0.02)], [(0.03, 0.04), (-0.04, -0.03)], [(-0.01, 0.03), (-0.03, 0.01), (-1, 1)]),
    ],
)
def test_the_interval_decides(claim: Claim, holding: list, failing: list, open_ended: list) -> None:
    for outcome, intervals in (("holds", holding), ("does not hold", failing), (CANNOT, open_ended)):
        for low, high in intervals:
            verdict = judge("a − b is", estimated(low, high), claim)
            assert verdict.outcome == outcome
            assert verdict.sentence.startswith(f"{outcome}: a − b is ")


@pytest.mark.parametrize(
    ("estimate", "claim", "sentence"),
    [
        (estimated(-0.002, 0.01), at_most(0.01), "holds: x 0.4 points (95 % interval −0.2 to 1.0), at most 1 asked"),
        (estimated(-0.03, -0.01), above(), "does not hold: x −2.0 points (95 % interval −3.0 to −1.0), above 0 asked"),
        (
            estimated(0.03, 0.05),
            within(0.005),
            "does not hold: x 4.0 points (95 % interval 3.0 to 5.0), within ±0.5 asked",
        ),
        (estimated(-0.0001, 0.0001), within(0.01), "holds: x 0.0 points (95 % interval 0.0 to 0.0), within ±1 asked"),
        (estimated(0.3, 0.5, unit="%"), above(0.2), "holds: x 40.0 % (95 % interval 30.0 to 50.0), above 20 asked"),
        (
            estimated(math.log(1.004), math.log(1.6), unit="×"),
            above(math.log(1.0)),
            "holds: x 1.267× (95 % interval 1.004 to 1.600), above 1 asked",
        ),
        (
            estimated(math.log(0.5), math.log(2), unit="×"),
            at_most(math.log(0.4)),
            "does not hold: x 1.00× (95 % interval 0.50 to 2.00), at most 0.4 asked",
        ),
        (
            estimated(0.9, 0.94, unit=""),
            at_least(0.9),
            "holds: x 0.92 (95 % interval 0.90 to 0.94), at least 0.9 asked",
        ),
        (
            estimated(0.02, 0.03, comparisons=4),
            above(),
            "holds: x 2.5 points (simultaneous 95 % interval 2.0 to 3.0), above 0 asked",
        ),
    ],
)
def test_sentences(estimate: Estimate, claim: Claim, sentence: str) -> None:
    assert judge("x", estimate, claim).sentence == sentence


def test_what_is_printed_is_on_its_side_of_the_bound() -> None:
    holds = judge("x", estimated(0.0002, 0.02), above())
    assert "interval 0.02 to 2.00), above 0" in holds.sentence
    cannot = judge("x", estimated(-0.0004, 0.01003), at_most(0.01))
    assert "−0.040 to 1.003), at most 1 asked" in cannot.sentence


def test_what_has_no_verdict_says_why() -> None:
    verdict = judge("x", estimated(0.1, 0.2, no_verdict="2 seeds, where ... 3"), above())
    assert verdict == Verdict(
        CANNOT, f"{CANNOT}: x 15.0 points (95 % interval 10.0 to 20.0), above 0 asked; 2 seeds, where ... 3"
    )


def test_an_interval_says_what_it_leaves_out() -> None:
    values = np.random.default_rng(0).random((3, 40))
    one_seed = estimate_difference(values[:1], values[1:2], same_trainings=True, same_episodes=True, comparisons=1)
    assert "95 % interval over episodes only, seeds are not in it: " in estimate_text(one_seed)
    assert "(95 % interval over seeds, 0.8" in estimate_text(estimate_scores([0.9, 0.91, 0.89]))
    assert estimate_text(estimate_scores([0.9])) == "0.90 (no interval: one value)"


def test_relations_together() -> None:
    yes, no, unknown = (
        judge(f"r{i} is", estimated(low, low + 0.1), above()) for i, low in enumerate((0.1, -0.2, -0.05))
    )
    for verdicts in itertools.permutations([yes, no, unknown]):
        assert judge_all("all", verdicts).outcome == "does not hold"
    assert judge_all("all", [yes, unknown]).outcome == CANNOT
    both = judge_all("r0 twice", [yes, yes])
    assert both.outcome == "holds"
    said = yes.sentence.removeprefix("holds: ")
    assert both.sentence == f"holds: r0 twice, by 2 of 2: {said} | {said}"
    with pytest.raises(ValueError, match="must be at least 1"):
        judge_all("none", [])


def test_order() -> None:
    rng = np.random.default_rng(0)
    easy = rng.normal(0, 0.08, 400)
    cells = {
        name: mean + easy + rng.normal(0, 0.003, (4, 1)) + rng.normal(0, 0.05, (4, 400))
        for name, mean in {"a": 0.6, "b": 0.5, "c": 0.4}.items()
    }

    def order(names: str, margin: float = 0.0) -> Verdict:
        chosen = {name: cells[name] for name in names}
        return judge_order(chosen, same_trainings=False, same_episodes=True, margin=margin)

    assert order("abc").outcome == "holds"
    assert order("abc").sentence.startswith("holds: a > b > c, by 2 of 2: a − b is ")
    assert order("abc").sentence.count("simultaneous 95 % interval") == 2
    assert order("acb").outcome == "does not hold"
    assert order("abc", margin=0.1).outcome == CANNOT
    assert order("abc", margin=0.2).outcome == "does not hold"
    with pytest.raises(ValueError, match="at least 2"):
        order("a")


def proposed(verdict: Verdict) -> int:
    found = re.search(r"about ([\d,]+) (seeds|episodes) would tell", verdict.sentence)
    assert found, verdict.sentence
    return int(found[1].replace(",", ""))


def test_seeds_that_would_tell_are_the_fewest() -> None:
    scores = [0.90, 0.96, 0.93, 0.92]
    verdict = judge("x", estimate_scores(scores), above(0.91))
    mean, std = np.mean(scores), np.std(scores, ddof=1)

    def tells(count: int) -> bool:
        return bool(mean - stats.t.ppf(0.975, count - 1) * std / math.sqrt(count) > 0.91)

    fewest = next(count for count in range(2, 100) if tells(count))
    assert fewest > 4
    assert proposed(verdict) == fewest


def test_episodes_that_would_tell() -> None:
    differences = 0.01 + np.random.default_rng(0).normal(0, 0.2, (1, 600))
    differences += 0.01 - differences.mean()
    zeros = np.zeros_like(differences)
    estimate = estimate_difference(differences, zeros, same_trainings=True, same_episodes=True, comparisons=4)
    # 0.01 > t 0.2 / √E, and t is 2.50 for four comparisons: E > 2500, the next doubling of 600 is 4800
    assert proposed(judge("x", estimate, above())) == 4800


@pytest.mark.parametrize("factor", ["seeds", "episodes"])
def test_a_larger_experiment_has_the_spread_foretold(factor: str) -> None:
    """The size is foretold from the parts of the variance, so the mean over many experiments has to be right."""
    rng = np.random.default_rng(0)

    def cell(seeds: int, episodes: int) -> NDArray[np.float64]:
        parts = rng.normal(0, 0.05, (seeds, 1)), rng.normal(0, 0.1, (1, episodes))
        return 0.5 + parts[0] + parts[1] + rng.normal(0, 0.3, (seeds, episodes))

    def mean_of(spreads: list[Spread]) -> tuple[float, ...]:
        return tuple(np.mean([[s.seeds, s.seeds_df, s.residual, s.episodes, s.episodes_df] for s in spreads], axis=0))

    small = [estimate_cell(cell(6, 60), "") for _ in range(400)]
    if factor == "seeds":
        foretold = mean_of([with_seeds(one, 12) for one in small])
        large = mean_of([estimate_cell(cell(12, 60), "").spread for _ in range(400)])
    else:
        foretold = mean_of([with_episodes(one, 120) for one in small])
        large = mean_of([estimate_cell(cell(6, 120), "").spread for _ in range(400)])
    assert foretold == pytest.approx(large, rel=0.08)


def test_no_size_tells_what_lies_on_the_bound() -> None:
    verdict = judge("x", estimated(-0.01, 0.01), above())
    assert verdict.sentence.endswith("; the value is too near the bound for any size in reach")
