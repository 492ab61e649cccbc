"""Follows a running sweep: turns what trials say into the live display and the MLflow view."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.environment import memory_bytes
from orchestrator.labels import label
from orchestrator.pace import Pace
from orchestrator.placement import Machine
from orchestrator.plan import Unit
from orchestrator.rows import Row
from orchestrator.spec import Resources as Asked
from orchestrator.spec import SweepSpec
from orchestrator.spending import Spending
from orchestrator.status import Resources, SweepStatus, TrialLine
from orchestrator.store import Store
from orchestrator.tracking import Point, Tracker
from orchestrator.tracking_rows import curve_points, live_view, recorded_points, stored_view
from trainers.problem import Source
from trainers.problems import problem_of

ENDED_SHOWN = 20
"""Of the trials that have ended, a status has the last so many at least, and all since the one before it."""


class Board:
    """The state of every trial of a run, as far as it was said.

    Counts are kept as trials change, and those that have ended are forgotten but for the last: what an event costs does
    not grow with the sweep.
    """

    def __init__(
        self,
        spec: SweepSpec,
        store: Store,
        data: Mapping[str, Source],
        tracker: Tracker | None,
        tags: dict[str, str],
        on_change: Callable[[SweepStatus], None],
    ) -> None:
        self._spec, self._store, self._data, self._tracker, self._tags = spec, store, data, tracker, tags
        self._on_change = on_change
        self._rows: dict[int, Row] = {}
        """Of the units that run."""
        self._points: dict[int, list[Point]] = {}
        self._began: dict[int, float] = {}
        self._running: dict[int, TrialLine] = {}
        """One a unit, by the number of its first row."""
        self._ended: dict[int, TrialLine] = {}
        """The last ones."""
        self._failed: TrialLine | None = None
        """The last one."""
        self._best: TrialLine | None = None
        self._counts: Counter[str] = Counter()
        """Units by state: of a grid trainings, each as far as the least of its evaluations."""
        self._cached: set[int] = set()
        """Numbers of the units; of a grid's the least evaluation says whether it is."""
        self._confirming = self._at_once = 0
        self._trainings: set[str] = set()
        """Keys of those that are done or running: trials may share one."""
        self._started = time.monotonic()
        self._pace = Pace()
        self._one_scale = len(data) <= 1 or problem_of(spec.trial).sources_share_a_scale
        """Else no trial is the best, also while rows of other sources have not begun."""

    def known(self, unit: Unit) -> None:
        """The store has the unit: nothing is run. Shown with the next change, since there may be thousands."""
        self._show_end(unit.rows)

    def started(self, unit: Unit) -> None:
        """A unit was handed to the cluster."""
        first = unit.rows[0]
        self._began[first.number] = time.monotonic()
        if first.number not in self._running:  # else it is attempted again
            self._count("running", unit.rows)
        for row in unit.rows:
            self._rows[row.number] = replace(row, state="running", error=None)
            self._points[row.number] = recorded_points(row, self._store)
            self._track_live(row.number)
        if first.cached:
            self._cached.add(first.number)
        points = self._points[first.number]
        reached, iterations = max((point.step for point in points), default=0), first.config.training.iterations
        self._pace.begin(first.number, reached, iterations, whole=first.cutoffs is None)
        self._running[first.number] = TrialLine(
            first.number,
            "running",
            self._label(unit.rows),
            iteration=reached,
            iterations=iterations,
            validation_accuracy=max((p.value for p in points if p.key == first.score.validation), default=None),
            unit=first.score.unit,
            confirms=first.confirms,
        )
        self._at_once = max(self._at_once, len(self._running))
        self.show()

    def validated(self, unit: Unit, event: Mapping[str, Any]) -> None:
        """A trial has reached a validation."""
        first = unit.rows[0]
        line = self._running[first.number]
        self._pace.reach(first.number, event["iteration"])
        validated: float = event["validation_accuracy"][first.config.algorithm_entry.head]
        self._running[first.number] = replace(
            line,
            iteration=event["iteration"],
            validation_accuracy=validated
            if line.validation_accuracy is None
            else max(validated, line.validation_accuracy),
            seconds=time.monotonic() - self._began[first.number],
        )
        for row in unit.rows:
            self._points[row.number] += curve_points(row, dict(event), event["timestamp_ms"])
            self._track_live(row.number)
        self.show()

    def ended(self, rows: tuple[Row, ...]) -> None:
        """A unit has ended; ``rows`` are as the store has them now."""
        self._show_end(rows)
        self.show()

    def status(self, state: str = "running") -> SweepStatus:
        """All of it, now."""
        counts, planned = self._counts, self._within_budget()
        shown = self._ended | self._running
        if self._failed is not None:
            shown[self._failed.number] = self._failed
        return SweepStatus(
            name=self._spec.name,
            state=state,
            planned=planned,
            completed=counts["completed"],
            failed=counts["failed"],
            pruned=counts["pruned"],
            running=counts["running"],
            cached=len(self._cached),
            best=self._best,
            trials=tuple(shown[number] for number in sorted(shown)),
            compared=self.compared,
            to_compare=self.to_compare,
            elapsed_s=time.monotonic() - self._started,
            left_s=self._left_s(planned),
            iterations_per_s=self._pace.iterations_per_s,
            trials_per_h=self._pace.trials_per_h,
            resources=self._resources(),
        )

    planned = 0
    """Trials in all, whatever the budget; set when the plan is made."""
    spending: Spending | None = None
    """The account of the run; None where there is none."""
    compared = to_compare = 0
    """Pairs of trainings, as ``SweepStatus`` has them."""
    look: Callable[[], tuple[Sequence[Machine], Asked]] | None = None
    """Gives the machines that are there now, and what one trial takes of them; None where nobody says."""

    def _within_budget(self) -> int:
        """How many of the planned trials are done, run, or may begin."""
        if self.spending is None or self._spec.budget is None:
            return self.planned
        shown, trainings = self._counts.total(), self._trainings
        return int(min(self.planned, shown - len(trainings) + self.spending.at_most(trainings)))

    def _left_s(self, planned: int) -> float | None:
        """Time for all that is planned; where the budget ends first, until then, or until those that run are done."""
        others = planned - self._counts.total()
        again = 0  # confirmations, which come last
        if self._spec.search is not None:
            again = min(max(self.planned - self._spec.search.trials - self._confirming, 0), max(others, 0))
        left_s = self._pace.left_s(max(others, 0) - again, again)
        if self.spending is None or left_s is None:
            return left_s
        return min(left_s, max(self.spending.left_s(len(self._running)), self._pace.left_s() or 0.0))

    def _resources(self) -> Resources | None:
        if self.look is None:
            return None
        running = len(self._running)
        used, total = memory_bytes() or (None, None)
        nodes, asked = self.look()
        cpus, gpus = (sum(node.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU"))
        return Resources(
            cpu=min(running * asked.cpu, cpus),  # some of those that run may wait for a machine
            cpus=cpus,
            gpu=min(running * (asked.gpu or 0.0), gpus),
            gpus=gpus,
            nodes=tuple(filter(None, map(_address, nodes))),
            memory_used_bytes=used,
            memory_bytes=total,
        )

    def _show_end(self, rows: tuple[Row, ...]) -> None:
        first = rows[0]
        worst = next((row for row in rows if row.state != "completed"), first)
        began = self._began.pop(first.number, None)
        iterations = first.config.training.iterations
        before = self._running.pop(first.number, None)
        known = {"completed": iterations, "pruned": int(first.metrics.get("iterations", 0))}
        reached = known.get(worst.state, before.iteration if before else 0)
        self._pace.end(first.number, reached)
        line = TrialLine(
            first.number,
            worst.state,
            self._label(rows),
            iteration=reached,
            iterations=iterations,
            validation_accuracy=first.metrics.get(first.score.validation),
            test_accuracy=first.metrics.get(first.score.test) if len(rows) == 1 else None,
            unit=first.score.unit,
            error=worst.error,
            seconds=0.0 if began is None else time.monotonic() - began,
            confirms=first.confirms,
        )
        if before is None:  # the store has it
            self._count(worst.state, rows)
        else:
            self._counts["running"] -= 1
            self._counts[worst.state] += 1
        self._cached.discard(first.number)
        if worst.cached:
            self._cached.add(first.number)
        self._ended[line.number] = line
        self._failed = line if line.state == "failed" else self._failed
        if line.state == "completed" and line.confirms is None and self._one_scale:
            self._best = max(filter(None, (self._best, line)), key=lambda line: (_validation(line), -line.number))
        for row in rows:
            self._rows.pop(row.number, None)
            self._points.pop(row.number, None)
            if self._tracker is not None:
                fingerprint = self._data[row.config.source].fingerprint
                self._tracker.record(stored_view(row, self._spec, fingerprint, self._store))

    def _count(self, state: str, rows: tuple[Row, ...]) -> None:
        """A unit is seen for the first time."""
        self._counts[state] += 1
        self._confirming += rows[0].confirms is not None
        self._trainings.add(rows[0].keys.training)

    def _label(self, rows: tuple[Row, ...]) -> str:
        if len(rows) == 1:
            return label(rows[0].config, self._spec)
        return f"{label(rows[0].config, self._spec, with_test=False)} ({len(rows)} tests)"

    def _track_live(self, number: int) -> None:
        if self._tracker is not None:
            row = self._rows[number]
            fingerprint = self._data[row.config.source].fingerprint
            self._tracker.record(live_view(row, self._spec, fingerprint, self._tags, tuple(self._points[number])))

    def show(self) -> None:
        """Says how things stand."""
        self._on_change(self.status())
        for number in list(self._ended)[: -(ENDED_SHOWN + self._at_once)]:
            del self._ended[number]


def _validation(line: TrialLine) -> float:
    return -math.inf if line.validation_accuracy is None else line.validation_accuracy


def _address(node: Machine) -> str | None:
    """The one that Ray gives a node as a resource of its own."""
    names = (name.removeprefix("node:") for name in node if name.startswith("node:"))
    return next((name for name in names if not name.startswith("__")), None)
