"""SweepSpec: what a sweep file says, as frozen, validated objects. Quick to import: no torch, ray, optuna or mlflow.

A SweepSpec that exists is whole: its space can propose, and its grid lay out, valid configs only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from orchestrator.budget import Budget
from orchestrator.config_paths import elsewhere, known_path, leaves, plain_value, with_values
from orchestrator.early_stopping import EarlyStopping
from orchestrator.grid_spec import GridSpec
from orchestrator.growth import changes
from orchestrator.objectives import ACCURACY, Objective, Objectives, objective_problems, plain_objectives
from orchestrator.space import (
    MAX_CHOICES,
    Parameter,
    assignments,
    invalid,
    order_problems,
    point_problems,
    raise_at,
    scalar_or_list,
    space_problems,
)
from orchestrator.trial_numbers import REPEAT
from orchestrator.trial_spec import Trial, problem_name
from orchestrator.wording import shown
from orchestrator.yaml_file import Place
from trainers.config import Frozen, PositiveInt, TrialConfig
from trainers.errors import ConfigError
from trainers.problems import PROBLEMS, problem_named, problem_of

__all__ = [
    "Budget",
    "ConfirmSpec",
    "EarlyStopping",
    "GridSpec",
    "Objective",
    "Parameter",
    "Resources",
    "SearchSpec",
    "SweepSpec",
    "differences",
    "plain_spec",
    "with_values",
]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")


def _name(text: str) -> str:
    if not NAME.match(text):
        raise ConfigError(
            f"must be 1 to 100 letters, digits and ._- and begin with a letter or digit, got {shown(text)}; "
            "give the sweep another name"
        )
    return text


ConfigPath = Annotated[str, AfterValidator(known_path)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class ConfirmSpec(Frozen):
    """The best trials again, under fresh seeds: ``orchestrator.confirm``."""

    top: PositiveInt
    """How many configs."""
    seeds: Annotated[int, Field(ge=1, le=1000)]
    """How many trainings of each."""


class SearchSpec(Frozen):
    """A search: what it may change, how it chooses, and how often."""

    seed: Seed = 0
    window: PositiveInt | None = None
    """Proposal n knows the results of 0 … n - window; where left out, chosen at the first run."""
    sampler: Literal["tpe", "random", "gp", "nsga2", "qmc"] = "tpe"
    """Name in ``orchestrator.search.samplers.SAMPLERS``."""
    trials: PositiveInt
    objective: Objectives = (Objective(maximize=ACCURACY),)
    """Of several, a search finds the Pareto front."""
    space: dict[ConfigPath, Parameter] = Field(min_length=1)
    """In the order in which values are chosen."""
    start: Annotated[tuple[dict[str, Annotated[Any, BeforeValidator(scalar_or_list)]], ...], Field(strict=False)] = ()
    """Points to try first; the parameters that one leaves out are chosen by the sampler."""
    early_stopping: EarlyStopping | None = None
    confirm: ConfirmSpec | None = None

    @model_validator(mode="after")
    def _confirmable(self) -> SearchSpec:
        if self.confirm and self.confirm.top > self.trials:
            words = f"must be at most search.trials ({self.trials}), got {self.confirm.top}; confirm fewer, or try more"
            raise_at([(("confirm", "top"), words)])
        if self.confirm and self.trials > REPEAT:
            raise_at([(("trials",), f"must be at most {REPEAT} beside confirm, got {self.trials}; leave one out")])
        return self

    @model_validator(mode="after")
    def _consistent(self) -> SearchSpec:
        problems: list[tuple[Place, str]] = [(("space", *at), words) for at, words in order_problems(self.space)]
        for index, point in enumerate(self.start):
            problems += [(("start", index, *at), words) for at, words in point_problems(self.space, point)]
        raise_at(problems)
        return self


def _or_auto(default: Any) -> BeforeValidator:
    """The word ``auto`` stands for the default."""
    return BeforeValidator(lambda value: default if value == "auto" else value)


class Resources(Frozen):
    """What one trial takes, and how many run at once. ``auto`` is what holds where a key is left out."""

    cpu: Annotated[float, _or_auto(1.0)] = Field(1.0, gt=0, allow_inf_nan=False)
    """Processors, each with one thread: two trials on two of them beat one on both."""
    gpu: Annotated[float | None, _or_auto(None)] = Field(None, ge=0, allow_inf_nan=False)
    """GPUs, or a part of one. None: as many trials share one as fit, by a probe; none where no machine has any."""
    max_concurrent: Annotated[PositiveInt | None, _or_auto(None)] = None
    """None: as many as the machines hold."""

    @model_validator(mode="after")
    def _whole_devices(self) -> Resources:
        if self.gpu is not None and self.gpu > 1 and self.gpu != int(self.gpu):
            raise ConfigError(f"gpu must be a part of one (like 0.5) or a whole number, got {self.gpu}")
        return self


def _metric_problems(search: SearchSpec, score: str) -> list[tuple[Place, str]]:
    """Which of several objectives a trial is stopped by is for the file to say."""
    if len(search.objective) < 2 or search.early_stopping is None or "metric" in search.early_stopping.model_fields_set:
        return []
    return [((), f"has no metric, and there are several objectives; add metric: {score}")]


class SweepSpec(Frozen):
    """A sweep: the base config of its trials, and a search or a grid around it (neither: one trial)."""

    name: Annotated[str, AfterValidator(_name)]
    question: str | None = None
    trial: Trial = TrialConfig()
    search: SearchSpec | None = None
    grid: GridSpec | None = None
    resources: Resources = Resources()
    budget: Budget | None = None

    @model_validator(mode="before")
    @classmethod
    def _own_score(cls, values: Any) -> Any:
        """A search that does not say what it maximizes means the validation score of its problem."""
        search = values.get("search") if isinstance(values, Mapping) else None
        problem = problem_name(values.get("trial")) if isinstance(search, Mapping) else "few_shot"
        if problem == "few_shot" or problem not in PROBLEMS or not isinstance(search, Mapping):
            return values
        score = problem_named(problem).score.validation
        filled = {"objective": {"maximize": score}, **search}
        stops = search.get("early_stopping")
        objective = search.get("objective")
        if isinstance(stops, Mapping) and not (isinstance(objective, list) and len(objective) > 1):
            filled["early_stopping"] = {"metric": score, **stops}
        return {**values, "search": filled}

    @model_validator(mode="after")
    def _of_its_problem(self) -> SweepSpec:
        problem, name = problem_of(self.trial), self.trial.problem
        problems: list[tuple[Place, str]] = []
        paths: list[Place] = []
        if self.search:
            for path, parameter in self.search.space.items():
                paths += [
                    ("search", "space", path),
                    *(("search", "space", path, "when", it) for it in parameter.when or {}),
                ]
            source = f"{problem.source_word}.name"
            if source in self.search.space and not problem.sources_share_a_scale:
                words = "scores of several can't be compared, so none is the best; search in one, or make a grid"
                problems.append((("search", "space", source), words))
            its = objective_problems(self.search.objective, problem, name)
            problems += [(("search", "objective", *at), words) for at, words in its]
            stops = self.search.early_stopping
            if stops and "metric" in stops.model_fields_set and stops.metric != problem.score.validation:
                words = f"{stops.metric} is none of trials with problem: {name}; write {problem.score.validation}"
                problems.append((("search", "early_stopping", "metric"), words))
        if self.grid:
            paths += [("grid", "train", path) for path in self.grid.train]
            paths += [("grid", "test", path) for path in self.grid.test]
            paths += [("grid", "settings", it, path) for it, its in self.grid.settings.items() for path in its]
            if self.grid.between and not problem.compares_trainings:
                why = f"compares what networks make of images, and the trial has problem: {name}; leave it out"
                problems.append((("grid", "between"), why))
        problems += [(place, reason) for place in paths if (reason := elsewhere(str(place[-1]), name))]
        raise_at(problems)
        return self

    @model_validator(mode="after")
    def _proposes_valid_configs(self) -> SweepSpec:
        if self.search and self.grid:
            raise_at([(("grid",), "stands beside search:, and a sweep is one of the two; remove one")])
        if self.search:
            raise_at(space_problems(self.search.space, self.trial), "search", "space")
            for index, point in enumerate(self.search.start):
                corners = {path: parameter.corners for path, parameter in self.search.space.items()}
                first = next(assignments(self.search.space, leaves(self.trial), {**corners, **_single(point)}))
                raise_at(invalid(self.trial, [first], "leads to", "change it"), "search", "start", index)
            its_metric = _metric_problems(self.search, problem_of(self.trial).score.validation)
            raise_at(its_metric + self._stopping_problems(self.search), "search", "early_stopping")
        if self.grid:
            raise_at(self.grid.problems(self.trial), "grid")
            highest = self.trial.training.seed + self.grid.seed_count
            if highest > 2**63:
                raise_at([(("trial", "training", "seed"), "leaves no room for grid.seeds below 2^63; lower it")])
        return self

    def _stopping_problems(self, search: SearchSpec) -> list[tuple[Place, str]]:
        """What is wrong with early stopping for any trial that the space can propose."""
        if search.early_stopping is None:
            return []
        values: dict[str, list[Any]] = {}
        for field in ("iterations", "validate_every"):
            parameter = search.space.get(f"training.{field}")
            base = [] if parameter and not parameter.when else [getattr(self.trial.training, field)]
            varied = _whole_values(parameter) if parameter else ()  # of one that never acts they may be anything
            values[field] = base + [value for value in varied if isinstance(value, int) and value > 0]
        problem = search.early_stopping.problem(**values)
        return [(("grace_iterations",), problem)] if problem else []

    @model_validator(mode="after")
    def _times_alone(self) -> SweepSpec:
        if (self.search or self.grid) and self.resources.max_concurrent != 1 and "speed" in self._measures:
            words = f"must be 1 where evaluation.measure is speed, got {shown(self.resources.max_concurrent)}: "
            raise_at([(("resources", "max_concurrent"), words + "trials that are timed run alone; set it to 1")])
        return self

    @model_validator(mode="after")
    def _leaves_room(self) -> SweepSpec:
        if self.search and self.search.confirm and self.fresh_seed + self.search.confirm.seeds > 2**63:
            words = "leaves no room below 2^63 for seeds that the search does not use; lower them there"
            raise_at([(("search", "confirm", "seeds"), words)])
        if self.budget and self.budget.gpu_hours is not None and self.resources.gpu == 0:
            words = "is never used where resources.gpu is 0; set that, or give hours"
            raise_at([(("budget", "gpu_hours"), words)])
        return self

    @property
    def fresh_seed(self) -> int:
        """The first training seed above all that a search can use."""
        path = "training.seed"
        seeds = self.search.space[path].domain if self.search and path in self.search.space else ()
        return 1 + max(self.trial.training.seed, *map(int, seeds), 0)

    @property
    def _measures(self) -> set[Any]:
        """What the file gives ``evaluation.measure``, anywhere."""
        path = "evaluation.measure"
        settings = self.grid.settings.values() if self.grid else ()
        factors = self.search.space if self.search else self.grid.factors if self.grid else {}
        levels = factors[path].domain if path in factors else ()
        own = [self.trial.evaluation.measure] if isinstance(self.trial, TrialConfig) else []
        return {*own, *levels, *(values[path] for values in settings if path in values)}


def _whole_values(parameter: Parameter) -> Sequence[Any]:
    """All that it can be; of a range of more than ``MAX_CHOICES`` whole numbers the first of them, since no number of
    iterations is a multiple of as many in a row."""
    if parameter.kind != "int":
        return parameter.corners
    low, high = parameter.domain
    return range(low, high + 1)[:MAX_CHOICES]


def _single(point: Mapping[str, Any]) -> dict[str, tuple[Any]]:
    return {path: (value,) for path, value in point.items()}


def plain_spec(spec: SweepSpec) -> dict[str, Any]:
    """The whole spec as plain values, as its file would say it, defaults written out."""
    values: dict[str, Any] = {"name": spec.name, "question": spec.question}
    values["trial"] = spec.trial.model_dump(mode="json")
    if spec.search:
        exclude = {"objective", "space", "start", "confirm"}
        values["search"] = spec.search.model_dump(mode="json", exclude=exclude)
        values["search"]["objective"] = plain_objectives(spec.search.objective)
        if spec.search.confirm:
            values["search"]["confirm"] = spec.search.confirm.model_dump()
        values["search"]["space"] = {path: parameter.plain() for path, parameter in spec.search.space.items()}
        values["search"]["start"] = [
            {path: plain_value(value) for path, value in point.items()} for point in spec.search.start
        ]
    if spec.grid:
        values["grid"] = spec.grid.plain()
    values["resources"] = spec.resources.model_dump(mode="json")
    if spec.budget:
        values["budget"] = spec.budget.limits
    return values


def differences(old: SweepSpec, new: SweepSpec) -> list[str]:
    """What a new spec changes in a stored one beyond growing it: one line ``place: old -> new`` each.

    Growing is: more or fewer trials or confirmations, more seeds, more levels of a factor, fewer cells excluded, other
    resources, another budget, question, baseline or published table; a window that the new spec leaves out stays the
    stored one.
    """
    seeds = tuple(spec.grid.seeds_of(spec.trial) if spec.grid else () for spec in (old, new))
    cells_stay = (old.grid and old.grid.exclude) == (new.grid and new.grid.exclude) or _cells(old) <= _cells(new)
    return changes(plain_spec(old), plain_spec(new), seeds[0], seeds[1], cells_stay)


def _cells(spec: SweepSpec) -> set[frozenset[tuple[str, Any]]]:
    return {frozenset(cell.items()) for cell in spec.grid.combinations(spec.trial)} if spec.grid else set()
