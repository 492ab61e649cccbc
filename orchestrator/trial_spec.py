"""``trial:`` of a sweep file: the config of one of the problems, told apart by ``problem``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Tag

from orchestrator.config_paths import elsewhere
from orchestrator.space import raise_at
from orchestrator.wording import TAG, shown
from orchestrator.yaml_file import Place
from trainers.config import TrialConfig
from trainers.problems import PROBLEMS
from trainers.registry import nearest
from trainers.rl.config import RLConfig


def problem_name(trial: Any) -> str:
    """Name of the problem of a trial, given as values or as a config."""
    named = trial.get("problem") if isinstance(trial, Mapping) else getattr(trial, "problem", None)
    return named if isinstance(named, str) else "few_shot"


def _of_one_problem(trial: Any) -> Any:
    """The values of a trial, none of which is of another problem."""
    if not isinstance(trial, Mapping):
        return trial
    problem = problem_name(trial)
    if problem not in PROBLEMS or not isinstance(trial.get("problem", problem), str):
        known = " or ".join(map(repr, PROBLEMS))
        got = trial["problem"]
        close = nearest(problem, PROBLEMS) if isinstance(got, str) else ""
        raise_at([(("problem",), f"must be {known}, got {shown(got)}" + f"; {close}" * close.startswith("did"))])
    problems: list[tuple[Place, str]] = []
    for section, values in trial.items():
        inner = values if isinstance(values, Mapping) else {}
        places: list[tuple[str, ...]] = [*((str(section), str(key)) for key in inner), (str(section),)]
        problems += [(at, words) for at in places if (words := elsewhere(".".join(at), problem))][:1]
    raise_at(problems)
    return trial


Trial = Annotated[
    Annotated[TrialConfig, Tag(f"{TAG}few_shot")] | Annotated[RLConfig, Tag(f"{TAG}rl")],
    Discriminator(lambda trial: TAG + problem_name(trial)),
    BeforeValidator(_of_one_problem),
]
"""Of whatever problem."""
