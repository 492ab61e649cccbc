"""A running sweep and its trials in words, for every display of them."""

from __future__ import annotations

from orchestrator.status import Resources, SweepStatus, TrialLine
from trainers.problem import score_text

_SHORT = 160


def counts(status: SweepStatus) -> str:
    """``omniglot: 2/40 trials done, 16 running, 1 failed``"""
    states = {"running": status.running, "failed": status.failed, "pruned": status.pruned, "cached": status.cached}
    more = "".join(f", {count} {word}" for word, count in states.items() if count)
    pairs = f", {status.compared}/{status.to_compare} pairs of trainings compared" if status.to_compare else ""
    return f"{status.name}: {status.ended}/{status.planned} trials done{more}{pairs}"


def result(trial: TrialLine, state: str = "") -> str:
    """A trial that has ended, with its accuracies and what is special about it."""
    test = "" if trial.test_accuracy is None else f", test {_score(trial.test_accuracy, trial.unit)}"
    label = f" ({short(trial.label)})" if trial.label else ""
    place = f" at {trial.iteration}/{trial.iterations}" if state == "pruned" else ""
    validation = _score(trial.validation_accuracy, trial.unit)
    return f"trial {trial.name}{state and ' '}{state}{place}: validation {validation}{test}{label}"


def failure(trial: TrialLine) -> str:
    """A trial that has failed, with the reason."""
    return f"trial {trial.name} failed after {clock(trial.seconds)}: {short(trial.error or 'no reason')}"


def progress(trial: TrialLine) -> str:
    """A trial that runs."""
    return f"iteration {trial.iteration}/{trial.iterations}, validation {_score(trial.validation_accuracy, trial.unit)}"


def left(status: SweepStatus) -> str:
    """``, about 3:20 left``; empty before anything was measured."""
    return "" if status.left_s is None else f", about {clock(status.left_s)} left"


def rates(status: SweepStatus) -> str:
    """``132 iterations/s, 48 trials/h``; a dash for what was not measured yet."""
    return f"{_rate(status.iterations_per_s)} iterations/s, {_rate(status.trials_per_h)} trials/h"


def resources(taken: Resources | None) -> str:
    """``CPU 16/48, GPU 2/4, memory here 3.1/15.6 GB, 3 nodes: 10.0.0.1, …``; empty where nobody said."""
    if taken is None:
        return ""
    parts = [f"CPU {_amount(taken.cpu)}/{_amount(taken.cpus)}"]
    parts += [f"GPU {_amount(taken.gpu)}/{_amount(taken.gpus)}"] if taken.gpus else []
    several = len(taken.nodes) > 1
    if taken.memory_used_bytes is not None and taken.memory_bytes is not None:
        here = " here" if several else ""
        parts.append(f"memory{here} {taken.memory_used_bytes / 1e9:.1f}/{taken.memory_bytes / 1e9:.1f} GB")
    parts += [f"{len(taken.nodes)} nodes: {', '.join(taken.nodes)}"] if several else []
    return ", ".join(parts)


def percent(part: int, whole: int) -> str:
    """``42 %``, rounded down: 100 means all."""
    return f"{100 * part // max(whole, 1)} %"


def score(value: float | None, unit: str) -> str:
    """As tables have it, without the sign of per cent; a dash where there is none."""
    return "–" if value is None else score_text(value, unit)


def clock(seconds: float) -> str:
    """``1:05``, ``2:01:05``"""
    whole = max(int(seconds), 0)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def short(text: str) -> str:
    """The first line of a text, cut, without what a terminal would obey."""
    line = printable(next(iter(text.strip().splitlines()), ""))
    return line if len(line) <= _SHORT else line[: _SHORT - 1] + "…"


def printable(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(char if char.isprintable() else " " for char in text)


def _score(value: float | None, unit: str) -> str:
    return score(value, unit) + " %" * (unit == "%")


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _amount(value: float) -> str:
    return f"{value:.4g}"
