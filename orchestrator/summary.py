"""What commands print for people: the end of a sweep, its status, the datasets."""

from __future__ import annotations

import os
import shlex
from typing import Any

from orchestrator.budget import budget_text, left_out_text
from orchestrator.data import DatasetRow, data_folder
from orchestrator.environment import FROM_ELSEWHERE
from orchestrator.home import open_home
from orchestrator.home_objects import Home
from orchestrator.labels import label, levels_text
from orchestrator.live_record import read_live
from orchestrator.objectives import LEARNT
from orchestrator.record import SweepRecord
from orchestrator.references import DiskUse
from orchestrator.report.confirmed import best_again, confirmed_trials
from orchestrator.report.words import flops, interval, number
from orchestrator.results import Study, load_study
from orchestrator.rows import Row, best_row, find_sweep, front_rows, front_unknown, load_rows, without_confirmations
from orchestrator.spec import SweepSpec
from orchestrator.store import Store
from orchestrator.tracking_uri import default_uri
from trainers.baselines import nearest_neighbour_accuracy
from trainers.config import TrialConfig
from trainers.datasets.image_file import open_image_file
from trainers.problems import problem_of

SHOWN = 5
SHOWN_CELLS = 20


def summary(home_url: str, name: str, status: dict[str, Any]) -> str:
    """The end of a sweep: best trials or a grid's cells, the floors, where the record is and how to look at it."""
    home = open_home(home_url, create=False)
    record, spec = find_sweep(home, name)
    lines = [status_text(status)]
    if spec.grid is None:
        rows = load_rows(Store(home), record, spec)
        lines += _front(rows, spec)
        if not front_rows(rows, spec.search.objective if spec.search else ()):
            lines += _best_trials(rows, spec)
    else:
        study = load_study(name, home_url)
        rows = study.rows
        lines += _cells(study)
    best = best_row(rows)
    if best is not None:
        lines += _best_and_floors(best, record, spec, home_url)
    if any(row.confirms is not None for row in rows):
        lines += _confirmed(load_study(name, home_url))
    failed = [row for row in rows if row.state == "failed"]
    lines += [f"failed: trial {row.name}: {row.error}" for row in failed[:SHOWN]]
    if len(failed) > SHOWN:
        lines.append(f"failed: {len(failed) - SHOWN} more; `orchestrate export {name}` has them all")
    if any(row.final for row in failed):
        lines.append("failed trials are not run again; the same command with --retry-failed does")
    at = _at(home_url)
    lines += [
        "",
        f"record: {home.url}",
        f"rows:   orchestrate export {name}{at}",
        f"report: orchestrate report {name}{at}",
    ]
    uri = status["tracking"]["uri"]
    if uri is not None and status["tracking"]["synced"]:
        own = home.local is not None and uri == default_uri(home.local)
        lines.append(f"curves: orchestrate dashboard{at}" if own else f"curves: {uri}")
    return "\n".join(lines)


def status_text(status: dict[str, Any]) -> str:
    """A sweep in a line."""
    trials = status["trials"]
    parts = [f"{trials[state]} {state}" for state in ("completed", "pruned", "failed", "running") if trials[state]]
    parts += [f"{trials['cached']} of them from the record"] if trials["cached"] else []
    pairs = status["analyses"]
    parts += [f"{pairs['completed']} of {pairs['planned']} pairs of trainings compared"] if pairs["planned"] else []
    budget = status["budget"]
    parts += [f"{budget_text(budget)} used"] if budget else []
    parts += [f"the budget is spent and {left_out_text(budget['not_begun'])}"] if budget and budget["not_begun"] else []
    line = f"{status['name']}: {status['state']}, {trials['planned']} planned"
    return ", ".join([line, *parts])


def resume_text(home: Home, name: str) -> str:
    """How an interrupted sweep goes on."""
    if FROM_ELSEWHERE in os.environ:  # a path of this machine's helps nobody there
        return "  the command that submitted it goes on from there"
    record = SweepRecord(home, name)
    if home.local is None:
        live = read_live(record)
        now = "; unless it runs now, which --watch tells" if live is not None and not live.over else ""
        return f"  the command that ran it goes on from there{now}"
    spec = shlex.quote(f"{home.url}/sweeps/{name}/spec.yaml")
    return f"  the command that ran it goes on from there; so does\n  orchestrate sweep {spec}{_at(home.url)}"


def front_text(home: Home, name: str) -> str:
    """The Pareto front of a sweep, a trial a line; empty where it has one objective, or nothing is completed."""
    record, spec = find_sweep(home, name)
    if spec.search is None or len(spec.search.objective) < 2:
        return ""
    return "\n".join(_front(load_rows(Store(home), record, spec), spec))


def disk_text(disk: DiskUse) -> str:
    """What the trainings of a sweep take."""
    shared = f", {disk.shared_bytes / 1e6:.2f} MB of them shared with other sweeps" if disk.shared_bytes else ""
    return f"its trainings take {disk.size_bytes / 1e6:.2f} MB{shared}"


def datasets_text(rows: list[DatasetRow]) -> str:
    """One line a dataset."""
    lines = []
    for row in rows:
        if row.fingerprint is None or row.images is None:
            lines.append(f"{row.name}: {row.title}\n  {row.note}")
        else:
            lines.append(dataset_text(row))
    return "\n".join(lines)


def dataset_text(row: DatasetRow) -> str:
    """A dataset that is there: its size, the classes of each part, where it lies."""
    fewest, most = row.images_per_class or (0, 0)
    each = f"of {fewest}" if fewest == most else f"of {fewest} to {most}"
    lines = [
        f"{row.name}: {row.images} images, {row.classes} classes {each}, {'x'.join(map(str, row.shape or ()))}, "
        f"{(row.size_bytes or 0) / 2**20:.1f} MiB"
    ]
    for split, parts in (row.splits or {}).items():
        lines.append(f"  split {split}: " + ", ".join(f"{count} {part}" for part, count in parts.items()))
    return "\n".join([*lines, f"  {row.path}"])


def dataset_json(row: DatasetRow) -> dict[str, Any]:
    """A dataset as JSON values."""
    return {**vars(row), "path": None if row.path is None else str(row.path)}


def _best_trials(rows: list[Row], spec: SweepSpec) -> list[str]:
    ranked = sorted(
        (row for row in without_confirmations(rows) if row.state == "completed"),
        key=lambda row: (-row.validation, row.number),
    )
    if not ranked:
        return []
    lines = ["", "trial  validation  test              config"]
    lines += [_result(row) + "  " + label(row.config, spec) for row in ranked[:SHOWN]]
    return lines + ([f"… and {len(ranked) - SHOWN} more"] if len(ranked) > SHOWN else [])


def _front(rows: list[Row], spec: SweepSpec) -> list[str]:
    objectives = spec.search.objective if spec.search else ()
    front = front_rows(rows, objectives)
    if front is None:
        return ["", f"Pareto front: {front_unknown(rows, objectives)}"]
    if not front:
        return []
    costs = [one.metric for one in objectives if one.metric not in LEARNT]
    words = " and ".join(f"{one.direction} {one.metric}" for one in objectives)
    of = f"{len(front)} of {sum(row.state == 'completed' for row in without_confirmations(rows))} trials"
    lines = ["", f"Pareto front ({words}): {of}, best validation first"]
    lines.append("trial  validation  test          " + "".join(f"{cost:>13}" for cost in costs) + "  config")
    for row in front[:SHOWN_CELLS]:
        numbers = "".join(f"{flops(row.metrics[cost]):>13}" for cost in costs)
        lines.append(f"{_result(row):33}{numbers}  {label(row.config, spec)}")
    return lines + ([f"… and {len(front) - SHOWN_CELLS} more"] if len(front) > SHOWN_CELLS else [])


def _cells(study: Study) -> list[str]:
    """The cells of a grid in the order of its file, each over its seeds."""
    if not any(cell.seeds for cell in study.cells):
        return []
    score = study.score
    shown = study.cells[:SHOWN_CELLS]
    tests = [score.heading("test"), *(number(cell.mean(score.test), score) for cell in shown)]
    intervals = ["95 % interval", *(interval(cell.estimate) for cell in shown)]
    width, wide = (max(map(len, texts)) for texts in (tests, intervals))
    lines = ["", f"cell  {tests[0]:>{width}}  {intervals[0]:>{wide}}  seeds  config"]
    for cell, test, ends in zip(shown, tests[1:], intervals[1:], strict=True):
        words = levels_text(cell.levels) or cell.config.algorithm.name
        lines.append(f"{cell.number:4d}  {test:>{width}}  {ends:>{wide}}  {len(cell.seeds):5d}  {words}")
    if len(study.cells) > SHOWN_CELLS:
        lines.append(f"… and {len(study.cells) - SHOWN_CELLS} more")
    one_seed = any(len(cell.seeds) == 1 for cell in study.cells)
    tasks = study.problem.tasks_word
    return lines + ([f"of one seed, the interval is over {tasks} of that training only"] if one_seed else [])


def _best_and_floors(best: Row, record: SweepRecord, spec: SweepSpec, home_url: str) -> list[str]:
    words = f" ({label(best.config, spec)})" if spec.grid else ""  # the numbers above it are those of cells
    first = f"best trial by validation: {best.number}{words}, test {_result_of_test(best)}"
    if not isinstance(best.config, TrialConfig):
        before = ", ".join(
            f"{mean.replace('_', ' ')} {best.score.number(best.metrics[mean])}"
            for mean, _ in problem_of(best.config).tested.values()
            if mean != best.score.test
        )
        return ["", first, *([before] if before else [])]
    dataset = best.config.source
    table = open_image_file(data_folder(home_url) / "datasets" / f"{dataset}-{record.fingerprints[dataset]}.arrow")
    floor = nearest_neighbour_accuracy(best.config, table)
    return [
        "",
        first,
        f"1-nearest-neighbour on pixels of the same test episodes: {100 * floor:.1f} %",
        f"chance: {100 / best.config.episodes.ways:.1f} %",
    ]


def _confirmed(study: Study) -> list[str]:
    """What is left of the best trial under fresh seeds; and which one leads there, if it is another."""
    trials = confirmed_trials(study)
    leads = best_again(trials)
    shown = [its for its in trials if its is trials[0] or its is leads]
    lines = []
    for its in shown:
        seeds, validation, test = len(its.again.seeds), its.validation, its.again.estimate
        words = "confirmed" if its is trials[0] else "best again"
        if validation is None or test is None:
            lines.append(f"{words}: trial {its.number}: no training under a fresh seed is completed")
            continue
        score = study.score
        won = "" if its.won_with is None else f" (won with {score.text(its.won_with)})"
        again = f"validation {score.text(validation.value)}{won}"
        lines.append(
            f"{words}: trial {its.number} under {seeds} fresh seed{'s' if seeds > 1 else ''}: {again}, "
            f"test {score.text(test.value)} (95 % interval {interval(test)})"
        )
    return lines


def _at(home_url: str) -> str:
    return "" if home_url == "./runs" else f" --home {shlex.quote(home_url)}"


def _result(row: Row) -> str:
    score = row.score
    return f"{row.number:5d}  {score.text(row.validation):>10}  {_result_of_test(row)}"


def _result_of_test(row: Row) -> str:
    score = row.score
    test, half = (score.number(row.metrics[metric]) for metric in (score.test, score.test_ci95))
    return f"{test:>5} ± {half}{score.suffix}"
