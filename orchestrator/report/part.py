"""What a part of a report is: a table or a figure, made from a study alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.results import Study


@dataclass(frozen=True)
class Table:
    """A table of text, ready to be written in any format."""

    name: str
    """Stem of its files."""
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """As people read them: ``46.3 ± 0.4``, per cent."""
    values: tuple[tuple[str | float | int | None, ...], ...]
    """The same rows for programs, under ``value_columns``: fractions, not rounded."""
    value_columns: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What stands below it: what ± means, where data differ, which numbers are unconfirmed."""


@dataclass(frozen=True)
class Figure:
    """A figure as files."""

    name: str
    """Stem of its files."""
    title: str
    caption: str
    """What it shows and what its bands are; also what a reader who can't see it gets."""
    svg: str
    png: bytes
    wide: bool = False
    """Of both columns of a paper, and of all of the page."""


Part = Callable[[Study], Sequence[Table | Figure]]
