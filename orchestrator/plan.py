"""What a sweep runs next: the work that its spec asks for and the store does not have.

Both kinds of plan hand out units (a training and the evaluations asked of it) and are told how each ended.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.early_stopping import Cutoffs
from orchestrator.grid import GridPoint
from orchestrator.record import SweepRecord
from orchestrator.rows import Row, in_search
from orchestrator.search.proposals import Outcome, Proposal
from orchestrator.search.searcher import Searcher
from orchestrator.spec import SweepSpec
from orchestrator.trial_numbers import trial_name
from trainers.problems import Config

Look = Callable[[int, Config, Cutoffs | None], Row]
"""(number, config, cut-offs) -> the row as the store has it now; no cut-offs: the sweep stops no trial early."""

MayBegin = Callable[[Sequence[Row]], bool]
"""Whether a unit of these rows may be run; of none, whether anything new may. Once that is no, it stays so."""


def always(rows: Sequence[Row]) -> bool:
    """Where there is no budget."""
    return True


@dataclass(frozen=True)
class Unit:
    """What Ray schedules as one trial."""

    number: int
    rows: tuple[Row, ...]
    """One for each evaluation asked of the training; never empty."""

    @property
    def name(self) -> str:
        """Its number for people."""
        return trial_name(self.number, self.rows[0].confirms)

    @property
    def training_key(self) -> str:
        """The key that all rows share."""
        return self.rows[0].keys.training


class Plan(ABC):
    """Hands out units of work, each at most once a run."""

    planned: int
    """Units in all, done ones included; at most so many, where that is not known yet."""

    @abstractmethod
    def next(self) -> Unit | None:
        """The next unit to run; None where it depends on a unit in flight.

        Raises:
            StopIteration: there is none left that may begin, and none in flight.
        """

    @abstractmethod
    def ended(self, rows: tuple[Row, ...]) -> None:
        """Takes the rows of a unit that ended, as completed, pruned or failed."""


class GridPlan(Plan):
    """Units in grid order, but for those that the store has."""

    def __init__(
        self,
        groups: list[tuple[str, list[GridPoint]]],
        look: Look,
        on_known: Callable[[Unit], None],
        may_begin: MayBegin = always,
    ) -> None:
        self.planned = len(groups)
        self._may_begin = may_begin
        self._in_flight = 0
        self._left: deque[Unit] = deque()
        for number, (_, points) in enumerate(groups):
            unit = Unit(number, tuple(look(point.number, point.config, None) for point in points))
            if all(row.final for row in unit.rows):
                on_known(unit)
            else:
                self._left.append(unit)

    def next(self) -> Unit | None:
        """The next unit; trainings of a grid do not depend on each other."""
        while self._left:
            unit = self._left.popleft()
            if self._may_begin(unit.rows):
                self._in_flight += 1
                return unit
        if self._in_flight:
            return None
        raise StopIteration

    def ended(self, rows: tuple[Row, ...]) -> None:
        """One less in flight."""
        self._in_flight -= 1


class SearchPlan(Plan):
    """Proposals in number order: the stored ones that are not done yet, then new ones.

    Proposal n waits for the results of 0 … n − window, and is a function of them alone; so no timing changes a search.
    One whose record is gone is therefore made again as it was. One that was told other results than there are now
    stands, and ``on_warning`` gets a line: its trial may have taken hours.
    """

    def __init__(
        self,
        spec: SweepSpec,
        record: SweepRecord,
        look: Look,
        on_known: Callable[[Unit], None],
        on_warning: Callable[[str], None],
        may_begin: MayBegin = always,
    ) -> None:
        assert spec.search is not None
        assert spec.search.window is not None
        self.planned = spec.search.trials
        self._search, self._base, self._window = spec.search, spec.trial, spec.search.window
        self._record, self._look, self._on_known, self._on_warning = record, look, on_known, on_warning
        self._may_begin = may_begin
        self._proposals = {one.number: one for one in record.proposals() if one.number < self.planned}
        self._stored = max(self._proposals, default=-1)
        self._unchecked = sorted(self._proposals)
        """Numbers of stored proposals, until what they were told is compared with what is known now."""
        self._searcher = Searcher(spec.search, spec.trial, spec.search.window)
        self._started: set[int] = set()
        self._lowest = 0
        """All proposals below this number were started."""
        self._outcomes: dict[int, Outcome] = {}
        self._in_flight: dict[int, str] = {}

    def next(self) -> Unit | None:
        """The lowest proposal that is neither done nor in flight, nor shares a training with one that is."""
        while self._lowest in self._started:
            self._lowest += 1
        number = self._lowest
        while number < self.planned:
            if number not in self._proposals and not (self._may_propose(number) and self._propose(number)):
                break
            if number not in self._started:
                unit = self._unit(self._proposals[number])
                if unit.rows[0].final:  # the store has it: this sweep or another ran it before
                    self._started.add(number)
                    self._note(unit.rows[0])
                    self._on_known(unit)
                elif (
                    len(self._in_flight) < self._window
                    and unit.training_key not in self._in_flight.values()
                    and self._may_begin(unit.rows)
                ):
                    self._started.add(number)
                    self._in_flight[number] = unit.training_key
                    return unit
            number += 1
        if not self._in_flight:
            if len(self._outcomes) == self.planned:
                self._check_told()
            else:
                assert not self._may_begin(())  # else nothing could ever go on
            raise StopIteration
        return None

    def ended(self, rows: tuple[Row, ...]) -> None:
        """Notes what later proposals are told."""
        (row,) = rows
        del self._in_flight[row.number]
        self._note(row)

    def _unit(self, proposal: Proposal) -> Unit:
        cutoffs = proposal.cutoffs if self._search.early_stopping else None
        row = self._look(proposal.number, proposal.config(self._base), cutoffs)
        return Unit(proposal.number, (in_search(row, self._search, self._stored + 1),))

    def _note(self, row: Row) -> None:
        if row.state in ("completed", "pruned"):
            state: Literal["complete", "pruned"] = "complete" if row.state == "completed" else "pruned"
            self._outcomes[row.number] = Outcome(row.number, state, self._values(row), row.curve)
        else:
            self._outcomes[row.number] = Outcome(row.number, "failed")
        self._searcher.end(self._outcomes[row.number])

    def _values(self, row: Row) -> tuple[float, ...]:
        """Of the objectives. A pruned trial costs what its config costs: stopping it early makes that no cheaper."""
        metrics = dict(row.metrics)
        if row.state == "pruned":
            metrics["train_flops"] = metrics["train_flops"] / metrics["iterations"] * row.config.training.iterations
        return tuple(metrics[one.metric] for one in self._search.objective)

    def _may_propose(self, number: int) -> bool:
        """A proposal that is new counts as work; one that was lost does not."""
        return number < self._stored or self._may_begin(())

    def _propose(self, number: int) -> bool:
        """Makes proposal ``number`` and stores it, if all that it is told is known."""
        if not self._searcher_before(number).ready:
            return False
        if self._unchecked and number > self._unchecked[-1]:
            self._check_told()
        proposal = self._searcher.propose()
        proposal.config(self._base)  # can it be built? Once stored it is for good
        self._proposals[number] = self._record.put_proposal(proposal)
        return True

    def _check_told(self) -> None:
        """Warns of stored proposals that rest on other results than are known now, once.

        What each was told includes what those before it were, so the ones to name are the last of them.
        """
        stored, self._unchecked = self._unchecked, []
        first = bisect_left(stored, True, key=self._told_other)
        if first < len(stored):
            self._on_warning(
                f"sweep {self._record.name!r}: proposals {stored[first]} to {stored[-1]} were chosen knowing other "
                "results than the record holds now (a trial was run again, or its record was changed); they stay as "
                "they are. For a search that can be repeated begin it afresh under another --name: no finished "
                "training runs again"
            )

    def _told_other(self, number: int) -> bool:
        return self._searcher_before(number).told(number) != self._proposals[number].told

    def _searcher_before(self, number: int) -> Searcher:
        """The searcher, with the proposals before ``number`` at least; it grows in number order, as the plan does."""
        while self._searcher.number < number:
            self._searcher.add(self._proposals[self._searcher.number])
        return self._searcher
