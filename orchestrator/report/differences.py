"""The difference of two cells, paired as the cells are: by training where they test the same ones, and by task."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from orchestrator.results import CellResult
from orchestrator.stats import Estimate, estimate_difference
from trainers.problems import problem_of


@dataclass(frozen=True)
class Difference:
    """One cell minus another."""

    estimate: Estimate
    same_trainings: bool
    same_episodes: bool
    task: str
    """What one of the things that a test has many of is called: ``episode``."""

    @property
    def paired_by(self) -> str:
        """``seed, episode``, ``episode``, ``seed``, or ``nothing``."""
        pairs = [("seed", self.same_trainings), (self.task, self.same_episodes)]
        return ", ".join(name for name, paired in pairs if paired) or "nothing"


def difference(cell: CellResult, baseline: CellResult, comparisons: int) -> Difference | None:
    """``cell`` − ``baseline``; None where one of them, or what they have in common, is not completed.

    Cells of the same trainings are compared on those that are completed in both.

    Args:
        cell: the first.
        baseline: what is taken off.
        comparisons: how many differences are judged together.
    """
    same_trainings = _trainings(cell) == _trainings(baseline)
    a, b = cell.accuracies, baseline.accuracies
    if same_trainings:
        common = {row.keys.training for row in cell.completed} & {row.keys.training for row in baseline.completed}
        a, b = (its.accuracies[[row.keys.training in common for row in its.completed]] for its in (cell, baseline))
    if not len(a) or not len(b):
        return None
    same_episodes = _episodes(cell) == _episodes(baseline)
    estimate = estimate_difference(
        a,
        b,
        same_trainings=same_trainings,
        same_episodes=same_episodes,
        comparisons=comparisons,
        unit=cell.score_kind.difference,
    )
    return Difference(estimate, same_trainings, same_episodes, problem_of(cell.config).task_word)


def _trainings(cell: CellResult) -> list[str]:
    return [row.keys.training for row in cell.rows]


def _episodes(cell: CellResult) -> Hashable:
    """What decides test episode i."""
    return problem_of(cell.config).paired_by(cell.config)
