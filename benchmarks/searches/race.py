"""Runs a contestant on the table, on workers that train equally fast, by a clock of iterations."""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass

from searches.contestants import Contestant
from searches.table import Table


@dataclass(frozen=True)
class Ended:
    """A trial that ended."""

    number: int
    accuracy: float
    """Its best validation."""
    pruned: bool
    iterations: int
    """Its own."""
    spent: int
    """Iterations that all trials together had trained by then."""


@dataclass(frozen=True)
class Run:
    """A search of one seed."""

    ended: tuple[Ended, ...]
    """In the order in which trials ended."""
    elapsed: int
    """Iterations that a worker trained or waited."""
    ms: tuple[float, ...]
    """CPU time of this process for each trial: asking, and telling its end."""

    def best(self, trials: int) -> float:
        """Best completed trial among the first so many proposals; 0 where all were pruned."""
        return max((one.accuracy for one in self.ended if one.number < trials and not one.pruned), default=0.0)

    def best_by(self, spent: int) -> float:
        """Best trial that was completed by the time that so many iterations were trained."""
        return max((one.accuracy for one in self.ended if one.spent <= spent and not one.pruned), default=0.0)

    def spent_until(self, accuracy: float) -> int | None:
        """Iterations until a trial was complete that is at least so good."""
        return next((one.spent for one in self.ended if not one.pruned and one.accuracy >= accuracy), None)

    def spent_on(self, trials: int) -> int:
        """Iterations of the first so many proposals."""
        return sum(one.iterations for one in self.ended if one.number < trials)


def race(contestant: Contestant, table: Table, trials: int, workers: int, budget: int | None = None) -> Run:
    """Has ``trials`` trials run on ``workers`` workers, or as many as begin before ``budget`` iterations are spent."""
    clock = spent = asked = 0
    ended: list[Ended] = []
    ms: dict[int, float] = {}
    curves: dict[int, tuple[float, ...]] = {}
    seen: dict[int, list[tuple[int, float]]] = {}
    due: list[tuple[int, int]] = []  # (clock, number) of the next validation of each running trial
    while True:
        while len(due) < workers and asked < trials and (budget is None or spent < budget):
            began = time.thread_time()
            values = contestant.ask()
            if values is None:
                break
            ms[asked] = (time.thread_time() - began) * 1e3
            curves[asked], seen[asked] = table.curve(values), []
            heapq.heappush(due, (clock + table.validate_every, asked))
            asked += 1
        if not due:
            return Run(tuple(ended), clock, tuple(ms.values()))
        clock, number = heapq.heappop(due)
        spent += table.validate_every
        curve = seen[number]
        curve.append((len(curve) * table.validate_every + table.validate_every, curves[number][len(curve)]))
        complete = len(curve) == len(curves[number])
        pruned = not complete and contestant.stops(number, curve)
        if not complete and not pruned:
            heapq.heappush(due, (clock + table.validate_every, number))
            continue
        began = time.thread_time()
        contestant.tell(number, curve, pruned)
        ms[number] += (time.thread_time() - began) * 1e3
        ended.append(Ended(number, max(value for _, value in curve), pruned, curve[-1][0], spent))
