"""Every trial as the page lists it: its config, what came of it, and its curve as a small drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from orchestrator.config_paths import leaves
from orchestrator.labels import label
from orchestrator.report.style import thinned
from orchestrator.results import Study
from orchestrator.rows import Row
from trainers.problem import Score

WIDTH, HEIGHT = 100, 24
"""Of a sparkline, in its own units."""


@dataclass(frozen=True)
class Trial:
    """One row of the study."""

    number: str
    """As people read it."""
    label: str
    state: str
    outcome: str
    """In a line: its accuracies, where it was pruned, or why it failed; empty where there is none yet."""
    facts: Mapping[str, str]
    """What it has of its own: config values that differ from the base config's, keys, metrics."""
    sparkline: Markup


@dataclass(frozen=True)
class Scale:
    """The axes that all sparklines of a page share, so that heights can be compared. Accuracies are fractions."""

    low: float
    high: float
    iterations: int


def trial_list(study: Study) -> tuple[list[Trial], Scale]:
    """The trials by number, and the scale of their sparklines."""
    curves = {row.number: _curve(study, row) for row in study.rows}
    points = [point for curve in curves.values() for point in curve]
    accuracies = [accuracy for _, accuracy in points] or [0.0, 1.0]
    scale = Scale(min(accuracies), max(accuracies), max((iteration for iteration, _ in points), default=1))
    base = leaves(study.spec.trial)
    trials = [
        Trial(
            number=row.name,
            label=label(row.config, study.spec),
            state=row.state,
            outcome=_outcome(row),
            facts=_facts(row, base),
            sparkline=sparkline(curves[row.number], scale, study.score),
        )
        for row in study.rows
    ]
    return trials, scale


def sparkline(curve: Sequence[tuple[int, float]], scale: Scale, score: Score) -> Markup:
    """A curve of (iteration, score) as inline SVG, with where it began and ended in words; empty for no curve."""
    if not curve:
        return Markup("")
    height = (scale.high - scale.low) or 1.0
    places = " ".join(
        f"{WIDTH * iteration / scale.iterations:.1f},{HEIGHT * (1 - (accuracy - scale.low) / height):.1f}"
        for iteration, accuracy in thinned(curve)
    )
    (first, began), (last, ended) = curve[0], curve[-1]
    words = f"validation {score.word} {score.text(began)} at iteration {first}, {score.text(ended)} at {last}"
    end_x, end_y = places.rpartition(" ")[2].split(",")
    return Markup(
        '<svg class="spark" role="img" viewBox="-2 -2 {} {}"><title>{}</title>'
        '<polyline points="{}"/><circle cx="{}" cy="{}" r="1.8"/></svg>'
    ).format(WIDTH + 4, HEIGHT + 4, words, places, end_x, end_y)


def _curve(study: Study, row: Row) -> list[tuple[int, float]]:
    head = row.config.algorithm_entry.head
    points = study.trainings[row.keys.training].until_end(row)
    return [(point["iteration"], point["validation_accuracy"][head]) for point in points]


def _outcome(row: Row) -> str:
    if row.state == "pruned":
        return f"at iteration {row.metrics['iterations']}, validation {row.score.text(row.validation)}"
    if row.state != "completed":
        return row.error or ""
    score = row.score
    test, half = (score.number(row.metrics[name]) for name in (score.test, score.test_ci95))
    return f"validation {score.text(row.validation)}, test {test} ± {half}{score.suffix}"


def _facts(row: Row, base: Mapping[str, Any]) -> dict[str, str]:
    own = {path: value for path, value in leaves(row.config).items() if value != base[path]}
    facts = {path: plain_text(value) for path, value in own.items()}
    facts |= {"training": row.keys.training, "evaluation": row.keys.evaluation}
    if "train_seconds" in row.metrics:
        facts["training took"] = f"{row.metrics['train_seconds']:.1f} s"
    return facts


def plain_text(value: Any) -> str:
    """A value of a config: layers and rates joined by commas, ``–`` for what is left out or none."""
    if value is None or value == ():
        return "–"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
