"""What came of a sweep, cell by cell: the accuracies behind every number of a table, and where they were made."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from orchestrator.analyses import CellPair, cell_pairs, lacking, read_scores
from orchestrator.budget import budget_json
from orchestrator.config_paths import leaves
from orchestrator.curves import stored_curve
from orchestrator.grid import baseline_cells, expand
from orchestrator.home import open_home
from orchestrator.labels import acting_paths, varying_paths
from orchestrator.published import matches
from orchestrator.row_table import arrow_column
from orchestrator.rows import Row, find_sweep, load_rows
from orchestrator.spec import SweepSpec
from orchestrator.stats import Estimate, Matrix, estimate_cell, seed_pseudo_values
from orchestrator.store import Store
from orchestrator.sweep_state import SweepState, count_asked, count_trials, sweep_state
from trainers.problem import Problem, Score
from trainers.problems import Config, few_shot, problem_of


@dataclass(frozen=True)
class CellResult:
    """A cell: one combination of levels, tested under its seeds. A trial of a search is a cell of one seed."""

    number: int
    levels: Mapping[str, Any]
    """Config path -> level, as asked, in the order of the file; what does not act here is absent."""
    config: Config
    """As asked, under the first seed."""
    rows: tuple[Row, ...]
    """One a seed, completed or not."""
    accuracies: Matrix
    """Of every test episode under the completed rows' seeds, [seeds, episodes], fractions; [0, 0] where none is. Of
    another problem its score of every test task."""
    baseline: int | None
    """Number of the cell that it is compared with."""
    scores: Mapping[str, Matrix] = field(default_factory=dict)
    """Everything measured of every test episode, by column: ``accuracy``, and ``cca.conv1``, ``distance.head`` … where
    ``evaluation.measure`` asks for it; [seeds, episodes] each, as ``accuracies``. Empty where nothing is completed."""
    timed_on: tuple[Mapping[str, Any], ...] = ()
    """The different environments in which times among the scores were measured."""

    @property
    def score_kind(self) -> Score:
        """What its problem judges it by."""
        return problem_of(self.config).score

    @property
    def completed(self) -> tuple[Row, ...]:
        """The rows behind ``accuracies``, in its order."""
        return tuple(row for row in self.rows if row.state == "completed")

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the completed rows."""
        return tuple(row.config.training.seed for row in self.completed)

    @property
    def estimate(self) -> Estimate | None:
        """Mean with its interval; None where nothing is completed."""
        return estimate_cell(self.accuracies, self.score_kind.unit) if len(self.accuracies) else None

    def score(self, column: str, comparisons: int = 1) -> Estimate | None:
        """Mean of a column of ``scores``, as it is, with its interval; None where it was not measured or nothing is
        completed. ``comparisons``: how many means are judged together."""
        matrix = self.scores.get(column)
        return None if matrix is None else estimate_cell(matrix, "", comparisons)

    def mean(self, metric: str) -> float | None:
        """Mean over the completed rows of one of their metrics; None where none of them has it."""
        values = [row.metrics[metric] for row in self.completed if metric in row.metrics]
        return sum(values) / len(values) if values else None


@dataclass(frozen=True)
class PairResult:
    """How alike what two cells have learned is, or one cell under different seeds: ``grid.between``."""

    first: CellResult
    second: CellResult
    seeds: tuple[tuple[int, int], ...]
    """Of the pairs of trainings that are compared, first cell's and second cell's."""
    scores: Mapping[str, Matrix]
    """``cca.conv1``, ``cka.head`` … and the mean over the body's layers, ``cca.body`` and ``cka.body``; [pairs of
    trainings, episodes] each. Empty where nothing is compared yet."""
    diverged: int = 0
    """How many pairs of trainings are left out, since one of them was not finite."""

    def is_between(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether its two cells' configs have these values (config path -> value), in either order."""
        first, second = leaves(self.first.config), leaves(self.second.config)
        return any(matches(a, first) and matches(b, second) for a, b in ((one, other), (other, one)))

    def by_seed(self, column: str) -> Matrix | None:
        """A column as a cell [seeds, episodes], by ``orchestrator.stats.seed_pseudo_values``; None if not measured."""
        matrix = self.scores.get(column)
        return None if matrix is None else seed_pseudo_values(matrix, self.seeds)

    def score(self, column: str, comparisons: int = 1) -> Estimate | None:
        """Mean of a column over all pairs of trainings, with its interval over seeds and episodes."""
        matrix = self.by_seed(column)
        return None if matrix is None else estimate_cell(matrix, "", comparisons)


@dataclass(frozen=True)
class Training:
    """One training of a study, shared by all the rows that test it."""

    key: str
    curve: tuple[Mapping[str, Any], ...]
    """Validations, oldest first, as ``trainers.snapshots.Validation`` has them; empty where nothing is recorded."""
    attempts: tuple[Mapping[str, Any], ...]
    """What the attempts recorded: environment, times, node, versions, git commit, cause of failure; oldest first."""

    def until_end(self, row: Row) -> tuple[Mapping[str, Any], ...]:
        """The curve up to where the row's trial was pruned; another trial may have gone on from there."""
        end = row.metrics["iterations"] if row.state == "pruned" else math.inf
        return tuple(point for point in self.curve if point["iteration"] <= end)


@dataclass(frozen=True)
class Study:
    """A sweep with all that came of it."""

    spec: SweepSpec
    cells: tuple[CellResult, ...]
    trainings: Mapping[str, Training]
    """By key, those of all rows."""
    fingerprints: Mapping[str, str]
    """Dataset name -> fingerprint of the data it ran on."""
    state: SweepState
    pairs: tuple[PairResult, ...] = ()
    """Every two cells that the grid compares, each first with itself."""
    confirmed: tuple[CellResult, ...] = ()
    """The best trials of a search again, best first: each over its fresh seeds, under the number of the trial."""
    budget: Mapping[str, Any] | None = None
    """As ``orchestrator.budget.budget_json`` gives it; None where the sweep has none."""

    weights: Callable[[Row], bytes | None] = field(default=lambda row: None, compare=False)
    """Gives those that a completed row was tested with, as a file; None where they are gone."""

    @property
    def problem(self) -> Problem[Any]:
        """What its trials are about."""
        return problem_of(self.spec.trial)

    @property
    def score(self) -> Score:
        """What they are judged by."""
        return self.problem.score

    @property
    def rows(self) -> list[Row]:
        """All rows: those of the grid or the search by number, then what confirms the search, best trial first."""
        return [row for cell in (*self.cells, *self.confirmed) for row in cell.rows]

    @property
    def paths(self) -> list[str]:
        """Factors of the levels of all cells (config paths, or ``setting``), in the order of the file."""
        acting = {path for cell in self.cells for path in cell.levels}
        known = self.spec.grid.levels if self.spec.grid else varying_paths(self.spec)
        return [path for path in known if path in acting]

    def matching(self, at: Mapping[str, Any]) -> list[CellResult]:
        """The cells whose config, as asked, has these values (config path -> value)."""
        return [cell for cell in self.cells if matches(at, leaves(cell.config))]


def load_study(name: str, home: str = "./runs") -> Study:
    """A stored sweep with its accuracies, curves and attempts.

    Raises:
        InputError: no such home, or no such sweep in it.
    """
    opened = open_home(home, create=False)
    record, spec = find_sweep(opened, name)
    store = Store(opened)
    rows = load_rows(store, record, spec)
    if spec.grid is None:
        grouped = {row.number: (_acting_levels(row.config, spec), [row]) for row in rows if row.confirms is None}
    else:
        grouped = {}
        for point, row in zip(expand(spec), rows, strict=True):
            grouped.setdefault(point.cell, (point.levels, []))[1].append(row)
    baselines = baseline_cells(spec, {number: levels for number, (levels, _) in grouped.items()})
    cells = [_cell(store, number, levels, its, baselines.get(number)) for number, (levels, its) in grouped.items()]
    again: dict[int, list[Row]] = {}
    for row in rows:
        if row.confirms is not None:
            again.setdefault(row.confirms, []).append(row)
    confirmed = [_cell(store, number, grouped[number][0], its, None) for number, its in again.items()]
    trainings = {key: _training(store, key) for key in dict.fromkeys(row.keys.training for row in rows)}
    asked = cell_pairs(spec, record.fingerprints)
    counts = count_asked(record, spec, rows)
    state = sweep_state(record, counts, bool(lacking(store, asked)))
    not_begun = count_trials(spec, rows)["planned"] - counts["planned"]
    budget = budget_json(spec.budget, record.used, not_begun) if spec.budget else None
    pairs = tuple(_pair(store, pair, cells) for pair in asked)

    def weights(row: Row) -> bytes | None:
        manifest = store.manifest(row.keys.training)
        its = store.tested(row.config, row.keys, manifest) if manifest else None
        return None if its is None else store.read_weights(*its, row.config)

    return Study(spec, tuple(cells), trainings, record.fingerprints, state, pairs, tuple(confirmed), budget, weights)


def _cell(store: Store, number: int, levels: Mapping[str, Any], rows: list[Row], baseline: int | None) -> CellResult:
    scores, config = _matrices(store, rows), rows[0].config
    accuracies = scores.get(problem_of(config).score.column, np.zeros((0, 0)))
    timed_on = _environments(store, rows) if problem_of(config).is_timed(config) else ()
    return CellResult(number, levels, config, tuple(rows), accuracies, baseline, scores, timed_on)


def means_of(problem: Problem[Any]) -> list[str]:
    """Metrics of a problem of which a cell has the mean over seeds: all but those that the test's estimate is of."""
    of_test = (problem.score.test, problem.count, "iterations", *(ci95 for _, ci95 in problem.tested.values()))
    return [metric for metric in problem.metrics if metric not in of_test]


def cells_table(study: Study) -> pa.Table:
    """The cells as an Arrow table: one row a cell, null where nothing is completed.

    ``cell``, the level of every factor under its config path (lists joined by ``+``), ``seeds`` completed and
    ``seeds_asked``, ``episodes``; ``test_accuracy`` with ``test_std_over_seeds`` and the 95 % interval over seeds and
    episodes (``test_low95``, ``test_high95``); the metrics of ``means_of`` are means over seeds. Accuracies are
    fractions. Another problem has the names of its own score.
    """
    problem = study.problem
    paths = study.paths
    records = []
    for cell in study.cells:
        estimate = cell.estimate
        records.append(
            {
                "cell": cell.number,
                **{path: cell.levels.get(path) for path in paths},
                "seeds": len(cell.seeds),
                "seeds_asked": len(cell.rows),
                problem.tasks_word: cell.accuracies.shape[1],
                problem.score.test: estimate.value if estimate else None,
                "test_std_over_seeds": estimate.seed_std if estimate else None,
                "test_low95": estimate.low if estimate else None,
                "test_high95": estimate.high if estimate else None,
                **{metric: cell.mean(metric) for metric in means_of(problem)},
            }
        )
    return pa.table({name: arrow_column([record[name] for record in records]) for name in (records or [{}])[0]})


def _acting_levels(config: Config, spec: SweepSpec) -> dict[str, Any]:
    values = leaves(config)
    return {path: values[path] for path in acting_paths(config, spec)}


def _matrices(store: Store, rows: list[Row]) -> dict[str, Matrix]:
    found: list[dict[str, Matrix]] = []
    for row in rows:
        manifest = store.manifest(row.keys.training) if row.state == "completed" else None
        scores = store.scores(row.config, row.keys, manifest) if manifest else None
        if scores is not None:
            found.append(scores)
    return {column: np.stack([scores[column] for scores in found]) for column in found[0]} if found else {}


def _pair(store: Store, pair: CellPair, cells: Sequence[CellResult]) -> PairResult:
    compared = [(analysis.seeds, scores) for analysis in pair.analyses if (scores := read_scores(store, analysis))]
    done = [one for one in compared if all(np.isfinite(values).all() for values in one[1].values())]
    found = {column: np.stack([scores[column] for _, scores in done]) for column in done[0][1]} if done else {}
    first, second = (next(cell for cell in cells if cell.number == number) for number in pair.cells)
    body = few_shot(first.config).backbone.layers
    for kind in ("cca", "cka"):
        if f"{kind}.{body[0]}" in found:
            found[f"{kind}.body"] = np.mean([found[f"{kind}.{layer}"] for layer in body], axis=0)
    return PairResult(first, second, tuple(seeds for seeds, _ in done), found, len(compared) - len(done))


def _environments(store: Store, rows: list[Row]) -> tuple[Mapping[str, Any], ...]:
    found: list[Mapping[str, Any]] = []
    for row in rows:
        environment = store.timed_on(row.keys) if row.state == "completed" else None
        if environment is not None and environment not in found:
            found.append(environment)
    return tuple(found)


def _training(store: Store, key: str) -> Training:
    return Training(key, stored_curve(store, key).validations, tuple(store.attempts(key)))
