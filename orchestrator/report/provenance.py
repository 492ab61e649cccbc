"""Where the numbers of a report come from: what was asked, what it cost, on which data and machines it ran."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from orchestrator.budget import budget_text, left_out_text
from orchestrator.results import Study
from orchestrator.rows import Row
from orchestrator.sweep_state import SweepState, count_trials

COMMAND = "orchestrate sweep spec.yaml"
"""Given in the folder of a report, which holds the sweep's file as it ran."""


@dataclass(frozen=True)
class Environment:
    """What attempts ran on and with. Bits are equal only within one."""

    device: str
    instruction_set: str
    torch: str
    threads: int
    versions: Mapping[str, str]
    """Package -> version; Python's too."""
    attempts: int
    """How many ran so."""


@dataclass(frozen=True)
class Provenance:
    """Budget, data and environments of a study."""

    name: str
    question: str | None
    state: SweepState
    command: str
    """Runs the same again, in the folder of the report; in another home it trains everything anew."""
    started: str | None
    """Of the first attempt, ``2026-11-25 22:06 UTC``; None where none is recorded."""
    trainings: int
    """Completed; several rows may share one."""
    evaluations: int
    """Completed; several rows may share one."""
    iterations: int
    """Of the completed trainings together."""
    train_flops: int
    """Counted floating-point operations of the completed trainings together."""
    test_episodes: int
    """Of the completed evaluations together."""
    tasks_word: str
    """What those are called: ``episodes``."""
    core_seconds: float
    """CPU time of all attempts at these trainings, whichever sweep asked for them; failed ones too."""
    datasets: Mapping[str, str]
    """Name -> fingerprint."""
    environments: tuple[Environment, ...]
    """Where attempts ran, those of the most attempts first."""
    git_commits: tuple[str, ...]
    """Of the folders that the trainings were asked from, oldest first."""
    failed: tuple[Row, ...]
    missing: int
    """Rows that are neither completed, pruned nor failed, those that a spent budget leaves out among them. Of what
    confirms a search that has not ended, as many as there may be."""
    pruned: int = 0
    """Trials that early stopping ended."""
    pruned_iterations: int = 0
    """Of their trainings together, up to where they were pruned."""
    left_out: str | None = None
    """That the budget is spent, and how many trials did not begin; None where none is left out."""

    @property
    def mixed(self) -> bool:
        """Whether trainings ran on several kinds of machine, torch or threads, where bits may differ."""
        kinds = {(one.device, one.instruction_set, one.torch, one.threads) for one in self.environments}
        return len(kinds) > 1


def provenance(study: Study) -> Provenance:
    """Budget, data and environments of a study."""
    rows = study.rows
    completed = [row for row in rows if row.state == "completed"]
    trained = {row.keys.training: row for row in completed}.values()
    tested = {row.keys: row for row in completed}.values()
    failed = tuple(row for row in rows if row.state == "failed")
    pruned = [row for row in rows if row.state == "pruned"]
    attempts = sorted(
        (attempt for training in study.trainings.values() for attempt in training.attempts),
        key=lambda attempt: int(attempt["started_ms"]),
    )
    commits = dict.fromkeys(attempt["asked_by"].get("git_commit") for attempt in attempts)
    asked = count_trials(study.spec, rows)["planned"] if study.spec.search else len(rows)
    budget = study.budget
    return Provenance(
        name=study.spec.name,
        question=study.spec.question,
        state=study.state,
        command=COMMAND,
        started=_time(attempts[0]["started_ms"]) if attempts else None,
        trainings=len(trained),
        evaluations=len(tested),
        iterations=sum(int(row.metrics["iterations"]) for row in trained),
        train_flops=sum(int(row.metrics["train_flops"]) for row in trained),
        test_episodes=sum(int(row.metrics[study.problem.count]) for row in tested),
        tasks_word=study.problem.tasks_word,
        core_seconds=sum(map(_core_seconds, attempts)),
        datasets=study.fingerprints,
        environments=_environments(attempts),
        git_commits=tuple(filter(None, commits)),
        failed=failed,
        missing=asked - len(completed) - len(pruned) - len(failed),
        pruned=len(pruned),
        pruned_iterations=sum(int(row.metrics["iterations"]) for row in pruned),
        left_out=f"the budget is spent ({budget_text(budget)}), {left_out_text(budget['not_begun'])}"
        if budget and budget["not_begun"]
        else None,
    )


def _core_seconds(attempt: Mapping[str, Any]) -> float:
    """CPU time up to the last sign of life; of records that lack it, seconds × threads: more on a busy machine.

    An attempt without an environment never came to work.
    """
    environment = attempt["environment"]
    if environment is None:
        return 0.0
    if "cpu_seconds" in attempt:
        return float(attempt["cpu_seconds"])
    last = attempt["ended_ms"] or max(attempt["validated_ms"].values(), default=attempt["started_ms"])
    return float(last - attempt["started_ms"]) / 1000 * int(environment["threads"])


def _environments(attempts: Iterable[Mapping[str, Any]]) -> tuple[Environment, ...]:
    alike: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for attempt in attempts:
        if attempt["environment"] is not None:
            words = (*attempt["environment"].items(), *attempt["versions"].items())
            alike.setdefault(tuple(sorted(words, key=str)), []).append(attempt)  # of one name may be text and a number
    groups: list[Sequence[Mapping[str, Any]]] = sorted(alike.values(), key=len, reverse=True)
    return tuple(
        Environment(**group[0]["environment"], versions=group[0]["versions"], attempts=len(group)) for group in groups
    )


def _time(started_ms: int) -> str:
    return f"{datetime.fromtimestamp(started_ms / 1000, UTC):%Y-%m-%d %H:%M UTC}"
