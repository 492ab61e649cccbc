"""When progress is saved: what saves cost is measured, and stays within a fiftieth of the time."""

from __future__ import annotations

import itertools

import pytest

from orchestrator.saving import EVERY_S, FIRST_S, SHARE, SavePace


class Clock:
    """Stands still but for what a test adds."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def saves(costs_s: list[float], iteration_s: float, train_s: float) -> list[tuple[float, float]]:
    """(when it ended, what it took) of each save of a training whose saves cost so much, one after the other."""
    clock = Clock()
    pace, made, began = SavePace(clock), [], clock.now_s
    while clock.now_s < began + train_s:
        clock.now_s += iteration_s
        if pace.due():
            cost = costs_s[min(len(made), len(costs_s) - 1)]
            with pace.saving():
                clock.now_s += cost
            made.append((clock.now_s - began, cost))
    return made


@pytest.mark.parametrize("iteration_s", [0.003, 0.7, 20.0])
@pytest.mark.parametrize("cost_s", [0.0, 0.004, 0.05, 0.5, 6.0])
def test_saves_stay_within_their_share(cost_s: float, iteration_s: float) -> None:
    made = saves([cost_s], iteration_s, 3600.0)
    spent = itertools.accumulate(cost for _, cost in made)
    for (ended, _), so_far in list(zip(made, spent, strict=True))[1:]:  # what the first costs is not known before
        assert so_far <= SHARE * ended
    gaps = [after - before for (before, _), (after, _) in itertools.pairwise(made)]
    assert min(gaps) >= FIRST_S
    assert sum(gap < EVERY_S for gap in gaps) < 20
    # and no fewer than that: what a kill costs is seconds, or fifty saves, or one iteration
    longest = max(EVERY_S, cost_s / SHARE) + 2 * iteration_s + cost_s
    assert max(gaps[1:]) <= longest + 1e-6


def test_one_slow_save_is_forgiven_once_it_is_made_up_for() -> None:
    made = saves([0.01, 0.01, 3.0, 0.01], 0.1, 3600.0)
    (slow, _), (then, _) = made[2], made[3]
    assert 100 < then - slow < 220
    assert len(made) > 600
    assert sum(cost for _, cost in made) <= SHARE * 3600
