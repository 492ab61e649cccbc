"""How alike what different trainings have learned is, for every two cells: the mean over the body, and every layer.

Two tables and a figure.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.config_paths import leaves
from orchestrator.labels import levels_text
from orchestrator.published import PublishedPair
from orchestrator.report.against_published import MARK, published_of, unconfirmed, unlike
from orchestrator.report.layer_lines import draw_layers
from orchestrator.report.part import Figure, Table
from orchestrator.report.style import MOST_LINES, figure_files
from orchestrator.report.words import ABSENT, interval, score
from orchestrator.results import PairResult, Study
from orchestrator.stats import Estimate

KINDS = {"cca": "CCA", "cka": "CKA"}


def between_trainings(study: Study) -> Sequence[Table | Figure]:
    """Means over the body beside the published ones; all layers; the same drawn. Nothing where nothing was compared."""
    done = [pair for pair in study.pairs if pair.scores]
    return [_of_body(study), _of_layers(study), *_figures(done)] if done else ()


def _figures(pairs: Sequence[PairResult]) -> list[Figure]:
    """One for each score: with both in one, lines would be too many to tell apart."""
    shown = pairs[:MOST_LINES]
    layers = shown[0].first.config.layers
    more = (
        f" The first {len(shown)} of {len(pairs)} pairs of cells; the table has all." if len(pairs) > len(shown) else ""
    )
    found = []
    for kind, heading in KINDS.items():
        lines = {_name(pair): [pair.score(f"{kind}.{layer}") for layer in layers] for pair in shown}
        if any(any(estimates) for estimates in lines.values()):
            svg, png = figure_files(draw_layers(layers, lines, f"{heading} between trainings"))
            caption = (
                f"{heading} of each layer between trainings of different seeds, with its 95 % interval over seeds and "
                f"test episodes (band and bar).{more}"
            )
            found.append(
                Figure(f"between-trainings-{kind}", f"Different trainings compared: {heading}", caption, svg, png)
            )
    return found


def _of_body(study: Study) -> Table:
    published = [_published(study, pair) for pair in study.pairs]
    tables = [table for table in published_of(study).values() if table.pairs]
    texts = [tuple(_published_text(one, f"{kind}.body") for kind in KINDS) for one in published]
    beside = [f"published {heading}" for heading in KINDS.values()] if tables else []
    notes = [f"Published: {table.source}." for table in tables]
    notes += dict.fromkeys(words for table in tables for words in unlike(study, table))
    return Table(
        name="between_trainings",
        title="How alike different trainings are: mean over the layers of the body",
        columns=("trainings", "pairs", *KINDS.values(), *beside),
        rows=tuple(
            (_name(pair), f"{len(pair.seeds)}", *_texts(pair, "body"), *shown[: len(beside)])
            for pair, shown in zip(study.pairs, texts, strict=True)
        ),
        values=tuple(
            (
                *_cells(pair),
                *_values(pair, "body"),
                *(one.scores.get(f"{kind}.body") if one else None for kind in KINDS),
                one.confirmed if one else None,
            )
            for pair, one in zip(study.pairs, published, strict=True)
        ),
        value_columns=(*_CELLS, *_columns(), *(f"published_{kind}" for kind in KINDS), "published_confirmed"),
        notes=(*notes, *unconfirmed(text for row in texts for text in row), *_notes(study)),
    )


def _of_layers(study: Study) -> Table:
    rows = [(pair, layer) for pair in study.pairs for layer in pair.first.config.layers]
    return Table(
        name="between_trainings_by_layer",
        title="How alike different trainings are, layer by layer",
        columns=("trainings", "layer", *KINDS.values()),
        rows=tuple((_name(pair), layer, *_texts(pair, layer)) for pair, layer in rows),
        values=tuple((*_cells(pair), layer, *_values(pair, layer)) for pair, layer in rows),
        value_columns=(*_CELLS, "layer", *_columns()),
        notes=_notes(study),
    )


_CELLS = ("cell", "other_cell", "trainings", "pairs")


def _cells(pair: PairResult) -> tuple[int | str, ...]:
    return pair.first.number, pair.second.number, _name(pair), len(pair.seeds)


def _columns() -> list[str]:
    return [f"{kind}{end}" for kind in KINDS for end in ("", "_low95", "_high95")]


def _name(pair: PairResult) -> str:
    """``maml – anil``; what both have in common is said once: ``shots=1: maml – anil``."""
    first, second = pair.first.levels, pair.second.levels
    common = {path: level for path, level in first.items() if second.get(path) == level} if first != second else {}
    sides = [
        levels_text({path: level for path, level in levels.items() if path not in common}) for levels in (first, second)
    ]
    return f"{levels_text(common)}{': ' if common else ''}{' – '.join(side or 'all' for side in sides)}"


def _notes(study: Study) -> tuple[str, ...]:
    between = study.spec.grid.between if study.spec.grid else None
    when = "after the inner loop of the test" if between and between.adapted else "before any inner loop"
    asked = [pair for pair in study.pairs if not pair.scores and not pair.diverged]
    diverged = [f"{_name(pair)} ({pair.diverged})" for pair in study.pairs if pair.diverged]
    return (
        "CCA, CKA: how alike what two trainings of different seeds make of the query sets of the test is, "
        f"{when}; 1 is the same. In brackets the 95 % interval, for other seeds and other episodes of the same test "
        "classes, by the jackknife over seeds.",
        *([f"Left out, since a network was not finite: {'; '.join(diverged)}."] if diverged else []),
        *([f"Not compared yet: {'; '.join(map(_name, asked))}."] if asked else []),
    )


def _published(study: Study, pair: PairResult) -> PublishedPair | None:
    configs = leaves(pair.first.config), leaves(pair.second.config)
    found = (table.pair(*configs) for table in published_of(study).values())
    return next((one for one in found if one is not None), None)


def _published_text(one: PublishedPair | None, column: str) -> str:
    if one is None or column not in one.scores:
        return ABSENT
    return f"{one.scores[column]:.2f}{'' if one.confirmed else MARK}"


def _estimates(pair: PairResult, layer: str) -> list[Estimate | None]:
    return [pair.score(f"{kind}.{layer}") for kind in KINDS]


def _texts(pair: PairResult, layer: str) -> list[str]:
    return [ABSENT if one is None else f"{score(one.value)} ({interval(one)})" for one in _estimates(pair, layer)]


def _values(pair: PairResult, layer: str) -> list[float | None]:
    found = [(one.value, one.low, one.high) if one else (None,) * 3 for one in _estimates(pair, layer)]
    return [value for values in found for value in values]
