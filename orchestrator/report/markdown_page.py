"""``report.md``: the whole report as one Markdown page, for places that show no HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.report.formats import markdown, markdown_text
from orchestrator.report.part import Figure, Table
from orchestrator.report.provenance import Environment, Provenance
from orchestrator.report.relations import JudgedRelation

SHOWN = 20
"""Failures that are listed; the others are counted."""


def markdown_page(parts: Sequence[Table | Figure], source: Provenance, relations: Sequence[JudgedRelation]) -> str:
    """Question, answers, tables, figures, what it cost and how to make it again.

    Args:
        parts: in the order of the page; figures lie in ``figures/`` beside it, as PNG.
        source: of the study.
        relations: the answers.
    """
    blocks = [f"# {markdown_text(source.name)}"]
    if source.question:
        blocks.append(f"*{markdown_text(source.question)}*")
    if source.state != "done":
        blocks.append(f"**{unfinished(source)}**")
    if relations:
        blocks += ["## Answers", _list(f"**{one.name}**: {markdown_text(one.sentence)}" for one in relations)]
    tables = [part for part in parts if isinstance(part, Table)]
    figures = [part for part in parts if isinstance(part, Figure)]
    for table in tables:
        blocks += [f"## {markdown_text(table.title)}", markdown(table).rstrip()]
    for figure in figures:
        caption = markdown_text(figure.caption)
        picture = f"![{caption}](figures/{figure.name}.png)"
        blocks += [f"## {markdown_text(figure.title)}", picture, caption]
    blocks += ["## Where the numbers come from", _list(facts(source)), *_failures(source)]
    blocks += [
        "## Make it again",
        f"```\n{source.command}\n```",
        "In this folder: `spec.yaml` is the sweep as it ran. " + AGAIN,
    ]
    return "\n\n".join(blocks) + "\n"


AGAIN = "What a home has recorded is not run again; name a new one with --home to train everything anew."


def unfinished(source: Provenance) -> str:
    """What is said of a sweep that is not done."""
    goes_on = "is running" if source.state == "running" else "was interrupted; the same command goes on from there"
    return f"This sweep {goes_on}: {source.missing} results are missing."


def facts(source: Provenance) -> list[str]:
    """Budget, data and environments, a sentence each."""
    lines = [
        f"{source.trainings:,} trainings of {source.iterations:,} iterations together "
        f"({source.train_flops:.3g} floating-point operations), {source.evaluations:,} evaluations on "
        f"{source.test_episodes:,} test {source.tasks_word}; {source.core_seconds:,.0f} core-seconds in all attempts",
    ]
    if source.pruned:
        lines.append(f"{source.pruned:,} trials pruned, after {source.pruned_iterations:,} iterations together")
    if source.left_out:
        lines.append(source.left_out)
    if source.started:
        lines.append(f"begun {source.started}")
    lines += [f"data: {name}, fingerprint {fingerprint}" for name, fingerprint in source.datasets.items()]
    if source.mixed:
        lines.append("more than one environment: numbers of different ones agree only statistically")
    lines += map(_environment, source.environments)
    lines += [f"asked from git commit {commit}" for commit in source.git_commits]
    return lines


def _environment(one: Environment) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in one.versions.items())
    threads = f"{one.threads} thread{'s' if one.threads > 1 else ''}"
    attempts = f"{one.attempts} attempt{'s' if one.attempts > 1 else ''}"
    return f"{attempts} on {one.device}, {one.instruction_set}, {threads} each; torch {one.torch}; {versions}"


def _failures(source: Provenance) -> list[str]:
    lines = [f"number {row.name}, seed {row.config.training.seed}: {row.error}" for row in source.failed[:SHOWN]]
    if len(source.failed) > SHOWN:
        lines.append(f"and {len(source.failed) - SHOWN} more")
    return ["## Failures", _list(map(markdown_text, lines))] if lines else []


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
