"""Speed and time left, against sums done by hand; the clock is the test's."""

from __future__ import annotations

import pytest

from orchestrator.pace import Pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("orchestrator.pace.time.monotonic", lambda: now[0])
    return now


def test_nothing_is_known_before_anything_was_measured(clock: list[float]) -> None:
    pace = Pace()
    assert (pace.iterations_per_s, pace.trials_per_h, pace.left_s(3)) == (None, None, None)
    pace.begin(0, 0, 100, whole=True)
    clock[0] += 5
    assert (pace.iterations_per_s, pace.trials_per_h, pace.left_s(3)) == (None, None, None)


def test_what_an_earlier_run_made_is_no_speed(clock: list[float]) -> None:
    pace = Pace()
    pace.begin(0, 90, 100, whole=True)
    clock[0] += 10
    pace.reach(0, 100)
    assert pace.iterations_per_s == 1.0
    pace.end(0, 100)
    assert pace.trials_per_h == 360
    assert pace.left_s(2) == 200.0


def test_the_speed_is_that_of_the_last_minute(clock: list[float]) -> None:
    pace = Pace()
    pace.begin(0, 0, 10_000, whole=True)
    for step in range(1, 11):
        clock[0] += 30
        pace.reach(0, 30 * step if step <= 5 else 150 + 300 * (step - 5))
    assert pace.iterations_per_s == 10.0
    clock[0] += 60
    assert pace.iterations_per_s == 0.0, "nothing came in the last minute"


def test_pruned_trials_make_the_rest_shorter_and_confirmations_do_not(clock: list[float]) -> None:
    pace = Pace()
    for number, end in enumerate((20, 20, 20, 100)):
        pace.begin(number, 0, 100, whole=False)
        clock[0] += end
        pace.end(number, end)
    assert pace.left_s(proposals=10) == 10 * 40.0, "on average a trial makes 40 of 100 iterations, one a second"
    assert pace.left_s(confirmations=10) == 10 * 100.0
    pace.begin(4, 0, 100, whole=False)
    clock[0] += 50
    pace.reach(4, 50)  # of those that came as far, all came to the end
    assert pace.left_s() == 50.0


def test_a_straggler_takes_its_own_time(clock: list[float]) -> None:
    pace = Pace()
    for number in range(10):
        pace.begin(number, 0, 100, whole=True)
    clock[0] += 100
    for number in range(9):
        pace.end(number, 100)
    pace.reach(9, 10)
    assert pace.left_s() == 900.0, "not 10, as if it had ten times the machine"


def test_where_only_tests_are_lacking_trials_are_counted(clock: list[float]) -> None:
    pace = Pace()
    pace.begin(0, 100, 100, whole=True)
    clock[0] += 8
    pace.end(0, 100)
    assert pace.left_s(5) == 40.0
    pace.end(7, 100)  # known from the store, never begun here
    assert pace.left_s(5) == 40.0
