"""A search, then its best trials again: what runs next where ``search.confirm`` asks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from orchestrator.confirm import Confirmation, most_confirmations
from orchestrator.plan import Look, MayBegin, Plan, SearchPlan, Unit, always
from orchestrator.record import SweepRecord
from orchestrator.rows import Row, all_tried, asked_trials, to_confirm
from orchestrator.spec import SweepSpec


class ConfirmedSearchPlan(Plan):
    """The units of a search, and when all have ended those that confirm it. The search is never told of these.

    What is confirmed follows from the record alone: it is the same after a kill, and another where the search grows.
    """

    def __init__(
        self,
        search: SearchPlan,
        spec: SweepSpec,
        record: SweepRecord,
        look: Look,
        on_known: Callable[[Unit], None],
        may_begin: MayBegin = always,
    ) -> None:
        assert spec.search is not None
        self._search, self._spec, self._record = search, spec, record
        self._look, self._on_known, self._may_begin = look, on_known, may_begin
        self.planned = search.planned + most_confirmations(spec.search)
        """Exact once the search has ended."""
        self._left: list[Confirmation] | None = None
        """None until the search has ended."""
        self._in_flight: dict[int, str] = {}

    def next(self) -> Unit | None:
        """The search's next unit; after its end the first confirmation that shares no training with one in flight."""
        if self._left is None:
            try:
                return self._search.next()
            except StopIteration:
                rows = [self._look(*trial) for trial in asked_trials(self._record, self._spec)]
                if not all_tried(self._spec, rows):
                    raise
                self._left = to_confirm(self._spec, rows)
                self.planned = self._search.planned + len(self._left)
        return self._next_confirmation()

    def ended(self, rows: tuple[Row, ...]) -> None:
        """Tells the search, if it is one of its own."""
        if rows[0].confirms is None:
            self._search.ended(rows)
        else:
            del self._in_flight[rows[0].number]

    def _next_confirmation(self) -> Unit | None:
        assert self._left is not None
        waiting: list[Confirmation] = []
        while self._left:
            one = self._left.pop(0)
            unit = Unit(one.number, (replace(self._look(one.number, one.config, None), confirms=one.confirms),))
            if unit.rows[0].final:
                self._on_known(unit)
            elif unit.training_key in self._in_flight.values():
                waiting.append(one)
            elif self._may_begin(unit.rows):
                self._in_flight[one.number] = unit.training_key
                self._left = waiting + self._left
                return unit
        self._left = waiting
        if self._in_flight:
            return None
        raise StopIteration
