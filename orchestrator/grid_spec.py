"""GridSpec: what ``grid:`` of a sweep file says. Its factors, how they are combined, and what is compared with what."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from pydantic import Field, model_validator

from orchestrator.config_paths import leaves, plain_value
from orchestrator.factors import (
    MAX_CELLS,
    Exclusions,
    Factor,
    Groups,
    Names,
    Seeds,
    Settings,
    TestFactor,
    TrainFactor,
    Value,
)
from orchestrator.published import published_table
from orchestrator.space import Parameter, invalid, order_problems, raise_at, same
from orchestrator.wording import shown
from orchestrator.yaml_file import Place
from trainers.config import Between, Frozen
from trainers.errors import ConfigError
from trainers.problems import Config
from trainers.registry import nearest

MAX_CHECKED = 4_096
"""So many cells are each checked when a file is loaded; of more, those with a pair of levels not seen before ..."""
MAX_PAIRED = 8_192
"""... up to so many in all. The rest is checked when the grid is laid out."""


MAX_COMPARED = 50
"""Cells whose trainings are compared with each other; the work grows with their square."""

SETTING = "setting"
"""What the factor of ``settings`` is called among the levels of a cell."""


class Compare(Frozen):
    """What the cells of a grid are compared with."""

    baseline: dict[str, Value] = Field(min_length=1)
    """Factor -> level: a cell's baseline is the cell with these levels that is like it otherwise."""


class GridSpec(Frozen):
    """An ablation: every combination of the levels of its factors, under every seed."""

    settings: Settings = Field({})
    """Name -> config path -> value: a factor, before all others, whose levels are several values at once."""
    train: dict[TrainFactor, Factor] = Field({})
    """Config path -> levels, in the order of the table: the first factor changes slowest."""
    test: dict[TestFactor, Factor] = Field({})
    """The same for how each training is tested, ``evaluation.…``: more levels are no more trainings."""
    zip: Groups = ()
    """Groups of factors that move together: the n-th level of one goes with the n-th of the others."""
    exclude: Exclusions = ()
    """Combinations that are left out: each factor -> the levels of it; all factors of an entry must agree."""
    seeds: Seeds = 1
    """How many, from ``training.seed`` on, or the seeds themselves."""
    compare: Compare | None = None
    between: Between | None = None
    """Compare what trainings of different seeds have learned, of every cell and between every two; None does not."""
    published: Names = ()
    """Names of tables of published numbers, to stand beside these."""

    @property
    def seed_count(self) -> int:
        """How many seeds."""
        return self.seeds if isinstance(self.seeds, int) else len(self.seeds)

    @property
    def factors(self) -> dict[str, Parameter]:
        """Config path -> levels of all factors, those of training first."""
        return {**self.train, **self.test}

    @property
    def levels(self) -> dict[str, tuple[Any, ...]]:
        """Factor -> its levels, in the order of the table; the settings, if there are any, first."""
        named = {SETTING: tuple(self.settings)} if self.settings else {}
        return {**named, **{path: factor.domain for path, factor in self.factors.items()}}

    def values(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        """Config path -> value of a cell, given by its levels."""
        setting = self.settings[cell[SETTING]] if SETTING in cell else {}
        return {**setting, **{path: level for path, level in cell.items() if path != SETTING}}

    def seeds_of(self, config: Config) -> tuple[int, ...]:
        """The seeds under which a config is trained."""
        if isinstance(self.seeds, int):
            return tuple(range(config.training.seed, config.training.seed + self.seeds))
        return self.seeds

    @property
    def baseline(self) -> dict[str, Any]:
        """Levels of the baseline, with those of the factors that move along with them; empty where none is asked."""
        levels = dict(self.compare.baseline) if self.compare else {}
        for path, level in tuple(levels.items()):
            for other in self._moving_with(path):
                levels[other] = self.factors[other].domain[_index(self.factors[path].domain, level)]
        return levels

    @property
    def most(self) -> int:
        """How many cells there would be without conditions and exclusions."""
        followers = {path for group in self._ordered_groups() for path in group[1:]}
        return math.prod(len(levels) for path, levels in self.levels.items() if path not in followers)

    def combinations(self, base: Config) -> Iterator[dict[str, Any]]:
        """Every combination of levels that is a cell, the first factor slowest.

        Args:
            base: the config around which the factors vary.
        """
        common = leaves(base)
        factors = list(self.factors.items())
        leader = {path: group[0] for group in self._ordered_groups() for path in group[1:]}
        exclusions = [{path: frozenset(map(_key, wanted)) for path, wanted in one.items()} for one in self.exclude]

        def extend(index: int, chosen: dict[str, Any], fixed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
            if index == len(factors):
                if not any(_agrees(entry, chosen, fixed) for entry in exclusions):
                    yield chosen
                return
            path, factor = factors[index]
            if path in leader:
                first = leader[path]
                levels: Sequence[Any] = (factor.domain[_index(self.factors[first].domain, chosen[first])],)
            elif factor.active(chosen, fixed):
                levels = factor.domain
            else:
                yield from extend(index + 1, chosen, fixed)
                return
            for level in levels:
                yield from extend(index + 1, {**chosen, path: level}, fixed)

        if not self.settings:
            yield from extend(0, {}, common)
        for name, values in self.settings.items():
            yield from extend(0, {SETTING: name}, {**common, **values})

    def problems(self, base: Config) -> list[tuple[Place, str]]:
        """Cells that make no valid config, a grid without cells, a baseline that is none; places below ``grid``."""
        found = invalid(base, map(self.values, self._checked(base)), "holds", "leave that out")
        placed: list[tuple[Place, str]] = [(self._place(*place), words) for place, words in found]
        if self.between and next(islice(self.combinations(base), MAX_COMPARED, None), None) is not None:
            words = f"compares every two cells, and there are more than {MAX_COMPARED}; leave out levels or factors"
            placed.append((("between",), words))
        if next(self.combinations(base), None) is None:
            placed.append((("exclude",), "leaves no cell; take an entry out"))
        elif self.baseline and not any(_holds(self.baseline, cell) for cell in self.combinations(base)):
            asked = self.compare.baseline if self.compare else {}
            why = "is excluded or never acts" if _holds(asked, self.baseline) else "moves apart what grid.zip joins"
            words = f"{shown(asked)} {why}, so it names no cell; name another"
            placed.append((("compare", "baseline"), words))
        return placed

    def _checked(self, base: Config) -> Iterator[dict[str, Any]]:
        """Cells that stand for all: the first ones, then those with a pair of levels that none had before."""
        seen: set[tuple[tuple[str, Any], tuple[str, Any]]] = set()
        checked = 0
        for number, cell in enumerate(self.combinations(base)):
            if number >= MAX_CELLS or checked >= MAX_PAIRED:
                return
            items = list(cell.items())
            pairs = {(one, other) for index, one in enumerate(items) for other in items[index + 1 :]}
            if number < MAX_CHECKED or not pairs <= seen:
                checked += 1
                yield cell
            seen |= pairs

    def _place(self, *path: str | int) -> Place:
        """Below ``grid``, where a config path is set; () is what no path is to blame for."""
        named = [name for name, values in self.settings.items() if path and path[0] in values]
        part = "test" if path and path[0] in self.test else "train"
        return ("settings", named[0], *path) if named else (part, *path)

    def _ordered_groups(self) -> list[list[str]]:
        order = list(self.factors)
        return [sorted(group, key=order.index) for group in self.zip]

    def _moving_with(self, path: str) -> list[str]:
        return [other for group in self.zip if path in group for other in group if other != path]

    @model_validator(mode="after")
    def _consistent(self) -> GridSpec:
        problems: list[tuple[Place, str]] = []
        if "training.seed" in self.train and self.seeds != 1:
            words = "stands beside grid.seeds, which sets it too; keep one of the two"
            problems.append((("train", "training.seed"), words))
        if self.between and self.seed_count == 1 and "training.seed" not in self.train:
            problems.append((("between",), "compares trainings of different seeds; set grid.seeds to 2 or more"))
        if not self.levels and "seeds" not in self.model_fields_set:
            problems.append(((), "is empty; add factors (train:, test:, settings:) or seeds:"))
        for name, values in self.settings.items():
            for path in (
                path for path in values if path in self.factors or (path == "training.seed" and self.seeds != 1)
            ):
                problems.append(
                    (("settings", name, path), "is set by another part of the grid too; keep one of the two")
                )
        problems += self._condition_problems()
        problems += self._zip_problems()
        for index, entry in enumerate(self.exclude):
            problems += self._level_problems(("exclude", index), entry)
        if self.compare:
            named = {path: (level,) for path, level in self.compare.baseline.items()}
            problems += self._level_problems(("compare", "baseline"), named)
        for name in self.published:
            try:
                published_table(name)
            except ConfigError as error:
                problems.append((("published",), str(error)))
        raise_at(problems)
        return self

    def _condition_problems(self) -> list[tuple[Place, str]]:
        problems: list[tuple[Place, str]] = []
        for (path, *place), words in order_problems(self.factors):
            part = "train" if path in self.train else "test"
            if part == "train" and place[-1] in self.test:
                words = f"a training can't depend on how it is tested ({place[-1]}); move the condition"
            problems.append(((part, path, *place), words))
        return problems

    def _zip_problems(self) -> list[tuple[Place, str]]:
        problems: list[tuple[Place, str]] = []
        before: set[str] = set()
        for index, group in enumerate(self.zip):
            lengths: dict[str, int] = {}
            for path in group:
                if path not in self.factors:
                    problems.append(
                        (("zip", index), f"{path!r} is no factor of this grid; {nearest(path, self.factors)}")
                    )
                elif path in before:
                    problems.append((("zip", index), f"holds {path} twice; a factor moves once"))
                elif self.factors[path].when:
                    problems.append((("zip", index), f"{path} has a when; leave one of the two out"))
                else:
                    lengths[path] = len(self.factors[path].domain)
                before.add(path)
            if len(set(lengths.values())) > 1:
                counts = ", ".join(f"{path} has {count}" for path, count in lengths.items())
                problems.append((("zip", index), f"factors that move together need equally many levels: {counts}"))
        return problems

    def _level_problems(self, place: Place, named: Mapping[str, Sequence[Any]]) -> list[tuple[Place, str]]:
        problems: list[tuple[Place, str]] = []
        for path, wanted in named.items():
            if path not in self.levels:
                problems.append(((*place, path), f"{path!r} is no factor of this grid; {nearest(path, self.levels)}"))
                continue
            domain = self.levels[path]
            for level in wanted:
                if not any(same(level, one) for one in domain):
                    problems.append(((*place, path), f"{shown(level)} is no level of {path}; it has {shown(domain)}"))
        return problems

    def plain(self) -> dict[str, Any]:
        """As a sweep file says it."""
        values: dict[str, Any] = {"settings": plain_settings(self.settings)}
        values |= {
            part: {path: factor.plain() if factor.when else plain_value(factor.domain) for path, factor in its.items()}
            for part, its in (("train", self.train), ("test", self.test))
        }
        values["zip"] = plain_value(self.zip)
        values["exclude"] = [{path: plain_value(levels) for path, levels in entry.items()} for entry in self.exclude]
        values["seeds"] = plain_value(self.seeds)
        values["compare"] = (
            {"baseline": {k: plain_value(v) for k, v in self.compare.baseline.items()}} if self.compare else None
        )
        values["between"] = self.between.model_dump(mode="json") if self.between else None
        values["published"] = list(self.published)
        return values


def plain_settings(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """As a sweep file says them."""
    return {name: {path: plain_value(value) for path, value in values.items()} for name, values in settings.items()}


def _index(levels: Sequence[Any], level: Any) -> int:
    return next(index for index, one in enumerate(levels) if same(one, level))


def _key(level: Any) -> tuple[bool, Any]:
    """Equal where ``same`` says so."""
    return isinstance(level, bool), level


def _agrees(exclusion: Mapping[str, Collection[Any]], chosen: Mapping[str, Any], fixed: Mapping[str, Any]) -> bool:
    return all(_key(chosen[path] if path in chosen else fixed[path]) in wanted for path, wanted in exclusion.items())


def _holds(levels: Mapping[str, Any], cell: Mapping[str, Any]) -> bool:
    return all(path in cell and same(cell[path], level) for path, level in levels.items())
