"""What a search looks for: the score that its trials reach, and what that may cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from orchestrator.wording import shown
from trainers.config import Frozen
from trainers.errors import ConfigError
from trainers.problem import Problem
from trainers.problems import PROBLEMS, problem_named

Direction = Literal["maximize", "minimize"]

DIRECTIONS: dict[str, Direction] = {
    "validation_accuracy": "maximize",
    "validation_return": "maximize",
    "train_flops": "minimize",
    "adapt_flops": "minimize",
}
"""Metric -> what makes it better. All are functions of the config alone, so that a search can be repeated."""

ACCURACY = "validation_accuracy"
LEARNT = (ACCURACY, "validation_return")
"""What has to be learnt, one a problem; the others are costs."""

_NOT_OF_THE_CONFIG = {
    "train_seconds": "depends on the machine and on what else it does, so that no search could be repeated",
    "test_accuracy": "is of classes that are held back for the end, and a search that saw it would fit them",
    "test_ci95": "is of classes that are held back for the end, and a search that saw it would fit them",
    "return_before": "is of tasks that are held back for the end, and a search that saw it would fit them",
    "return_after": "is of tasks that are held back for the end, and a search that saw it would fit them",
}
"""Metrics of a trial that are none of a search, and why."""


def of_problem(problem: Problem[Any]) -> list[str]:
    """The objectives that its trials have."""
    return [metric for metric in DIRECTIONS if metric in problem.metrics]


def _known() -> str:
    """All objectives, by problem: which of those it is, is not known where one objective is read."""
    default, *others = (f"{', '.join(of_problem(problem_named(name)))}" for name in PROBLEMS)
    named = zip(list(PROBLEMS)[1:], others, strict=True)
    return "".join([default, *(f"; with problem: {name} of {metrics}" for name, metrics in named)])


def _metric(name: Any) -> Any:
    if not isinstance(name, str) or name in DIRECTIONS:
        return name
    known = _known()
    words = name.lower()
    if words in _NOT_OF_THE_CONFIG or "second" in words or "time" in words:
        why = _NOT_OF_THE_CONFIG.get(words, _NOT_OF_THE_CONFIG["train_seconds"])
        raise ConfigError(f"{shown(name)} {why}; choose of {known}")
    raise ConfigError(f"unknown objective {shown(name)}; choose of {known}")


Metric = Annotated[str, BeforeValidator(_metric)]


class Objective(Frozen):
    """One of the things that a search looks for: a metric, and whether more or less of it is better."""

    maximize: Metric | None = None
    minimize: Metric | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Objective:
        if self.maximize is None and self.minimize is None:
            raise ConfigError(f"must say what to maximize or minimize, got {{}}; choose of {_known()}")
        if self.maximize is not None and self.minimize is not None:
            both = f"[{{maximize: {self.maximize}}}, {{minimize: {self.minimize}}}]"
            raise ConfigError(f"maximize and minimize are two objectives; make a list of them: {both}")
        right = DIRECTIONS[self.metric]
        if self.direction != right:
            noun = "an accuracy" if self.metric == ACCURACY else "a return"
            words = f"more of {noun} is better" if right == "maximize" else "less of a cost is better"
            raise ConfigError(f"{words}, got {shown(self.plain())}; write {{{right}: {self.metric}}}")
        return self

    @property
    def metric(self) -> str:
        """A key of ``DIRECTIONS``."""
        return self.maximize or self.minimize or ""

    @property
    def direction(self) -> Direction:
        """Which way is better."""
        return "maximize" if self.maximize is not None else "minimize"

    def plain(self) -> dict[str, str]:
        """As a sweep file says it."""
        return {self.direction: self.metric}


def _listed(value: Any) -> Any:
    """One objective as a list of one."""
    return [value] if isinstance(value, dict | Objective) else value


Objectives = Annotated[tuple[Objective, ...], Field(strict=False), BeforeValidator(_listed)]
"""In the order of the file; one may stand there by itself."""


def objective_problems(
    objectives: Sequence[Objective], problem: Problem[Any], name: str
) -> list[tuple[tuple[int, ...], str]]:
    """What is wrong, in a search of trials of that problem, with objectives that are right by themselves; places inside
    the list.

    Its score has to be learnt: a search without it would know its best beforehand.
    """
    metrics = [one.metric for one in objectives]
    twice = [
        ((index,), f"{metric} is an objective already; drop one of the two")
        for index, metric in enumerate(metrics)
        if metric in metrics[:index]
    ]
    score = problem.score.validation
    foreign = [metric for metric in metrics if metric not in problem.metrics]
    if foreign:
        return twice + _foreign_problems(metrics, foreign, problem, name)
    if twice or score in metrics:
        return list(twice)
    words = "no trial has to run to know the least of it" if metrics else "a search needs one"
    return [((), f"{words}, got {shown([one.plain() for one in objectives])}; add {{maximize: {score}}}")]


def _foreign_problems(
    metrics: Sequence[str], foreign: Sequence[str], problem: Problem[Any], name: str
) -> list[tuple[tuple[int, ...], str]]:
    """Of objectives that trials of this problem do not have. One becomes the score, where that is lacking."""
    score = problem.score.validation
    learnt = (metric for metric in foreign if DIRECTIONS[metric] == "maximize")
    becomes_score = None if score in metrics else next(learnt, foreign[0])
    free = ", ".join(metric for metric in of_problem(problem) if metric not in (score, *metrics))
    drop = f"drop it, or choose {free}" if free else "drop it"
    return [
        (
            (index,) if len(metrics) > 1 else (),
            f"{metric} is none of trials with problem: {name}; "
            + (f"write {{maximize: {score}}}" if metric == becomes_score else drop),
        )
        for index, metric in enumerate(metrics)
        if metric in foreign and metric not in metrics[:index]
    ]


def plain_objectives(objectives: Sequence[Objective]) -> Any:
    """As a sweep file says them: one by itself, several as a list."""
    plain = [one.plain() for one in objectives]
    return plain[0] if len(plain) == 1 else plain
