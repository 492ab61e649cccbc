"""Reads a YAML file and remembers where each value stands, so that every later complaint can name its line.

Built on PyYAML's stream of events, not its objects: nothing recurses, nothing is constructed by tag, an alias costs
what it stands for. Numbers are YAML 1.2's: ``1e-4`` is one (PyYAML alone reads text), ``yes`` and ``010`` are text.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from orchestrator.errors import SpecError

MAX_BYTES = 1_000_000
MAX_NODES = 100_000
"""Values in a file, each alias counted as what it stands for."""
MAX_DEPTH = 40
MAX_TOLD = 100
"""Problems of a file that are told at once."""

Place = tuple[str | int, ...]
"""Keys and list indices from the top of the file to a value."""

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,39}|[1-9][0-9]{0,2}(?:_[0-9]{3}){1,12})\Z")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?\Z")
_WORDS: dict[str, bool | float | None] = {"": None, "~": None}
for _word, _value in {"null": None, "true": True, "false": False}.items():
    _WORDS.update(dict.fromkeys((_word, _word.capitalize(), _word.upper()), _value))
for _word in (".inf", ".Inf", ".INF"):
    _WORDS.update({_word: float("inf"), f"+{_word}": float("inf"), f"-{_word}": float("-inf")})
_WORDS.update(dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")))

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def resolved(text: str) -> Any:
    """What a plain (unquoted) YAML scalar means: None, a bool, an int, a float, or the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        return int(text.replace("_", ""))
    return float(text) if _FLOAT.match(text) else text


class _Dumper(yaml.SafeDumper):
    """Writes what ``resolved`` reads back as it was: text that looks like a number or a word is quoted."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, _pattern in (("int", _INT), ("float", _FLOAT)):
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list("-+.0123456789"))


def yaml_text(value: Any) -> str:
    """YAML of plain finite values (dict, list, str, int, float, bool, None) that ``read_yaml`` reads back equal."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


@dataclass
class Document:
    """The values of a file, where each came from, and what is wrong with it so far."""

    source: str
    value: Any
    origins: dict[Place, int | str]
    """Line of a value (of its key), or the ``--set`` text that put it there."""
    problems: list[tuple[Place, str]] = field(default_factory=list)

    def origin(self, place: Place) -> int | str:
        """Line or ``--set`` text of a value; of the nearest value around it where it is absent itself."""
        for length in range(len(place), 0, -1):
            if place[:length] in self.origins:
                return self.origins[place[:length]]
        return self.origins.get((), 1)

    @property
    def overridden(self) -> frozenset[Place]:
        """Places that ``--set`` has put in."""
        return frozenset(place for place, origin in self.origins.items() if isinstance(origin, str))

    def override(self, place: Place, value: Any, label: str) -> None:
        """Sets a value; mappings on the way are made where absent.

        Raises:
            SpecError: something on the way is not a mapping.
        """
        target = self.value
        for depth, key in enumerate(place[:-1], start=1):
            if target.get(key) is None:
                target[key] = {}
            target = target[key]
            if not isinstance(target, dict):
                raise SpecError(f"{label}: {dotted(place[:depth])} is not a mapping, so nothing can be set inside it")
        target[place[-1]] = value
        for inner in [known for known in self.origins if known[: len(place)] == place]:
            del self.origins[inner]
        self.origins[place] = label

    def lines(self, problems: Sequence[tuple[Place, str]]) -> list[str]:
        """``FILE:LINE: dotted.place: what is wrong`` of each, in the order of the file, overrides last; of very many,
        the first."""
        rows = []
        for place, words in problems:
            origin = self.origin(place)
            where = f"{self.source}:{origin}" if isinstance(origin, int) else origin
            text = f"{where}: {dotted(place)}: {words}" if place else f"{where}: {words}"
            rows.append((isinstance(origin, str), origin if isinstance(origin, int) else 0, text))
        rows.sort(key=lambda row: row[:2])
        lines = list(dict.fromkeys(text for _, _, text in rows))
        more = [f"{self.source}: {len(lines) - MAX_TOLD:,} problems more; mend these first"]
        return lines if len(lines) <= MAX_TOLD else lines[:MAX_TOLD] + more


def dotted(place: Place) -> str:
    """``search.start[0].algorithm.inner_lr``: a place as the user would write it."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


@dataclass
class _Collection:
    """A mapping or list that is being read."""

    value: dict[str, Any] | list[Any]
    place: Place
    line: int
    anchor: str | None
    key: str | None = None
    repeated: bool = False
    """The value to come belongs to a key that was there before."""
    size: int = 1
    height: int = 1


class _Builder:
    """Turns the events of one YAML text into values and their lines."""

    def __init__(self, source: str) -> None:
        self.document = Document(source, None, {})
        self.open: list[_Collection] = []
        self.anchors: dict[str, tuple[Any, int, int]] = {}
        self.documents = 0

    def fail(self, line: int, words: str) -> SpecError:
        return SpecError(f"{self.document.source}:{line}: {words}")

    def next_place(self) -> Place:
        if not self.open:
            return ()
        top = self.open[-1]
        return (*top.place, top.key or "?") if isinstance(top.value, dict) else (*top.place, len(top.value))

    def feed(self, event: yaml.Event) -> None:
        line = _line(event)
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise self.fail(line, "more than one YAML document; keep one, and remove the line ---")
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self.check_tag(event, line)
            if len(self.open) >= MAX_DEPTH:
                raise self.fail(line, f"nested more than {MAX_DEPTH} levels deep; a sweep file needs fewer than ten")
            if self.awaits_key():
                raise self.fail(line, "a key must be plain text, got a list or mapping")
            value: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
            self.open.append(_Collection(value, self.next_place(), line, event.anchor))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            done = self.open.pop()
            self.place(done.value, done.line, done.anchor, done.size, done.height)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise self.fail(line, f"alias *{event.anchor} stands before or inside what it names; write the value")
            value, size, height = self.anchors[event.anchor]
            if sum(one.size for one in self.open) + size > MAX_NODES or len(self.open) + height > MAX_DEPTH:
                raise self.fail(line, f"alias *{event.anchor} makes the file too large; write fewer values")
            self.place(copy.deepcopy(value), line, None, size, height)
        elif isinstance(event, yaml.ScalarEvent):
            self.check_tag(event, line)
            self.place(self.scalar(event), line, event.anchor, 1, 0)

    def check_tag(self, event: Any, line: int) -> None:
        if event.tag is not None:
            raise self.fail(line, f"tags like {event.tag!r} are not read; remove it")

    def awaits_key(self) -> bool:
        return bool(self.open) and isinstance(self.open[-1].value, dict) and self.open[-1].key is None

    def scalar(self, event: yaml.ScalarEvent) -> Any:
        text: str = event.value
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise self.fail(_line(event), "text with half a character (a lone surrogate); remove it")
        return text if event.style or self.awaits_key() else resolved(text)

    def place(self, value: Any, line: int, anchor: str | None, size: int, height: int) -> None:
        """Puts a finished value where it belongs."""
        if anchor:
            self.anchors[anchor] = (value, size, height)
        if not self.open:
            self.document.value = value
            self.document.origins.setdefault((), line)
            return
        top = self.open[-1]
        top.size += size
        top.height = max(top.height, height + 1)
        if top.size > MAX_NODES:
            raise self.fail(line, f"more than {MAX_NODES:,} values; a sweep file needs fewer")
        if isinstance(top.value, list):
            self.document.origins.setdefault((*top.place, len(top.value)), line)
            top.value.append(value)
        elif top.key is None:
            self.begin_item(top, value, line)
        else:
            if not top.repeated:
                top.value[top.key] = value
            top.key = None

    def begin_item(self, top: _Collection, key: Any, line: int) -> None:
        if not isinstance(key, str):
            raise self.fail(line, "a key must be plain text, got a list or mapping")
        place = (*top.place, key)
        top.key = key
        top.repeated = key in top.value
        if top.repeated:
            first = self.document.origins[place]
            self.document.problems.append((place, f"stands twice, on lines {first} and {line}; keep one of them"))
        else:
            self.document.origins[place] = line


def parse_yaml(text: str, source: str) -> Document:
    """The values of a YAML text, with their lines; ``value`` is None where it holds none.

    Raises:
        SpecError: the text can't be read as one YAML document of plain values; one line ``SOURCE:LINE: why``.
    """
    builder = _Builder(source)
    if bad := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, bad.start()) + 1
        raise builder.fail(line, f"character {bad.group()!r} is not allowed in YAML; remove it")
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            builder.feed(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        why = "; ".join(part for part in (error.context, error.problem) if part)
        raise builder.fail(mark.line + 1 if mark else 1, f"not valid YAML: {why}") from None
    return builder.document


def read_yaml(path: Path) -> Document:
    """A YAML file whose top is a mapping.

    Raises:
        SpecError: absent, a folder, unreadable, too large, not UTF-8, empty, not YAML or not a mapping: one line.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise SpecError(f"{path}: is a folder; name a YAML file in it") from None
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: can't be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MAX_BYTES:
        raise SpecError(f"{path}: larger than {MAX_BYTES:,} bytes; a sweep file is a few kilobytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SpecError(f"{path}:{line}: not UTF-8 text (byte {data[error.start]:#04x}); save it as UTF-8") from None
    document = parse_yaml(text, str(path))
    if document.value is None:
        raise SpecError(f"{path}: is empty; a sweep file says trial: and search: or grid:")
    if not isinstance(document.value, dict):
        raise SpecError(f"{path}:{document.origin(())}: must be a mapping (lines of key: value) at the top")
    return document
