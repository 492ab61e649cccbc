"""How fast a run goes, and how long the rest takes at that speed: measured, in iterations of all trials together."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

WINDOW_S = 60.0
"""What the speed that is shown is measured over."""


@dataclass
class _Trial:
    """One that runs: where it began in this run, and where it is."""

    began_s: float
    first: int
    reached: int
    iterations: int
    whole: bool
    """Nothing stops it early."""


class Pace:
    """Counts the iterations that trials make. Its time begins with the first of them: a cluster is up by then."""

    def __init__(self) -> None:
        self._running: dict[int, _Trial] = {}
        self._began_s: float | None = None
        self._made = 0
        self._recent: deque[tuple[float, int]] = deque()
        """(time, iterations made until then), of the last minute and one before it."""
        self._shares: list[float] = []
        """How far the trials came that have ended here, of their iterations; without those that nothing stops early."""
        self._ended = 0
        self._asked: list[int] = []

    def begin(self, number: int, reached: int, iterations: int, whole: bool) -> None:
        """A trial goes on from an iteration; ``whole``: nothing will stop it early."""
        now = time.monotonic()
        if self._began_s is None:
            self._began_s = now
            self._recent.append((now, 0))
        self._running[number] = _Trial(now, reached, reached, iterations, whole)
        self._asked.append(iterations)

    def reach(self, number: int, iteration: int) -> None:
        """It has come to an iteration."""
        trial = self._running[number]
        self._made += max(iteration - trial.reached, 0)
        trial.reached = max(iteration, trial.reached)
        now = time.monotonic()
        self._recent.append((now, self._made))
        while len(self._recent) > 1 and self._recent[1][0] <= now - WINDOW_S:
            self._recent.popleft()

    def end(self, number: int, iteration: int) -> None:
        """It has ended there. Does nothing for one that never began here."""
        if number not in self._running:
            return
        self.reach(number, iteration)
        trial = self._running.pop(number)
        self._ended += 1
        if not trial.whole:
            self._shares.append(trial.reached / trial.iterations)

    @property
    def iterations_per_s(self) -> float | None:
        """Over the last minute; None before anything was measured."""
        if not self._made:
            return None
        now = time.monotonic()
        since, before = next((one for one in reversed(self._recent) if one[0] <= now - WINDOW_S), self._recent[0])
        return (self._made - before) / (now - since) if now > since else None

    @property
    def trials_per_h(self) -> float | None:
        """That ended, over all of the run."""
        return 3600 * self._ended / self._elapsed_s if self._ended and self._elapsed_s else None

    def left_s(self, proposals: int = 0, confirmations: int = 0) -> float | None:
        """Seconds until those that run are done, and so many others that did not begin; None before the first is known.

        A trial that may be stopped early is taken to come as far as those before it that came as far as it is now.
        """
        running = list(self._running.values())
        if not self._made:  # where only tests were lacking, trials make no iterations
            return self._elapsed_s / self._ended * (len(running) + proposals + confirmations) if self._ended else None
        usual = sum(self._asked) / len(self._asked)
        rest = sum(map(self._rest, running)) + usual * (proposals * self._share_after(0.0) + confirmations)
        return max([self._elapsed_s / self._made * rest, *self._own_left_s(running)])

    @property
    def _elapsed_s(self) -> float:
        return 0.0 if self._began_s is None else time.monotonic() - self._began_s

    def _own_left_s(self, running: Iterable[_Trial]) -> list[float]:
        """What each takes at its own speed: the last of them may run alone."""
        now = time.monotonic()
        moved = [trial for trial in running if trial.reached > trial.first]
        return [(now - trial.began_s) / (trial.reached - trial.first) * self._rest(trial) for trial in moved]

    def _rest(self, trial: _Trial) -> float:
        """Iterations that it will yet make."""
        share = trial.reached / trial.iterations
        return trial.iterations * (1 - share if trial.whole else self._share_after(share))

    def _share_after(self, share: float) -> float:
        """How much further a trial comes that is there, of its iterations: the mean of those that came further."""
        further = [one - share for one in self._shares if one > share]
        return sum(further) / len(further) if further else 1 - share
