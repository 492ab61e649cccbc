"""The space of a search: its parameters, when each is active, and whether it can propose an invalid config."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from orchestrator.config_paths import frozen_value, known_path, leaves, plain_value, with_values
from orchestrator.errors import SpecError
from orchestrator.wording import MisplacedError, shown
from orchestrator.yaml_file import Place
from trainers.config import Frozen
from trainers.errors import ConfigError
from trainers.problems import Config
from trainers.registry import nearest

MAX_CHECKED = 4_096
"""Up to so many combinations all are checked; beyond that every pair of parameters."""
MAX_PAIRED = 100_000
MAX_CHOICES = 1_000
MAX_INT = 2**53
"""Whole numbers beyond it are not exact in a searcher's floats."""

KINDS = ("choice", "int", "uniform", "loguniform")


def levels(value: Any) -> tuple[Any, ...]:
    """A list of values, each a scalar or a list of scalars, none twice.

    Raises:
        ConfigError: it is not that.
    """
    if not isinstance(value, list | tuple) or not value:
        raise ConfigError(f"must be a list of at least one value, got {shown(value)}")
    if len(value) > MAX_CHOICES:
        raise ConfigError(f"must have at most {MAX_CHOICES:,} values, got {len(value):,}")
    frozen = tuple(scalar_or_list(one) for one in value)
    for index, one in enumerate(frozen):
        if any(same(one, other) for other in frozen[:index]):
            raise ConfigError(f"holds {shown(one)} twice, got {shown(value)}; keep one of them")
    return frozen


def scalar_or_list(value: Any) -> Any:
    """The value with lists as tuples.

    Raises:
        ConfigError: it is a mapping or a list of lists: no config value is.
    """
    flat = value if isinstance(value, list | tuple) else [value]
    if not all(one is None or isinstance(one, bool | int | float | str) for one in flat):
        raise ConfigError(f"must be a number, text, true, false, null or a list of these, got {shown(value)}")
    return frozen_value(value)


def same(one: Any, other: Any) -> bool:
    """Equal as values of a config: 1 is 1.0 but not true."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _range(value: Any, whole: bool = False) -> tuple[Any, Any]:
    noun = "whole numbers" if whole else "numbers"
    kinds = int if whole else int | float
    if not (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(end, kinds) and not isinstance(end, bool) for end in value)
    ):
        raise ConfigError(f"must be two {noun} [low, high], got {shown(value)}")
    low, high = value if whole else map(float, value)
    if whole and max(abs(low), abs(high)) > MAX_INT:
        raise ConfigError(f"must lie within ±2^53, got {shown(value)}; use choice")
    if not math.isfinite(high - low):
        raise ConfigError(f"must be finite, got {shown(value)}")
    if low > high:
        raise ConfigError(f"low must be at most high, got {shown(value)}; swap them")
    return (low, high)


def _log_range(value: Any) -> tuple[float, float]:
    low, high = _range(value)
    if low <= 0:
        raise ConfigError(f"low must be greater than 0, got {shown(value)}; use uniform, or a small low like 1e-6")
    return (low, high)


def _whole_range(value: Any) -> tuple[int, int]:
    return _range(value, whole=True)


def _conditions(value: Any) -> dict[str, tuple[Any, ...]]:
    if not isinstance(value, Mapping) or not value:
        raise ConfigError(f"must be a mapping {{path: value}} or {{path: [values]}}, got {shown(value)}")
    for path in value:
        known_path(str(path))
    return {path: levels(wanted if isinstance(wanted, list | tuple) else [wanted]) for path, wanted in value.items()}


class Parameter(Frozen):
    """One parameter of a space: exactly one of four kinds, and when it is active."""

    choice: Annotated[tuple[Any, ...], BeforeValidator(levels)] | None = None
    integer: Annotated[tuple[int, int], BeforeValidator(_whole_range)] | None = Field(None, alias="int")
    """[low, high], both included."""
    uniform: Annotated[tuple[float, float], BeforeValidator(_range)] | None = None
    loguniform: Annotated[tuple[float, float], BeforeValidator(_log_range)] | None = None
    when: Annotated[dict[str, tuple[Any, ...]], BeforeValidator(_conditions)] | None = None
    """Config path -> the values of it under which this parameter acts; all paths must agree."""

    @model_validator(mode="after")
    def _one_kind(self) -> Parameter:
        given = [kind for kind, domain in self._domains().items() if domain is not None]
        if len(given) != 1:
            got = " and ".join(given) or "none of them"
            raise_at([((), f"must have exactly one of {', '.join(KINDS)}, got {got}")])
        return self

    def _domains(self) -> dict[str, tuple[Any, ...] | None]:
        return dict(zip(KINDS, (self.choice, self.integer, self.uniform, self.loguniform), strict=True))

    @property
    def kind(self) -> str:
        """One of ``KINDS``."""
        return next(kind for kind, domain in self._domains().items() if domain is not None)

    @property
    def domain(self) -> tuple[Any, ...]:
        """The choices, or (low, high)."""
        return self._domains()[self.kind] or ()

    @property
    def corners(self) -> tuple[Any, ...]:
        """Values that stand for all in the check of a space: every choice; the ends of a range.

        With whole numbers also the one after the low end: where only every hundredth is valid, both ends may be.
        """
        if self.kind == "choice":
            return self.domain
        low, high = self.domain
        return tuple(dict.fromkeys((low, low + 1, high) if self.kind == "int" and low < high else (low, high)))

    def contains(self, value: Any) -> bool:
        """Whether the parameter can have this value."""
        if self.kind == "choice":
            return any(same(value, one) for one in self.domain)
        if isinstance(value, bool) or not isinstance(value, int if self.kind == "int" else int | float):
            return False
        low, high = self.domain
        return bool(low <= value <= high)

    def active(self, values: Mapping[str, Any], fixed: Mapping[str, Any]) -> bool:
        """Whether it acts, given the parameters before it (``values``) and the base config (``fixed``, by path)."""
        return all(
            any(same(values[path] if path in values else fixed[path], one) for one in wanted)
            for path, wanted in (self.when or {}).items()
        )

    def plain(self) -> dict[str, Any]:
        """As a sweep file says it."""
        text: dict[str, Any] = {self.kind: plain_value(self.domain)}
        if self.when:
            text["when"] = {
                path: plain_value(wanted[0] if len(wanted) == 1 and not isinstance(wanted[0], tuple) else wanted)
                for path, wanted in self.when.items()
            }
        return text


Space = Mapping[str, Parameter]


def order_problems(space: Space) -> list[tuple[Place, str]]:
    """Conditions that name a later parameter, or values that an earlier one never has; places inside the space."""
    problems: list[tuple[Place, str]] = []
    seen: set[str] = set()
    for path, parameter in space.items():
        for condition, wanted in (parameter.when or {}).items():
            place = (path, "when", condition)
            if condition in space and condition not in seen:
                problems.append((place, f"{condition} must stand earlier in the space; move it above {path}"))
            elif condition in space:
                for value in wanted:
                    if not space[condition].contains(value):
                        problems.append((place, f"{_never(condition, space[condition], value)}"))
        seen.add(path)
    return problems


def _never(path: str, parameter: Parameter, value: Any) -> str:
    known = [one for one in parameter.domain if isinstance(one, str)]
    way_out = nearest(value, known) if known and isinstance(value, str) else f"it is {_flow_domain(parameter)}"
    return f"{path} never is {shown(value)}; {way_out}"


def _flow_domain(parameter: Parameter) -> str:
    return shown({parameter.kind: parameter.domain})


def point_problems(space: Space, point: Mapping[str, Any]) -> list[tuple[Place, str]]:
    """What is wrong with a point to try first: paths, values outside their domains, parameters it makes inactive."""
    problems: list[tuple[Place, str]] = []
    for path, value in point.items():
        if path not in space:
            problems.append(((path,), f"unknown parameter {path!r} of the space; {nearest(path, space)}"))
        elif not space[path].contains(value):
            problems.append(((path,), f"must lie in {_flow_domain(space[path])}, got {shown(value)}"))
        else:
            for condition, wanted in (space[path].when or {}).items():
                if condition in point and not any(same(point[condition], one) for one in wanted):
                    words = f"does not act where {condition} is {shown(point[condition])}; leave it out of this point"
                    problems.append(((path,), words))
    return problems


def assignments(
    space: Space, fixed: Mapping[str, Any], values_of: Mapping[str, Sequence[Any]]
) -> Iterator[dict[str, Any]]:
    """Every combination of the given values of those parameters that are active in it, in the order of the space."""
    paths = list(space)

    def extend(index: int, chosen: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if index == len(paths):
            yield chosen
        elif not space[paths[index]].active(chosen, fixed):
            yield from extend(index + 1, chosen)
        else:
            for value in values_of[paths[index]]:
                yield from extend(index + 1, {**chosen, paths[index]: value})

    return extend(0, {})


def _paired(space: Space, fixed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Combinations in which every pair of parameters takes all its corners, the others their first where possible."""
    ancestors: dict[str, set[str]] = {}
    for path, parameter in space.items():
        near = {condition for condition in parameter.when or {} if condition in space}
        ancestors[path] = near.union(*(ancestors[one] for one in near))
    every = candidates(space)
    for one, other in itertools.combinations(space, 2):
        varied = {one, other} | ancestors[one] | ancestors[other]
        chosen = {path: values[: None if path in varied else 1] for path, values in every.items()}
        yield from assignments(space, fixed, chosen)


def candidates(space: Space) -> dict[str, tuple[Any, ...]]:
    """For each parameter the values that stand for all: its corners, and what conditions of others ask of it."""
    found = {path: list(parameter.corners) for path, parameter in space.items()}
    for parameter in space.values():
        for path, wanted in (parameter.when or {}).items():
            for value in wanted if path in space else ():
                if space[path].contains(value) and not any(same(value, one) for one in found[path]):
                    found[path].append(value)
    return {path: tuple(values) for path, values in found.items()}


def space_problems(space: Space, base: Config) -> list[tuple[Place, str]]:
    """Invalid configs that the space can propose, at most one for each parameter to blame; places inside the space."""
    fixed = leaves(base)
    combinations = list(itertools.islice(assignments(space, fixed, candidates(space)), MAX_CHECKED + 1))
    if not any(combinations):
        return [((), "no parameter is ever active; change a when, or the value it asks for in trial:")]
    if len(combinations) > MAX_CHECKED:
        combinations = list(itertools.islice(_paired(space, fixed), MAX_PAIRED + 1))
        if len(combinations) > MAX_PAIRED:
            return [((), f"more than {MAX_PAIRED:,} pairs of choices to check; use ranges or fewer choices")]
    return [
        *_condition_problems(space, base),
        *invalid(base, combinations, "can propose", "narrow it, use choice, or add a when"),
    ]


def _condition_problems(space: Space, base: Config) -> list[tuple[Place, str]]:
    """Conditions on the base config that ask for a value which no config has."""
    problems: list[tuple[Place, str]] = []
    for path, parameter in space.items():
        for condition, wanted in (parameter.when or {}).items():
            for value in wanted if condition not in space else ():
                try:
                    with_values(base, {condition: value})
                except SpecError as error:
                    problems.append(((path, "when", condition), error.problems[0].removeprefix(f"{condition}: ")))
    return problems


def invalid(
    base: Config, combinations: Iterable[Mapping[str, Any]], verb: str, way_out: str
) -> list[tuple[Place, str]]:
    """The combinations that make no valid config, at most one for each path to blame, with the reason.

    The place is that path, or () where the reason names none of the combination.
    """
    found: dict[Place, str] = {}
    for values in combinations:
        try:
            with_values(base, values)
        except SpecError as error:
            for reason in error.problems:
                path, _, words = reason.partition(": ")
                path = path.partition("[")[0]
                place = (path,) if path in values else ()
                if place not in found:
                    words = words if place else reason
                    found[place] = f"{verb} {shown(_shortest(base, values, reason), 200)}: {words}; {way_out}"
    return list(found.items())


def _shortest(base: Config, values: Mapping[str, Any], reason: str) -> Mapping[str, Any]:
    """The values without those that have no part in the reason."""
    for path in list(values):
        fewer = {other: value for other, value in values.items() if other != path}
        try:
            with_values(base, fewer)
        except SpecError as error:
            if reason in error.problems:
                values = fewer
    return values


def raise_at(problems: Sequence[tuple[Place, str]], *prefix: str | int) -> None:
    """Raises what was found, each place below ``prefix``.

    Raises:
        MisplacedError: there are problems.
    """
    if problems:
        raise MisplacedError([((*prefix, *place), words) for place, words in problems])
