"""Looks up members of a family that are held as ``"module:name"`` strings, so that a list of them costs no import."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from typing import Any

from trainers.errors import ConfigError


def nearest(name: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` where some known name is close, otherwise the known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"


def lookup(family: str, table: Mapping[str, str], name: str) -> Any:
    """The object that ``table[name]`` points at.

    Raises:
        ConfigError: the family has no such member; the nearest one is named.
    """
    if name not in table:
        raise ConfigError(f"unknown {family} {name!r}; {nearest(name, table)}")
    return _loaded(table[name])


@cache
def _loaded(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)
