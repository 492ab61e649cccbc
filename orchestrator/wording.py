"""Turns what pydantic says of wrong values into our own short words, each at the exact place it is about."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from orchestrator.yaml_file import Place
from trainers.errors import ConfigError
from trainers.registry import nearest

TAG = "problem: "
"""Begins the tag of a member of a union, which is no key of a file."""
_KEY = "[key]"
"""Ends pydantic's place of a wrong key."""
_MOST = 1_000
"""Problems that are put into words: the nearest name is sought for each, and a user mends a few at a time."""
_PLAIN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*\Z")


class MisplacedError(ConfigError):
    """Several problems found by one validator, each at a place below the object that was validated."""

    def __init__(self, problems: Sequence[tuple[Place, str]]) -> None:
        super().__init__("; ".join(words for _, words in problems))
        self.problems = tuple(problems)


def shown(value: Any, limit: int = 80) -> str:
    """A value on one line as a sweep file would write it, cut to ``limit`` characters; text alone is quoted."""
    text = repr(value) if isinstance(value, str) else _flow(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return value if isinstance(value, str) and _PLAIN_TEXT.match(value) else repr(value)


_TYPES = {  # pydantic's type -> the noun after "must be"
    "bool_type": "true or false",
    "dict_type": "a mapping (lines of key: value)",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "model_attributes_type": "a mapping (lines of key: value)",
    "model_type": "a mapping (lines of key: value)",
    "string_type": "text",
    "tuple_type": "a list",
}
_RULES = {  # pydantic's type -> the rule, filled in with its context
    "finite_number": "must be a finite number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "too_short": "must hold at least {min_length}",
}


def plain_problems(
    model: type[BaseModel], error: ValidationError, raw: Any, overridden: Collection[Place] = ()
) -> list[tuple[Place, str]]:
    """Each problem once, of thousands the first, with the place of the value in ``raw`` that it is about.

    Args:
        model: what ``raw`` was validated as.
        error: what came of it.
        raw: the values that were validated.
        overridden: places to blame first, where a problem lies between several values.
    """
    found: dict[Place, dict[str, str]] = {}
    loose: set[Place] = set()
    for one in error.errors(include_url=False)[:_MOST]:
        loc = tuple(step for step in one["loc"] if not str(step).startswith(TAG))
        place = _place_in(raw, loc, missing=one["type"] == "missing")
        cause = one.get("ctx", {}).get("error")
        if isinstance(cause, MisplacedError):
            for inner, words in cause.problems:
                found.setdefault((*place, *inner), {})[words] = "rule"
            continue
        if len(place) < len(loc) and loc[-1] != _KEY:
            loose.add(place)
        if one["type"] == "value_error" and isinstance(_at(raw, place), Mapping):
            place, words = _narrowed(model, place, str(cause), raw, overridden)
        else:
            words = _words(model, place, one, raw)
        found.setdefault(place, {})[words] = "type" if one["type"] in _TYPES else "rule"
    return [
        (place, _merged(words, _at(raw, place)))
        for place, words in found.items()
        if place not in loose or not any(len(other) > len(place) and other[: len(place)] == place for other in found)
    ]


def _merged(words: Mapping[str, str], value: Any) -> str:
    """One line of all that is said of one value: broken rules before types that it might have had instead."""
    rules = [text for text, kind in words.items() if kind == "rule"]
    if rules:
        return "; ".join(rules)
    return f"must be {' or '.join(words)}, got {shown(value)}"


def _words(model: type[BaseModel], place: Place, one: Mapping[str, Any], raw: Any) -> str:
    kind, got = one["type"], one["input"]
    if kind in _TYPES:
        return _TYPES[kind]
    if kind == "missing":
        return f"is missing; add it below {place[-2]}:" if len(place) > 1 else "is missing; add it"
    if kind == "extra_forbidden":
        return f"unknown key {place[-1]!r}; {nearest(str(place[-1]), _keys_at(model, place[:-1], raw))}"
    if kind in _RULES:
        rule = _RULES[kind].format(**one.get("ctx", {}))
    elif kind == "value_error":
        rule = str(one["ctx"]["error"])
        if one["loc"][-1:] == (_KEY,):  # the key itself is wrong, and the rule names it
            return rule
    else:
        rule = f"is not valid ({kind.replace('_', ' ')})"
    named = "got " in rule or (isinstance(got, str) and shown(got) in rule)
    meant = _meant(got, one["ctx"]["expected"]) if kind == "literal_error" else ""
    return rule if named else f"{rule}, got {shown(got)}{meant}"


def _meant(got: Any, expected: str) -> str:
    """A question for the nearest of the names that are expected, if one is near."""
    close = difflib.get_close_matches(got, re.findall("'([^']*)'", expected), n=1) if isinstance(got, str) else []
    return f"; did you mean {close[0]!r}?" if close else ""


def _narrowed(
    model: type[BaseModel], place: Place, message: str, raw: Any, overridden: Collection[Place]
) -> tuple[Place, str]:
    """The value inside a mapping that a complaint about the whole of it is about, if it names one."""
    keys = _keys_at(model, place, raw)
    path, colon, rest = message.partition(": ")
    parts = tuple(path.split("."))
    if colon and parts[0] in keys:
        return (*place, *parts), rest
    inside = _at(raw, place)
    named = [
        (*place, key)
        for key in sorted(inside, key=str)
        if re.search(rf"\b{re.escape(str(key))}\b", message)
        or (isinstance(inside[key], str) and repr(inside[key]) in message)
    ]
    named.sort(key=lambda inner: (inner not in overridden, message.find(str(inner[-1]))))
    return (named[0] if named else place), message


def _place_in(raw: Any, loc: Sequence[int | str], missing: bool) -> Place:
    """``loc`` without the steps that are pydantic's own (members of a union, marks of keys)."""
    place: list[int | str] = []
    here = raw
    for step in loc:
        if (isinstance(here, Mapping) and step in here) or (isinstance(step, int) and _has_index(here, step)):
            place.append(step)
            here = here[step]
    if missing and isinstance(here, Mapping):
        place.append(loc[-1])
    return tuple(place)


def _has_index(value: Any, index: int) -> bool:
    return isinstance(value, list | tuple) and index < len(value)


def _at(raw: Any, place: Place) -> Any:
    for step in place:
        if not ((isinstance(raw, Mapping) and step in raw) or (isinstance(step, int) and _has_index(raw, step))):
            return None
        raw = raw[step]
    return raw


def _keys_at(model: type[BaseModel], place: Place, raw: Any) -> list[str]:
    """Keys that the mapping at a place may have; none where any key may stand."""
    kind: Any = model
    for depth, step in enumerate(place):
        kind = _bare(kind, _at(raw, place[:depth]))
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            known = {field.alias or name: field.annotation for name, field in kind.model_fields.items()}
            kind = known.get(str(step))
        else:
            arguments = typing.get_args(kind)
            kind = arguments[-1] if typing.get_origin(kind) is dict else arguments[0] if arguments else None
    kind = _bare(kind, _at(raw, place))
    if typing.get_origin(kind) is tuple:  # one may stand there by itself
        kind = _bare(typing.get_args(kind)[0])
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [field.alias or name for name, field in kind.model_fields.items()]
    return []


def _bare(kind: Any, value: Any = None) -> Any:
    """The type without ``Annotated`` and ``| None``; of several models the one that the value is meant as."""
    while typing.get_origin(kind) in (typing.Annotated, typing.Union, types.UnionType):
        if typing.get_origin(kind) is typing.Annotated:
            kind = typing.get_args(kind)[0]
            continue
        members = [one for one in typing.get_args(kind) if one is not type(None)]
        kind = next((one for one in members if _meant_as(_bare(one), value)), members[0])
    return kind


def _meant_as(model: Any, value: Any) -> bool:
    """Whether the words by which the members of a union differ are those of this model."""
    if not (isinstance(model, type) and issubclass(model, BaseModel) and isinstance(value, Mapping)):
        return False
    literals = {name: its for name, its in model.model_fields.items() if typing.get_origin(its.annotation) is Literal}
    return all(value.get(name, its.default) in typing.get_args(its.annotation) for name, its in literals.items())
