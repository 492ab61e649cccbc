"""What the parent run of a sweep shows, from the views of its trials alone: the same live and afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.tracking_views import Point, SweepView, TrialView
from trainers.problem import Score

REPORT, TRIALS = "report", "trials.json"
"""Artifacts: a folder, and the table of all trials."""


@dataclass(frozen=True)
class Report:
    """The report on a sweep as artifacts."""

    files: Mapping[str, bytes]
    """Path below ``REPORT`` -> content."""
    answer: tuple[str, ...] = ()
    """Sentences that the report judges true or false."""


@dataclass(frozen=True)
class Outcome:
    """What a sweep adds to its runs when it has ended. Both may take seconds, or raise: the tracker calls them late."""

    report: Callable[[], Report] | None = None
    weights: Mapping[str, Callable[[], bytes | None]] = field(default_factory=dict)
    """Identity of a trial -> the weights that it was tested with, as safetensors."""


NO_OUTCOME = Outcome()


def best_metric(score: Score) -> str:
    """What a trial's best validation is called; the curve has the other name."""
    return f"best_{score.validation}"


def best_so_far(sweep: SweepView, trials: Iterable[TrialView]) -> list[Point]:
    """Best validation score, and the test score of that trial, after each trial in the order of their numbers. Nothing
    where trials can't be compared.

    The step is how many trials have ended. A trial counts once all before it have ended, so that a point, once
    written, stays true whatever order trials end in.
    """
    if not sweep.one_scale:
        return []
    points: list[Point] = []
    best: TrialView | None = None
    time_ms, score = 0, sweep.score
    for done, trial in enumerate(sorted(_asked(trials), key=lambda trial: trial.number), start=1):
        if trial.state == "running" or trial.number != done - 1:
            break
        time_ms = max(time_ms, trial.ended_ms or 0)
        best = _better(best, trial, score)
        if best is not None:  # names that the metrics of a trial have, too: one column of the run table holds both
            keys = [key for key in (best_metric(score), score.test) if key in best.metrics]
            points += [Point(key, done, best.metrics[key], time_ms) for key in keys]
    return points


def note(sweep: SweepView, trials: Sequence[TrialView], answer: Sequence[str] = ()) -> str:
    """Markdown: the question, the answer so far, how far the sweep is, and the way to the rest."""
    best: TrialView | None = None
    for trial in sorted(_asked(trials), key=lambda trial: trial.number) if sweep.one_scale else ():
        best = _better(best, trial, sweep.score)
    counts = [(state, sum(trial.state == state for trial in trials)) for state in _STATES]
    parts = [f"**{sweep.question}**"] if sweep.question else []
    if best is not None:
        parts.append(f"Best by validation: **{best.name}**, {_result(best, sweep.score)}.")
    parts += [f"- {sentence}" for sentence in answer]
    parts.append(f"Trials: {', '.join(f'{count} {state}' for state, count in counts if count) or 'none yet'}.")
    parts.append(
        f"All trials: `{TRIALS}`; tables, figures and the page: `{REPORT}/`, once the sweep is done. "
        f"`orchestrate report {sweep.name}` writes them into {sweep.place or 'the home'}."
    )
    return "\n\n".join(parts)


def trial_table(trials: Iterable[TrialView], varying: Sequence[str]) -> bytes:
    """All trials as the JSON that MLflow shows as a table: what varies first, then what came of it."""
    ordered = sorted(trials, key=lambda trial: trial.number)
    metrics = list(dict.fromkeys(name for trial in ordered for name in trial.metrics))
    columns = ["trial", *varying, "state", *metrics, "error"]
    rows = [
        [
            trial.name,
            *(trial.params.get(name) for name in varying),
            trial.state,
            *(trial.metrics.get(name) for name in metrics),
            trial.tags.get("error"),
        ]
        for trial in ordered
    ]
    return json.dumps({"columns": columns, "data": rows}, default=str).encode()


_STATES = ("completed", "pruned", "failed", "running")


def _asked(trials: Iterable[TrialView]) -> list[TrialView]:
    """Without those that confirm others: they were chosen by their results."""
    return [trial for trial in trials if "confirms" not in trial.tags]


def _better(best: TrialView | None, trial: TrialView, score: Score) -> TrialView | None:
    key = best_metric(score)
    if trial.state != "completed" or key not in trial.metrics:
        return best
    return trial if best is None or trial.metrics[key] > best.metrics[key] else best


def _result(trial: TrialView, score: Score) -> str:
    validation = f"{score.text(trial.metrics[best_metric(score)])} validation {score.word}"
    if score.test not in trial.metrics:
        return validation
    half = trial.metrics.get(score.test_ci95)
    interval = "" if half is None else f" ± {score.number(half)}"
    return f"{validation}, {score.number(trial.metrics[score.test])}{interval}{score.suffix} in the test"
