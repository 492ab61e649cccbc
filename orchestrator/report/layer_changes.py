"""How far the inner loop moves each layer: a table of all that was measured, and a figure of the similarities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.labels import levels_text
from orchestrator.report.cells import completeness
from orchestrator.report.layer_lines import draw_layers
from orchestrator.report.part import Figure, Table
from orchestrator.report.provenance import provenance
from orchestrator.report.style import MOST_LINES, figure_files
from orchestrator.report.words import ABSENT, count_range, interval, level_columns, level_texts, level_values, score
from orchestrator.results import CellResult, Study
from orchestrator.stats import Estimate
from trainers.config import TrialConfig
from trainers.problems import few_shot

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

SIMILARITIES = {"cca": "CCA", "cka": "CKA"}
"""Drawn, a line each: they have one scale, 0 to 1."""
DISTANCES = {"distance": "distance", "relative_distance": "relative distance"}
KINDS = {**SIMILARITIES, **DISTANCES}
"""Kind, as in the columns ``<kind>.<layer>`` of ``CellResult.scores``, and its heading."""
MOST_CELLS = MOST_LINES // len(SIMILARITIES)


def layer_changes(study: Study) -> list[Table | Figure]:
    """One table and one figure; nothing where no layer was measured, no figure where no body adapts in the test."""
    measured = [
        cell for cell in study.cells if isinstance(cell.config, TrialConfig) and cell.config.evaluation.compares_layers
    ]
    done = [cell for cell in measured if cell.seeds]
    if not done:
        return []
    moving = [
        cell for cell in done if set(cell.config.test_adapted_layers) & set(few_shot(cell.config).backbone.layers)
    ]
    return [_table(study, measured), *([_figure(moving, left_out=len(done) > len(moving))] if moving else [])]


def _table(study: Study, cells: Sequence[CellResult]) -> Table:
    paths = study.paths
    rows = [(cell, layer) for cell in cells for layer in cell.config.layers]
    seeds = [len(cell.seeds) for cell in cells if cell.seeds]
    notes = [
        "CCA, CKA: how alike what the layer makes of the query set is before and after the inner loop; 1 is the same. "
        "Distance: how far its weights move, Euclidean; relative: as a share of their norm before.",
    ]
    if max(seeds) > 1:
        notes.append("In brackets the 95 % interval, for other seeds and other episodes of the same test classes.")
    if 1 in seeds:
        notes.append("Where there is one seed, the 95 % interval is over episodes of that training only.")
    return Table(
        name="layer_changes",
        title="Change of each layer in the inner loop of the test",
        columns=(*level_columns(paths), "layer", *KINDS.values()),
        rows=tuple(
            (*level_texts(cell, paths), layer, *(_text(kind, cell.score(f"{kind}.{layer}")) for kind in KINDS))
            for cell, layer in rows
        ),
        values=tuple(
            (
                *(cell.number, *level_values(cell, paths), layer),
                *(value for kind in KINDS for value in _values(cell.score(f"{kind}.{layer}"))),
            )
            for cell, layer in rows
        ),
        value_columns=(
            *("cell", *paths, "layer"),
            *(f"{kind}{end}" for kind in KINDS for end in ("", "_low95", "_high95")),
        ),
        notes=(*notes, *completeness(provenance(study))),
    )


def _text(kind: str, estimate: Estimate | None) -> str:
    """``0.976 (0.970 to 0.982)``; distances, which have no scale, with three digits."""
    if estimate is None:
        return ABSENT
    if kind in SIMILARITIES:
        return f"{score(estimate.value)} ({interval(estimate)})"
    value, low, high = (f"{one:.3g}".replace("-", "−") for one in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low} to {high})"


def _values(estimate: Estimate | None) -> tuple[float | None, ...]:
    return (estimate.value, estimate.low, estimate.high) if estimate else (None,) * 3


def _figure(moving: Sequence[CellResult], left_out: bool) -> Figure:
    shown = moving[:MOST_CELLS]
    svg, png = figure_files(draw_similarities(shown))
    return Figure(
        "layer-changes", "Layers before and after the inner loop", _caption(shown, len(moving), left_out), svg, png
    )


def draw_similarities(cells: Sequence[CellResult]) -> Drawing:
    """CCA and CKA of each layer, input first, with the intervals: a line each for every cell."""
    layers = list(dict.fromkeys(layer for cell in cells for layer in cell.config.layers))
    lines = {}
    for cell in cells:
        words = levels_text(cell.levels)
        for kind, heading in SIMILARITIES.items():
            if f"{kind}.{layers[0]}" in cell.scores:
                estimates = [cell.score(f"{kind}.{layer}") for layer in layers]
                lines[f"{words}: {heading}" if words else heading] = estimates
    return draw_layers(layers, lines, "similarity, before to after")


def _caption(shown: Sequence[CellResult], moving: int, left_out: bool) -> str:
    seeds = count_range(len(cell.seeds) for cell in shown)
    episodes = count_range(cell.accuracies.shape[1] for cell in shown)
    over = "training seeds and test episodes" if min(len(cell.seeds) for cell in shown) > 1 else "test episodes"
    words = [
        "How alike what each layer makes of the query set is before and after the inner loop of the test (mean CCA, "
        f"linear CKA), with its 95 % interval over {over} (band and bar); seeds: {seeds}, test episodes: {episodes}."
    ]
    if len(shown) < moving:
        words.append(f"The first {len(shown)} of {moving} cells; the table has all.")
    if left_out:
        words.append("Cells whose body does not adapt in the test are not drawn: it is the same before and after.")
    return " ".join(words)
