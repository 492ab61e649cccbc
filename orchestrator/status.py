"""What a running sweep looks like at one moment, for whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    """Fraction; the best so far. Of another problem its score, see ``unit``."""
    test_accuracy: float | None = None
    error: str | None = None
    seconds: float = 0.0
    """Since it started in this run."""
    confirms: int | None = None
    """Number of the trial that it repeats."""
    unit: str = "%"
    """``%`` of a fraction, ``return`` of a return, which is shown as it is."""

    @property
    def name(self) -> str:
        """Its number for people."""
        return trial_name(self.number, self.confirms)


@dataclass(frozen=True)
class Resources:
    """What the trials that run take of what there is."""

    cpu: float
    cpus: float
    gpu: float
    gpus: float
    nodes: tuple[str, ...] = ()
    """Addresses of the machines; empty where it is this one alone."""
    memory_used_bytes: int | None = None
    """Of the driver's machine; None where it does not say."""
    memory_bytes: int | None = None


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
    """By number; of those that have ended perhaps the last few only, and all since the status before."""
    elapsed_s: float
    left_s: float | None
    """Estimated from measured speed; None before anything was measured."""
    compared: int = 0
    """Pairs of trainings whose analyses are done, of ``to_compare``; both 0 until the trials are."""
    to_compare: int = 0
    iterations_per_s: float | None = None
    """Of all trials together, over the last minute; None before anything was measured."""
    trials_per_h: float | None = None
    """That ended in this run; None before the first."""
    resources: Resources | None = None

    @property
    def ended(self) -> int:
        """How many of the planned trials are done, whatever came of them."""
        return self.completed + self.pruned + self.failed

    def later(self, seconds: float) -> SweepStatus:
        """The same so many seconds after it was said: clocks go on between events."""
        trials = tuple(
            replace(trial, seconds=trial.seconds + seconds) if trial.state == "running" else trial
            for trial in self.trials
        )
        left_s = None if self.left_s is None else max(self.left_s - int(seconds), 0.0)
        return replace(self, trials=trials, elapsed_s=self.elapsed_s + seconds, left_s=left_s)
