"""The cells of a study beside the published numbers that its file names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.config_paths import leaves
from orchestrator.labels import level_text, levels_text, short_name
from orchestrator.published import PublishedCell, PublishedTable, published_table
from orchestrator.report.cells import STD, completeness
from orchestrator.report.part import Table
from orchestrator.report.provenance import provenance
from orchestrator.report.words import (
    ABSENT,
    interval,
    level_columns,
    level_texts,
    level_values,
    mean_and_std,
    plain,
)
from orchestrator.report.words import gap as difference_text
from orchestrator.results import CellResult, Study
from trainers.problem import Score
from trainers.problems import few_shot

MARK = "†"
"""Stands at published numbers that are quoted from memory."""


def against_published(study: Study) -> Sequence[Table]:
    """Ours, published, difference: a table for each that the file asks for and that has numbers."""
    return [_beside(study, name, table) for name, table in published_of(study).items() if table.cells]


def _beside(study: Study, name: str, table: PublishedTable) -> Table:
    pairs = [(cell, published) for cell in study.cells if (published := table.cell(leaves(cell.config))) is not None]
    used = [published for _, published in pairs]
    absent = [one for one in table.cells if one not in used]
    notes = [f"Published: {table.source}; mean ± standard deviation over seeds.", *unlike(study, table)]
    if absent:
        notes.append(f"Published, but not in this sweep: {_list(absent)}.")
    notes += unconfirmed([*notes, *map(published_text, used)])
    paths = study.paths
    return Table(
        name=f"against_{name}",
        title=f"Beside published numbers: {table.title}",
        columns=(*level_columns(paths), *_headings(study.score)),
        rows=tuple((*level_texts(cell, paths), *_texts(cell, published)) for cell, published in pairs),
        values=tuple((cell.number, *level_values(cell, paths), *_values(cell, published)) for cell, published in pairs),
        value_columns=(
            *("cell", *paths, study.score.test, "test_std_over_seeds", "test_low95", "test_high95"),
            *("published_mean", "published_std", "published_confirmed", "published_std_confirmed", "difference"),
        ),
        notes=(*notes, STD, *completeness(provenance(study))),
    )


def published_of(study: Study) -> dict[str, PublishedTable]:
    """The published tables that the study's file names, by name."""
    return {name: published_table(name) for name in (study.spec.grid.published if study.spec.grid else ())}


def unconfirmed(texts: Iterable[str]) -> list[str]:
    """What the mark means, where one of the texts has it."""
    return [f"{MARK} quoted from memory, not read in the text."] if any(MARK in text for text in texts) else []


def published_text(cell: PublishedCell) -> str:
    """``46.5 ± 0.3†``: what is quoted from memory is marked."""
    mean = plain(cell.mean) + ("" if cell.confirmed else MARK)
    if cell.std is None:
        return mean
    return f"{mean} ± {cell.std:g}{'' if cell.std_confirmed else MARK}"


def unlike(study: Study, table: PublishedTable) -> list[str]:
    """In one sentence, what our cells have other than the published ones beside them; empty where they are alike."""
    beside = [cell for cell in study.cells if table.cell(leaves(cell.config))] or study.cells
    settings = {**({"dataset.name": table.dataset} if table.dataset else {}), **table.settings}
    words = []
    for path, theirs in settings.items():
        ours = list(dict.fromkeys(_effective(cell, path) for cell in beside if _acts(cell, path)))
        if ours not in ([], [theirs]):
            mark = MARK if path in table.settings_unconfirmed else ""
            here = ", ".join(level_text(path, value) for value in ours)
            words.append(f"{short_name(path)} {level_text(path, theirs)}{mark} there, {here} here")
    return [f"Not like for like: {'; '.join(words)}."] if words else []


def _acts(cell: CellResult, path: str) -> bool:
    """Without a head there is no inner loop in the test."""
    return not (path == "evaluation.inner_steps" and getattr(cell.config, "test_head", None) == "nil")


def _effective(cell: CellResult, path: str) -> object:
    """The value that acts: what the test leaves out is as trained."""
    if path == "evaluation.inner_steps":
        return cell.config.test_inner_steps
    if path == "evaluation.queries":
        return few_shot(cell.config).test_queries
    return leaves(cell.config)[path]


def _texts(cell: CellResult, published: PublishedCell) -> tuple[str, ...]:
    estimate = cell.estimate
    gap = (
        ABSENT
        if estimate is None
        else difference_text(estimate.value - cell.score_kind.stored(published.mean), cell.score_kind.difference)
    )
    return mean_and_std(estimate), interval(estimate), published_text(published), gap


def _values(cell: CellResult, published: PublishedCell) -> tuple[float | None, ...]:
    one = cell.estimate
    ours = (one.value, one.seed_std, one.low, one.high) if one else (None,) * 4
    stored = cell.score_kind.stored
    mean, std = stored(published.mean), None if published.std is None else stored(published.std)
    gap = one.value - mean if one else None
    return *ours, mean, std, published.confirmed, published.std_confirmed, gap


def _headings(score: Score) -> tuple[str, ...]:
    unit = ", points" * (score.unit == "%")
    return score.heading("ours"), "95 % interval", score.heading("published"), f"ours − published{unit}"


def _list(cells: Sequence[PublishedCell]) -> str:
    return "; ".join(f"{levels_text(cell.at)}: {published_text(cell)}" for cell in cells)
