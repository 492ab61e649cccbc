"""What a running sweep looks like at one moment, for whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.trial_numbers import trial_name


@dataclass(frozen=True)
class TrialLine:
    """One trial, in a line."""

    number: int
    state: str
    """planned, running, completed, pruned or failed."""
    label: str
    """What varies: ``anil inner_lr=0.31``."""
    iteration: int = 0
    iterations: int = 0
    validation_accuracy: float | None = None
    """Fraction; the best so far."""
    test_accuracy: float | None = None
    error: str | None = None
    seconds: float = 0.0
    """Since it started in this run."""
    confirms: int | None = None
    """Number of the trial that it repeats."""

    @property
    def name(self) -> str:
        """Its number for people."""
        return trial_name(self.number, self.confirms)


@dataclass(frozen=True)
class SweepStatus:
    """A sweep and its trials."""

    name: str
    state: str
    """running, interrupted or done."""
    planned: int
    completed: int
    failed: int
    pruned: int
    running: int
    cached: int
    best: TrialLine | None
    trials: tuple[TrialLine, ...]
    elapsed_s: float
    left_s: float | None
    """Estimated from measured speed; None before anything was measured."""
    compared: int = 0
    """Pairs of trainings whose analyses are done, of ``to_compare``; both 0 until the trials are."""
    to_compare: int = 0
