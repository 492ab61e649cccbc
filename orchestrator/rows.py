"""Rows of a sweep, rebuilt from its record and the store: one a trial, for a grid one a cell and seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from orchestrator.confirm import Confirmation, confirmations
from orchestrator.curves import stored_curve
from orchestrator.data import data_folder, image_shape_of
from orchestrator.early_stopping import Curve, Cutoffs, best_until, decide
from orchestrator.errors import HomeError, InputError
from orchestrator.failure import MOST_LOSSES, Kind, can_pass
from orchestrator.grid import expand
from orchestrator.home_objects import Home
from orchestrator.objectives import Objective
from orchestrator.pareto import pareto_front
from orchestrator.record import SweepRecord, sweep_names
from orchestrator.spec import NAME, SearchSpec, SweepSpec
from orchestrator.store import Keys, Store, keys_of
from orchestrator.trial_numbers import trial_name
from trainers.adapt_cost import ImageShape
from trainers.problem import Score
from trainers.problems import Config, problem_of
from trainers.registry import nearest

State = Literal["planned", "running", "completed", "pruned", "failed"]


@dataclass(frozen=True)
class Row:
    """One trial as asked, and what became of it."""

    number: int
    config: Config
    """As asked, not canonical."""
    keys: Keys
    state: State
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Of its problem's, those that are known. Accuracies are fractions."""
    error: str | None = None
    failure: Kind | None = None
    """Of a failed one, if its attempt says it."""
    final: bool = False
    """Completed, pruned, or failed in a way that may well come again: not to be run."""
    cached: bool = False
    """Completed by a training that another trial or an earlier run made."""
    cutoffs: Cutoffs | None = None
    """That its search has given it; None where that stops no trial early."""
    curve: Curve = ()
    """Of a completed trial that had cut-offs, or of a pruned one, up to its end in this sweep."""
    confirms: int | None = None
    """Number of the proposal that it repeats under a fresh seed; None where it is no confirmation."""

    @property
    def name(self) -> str:
        """Its number for people."""
        return trial_name(self.number, self.confirms)

    @property
    def score(self) -> Score:
        """What its problem judges it by."""
        return problem_of(self.config).score

    @property
    def validation(self) -> float:
        """Its best validation; of a row that has one."""
        return self.metrics[self.score.validation]

    @property
    def ended(self) -> bool:
        """Whether something has come of it."""
        return self.state not in ("planned", "running")

    @property
    def lost(self) -> bool:
        """Whether it has failed by no doing of its own, as far as is known."""
        return self.state == "failed" and self.failure == "lost" and not self.final


def find_sweep(home: Home, name: str) -> tuple[SweepRecord, SweepSpec]:
    """A stored sweep.

    Raises:
        InputError: the home has none of that name, and the nearest is named; or its spec is damaged.
    """
    record = SweepRecord(home, name)
    spec = record.spec if NAME.match(name) else None
    if spec is None:
        names = sweep_names(home)
        if name in names:
            raise InputError(
                f"sweep {name!r} in {home.url}: its spec.yaml is damaged; its command makes it again, or forget it: "
                f"orchestrate rm {name}"
            )
        way_out = nearest(name, names) if names else "there is none yet; `orchestrate sweep SPEC` runs one"
        raise InputError(f"no sweep {name!r} in {home.url}; {way_out}")
    return record, spec


def asked_configs(record: SweepRecord, spec: SweepSpec) -> list[tuple[int, Config]]:
    """(number, config as asked) of all cells or proposals of a sweep, as far as a search has made them."""
    return [(number, config) for number, config, _ in asked_trials(record, spec)]


def asked_trials(record: SweepRecord, spec: SweepSpec) -> list[tuple[int, Config, Cutoffs | None]]:
    """As ``asked_configs``, each with its cut-offs, None where its sweep stops no trial early."""
    if spec.search is None:
        return [(cell.number, cell.config, None) for cell in expand(spec)]
    proposals = [proposal for proposal in record.proposals() if proposal.number < spec.search.trials]
    stops = spec.search.early_stopping is not None
    return [(one.number, one.config(spec.trial), one.cutoffs if stops else None) for one in proposals]


def load_rows(store: Store, record: SweepRecord, spec: SweepSpec) -> list[Row]:
    """All rows of a sweep by number; trials that a search has not proposed yet have none.

    What confirms a search comes last, once all of its trials have ended.

    Raises:
        HomeError: which data the sweep runs on is recorded no more.
    """
    fingerprints = record.fingerprints
    run, live = record.run, record.locked
    shapes: dict[str, ImageShape | None] = {}
    rows: list[Row] = []
    trained_by: set[str] = set()

    def add(number: int, config: Config, cutoffs: Cutoffs | None = None, confirms: int | None = None) -> None:
        name = config.source
        if name not in fingerprints:
            raise HomeError(
                f"{store.home.url}/sweeps/{record.name}/datasets.json: absent or damaged; the command that ran the "
                "sweep makes it again"
            )
        if name not in shapes and problem_of(config).needs_dataset:
            shapes[name] = image_shape_of(data_folder(store.home.url), name, fingerprints[name])
        keys = keys_of(config, fingerprints[name])
        row = read_row(store, number, config, keys, record.name, run.get("run"), live, shapes.get(name), cutoffs)
        if spec.search is not None and confirms is None:
            row = in_search(row, spec.search, proposed)
        if spec.search is not None and keys.training in trained_by and row.state == "completed":
            row = replace(row, cached=True)
        if row.state == "completed":  # one that was pruned, or failed, has left the rest of it to others
            trained_by.add(keys.training)
        rows.append(replace(row, confirms=confirms))

    asked = asked_trials(record, spec)
    proposed = asked[-1][0] + 1 if asked else 0
    for number, config, cutoffs in asked:
        add(number, config, cutoffs)
    for one in to_confirm(spec, rows) if all_tried(spec, rows) else []:
        add(one.number, one.config, confirms=one.confirms)
    return rows


def in_search(row: Row, search: SearchSpec, proposed: int) -> Row:
    """The row of a proposal, as its search takes it: what comes of a trial decides which others there are.

    So one that has lost its worker has not ended, and one that ran out of time or memory has for good once a proposal
    rests on that. ``proposed``: how many proposals there are.
    """
    if row.lost:
        return replace(row, state="planned")
    if row.state != "failed" or row.final:
        return row
    return replace(row, final=search.window is not None and row.number + search.window < proposed)


def all_tried(spec: SweepSpec, rows: Sequence[Row]) -> bool:
    """Whether all trials that a search asks for have ended; ``rows`` of its proposals."""
    return spec.search is not None and len(rows) == spec.search.trials and all(row.ended for row in rows)


def to_confirm(spec: SweepSpec, rows: Iterable[Row]) -> list[Confirmation]:
    """What confirms a search, by the rows of its proposals as they are now."""
    completed = (row for row in rows if row.state == "completed")
    return confirmations(spec, ((row.number, row.config, row.validation) for row in completed))


def read_row(
    store: Store,
    number: int,
    config: Config,
    keys: Keys,
    sweep: str | None,
    run: str | None,
    live: bool,
    image_shape: ImageShape | None = None,
    cutoffs: Cutoffs | None = None,
) -> Row:
    """What the store knows of one trial.

    Args:
        store: where to look.
        number: the trial's.
        config: as asked.
        keys: of the config.
        sweep: its name: of failures in other sweeps only those that are the training's are its own.
        run: id of the sweep's last run: a training of an earlier one is cached.
        live: whether that run goes on now; otherwise an attempt that never ended is not running.
        image_shape: of the dataset; None where it is not known, and with it what adapting costs.
        cutoffs: of the trial; None where its sweep stops none early. By them it may be pruned, however far the store
            has its training: that is a fact of the sweep.
    """
    base = Row(number, config, keys, "planned", cutoffs=cutoffs)
    manifest = store.trained(config, keys)
    curve: Curve = ()
    reached = 0
    if cutoffs is not None:
        trained = stored_curve(store, keys.training, manifest)
        curve, reached = trained.by(config.algorithm_entry.head), trained.reached
        decision = decide(curve, cutoffs, config.training.iterations)
        if decision.state == "pruned":
            return _pruned(base, decision.iteration, curve, trained.flops, image_shape)
        if decision.state != "complete":  # what later cut-offs follow from is gone
            manifest = None
    if manifest is not None:
        scores = store.scores(config, keys, manifest)
        if scores is not None:
            problem = problem_of(config)
            its = store.attempt(keys.training, manifest.attempt)
            metrics: dict[str, float] = {base.score.validation: manifest.validation_accuracy(config)}
            for column, (mean, ci95) in problem.tested.items():
                metrics |= {mean: float(scores[column].mean()), ci95: confidence_95(scores[column])}
            metrics[problem.count] = len(scores[problem.score.column])
            metrics |= problem.costs(config, manifest.final, _storable(manifest.train_flops), image_shape)
            if "train_seconds" in its:  # an attempt whose record is gone leaves its results
                metrics["train_seconds"] = its["train_seconds"]
            cached = its.get("asked_by", {}).get("run") != run
            return replace(base, state="completed", metrics=metrics, final=True, cached=cached, curve=curve)
    every_attempt = store.attempts(keys.training)
    attempts = [one for one in every_attempt if _is_about(one, sweep, keys.evaluation)]
    last = attempts[-1] if attempts else None
    if live and last is not None and last["state"] == "running" and last["asked_by"].get("run") == run:
        return replace(base, state="running")
    # A part of the curve, with which the trial may have been pruned before it failed.
    lost = cutoffs is not None and any(int(at) > reached for one in every_attempt for at in one["validated_ms"])
    for_good = store.failure(keys.training)
    if for_good is not None:
        return replace(base, state="failed", error=for_good, final=not lost)
    if last is not None and last["state"] == "failed":
        kind = last.get("failure")
        losses = sum(one["state"] == "failed" and one.get("failure") == "lost" for one in attempts)
        final = (not can_pass(kind) or (kind == "lost" and losses >= MOST_LOSSES)) and not lost
        return replace(base, state="failed", error=last["cause"], failure=kind, final=final)
    return base


def _pruned(base: Row, rung: int, curve: Curve, flops: int, image_shape: ImageShape | None) -> Row:
    """The row of a trial that its sweep has pruned at a rung. ``flops``: of one iteration.

    Without a validation that is a number up to there it has failed: there is nothing to tell a search.
    """
    best = best_until(curve, rung)
    if not math.isfinite(best):
        error = f"none of its validations up to iteration {rung} is a number"
        return replace(base, state="failed", error=error, final=True)
    costs = problem_of(base.config).costs(base.config, rung, _storable(flops * rung), image_shape)
    metrics = {base.score.validation: best, **costs}
    until = tuple(point for point in curve if point[0] <= rung)
    return replace(base, state="pruned", metrics=metrics, final=True, curve=until)


def _storable(flops: int) -> float:
    """As a column of a table takes it: beyond 64 bits no integer."""
    return flops if flops < 2**63 else float(flops)


def _is_about(attempt: Mapping[str, Any], sweep: str | None, evaluation: str) -> bool:
    """Whether a sweep asked for an attempt, and of it this evaluation; where it names none, it was about all."""
    asked = attempt.get("evaluations")
    return attempt["asked_by"].get("sweep") == sweep and (not asked or evaluation in asked)


def confidence_95(accuracies: Any) -> float:
    """Half width of the 95 % interval of the mean over episodes, by the normal approximation."""
    return 1.96 * float(accuracies.std(ddof=1)) / math.sqrt(len(accuracies))


def without_confirmations(rows: Iterable[Row]) -> list[Row]:
    """Those that a grid or a search asks for: without what only confirms a search, which takes no part in choosing."""
    return [row for row in rows if row.confirms is None]


def by_scale(rows: Iterable[Row]) -> list[list[Row]]:
    """Rows whose scores can be compared stand together: all of them, or those of each source where the problem says so.

    In the order of their first ones.
    """
    found: dict[str, list[Row]] = {}
    for row in rows:
        shared = problem_of(row.config).sources_share_a_scale
        found.setdefault("" if shared else row.config.source, []).append(row)
    return list(found.values())


def best_row(rows: Sequence[Row]) -> Row | None:
    """The completed row of the best validation score; the first of equals. None where none is completed, or where
    scores of some can't be compared with those of others.

    Confirmations don't count: they are about trials that were the best before them.
    """
    if len(by_scale(rows)) > 1:
        return None
    completed = [row for row in without_confirmations(rows) if row.state == "completed"]
    return max(completed, key=lambda row: (row.validation, -row.number), default=None)


def front_rows(rows: Sequence[Row], objectives: Sequence[Objective]) -> list[Row] | None:
    """The Pareto front among the completed rows, best validation accuracy first; empty for one objective.

    None where ``front_unknown`` of them: who can't be compared may be better than any other.
    """
    if len(objectives) < 2:
        return []
    if front_unknown(rows, objectives):
        return None
    completed = [row for row in without_confirmations(rows) if row.state == "completed"]
    values = [[row.metrics[one.metric] for one in objectives] for row in completed]
    front = [completed[index] for index in pareto_front(values, [one.direction for one in objectives])]
    return sorted(front, key=lambda row: (-row.validation, row.number))


def front_unknown(rows: Iterable[Row], objectives: Sequence[Objective]) -> str | None:
    """Why values of completed rows are not known here: the images that tell them are on another machine. Else None."""
    for row in without_confirmations(rows):
        for one in objectives:
            if row.state == "completed" and one.metric not in row.metrics:
                return (
                    f"{one.metric} of trial {row.number} is not known without the images of {row.config.source}; "
                    "give the command where they are"
                )
    return None
