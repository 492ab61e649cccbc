"""Rows of the live table: a trial keeps its row while it runs, whatever becomes of the others."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.live_rows import ENDED_ROWS, Rows
from orchestrator.status import TrialLine


def trials(running: Sequence[int], ended: Sequence[int] = ()) -> list[TrialLine]:
    lines = [TrialLine(n, "running", "") for n in running] + [TrialLine(n, "completed", "") for n in ended]
    return sorted(lines, key=lambda line: line.number)


def shown(rows: Rows, room: int) -> tuple[list[int], int]:
    lines, hidden = rows.within(room)
    return [line.number for line in lines], hidden


def test_nobody_moves_when_others_end_and_begin() -> None:
    rows = Rows()
    places: dict[int, int] = {}
    running, ended = list(range(16)), []
    for new in range(16, 60):
        rows.update(trials(running, ended))
        now, hidden = shown(rows, 18)
        assert hidden == 0
        assert len(now) <= 18
        for number in running:
            assert places.setdefault(number, now.index(number)) == now.index(number), number
        gone = running.pop((7 * new) % 16)
        ended.append(gone)
        running.append(new)


def test_the_last_that_ended_stay_where_there_is_room() -> None:
    rows = Rows()
    ended: list[int] = []
    for number in range(10):
        rows.update(trials([number], ended))
        shown(rows, 20)
        ended.append(number)
    rows.update(trials([], ended))
    assert sorted(shown(rows, 20)[0]) == [5, 6, 7, 8, 9]
    assert ENDED_ROWS == 4


def test_of_what_was_stored_before_only_the_last_are_shown() -> None:
    rows = Rows()
    rows.update(trials([], range(1000)))
    assert shown(rows, 20) == ([996, 997, 998, 999], 0)
    rows.update(trials([1000, 1001], range(1000)))
    assert shown(rows, 20) == ([996, 997, 998, 999, 1000, 1001], 0)


def test_a_lower_screen_gives_up_what_has_ended_and_then_the_lowest() -> None:
    rows = Rows()
    rows.update(trials(range(6)))
    shown(rows, 10)
    rows.update(trials([0, 1, 3, 4, 5], [2]))
    assert shown(rows, 10) == ([0, 1, 2, 3, 4, 5], 0)
    assert shown(rows, 5) == ([0, 1, 3, 4, 5], 0)
    assert shown(rows, 3) == ([0, 1, 3], 2)
    assert shown(rows, 10) == ([0, 1, 3, 4, 5], 0)


def test_one_that_waits_for_a_row_gets_the_first_that_is_free() -> None:
    rows = Rows()
    rows.update(trials(range(5)))
    assert shown(rows, 3) == ([0, 1, 2], 2)
    rows.update(trials([0, 2, 3, 4], [1]))
    assert shown(rows, 3) == ([0, 3, 2], 1)
