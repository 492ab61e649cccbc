"""Published numbers and relations, from one data file: what results stand beside."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from orchestrator.config_paths import known_path
from orchestrator.space import scalar_or_list
from orchestrator.yaml_file import read_yaml
from trainers.config import Frozen
from trainers.errors import ConfigError
from trainers.registry import nearest

FILE = Path(__file__).with_name("published.yaml")

At = dict[Annotated[str, AfterValidator(known_path)], Annotated[Any, BeforeValidator(scalar_or_list)]]
"""Config path -> value: names the cells whose config, as asked, has these values."""


class PublishedCell(Frozen):
    """One number of a table: mean ± standard deviation over seeds, in per cent; a return as it is."""

    at: At
    mean: float
    std: float | None = None
    confirmed: bool = True
    """Whether the mean was read in the text; otherwise it is quoted from memory."""
    std_confirmed: bool = True


class PublishedPair(Frozen):
    """Scores of two cells, or of one under different seeds, compared with each other: as they are."""

    between: Annotated[tuple[At, At], Field(strict=False)]
    scores: dict[str, float]
    """By column of ``orchestrator.results.PairResult.scores``."""
    confirmed: bool = True

    def is_between(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether it is of these two configs, given by their leaves, in either order."""
        first, second = self.between
        return any(matches(first, a) and matches(second, b) for a, b in ((one, other), (other, one)))


Gain = Literal["training", "inference", "inference over training"]
"""Of what speed: the last is the gain in inference as a multiple of that in training."""


class PublishedSpeed(Frozen):
    """How many times as fast the cells at ``at`` are as those at ``over``."""

    at: At
    over: At
    training: float | None = Field(None, gt=0)
    """An iteration of it."""
    inference: float | None = Field(None, gt=0)
    confirmed: bool = True
    """Whether the numbers were read in the text; otherwise they are quoted from memory."""

    def gain(self, kind: Gain) -> float | None:
        """The gain of that kind; None where it is not published."""
        if kind != "inference over training":
            return self.training if kind == "training" else self.inference
        return self.inference / self.training if self.inference and self.training else None


class RelationClaim(Frozen):
    """A value, and the range that is claimed of it: one of four.

    The value is one of these

    * a difference of accuracies, ``of`` minus ``minus``, in points; of returns as it is;
    * one ``column`` of what was measured of a cell (those of ``orchestrator.results.CellResult.scores``), as it is;
    * one ``column`` of how alike two cells are, ``of`` and ``of_with`` (``orchestrator.results.PairResult.scores``),
      minus that of ``minus`` and ``minus_with`` where they are given.
    * a ``gain`` in speed of ``of`` over ``over``, as a ratio.
    """

    of: At
    of_with: At | None = None
    minus: At | None = None
    minus_with: At | None = None
    column: str | None = None
    over: At | None = None
    gain: Gain | None = None
    at_most: float | None = None
    at_least: float | None = None
    above: float | None = None
    within: float | None = None

    @model_validator(mode="after")
    def _one_range(self) -> RelationClaim:
        given = [name for name in ("at_most", "at_least", "above", "within") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ConfigError(f"must have exactly one of at_most, at_least, above, within, got {given}")
        return self

    @model_validator(mode="after")
    def _one_value(self) -> RelationClaim:
        given = [name for name in ("minus", "column", "over") if getattr(self, name) is not None]
        if self.of_with is None and (len(given) != 1 or self.minus_with is not None):
            raise ConfigError(f"must have exactly one of minus, column, over, got {given}")
        if self.of_with is not None and (self.column is None or (self.minus is None) != (self.minus_with is None)):
            raise ConfigError(f"of_with needs a column, and minus and minus_with both or neither, got {given}")
        return self

    @model_validator(mode="after")
    def _gain_over(self) -> RelationClaim:
        if (self.over is None) != (self.gain is None):
            raise ConfigError("over and gain stand together: a gain in speed is over other cells")
        bounds = self.at_most, self.at_least, self.above
        if self.gain and not any(bound is not None and bound > 0 for bound in bounds):
            raise ConfigError("a gain is a ratio: it is at_most, at_least or above a positive number")
        return self


class Relation(Frozen):
    """What a paper says of its numbers, as claims that can be judged on others."""

    text: str
    claims: tuple[RelationClaim, ...] = Field(min_length=1, strict=False)


class PublishedTable(Frozen):
    """A table of published numbers."""

    title: str
    source: str
    dataset: str | None = None
    """Name of the dataset that the numbers are about, as a sweep file names it; None where they are about several, or
    about none."""
    settings: At = Field({})
    """What else all the numbers share; results with other values are not like for like."""
    settings_unconfirmed: tuple[str, ...] = Field((), strict=False)
    """Paths of the settings that are quoted from memory."""
    cells: tuple[PublishedCell, ...] = Field((), strict=False)
    """None where only relations are published, or scores of pairs."""
    pairs: tuple[PublishedPair, ...] = Field((), strict=False)
    speed: tuple[PublishedSpeed, ...] = Field((), strict=False)
    relations: dict[str, Relation] = Field({})

    def cell(self, config: Mapping[str, Any]) -> PublishedCell | None:
        """The number for a config, given by its leaves; None where there is none."""
        return next((one for one in self.cells if matches(one.at, config)), None)

    def pair(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> PublishedPair | None:
        """The scores of two configs, given by their leaves, in either order; None where there are none."""
        return next((pair for pair in self.pairs if pair.is_between(one, other)), None)

    def speed_of(self, config: Mapping[str, Any], baseline: Mapping[str, Any]) -> PublishedSpeed | None:
        """The speed of one config over another, given by their leaves; None where there is none."""
        return next((one for one in self.speed if matches(one.at, config) and matches(one.over, baseline)), None)


class _File(Frozen):
    tables: dict[str, PublishedTable]


def matches(at: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether a config, given by its leaves, has these values."""
    return all(path in config and config[path] == value for path, value in at.items())


@cache
def published_tables() -> Mapping[str, PublishedTable]:
    """Every published table, by name."""
    return _File.model_validate(read_yaml(FILE).value).tables


def published_table(name: str) -> PublishedTable:
    """The table of that name.

    Raises:
        ConfigError: there is none; the nearest is named.
    """
    tables = published_tables()
    if name not in tables:
        raise ConfigError(f"unknown table {name!r} of published numbers; {nearest(name, tables)}")
    return tables[name]
