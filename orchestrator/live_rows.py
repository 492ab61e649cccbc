"""Which trial stands in which row of the live table: a trial keeps its row while it runs, and after it until another
needs it.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.status import TrialLine

ENDED_ROWS = 4
"""Rows beyond those of the trials that run at once: as many that have ended stay on the screen at least."""


class Rows:
    """The rows of a table that may have only so many."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        """Of the trial in each row."""
        self._trials: dict[int, TrialLine] = {}
        self._ended: dict[int, None] = {}
        """Numbers in the order in which they were seen to have ended."""
        self._at_once = 0

    def update(self, trials: Sequence[TrialLine]) -> None:
        """How the trials are now; all that run are among them."""
        first = not self._trials
        self._trials = {trial.number: trial for trial in trials if trial.state != "planned"}
        for trial in self._trials.values():
            if trial.state == "running":
                self._ended.pop(trial.number, None)
            else:
                self._ended.setdefault(trial.number)
        self._at_once = max(self._at_once, sum(trial.state == "running" for trial in trials))
        self._ended = {number: None for number in self._ended if number in self._trials}
        if first:  # the rest of them have ended long ago
            self._ended = dict.fromkeys(list(self._ended)[-ENDED_ROWS:])

    def within(self, room: int) -> tuple[list[TrialLine], int]:
        """What each row shows, top down, and how many trials that run have none; ``room``: rows at most."""
        self._numbers = [number for number in self._numbers if number in self._trials]
        self._shrink_to(room)
        most = min(room, self._at_once + ENDED_ROWS)
        running = sorted(number for number, trial in self._trials.items() if trial.state == "running")
        waiting = [number for number in running if number not in self._numbers]
        ended = [number for number in self._ended if number not in self._numbers]
        if not self._numbers:  # ended ones above, so that those that follow come below
            spare = max(most - len(running), 0)
            self._numbers = ended[max(len(ended) - spare, 0) :]
        hidden = [number for number in waiting if not self._take(number, most)]
        return [self._trials[number] for number in self._numbers], len(hidden)

    def _take(self, number: int, most: int) -> bool:
        """Gives a trial a row: a new one, else that of the trial that ended first; says whether there was one."""
        if len(self._numbers) < most:
            self._numbers.append(number)
            return True
        old = next((one for one in self._ended if one in self._numbers), None)
        if old is None:
            return False
        self._numbers[self._numbers.index(old)] = number
        return True

    def _shrink_to(self, room: int) -> None:
        """Gives rows up where the screen has become lower: of those that ended first, then from below."""
        for number in [one for one in self._ended if one in self._numbers]:
            if len(self._numbers) <= room:
                return
            self._numbers.remove(number)
        del self._numbers[max(room, 0) :]
