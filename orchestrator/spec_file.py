"""From a YAML file, and what the command line changes of it, to a SweepSpec; every mistake at once, with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator.config_paths import CONFIG_PATHS, SECTIONS, nearest_path
from orchestrator.errors import SpecError
from orchestrator.spec import SweepSpec, plain_spec
from orchestrator.wording import plain_problems, shown
from orchestrator.yaml_file import MAX_DEPTH, Document, Place, dotted, parse_yaml, read_yaml, yaml_text
from trainers.registry import nearest

_PATH_KEYED: dict[tuple[str, ...], int] = {
    ("search", "space"): 2,
    ("grid", "train"): 2,
    ("grid", "test"): 2,
    ("grid", "settings"): 3,
    ("grid", "compare"): 3,
}
"""Parts of a file whose keys are config paths, and how many steps from the top of the file these keys are."""


def load_spec(
    path: str | Path, overrides: Sequence[str] = (), *, scale: str | None = None, require_plan: bool = True
) -> SweepSpec:
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
    problems = [*document.problems, *_take_scales(document, path.stem, scale)]
    complaints = [words for text in overrides for words in _override(document, text)]
    values = {"name": path.stem, **{key: value for key, value in document.value.items() if value is not None}}
    if require_plan and not {"search", "grid"} & values.keys():
        problems.append((("search",), "is missing; add search: or grid: to say what the sweep tries"))
    spec = None
    try:
        spec = SweepSpec.model_validate(values)
    except ValidationError as error:
        problems += plain_problems(SweepSpec, error, values, document.overridden)
        problems += _hidden_problems(values, document)
    if problems or complaints or spec is None:
        raise SpecError(*document.lines(problems), *dict.fromkeys(complaints))
    return spec


def _take_scales(document: Document, stem: str, scale: str | None) -> list[tuple[Place, str]]:
    """Takes ``scales:`` out of the file, and puts the values of the chosen one in their places.

    Raises:
        SpecError: the file has no scale of that name.
    """
    scales = document.value.pop("scales", None) or {}
    if not isinstance(scales, dict):
        return [(("scales",), f"must be a mapping {{name: {{path: value}}}}, got {shown(scales)}")]
    problems: list[tuple[Place, str]] = []
    places: dict[Place, Place] = {}
    for name, values in scales.items():
        if not isinstance(values, dict):
            problems.append((("scales", name), f"must be a mapping {{path: value}}, got {shown(values)}"))
            continue
        for path in values:
            place = _override_place(str(path))
            if place is None or place == ("name",):
                problems.append((("scales", name, path), f"unknown path {path!r}; {_nearest_place(str(path))}"))
            else:
                places["scales", name, path] = place
    if scale is None or problems:
        return problems
    if scale not in scales:
        way_out = nearest(scale, scales) if scales else "the file has no scales:"
        raise SpecError(f"--scale {scale}: {document.source} has no scale {scale!r}; {way_out}")
    for path, value in scales[scale].items():
        at = ("scales", scale, path)
        document.override(places[at], value, f"{document.source}:{document.origin(at)}")
    document.value["name"] = f"{document.value.get('name') or stem}-{scale}"
    return []


def _hidden_problems(values: Mapping[str, Any], document: Document) -> list[tuple[Place, str]]:
    """What is wrong with the base config and what varies in it, by themselves: combinations are checked last, and one
    wrong value elsewhere would hide them until it is mended. What was found before comes again."""
    reduced = {"name": "reduced", "trial": values.get("trial", {}), "resources": {"max_concurrent": 1}}
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
    if keys & SECTIONS and not keys & (SweepSpec.model_fields.keys() - {"name"}):
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
        return [f"{label}: unknown path {path!r}; {_nearest_place(path)}"]
    try:
        parsed = parse_yaml(value, label)
        if parsed.problems:
            return [f"{label}: {dotted(where)}: {words}" for where, words in parsed.problems]
        document.override(place, parsed.value, label)
    except SpecError as error:
        return [re.sub(rf"^{re.escape(label)}:\d+: ", f"{label}: ", problem) for problem in error.problems]
    return []


def _nearest_place(path: str) -> str:
    return nearest_path(path, tuple(SweepSpec.model_fields))


def _override_place(path: str) -> tuple[str, ...] | None:
    """Keys from the top of the file to what an override's path names; None where it names nothing."""
    parts = tuple(path.split("."))
    if len(parts) > MAX_DEPTH:
        return None
    if parts[0] not in SweepSpec.model_fields:
        return ("trial", *parts) if path in CONFIG_PATHS or path in SECTIONS else None
    keys = _PATH_KEYED.get(parts[:2])
    if keys is not None and len(parts) > keys:
        inner = ".".join(parts[keys:])
        for known in CONFIG_PATHS:
            if inner == known or inner.startswith(f"{known}."):
                first, _, rest = inner[len(known) + 1 :].partition(".")
                return (*parts[:keys], known, *(one for one in (first, rest) if one))
        return (*parts[:keys], inner)
    return parts


def spec_to_yaml(spec: SweepSpec) -> str:
    """The whole spec as a sweep file, defaults written out; ``load_spec`` of it gives an equal spec."""
    return yaml_text(plain_spec(spec))
