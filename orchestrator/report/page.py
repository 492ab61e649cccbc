"""The report as one page: HTML that needs no network, reads on paper, on a phone and aloud."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from orchestrator.config_paths import leaves
from orchestrator.labels import label
from orchestrator.report.markdown_page import AGAIN, unfinished
from orchestrator.report.part import Figure, Table
from orchestrator.report.provenance import Provenance
from orchestrator.report.trial_list import plain_text, trial_list
from orchestrator.results import Study
from orchestrator.rows import best_row
from orchestrator.spec_file import spec_to_yaml

TEMPLATE, STYLE, SCRIPT = (Path(__file__).with_name(f"page.{ending}") for ending in ("html.jinja", "css", "js"))
RELATIONS = "relations"
"""Name of the table whose rows answer the question: a relation first, its verdict in words last."""


@dataclass(frozen=True)
class Answer:
    """One sentence on what came out, and what it is about."""

    about: str
    sentence: str
    trial: str = ""
    """Name of the trial that the page leads to from here."""


def page(study: Study, parts: Sequence[Table | Figure], provenance: Provenance) -> str:
    """``index.html``: question, answers, figures, tables, method, budget, environments, failures, every trial.

    Everything is inline; texts of users are escaped.

    Args:
        study: what the report is on.
        parts: tables and figures, in their order on the page. The table ``relations``, if any, also makes the answers.
        provenance: of the study.
    """
    trials, scale = trial_list(study)
    context: dict[str, Any] = {
        "style": Markup(STYLE.read_text(encoding="utf-8")),
        "script": Markup(SCRIPT.read_text(encoding="utf-8")),
        "study": study,
        "provenance": provenance,
        "unfinished": unfinished(provenance) if provenance.state != "done" else "",
        "again": AGAIN,
        "answers": _answers(study, parts),
        "tables": [part for part in parts if isinstance(part, Table)],
        "figures": [(part, inline_svg(part)) for part in parts if isinstance(part, Figure)],
        "trials": trials,
        "numbers": {trial.number for trial in trials},
        "scale": scale,
        "base": {path: plain_text(value) for path, value in leaves(study.spec.trial).items()},
        "score": study.score,
        "scores": study.score.words,
        "task": study.problem.task_word,
        "tasks": study.problem.tasks_word,
        "others": study.problem.other_tasks,
        "held_back": study.problem.held_back,
        "source_word": study.problem.source_word,
        "spec_file": spec_to_yaml(study.spec),
        "failures": [(row.name, label(row.config, study.spec), row.error or "") for row in provenance.failed],
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["duration"] = duration
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(context)


def inline_svg(figure: Figure) -> Markup:
    """The figure's SVG as part of a page that holds others: named for readers, its ids its own, no rule for the page.

    Takes SVG as ``orchestrator.report.style.figure_files`` makes it, which is trusted as it is.
    """
    prefix = f"{figure.name}-"
    svg = figure.svg[figure.svg.index("<svg") :]
    svg = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = re.sub(r"url\(#", f"url(#{prefix}", svg)
    svg = re.sub(r'\b(?:xlink:)?href="#', f'href="#{prefix}', svg)
    opening, rest = svg.split(">", 1)
    opening = re.sub(r'\s(?:width|height|version|xmlns(?::\w+)?)="[^"]*"', "", opening)
    named = Markup('<title id="{}title">{}</title>').format(prefix, figure.title)
    kind = "figure wide" if figure.wide else "figure"
    return Markup(f'{opening} class="{kind}" role="img" aria-labelledby="{prefix}title">{named}{rest}')


def duration(seconds: float) -> str:
    """``1 h 5 min``, ``12 min 3 s``, ``4.1 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min"


def _answers(study: Study, parts: Sequence[Table | Figure]) -> list[Answer]:
    relations = next((part for part in parts if isinstance(part, Table) and part.name == RELATIONS), None)
    if relations is not None:
        return [Answer(row[0], row[-1]) for row in relations.rows]
    best = best_row(study.rows)
    if study.spec.search is None or best is None:
        return []
    score = best.score
    test, half = (score.number(best.metrics[name]) for name in (score.test, score.test_ci95))
    sentence = f"trial {best.number}, {label(best.config, study.spec)}: {test} ± {half}{score.suffix} in the test"
    return [Answer("Best by validation", sentence, best.name)]
