"""SweepSpec: what a sweep file says, as frozen, validated objects. Quick to import: no torch, ray, optuna or mlflow.

A SweepSpec that exists is whole: its space can propose, and its grid lay out, valid configs only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from orchestrator.config_paths import CONFIG_PATHS, known_path, leaves, nearest_path, plain_value, with_values
from orchestrator.errors import SpecError
from orchestrator.growth import changes
from orchestrator.space import (
    Parameter,
    assignments,
    invalid,
    levels,
    order_problems,
    point_problems,
    raise_at,
    scalar_or_list,
    space_problems,
)
from orchestrator.wording import plain_problems, shown
from orchestrator.yaml_file import MAX_DEPTH, Document, Place, dotted, parse_yaml, read_yaml, yaml_text
from trainers.config import Frozen, PositiveInt, TrialConfig
from trainers.errors import ConfigError

__all__ = [
    "GridSpec",
    "Objective",
    "Parameter",
    "Resources",
    "SearchSpec",
    "SweepSpec",
    "differences",
    "load_spec",
    "spec_to_yaml",
    "with_values",
]

MAX_CELLS = 100_000

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


class Objective(Frozen):
    """What a search looks for."""

    maximize: Literal["validation_accuracy"] = "validation_accuracy"


class SearchSpec(Frozen):
    """A search: what it may change, how it chooses, and how often."""

    seed: Seed = 0
    window: PositiveInt | None = None
    """Proposal n knows the results of 0 … n - window; where left out, chosen at the first run."""
    sampler: Literal["tpe", "random"] = "tpe"
    """Name in ``orchestrator.search.SAMPLERS``."""
    trials: PositiveInt
    objective: Objective = Objective()
    space: dict[ConfigPath, Parameter] = Field(min_length=1)
    """In the order in which values are chosen."""
    start: Annotated[tuple[dict[str, Annotated[Any, BeforeValidator(scalar_or_list)]], ...], Field(strict=False)] = ()
    """Points to try first; the parameters that one leaves out are chosen by the sampler."""

    @model_validator(mode="after")
    def _consistent(self) -> SearchSpec:
        problems: list[tuple[Place, str]] = [(("space", *at), words) for at, words in order_problems(self.space)]
        for index, point in enumerate(self.start):
            problems += [(("start", index, *at), words) for at, words in point_problems(self.space, point)]
        raise_at(problems)
        return self


def _train_factor(path: str) -> str:
    if path.startswith("evaluation."):
        raise ConfigError(f"{path} is how a training is tested; move it to grid.test")
    return known_path(path)


def _test_factor(path: str) -> str:
    known_path(path)
    if not path.startswith("evaluation."):
        raise ConfigError(f"{path} changes what is trained; move it to grid.train")
    return path


TrainFactor = Annotated[str, AfterValidator(_train_factor)]
TestFactor = Annotated[str, AfterValidator(_test_factor)]
Levels = Annotated[tuple[Any, ...], BeforeValidator(levels)]


def _seeds(value: Any) -> int | tuple[int, ...]:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_CELLS:
        return value
    if isinstance(value, list | tuple) and value:
        whole = all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 2**63 for one in value)
        if whole and len(set(value)) == len(value):
            return tuple(value)
    raise ConfigError(
        f"must be how many (1 to {MAX_CELLS:,}), or a list of different seeds of at least 0, got {shown(value)}"
    )


class GridSpec(Frozen):
    """An ablation: every combination of the levels of its factors, under every seed."""

    train: dict[TrainFactor, Levels] = Field({})
    """Config path -> levels, in the order of the table: the first factor changes slowest."""
    test: dict[TestFactor, Levels] = Field({})
    """The same for how each training is tested, ``evaluation.…``: more levels are no more trainings."""
    seeds: Annotated[int | tuple[int, ...], BeforeValidator(_seeds)] = 1
    """How many, from ``training.seed`` on, or the seeds themselves."""

    @property
    def seed_count(self) -> int:
        """How many seeds."""
        return self.seeds if isinstance(self.seeds, int) else len(self.seeds)

    @property
    def factors(self) -> dict[str, tuple[Any, ...]]:
        """Config path -> levels of all factors, those of training first."""
        return {**self.train, **self.test}

    @property
    def size(self) -> int:
        """How many cells."""
        return math.prod(len(factor) for factor in self.factors.values()) * self.seed_count

    def seeds_of(self, config: TrialConfig) -> tuple[int, ...]:
        """The seeds under which a config is trained."""
        if isinstance(self.seeds, int):
            return tuple(range(config.training.seed, config.training.seed + self.seeds))
        return self.seeds

    def combinations(self) -> list[dict[str, Any]]:
        """Every combination of levels, the first factor slowest."""
        space = {path: Parameter(choice=factor) for path, factor in self.factors.items()}
        return list(assignments(space, {}, self.factors))

    @model_validator(mode="after")
    def _consistent(self) -> GridSpec:
        if "training.seed" in self.train and self.seeds != 1:
            words = "stands beside grid.seeds, which sets it too; keep one of the two"
            raise_at([(("train", "training.seed"), words)])
        if self.size > MAX_CELLS:
            raise_at([((), f"has {self.size:,} cells, more than {MAX_CELLS:,}; leave out levels, factors or seeds")])
        return self


class Resources(Frozen):
    """What one trial takes, and how many run at once."""

    cpu: float = Field(1.0, gt=0, allow_inf_nan=False)
    gpu: float = Field(0.0, ge=0, allow_inf_nan=False)
    max_concurrent: PositiveInt | None = None

    @model_validator(mode="after")
    def _whole_devices(self) -> Resources:
        if self.gpu > 1 and self.gpu != int(self.gpu):
            raise ConfigError(f"gpu must be a part of one (like 0.5) or a whole number, got {self.gpu}")
        return self


class SweepSpec(Frozen):
    """A sweep: the base config of its trials, and a search or a grid around it (neither: one trial)."""

    name: Annotated[str, AfterValidator(_name)]
    question: str | None = None
    trial: TrialConfig = TrialConfig()
    search: SearchSpec | None = None
    grid: GridSpec | None = None
    resources: Resources = Resources()

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
        if self.grid:
            test = self.grid.test
            wrong = invalid(self.trial, self.grid.combinations(), "holds", "leave that out")
            raise_at(
                [(("test" if place and place[0] in test else "train", *place), words) for place, words in wrong], "grid"
            )
            highest = self.trial.training.seed + self.grid.seed_count
            if highest > 2**63:
                raise_at([(("trial", "training", "seed"), "leaves no room for grid.seeds below 2^63; lower it")])
        return self


def _single(point: Mapping[str, Any]) -> dict[str, tuple[Any]]:
    return {path: (value,) for path, value in point.items()}


def load_spec(path: str | Path, overrides: Sequence[str] = (), *, require_plan: bool = True) -> SweepSpec:
    """The sweep that a YAML file describes.

    Args:
        path: the file. ``name`` is its stem where the file gives none.
        overrides: ``path=value``, value as YAML; a path in the file (``search.trials``), or of a config
            (``training.iterations``, short for ``trial.training.iterations``).
        require_plan: refuse a file with neither search nor grid. Otherwise the file may also be a bare trial config.

    Raises:
        SpecError: one line ``FILE:LINE: place: what is wrong, got VALUE; way out`` for each problem found.
    """
    path = Path(path)
    document = read_yaml(path)
    if not require_plan:
        _wrap_bare_trial(document)
    complaints = [words for text in overrides for words in _override(document, text)]
    values = {"name": path.stem, **{key: value for key, value in document.value.items() if value is not None}}
    problems = list(document.problems)
    if require_plan and not {"search", "grid"} & values.keys():
        problems.append((("search",), "is missing; add search: or grid: to say what the sweep tries"))
    spec = None
    try:
        spec = SweepSpec.model_validate(values)
    except ValidationError as error:
        problems += plain_problems(SweepSpec, error, values, document.overridden)
        problems += _hidden_problems(values, document)
    if problems or complaints or spec is None:
        raise SpecError(*document.lines(problems), *complaints)
    return spec


def _hidden_problems(values: Mapping[str, Any], document: Document) -> list[tuple[Place, str]]:
    """What is wrong with the base config and what varies in it, by themselves: combinations are checked last, and one
    wrong value elsewhere would hide them until it is mended. What was found before comes again."""
    reduced = {"name": "reduced", "trial": values.get("trial", {})}
    for plan, varied, needed in (("search", ("space",), {"trials": 1}), ("grid", ("train", "test"), {})):
        section = values.get(plan)
        if isinstance(section, dict) and any(section.get(key) for key in varied):
            reduced[plan] = {**needed, **{key: section[key] for key in varied if section.get(key)}}
    try:
        SweepSpec.model_validate(reduced)
    except ValidationError as error:
        return plain_problems(SweepSpec, error, reduced, document.overridden)
    return []


def _wrap_bare_trial(document: Document) -> None:
    """Makes a file that is only a trial config into a sweep file with that ``trial:``."""
    keys = document.value.keys()
    if keys & TrialConfig.model_fields.keys() and not keys & (SweepSpec.model_fields.keys() - {"name"}):
        document.value = {"trial": document.value}
        document.origins = {("trial", *place): origin for place, origin in document.origins.items()}
        document.problems = [(("trial", *place), words) for place, words in document.problems]


def _override(document: Document, text: str) -> list[str]:
    """Applies one override; what is wrong with it."""
    path, equals, value = text.partition("=")
    path, label = path.strip(), f"--set {text}"
    if not equals or not path or not value.strip():
        return [f"{label}: must be path=value, like search.trials=5 (null for nothing)"]
    place = _override_place(path)
    if place is None:
        return [f"{label}: unknown path {path!r}; {nearest_path(path, tuple(SweepSpec.model_fields))}"]
    try:
        parsed = parse_yaml(value, label)
        if parsed.problems:
            return [f"{label}: {dotted(where)}: {words}" for where, words in parsed.problems]
        document.override(place, parsed.value, label)
    except SpecError as error:
        return [re.sub(rf"^{re.escape(label)}:\d+: ", f"{label}: ", problem) for problem in error.problems]
    return []


def _override_place(path: str) -> tuple[str, ...] | None:
    """Keys from the top of the file to what an override's path names; None where it names nothing."""
    parts = tuple(path.split("."))
    if len(parts) > MAX_DEPTH:
        return None
    if parts[0] not in SweepSpec.model_fields:
        return ("trial", *parts) if path in CONFIG_PATHS or path in TrialConfig.model_fields else None
    if parts[:2] in (("search", "space"), ("grid", "train"), ("grid", "test")):
        inner = ".".join(parts[2:])
        for known in CONFIG_PATHS:
            if inner == known or inner.startswith(f"{known}."):
                first, _, rest = inner[len(known) + 1 :].partition(".")
                return (*parts[:2], known, *(one for one in (first, rest) if one))
        return (*parts[:2], inner) if inner else parts[:2]
    return parts


def spec_to_yaml(spec: SweepSpec) -> str:
    """The whole spec as a sweep file, defaults written out; ``load_spec`` of it gives an equal spec."""
    return yaml_text(_plain(spec))


def _plain(spec: SweepSpec) -> dict[str, Any]:
    values: dict[str, Any] = {"name": spec.name, "question": spec.question}
    values["trial"] = spec.trial.model_dump(mode="json")
    if spec.search:
        values["search"] = spec.search.model_dump(mode="json", exclude={"space", "start"})
        values["search"]["space"] = {path: parameter.plain() for path, parameter in spec.search.space.items()}
        values["search"]["start"] = [
            {path: plain_value(value) for path, value in point.items()} for point in spec.search.start
        ]
    if spec.grid:
        train, test = (
            {path: plain_value(factor) for path, factor in factors.items()}
            for factors in (spec.grid.train, spec.grid.test)
        )
        values["grid"] = {"train": train, "test": test, "seeds": plain_value(spec.grid.seeds)}
    values["resources"] = spec.resources.model_dump(mode="json")
    return values


def differences(old: SweepSpec, new: SweepSpec) -> list[str]:
    """What a new spec changes in a stored one beyond growing it: one line ``place: old -> new`` each.

    Growing is: more or fewer trials, more seeds, more levels of a factor, other resources, another question; a window
    that the new spec leaves out stays the stored one.
    """
    seeds = tuple(spec.grid.seeds_of(spec.trial) if spec.grid else () for spec in (old, new))
    return changes(_plain(old), _plain(new), seeds[0], seeds[1])
