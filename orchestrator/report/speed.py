"""How long a training iteration and an inference of each cell take, and how many times as fast as a baseline it is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator.config_paths import leaves
from orchestrator.labels import levels_text
from orchestrator.published import Gain, PublishedSpeed
from orchestrator.report.against_published import MARK, published_of, unconfirmed, unlike
from orchestrator.report.cells import completeness
from orchestrator.report.part import Table
from orchestrator.report.provenance import provenance
from orchestrator.report.words import ABSENT, count_range, level_columns, level_texts, level_values, ratio
from orchestrator.results import CellResult, Study
from orchestrator.stats import Estimate, Matrix, estimate_ratio, estimate_scores
from trainers.problems import problem_of

COLUMNS: dict[Gain, str] = {"training": "train_ms", "inference": "infer_ms"}
"""What is timed, and its column of ``CellResult.scores``."""
QUANTILE = 0.1
ENDS = ("", "_low95", "_high95")


def times_ms(cell: CellResult, timed: Gain) -> Matrix | None:
    """Time of ``training`` or ``inference`` by seed, [seeds]; None where there is none.

    A tenth of the rounds took less. What else a machine does slows rounds down and makes none faster, so this moves
    less from one trial to the next than a median; the very fastest would depend on how many rounds there are.
    """
    matrix = cell.scores.get(COLUMNS[timed])
    return None if matrix is None else np.quantile(matrix, QUANTILE, axis=1)


def gain(cell: CellResult, baseline: CellResult, kind: Gain, comparisons: int) -> Estimate | None:
    """How many times as fast as its baseline a cell is, as a logarithm.

    None where one of them was not timed, or they were timed in different environments: then it says nothing.
    """
    theirs, ours = _times(baseline, kind), _times(cell, kind)
    if theirs is None or ours is None or not _same_place([cell, baseline]):
        return None
    return estimate_ratio(theirs, ours, comparisons=comparisons)


def _times(cell: CellResult, kind: Gain) -> Matrix | None:
    """Time whose ratio between two cells is the gain, [seeds]: for inference over training the ratio of the two, which
    were taken in turns, so that what slowed a whole trial is not in it."""
    if kind != "inference over training":
        return times_ms(cell, kind)
    training, inference = times_ms(cell, "training"), times_ms(cell, "inference")
    return None if training is None or inference is None else inference / training


@dataclass(frozen=True)
class _Row:
    cell: CellResult
    baseline: CellResult | None
    published: PublishedSpeed | None
    gains: Mapping[Gain, Estimate | None]
    """By what is timed."""


def speed(study: Study) -> Sequence[Table]:
    """One table; nothing where no cell was timed."""
    timed = [cell for cell in study.cells if problem_of(cell.config).is_timed(cell.config)]
    if not any(cell.seeds for cell in timed):
        return ()
    rows, paths = _rows(study, timed), study.paths
    texts = [(*level_texts(row.cell, paths), *_texts(row)) for row in rows]
    notes = [*_notes(timed), *(words for table in published_of(study).values() for words in unlike(study, table))]
    return [
        Table(
            name="speed",
            title="Time of a training iteration and of an inference",
            columns=(
                *level_columns(paths),
                *("training, ms", "inference, ms", "against"),
                *(f"{name}, {words}" for name in COLUMNS for words in ("times as fast", "published")),
            ),
            rows=tuple(texts),
            values=tuple((row.cell.number, *level_values(row.cell, paths), *_values(row)) for row in rows),
            value_columns=(
                *("cell", *paths, "seeds"),
                *(f"{column}{end}" for column in COLUMNS.values() for end in ENDS),
                "baseline_cell",
                *(f"{name}_gain{end}" for name in COLUMNS for end in (*ENDS, "_published")),
                "published_confirmed",
            ),
            notes=(
                *notes,
                *unconfirmed([*notes, *(text for row in texts for text in row)]),
                *completeness(provenance(study)),
            ),
        )
    ]


def _rows(study: Study, timed: Sequence[CellResult]) -> list[_Row]:
    by_number = {cell.number: cell for cell in timed}
    pairs = [(cell, None if cell.baseline is None else by_number.get(cell.baseline)) for cell in timed]
    family = Counter(baseline.number for _, baseline in pairs if baseline)
    rows = []
    for cell, baseline in pairs:
        if baseline is None:
            rows.append(_Row(cell, None, None, dict.fromkeys(COLUMNS)))
            continue
        comparisons = len(COLUMNS) * family[baseline.number]
        gains = {name: gain(cell, baseline, name, comparisons) for name in COLUMNS}
        rows.append(_Row(cell, baseline, published_speed(study, cell, baseline), gains))
    return rows


def published_speed(study: Study, cell: CellResult, baseline: CellResult) -> PublishedSpeed | None:
    """What the tables that the file names have of one cell over another; None where they have nothing."""
    at, over = leaves(cell.config), leaves(baseline.config)
    return next(filter(None, (table.speed_of(at, over) for table in published_of(study).values())), None)


def published_gain(published: PublishedSpeed | None, kind: Gain) -> str:
    """``1.7``, marked where it is quoted from memory."""
    value = published.gain(kind) if published else None
    return ABSENT if published is None or value is None else f"{value:.2g}{'' if published.confirmed else MARK}"


def _same_place(cells: Iterable[CellResult]) -> bool:
    return len({tuple(sorted(one.items())) for cell in cells for one in cell.timed_on}) < 2


def _ms(cell: CellResult, timed: Gain) -> Estimate | None:
    """Logarithm of the geometric mean over seeds."""
    its = times_ms(cell, timed)
    return None if its is None else estimate_scores(np.log(its), "×")


def _texts(row: _Row) -> tuple[str, ...]:
    ours, theirs = row.cell.levels, row.baseline.levels if row.baseline else {}
    against = levels_text({path: level for path, level in theirs.items() if ours.get(path) != level})
    words = [_text(_ms(row.cell, name), lambda value: f"{math.exp(value):.3g}") for name in COLUMNS]
    words.append(against if row.baseline else ABSENT)
    for name in COLUMNS:
        words += [_text(row.gains[name], ratio), published_gain(row.published, name)]
    return tuple(words)


def _text(estimate: Estimate | None, show: Callable[[float], str]) -> str:
    """``1.70 (1.61 to 1.79)``; of one seed without an interval."""
    if estimate is None:
        return ABSENT
    if math.isinf(estimate.low):
        return show(estimate.value)
    return f"{show(estimate.value)} ({show(estimate.low)} to {show(estimate.high)})"


def _values(row: _Row) -> tuple[Any, ...]:
    values: list[Any] = [len(row.cell.seeds)]
    for name in COLUMNS:
        values += _numbers(_ms(row.cell, name))
    values.append(row.baseline.number if row.baseline else None)
    for name in COLUMNS:
        values += [*_numbers(row.gains[name]), row.published.gain(name) if row.published else None]
    return *values, row.published.confirmed if row.published else None


def _numbers(estimate: Estimate | None) -> tuple[float | None, ...]:
    """As they are, not logarithms; None for the ends of an interval that there is not."""
    if estimate is None:
        return (None,) * len(ENDS)
    ends = (None, None) if math.isinf(estimate.low) else (math.exp(estimate.low), math.exp(estimate.high))
    return math.exp(estimate.value), *ends


def _notes(timed: Sequence[CellResult]) -> list[str]:
    rounds = count_range(cell.accuracies.shape[1] for cell in timed if cell.seeds)
    seeds = count_range(len(cell.seeds) for cell in timed if cell.seeds)
    notes = [
        "Training: forward and backward of one iteration, without the update. Inference: adapts to one test episode "
        "and predicts its query set. Images lie in memory before; CPU time, on CUDA the time that passes.",
        f"Times: what the fastest tenth of {rounds} rounds stays below, since what else a machine does slows rounds "
        f"down; geometric mean over seeds ({seeds}), with the 95 % interval over seeds. Times as fast: the time of the "
        "cell that one is held against, over its own; the intervals of all that are held against one cell hold "
        "together in at least 95 of 100 experiments.",
    ]
    places = {tuple(sorted(one.items())) for cell in timed for one in cell.timed_on}
    for place in sorted(places):
        its = dict(place)
        threads = f"{its['threads']} thread{'s' * (its['threads'] != 1)}"
        notes.append(f"Timed on: {its['device']}, {its['instruction_set']}, {threads}, torch {its['torch']}.")
    if len(places) > 1:
        notes.append("Times of more than one environment are not compared.")
    return notes
