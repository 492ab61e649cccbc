"""What a paper says of its numbers, judged on ours, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.labels import levels_text
from orchestrator.published import PublishedTable, Relation, RelationClaim
from orchestrator.report.against_published import MARK, published_of, published_text, unconfirmed, unlike
from orchestrator.report.differences import difference
from orchestrator.report.part import Table
from orchestrator.report.speed import gain, published_gain
from orchestrator.report.words import ABSENT, gap, interval, plain, points, ratio, score
from orchestrator.results import CellResult, Study
from orchestrator.stats import Estimate, estimate_cell
from orchestrator.verdicts import Claim, Outcome, Verdict, above, at_least, at_most, judge, judge_all, within
from trainers.problems import problem_of

NOT_TESTED: Literal["not tested here"] = "not tested here"


@dataclass(frozen=True)
class JudgedRelation:
    """A relation, and what our cells say of it."""

    name: str
    text: str
    outcome: Outcome | Literal["not tested here"]
    """``not tested here``: cells are absent, not complete or could be several, or the score was not measured."""
    sentence: str
    """Begins with the outcome; has the numbers and the reason."""
    published: str
    """The numbers behind it, in points or as a ratio; ``–`` of a claim on a score, whose text has them."""
    estimates: tuple[Estimate, ...]
    """Of each claim that could be judged."""


def judged_relations(study: Study) -> list[JudgedRelation]:
    """Every relation of the published tables that the file names, in their order."""
    tables = published_of(study).values()
    return [_judged(name, its, study, table) for table in tables for name, its in table.relations.items()]


def relations(study: Study) -> Sequence[Table]:
    """The relations as a table."""
    judged = judged_relations(study)
    if not judged:
        return ()
    tables = published_of(study).values()
    unlikeness = list(dict.fromkeys(words for table in tables for words in unlike(study, table)))
    claims = [claim for table in tables for its in table.relations.values() for claim in its.claims]
    unit = ", points" * any(
        study.score.unit == "%" and claim.minus is not None and claim.column is None for claim in claims
    )
    return [
        Table(
            name="relations",
            title=f"What is said of these numbers, judged on ours: {'; '.join(table.title for table in tables)}",
            columns=("relation", f"published{unit}", f"ours{unit}", "verdict"),
            rows=tuple((one.text, one.published, _ours(one), one.sentence) for one in judged),
            values=tuple((one.name, one.text, one.outcome, one.sentence, *_first(one)) for one in judged),
            value_columns=("name", "relation", "outcome", "sentence", "difference", "low95", "high95"),
            notes=(
                "A relation holds where the 95 % interval lies inside the range that is claimed, and does not where it "
                "lies outside; otherwise it cannot be told at this size.",
                *unlikeness,
                *unconfirmed([*unlikeness, *(one.published for one in judged)]),
            ),
        )
    ]


def _judged(name: str, relation: Relation, study: Study, table: PublishedTable) -> JudgedRelation:
    published = "; ".join(filter(None, (_published(claim, table, study) for claim in relation.claims))) or ABSENT
    verdicts: list[Verdict] = []
    estimates: list[Estimate] = []
    for claim in relation.claims:
        judged = _judge(claim, study, len(relation.claims))
        if isinstance(judged, str):
            sentence = f"{NOT_TESTED}: {judged}"
            return JudgedRelation(name, relation.text, NOT_TESTED, sentence, published, ())
        estimates.append(judged[0])
        verdicts.append(judged[1])
    verdict = verdicts[0] if len(verdicts) == 1 else judge_all(relation.text, verdicts)
    return JudgedRelation(name, relation.text, verdict.outcome, verdict.sentence, published, tuple(estimates))


def _judge(claim: RelationClaim, study: Study, claims: int) -> tuple[Estimate, Verdict] | str:
    """The verdict on one claim, or why there is none."""
    if claim.of_with is not None:
        estimate = _alike(claim, study, claims)
        return (
            estimate
            if isinstance(estimate, str)
            else (estimate, judge(_subject(claim), estimate, _range(claim, study)))
        )
    matching = [(at, study.matching(at)) for at in (claim.of, claim.minus, claim.over) if at is not None]
    for at, cells in matching:
        if len(cells) != 1:
            return f"{f'{len(cells)} cells have' if cells else 'no cell has'} {levels_text(at)}"
    first, *others = (cell for _, (cell,) in matching)
    if claim.column:
        estimate = _score(first, claim, claims)
    else:
        estimate = (_gain if claim.gain else _difference)(first, others[0], claim, claims)
    return estimate if isinstance(estimate, str) else (estimate, judge(_subject(claim), estimate, _range(claim, study)))


def _score(cell: CellResult, claim: RelationClaim, claims: int) -> Estimate | str:
    """One column of a cell, or why there is none."""
    assert claim.column
    if not cell.seeds:
        return f"{levels_text(claim.of)} is not complete"
    return cell.score(claim.column, claims) or f"{claim.column} is not measured; evaluation.measure: similarity does it"


def _difference(first: CellResult, second: CellResult, claim: RelationClaim, claims: int) -> Estimate | str:
    """First minus second, or why there is none."""
    found = difference(first, second, claims)
    if found is None:
        return f"{levels_text((claim.minus or {}) if first.seeds else claim.of)} is not complete"
    return found.estimate


def _alike(claim: RelationClaim, study: Study, claims: int) -> Estimate | str:
    """How alike two cells are, minus how alike two others are, or why there is none. Paired by seed and episode."""
    assert claim.column
    found = []
    for one, other in ((claim.of, claim.of_with), (claim.minus, claim.minus_with)):
        if one is None or other is None:
            continue
        pairs = [pair for pair in study.pairs if pair.is_between(one, other)]
        if len(pairs) != 1:
            return f"{len(pairs) or 'no'} pair{'s' * (len(pairs) > 1)} of {levels_text(one)} and {levels_text(other)}"
        matrix = pairs[0].by_seed(claim.column)
        if matrix is None:
            return f"{claim.column} of {levels_text(one)} and {levels_text(other)} is not complete"
        found.append(matrix)
    if len(found) == 1:
        return estimate_cell(found[0], "", claims)
    if found[0].shape != found[1].shape:
        return "the pairs have different seeds or episodes"
    return estimate_cell(found[0] - found[1], "", claims)


def _gain(first: CellResult, second: CellResult, claim: RelationClaim, claims: int) -> Estimate | str:
    """Gain in speed of the first over the second, or why there is none."""
    assert claim.gain
    assert claim.over
    for cell, at in ((first, claim.of), (second, claim.over)):
        if not cell.seeds:
            return f"{levels_text(at)} is not complete"
        if not problem_of(cell.config).is_timed(cell.config):
            return f"{levels_text(at)} is not timed; evaluation.measure: speed does it"
    return gain(first, second, claim.gain, claims) or "the cells were timed in different environments"


def _subject(claim: RelationClaim) -> str:
    """``shots=1: test_frozen_layers=0 − test_frozen_layers=4 is``, ``shots=1: cca.conv1 is``, or ``anil over maml: gain
    in inference is``."""
    if claim.of_with is not None:
        sides = [f"{claim.column} of {levels_text(claim.of)} and {levels_text(claim.of_with)}"]
        if claim.minus is not None and claim.minus_with is not None:
            sides.append(f"that of {levels_text(claim.minus)} and {levels_text(claim.minus_with)}")
        return f"{' − '.join(sides)} is"
    if claim.over is not None:
        return f"{levels_text(claim.of)} over {levels_text(claim.over)}: gain in {claim.gain} is"
    if claim.minus is None:
        return f"{levels_text(claim.of)}{': ' if claim.of else ''}{claim.column} is"
    minus = claim.minus
    common = {path: value for path, value in claim.of.items() if minus.get(path) == value}

    def rest(at: Mapping[str, Any]) -> str:
        return levels_text({path: value for path, value in at.items() if path not in common})

    return f"{levels_text(common)}{': ' if common else ''}{rest(claim.of)} − {rest(minus)} is"


def _range(claim: RelationClaim, study: Study) -> Claim:
    """In the unit of the estimate: points become fractions, ratios logarithms; scores and returns stay as they are."""
    scale = 1 / study.score.stored(1) if not claim.column else 1
    if claim.gain:
        made = ((at_most, claim.at_most), (at_least, claim.at_least), (above, claim.above))
        return next(make(math.log(bound)) for make, bound in made if bound is not None)
    if claim.at_most is not None:
        return at_most(claim.at_most / scale)
    if claim.at_least is not None:
        return at_least(claim.at_least / scale)
    if claim.above is not None:
        return above(claim.above / scale)
    assert claim.within is not None
    return within(claim.within / scale)


def _published(claim: RelationClaim, table: PublishedTable, study: Study) -> str:
    """``46.9 ± 0.2 minus 46.3 ± 0.4: +0.6``, or ``1.7`` of a gain; empty of a score, whose range is all there is."""
    if claim.of_with is not None:
        return _published_pairs(claim, table)
    if claim.column:
        return ""
    if claim.gain:
        same = (one for one in table.speed if (one.at, one.over) == (claim.of, claim.over))
        return published_gain(next(same, None), claim.gain)
    by_at = [(cell.at, cell) for cell in table.cells]
    first, second = (next((cell for at, cell in by_at if at == wanted), None) for wanted in (claim.of, claim.minus))
    if first is None or second is None:
        return ABSENT
    found = gap(study.score.stored(first.mean - second.mean), study.score.difference)
    return f"{published_text(first)} minus {published_text(second)}: {found}"


def _published_pairs(claim: RelationClaim, table: PublishedTable) -> str:
    """``0.50 minus 0.51: −0.01``."""
    assert claim.column
    values = []
    for one, other in ((claim.of, claim.of_with), (claim.minus, claim.minus_with)):
        if one is not None and other is not None:
            pair = next((its for its in table.pairs if (one, other) in (its.between, its.between[::-1])), None)
            if pair is None or claim.column not in pair.scores:
                return ABSENT
            values.append((pair.scores[claim.column], "" if pair.confirmed else MARK))
    texts = [f"{value:.2f}{mark}" for value, mark in values]
    if len(values) == 1:
        return texts[0]
    gap = f"{values[0][0] - values[1][0]:+.2f}".replace("-", "−")
    return f"{' minus '.join(texts)}: {gap}"


def _ours(judged: JudgedRelation) -> str:
    if not judged.estimates:
        return ABSENT
    show = {"points": points, "": score, "×": ratio, "return": plain}
    return "; ".join(f"{show[one.unit](one.value)} ({interval(one)})" for one in judged.estimates)


def _first(judged: JudgedRelation) -> tuple[float | None, ...]:
    """The difference with its interval, where there is one; scores and gains stand in tables of their own."""
    if len(judged.estimates) != 1 or judged.estimates[0].unit not in ("points", "return"):
        return None, None, None
    (one,) = judged.estimates
    return one.value, one.low, one.high
