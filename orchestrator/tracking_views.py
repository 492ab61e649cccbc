"""What MLflow shows of a sweep and of a trial: plain values, made from the store, never changed afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Literal, NamedTuple

from trainers.problem import Score

OURS = "metasweep.experiment"
"""Tag of an experiment that was made for sweeps, so that how MLflow shows it is for us to say."""

SHARED_VIEW = "mlflow.sharedViewState."
"""With the id of a sweep's run: the tag of an experiment that says how the table of its trials opens."""

State = Literal["running", "completed", "pruned", "failed"]


class Point(NamedTuple):
    """One value of a curve, with the time at which the trial saw it."""

    key: str
    step: int
    value: float
    timestamp_ms: int


@dataclass(frozen=True)
class SweepView:
    """What the parent run shows. ``name`` and ``home_id`` identify it: the same two find the same run again."""

    name: str
    home_id: str
    question: str = ""
    spec_yaml: str = ""
    place: str = ""
    """Of the home, for people."""
    varying: Sequence[str] = ()
    """Params that the sweep varies, in the order of its file."""
    tags: Mapping[str, str] = field(default_factory=dict)
    score: Score = field(kw_only=True)
    """What its trials are judged by."""
    one_scale: bool = True
    """Whether that compares any two of them; not returns in several environments."""


@dataclass(frozen=True)
class TrialView:
    """All that is known of a trial so far; ``identity`` finds its child run again.

    ``points`` holds every point since the start; ``metrics``, the figures without a step, are written when the trial
    has ended, at the step of its last point. ``tags["error"]`` is the reason of a failure. ``dataset`` is (name,
    fingerprint, source).
    """

    number: int
    name: str
    state: State
    params: Mapping[str, object] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    points: Sequence[Point] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    dataset: tuple[str, str, str] | None = None
    started_ms: int | None = None
    ended_ms: int | None = None
    trial: str = ""
    """What identifies the trial where its number can change: cells move up when a grid grows."""

    @property
    def identity(self) -> str:
        """Tells the trial from the others of its sweep, for good."""
        return self.trial or str(self.number)

    def all_points(self) -> list[Point]:
        """The curve, and once the trial has ended the final metrics as points behind it."""
        if self.state == "running":
            return [Point(*point) for point in self.points]
        step = max((point[1] for point in self.points), default=0)
        time_ms = self.ended_ms or self.started_ms or 0
        final = [Point(key, step, value, time_ms) for key, value in self.metrics.items()]
        return [*(Point(*point) for point in self.points), *final]

    def digest(self) -> str:
        """Of all that the view says: equal digests, equal views."""
        dataset = list(self.dataset or ())
        said = [
            self.name,
            self.state,
            dict(self.params),
            dict(self.tags),
            list(self.points),
            dict(self.metrics),
            dataset,
        ]
        text = json.dumps([*said, self.started_ms, self.ended_ms], sort_keys=True, default=str)
        return sha256(text.encode()).hexdigest()[:20]


class Written(NamedTuple):
    """A view that MLflow has, without its curve: a sweep of thousands of trials would hold all of them."""

    view: TrialView
    digest: str
    """Of the whole view."""


def written(view: TrialView) -> Written:
    """What is kept of a view once it is written."""
    return Written(replace(view, points=()), view.digest())
