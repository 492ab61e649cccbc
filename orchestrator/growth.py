"""What a stored sweep may become without ceasing to be the same sweep."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from orchestrator.wording import shown

_LIMIT = 300
_ABSENT = object()


def changes(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    old_seeds: Collection[int],
    new_seeds: Collection[int],
    cells_stay: bool,
) -> list[str]:
    """Lines ``place: old -> new`` for every change between two specs as plain values that is not growth.

    Args:
        old: the stored spec, as its file would say it.
        new: the spec that was asked for now.
        old_seeds: the seeds of the stored grid, counted out.
        new_seeds: those of the new one.
        cells_stay: whether what the new grid excludes leaves every cell of the stored one.
    """
    lines = _between("trial", _leaves(old["trial"]), _leaves(new["trial"]))
    plans = [next((key for key in ("search", "grid") if key in spec), "one trial") for spec in (old, new)]
    if plans[0] != plans[1]:
        return [*lines, f"{plans[0]} -> {plans[1]}"]
    if plans[0] == "search":
        lines += _search(old["search"], new["search"])
    if plans[0] == "grid":
        both = [spec["grid"].get("settings", {}) for spec in (old, new)]
        lines += _between("grid.settings", both[0], {name: both[1][name] for name in both[0] if name in both[1]})
        if both[1] and not both[0]:
            lines.append(_line("grid.settings", _ABSENT, list(both[1])))
        for part in ("train", "test"):
            lines += _grid(part, _factors(old["grid"][part]), _factors(new["grid"][part]))
            lines += _between(f"grid.{part}", _whens(old["grid"][part]), _whens(new["grid"][part]))
        if old["grid"]["zip"] != new["grid"]["zip"]:
            lines.append(_line("grid.zip", old["grid"]["zip"], new["grid"]["zip"]))
        if not cells_stay and not lines:  # a missing level is named above
            lines.append(_line("grid.exclude", old["grid"]["exclude"], new["grid"]["exclude"]))
        if not set(old_seeds) <= set(new_seeds) and "trial.training.seed" not in " ".join(lines):
            lines.append(_line("grid.seeds", old["grid"]["seeds"], new["grid"]["seeds"]))
    return lines


def _search(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    compared = ["seed", "sampler", "objective", "start", "early_stopping"]
    if new["window"] is not None:
        compared.insert(1, "window")
    lines = [_line(f"search.{key}", old[key], new[key]) for key in compared if old[key] != new[key]]
    lines += _between("search.space", old["space"], new["space"])
    orders = [list(spec["space"]) for spec in (old, new)]
    if orders[0] != orders[1] and set(orders[0]) == set(orders[1]):  # values are chosen in this order
        lines.append(_line("search.space", orders[0], orders[1]))
    return lines


def _factors(part: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {path: factor["choice"] if isinstance(factor, dict) else factor for path, factor in part.items()}


def _whens(part: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{path}.when": factor["when"] for path, factor in part.items() if isinstance(factor, dict)}


def _grid(part: str, old: Mapping[str, list[Any]], new: Mapping[str, list[Any]]) -> list[str]:
    shrunk = {path: factor for path, factor in old.items() if not all(one in new.get(path, []) for one in factor)}
    added = {path: factor for path, factor in new.items() if path not in old}
    return _between(f"grid.{part}", shrunk, {path: new[path] for path in (*shrunk, *added) if path in new})


def _between(place: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    keys = [*old, *(key for key in new if key not in old)]
    pairs = [(key, old.get(key, _ABSENT), new.get(key, _ABSENT)) for key in keys]
    return [_line(f"{place}.{key}", before, after) for key, before, after in pairs if before != after]


def _leaves(trial: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for section, value in trial.items():
        inner = value.items() if isinstance(value, dict) else ()
        found.update({f"{section}.{key}": leaf for key, leaf in inner} if inner else {section: value})
    return found


def _line(place: str, old: Any, new: Any) -> str:
    texts = ["absent" if value is _ABSENT else shown(value, _LIMIT) for value in (old, new)]
    return f"{place}: {texts[0]} -> {texts[1]}"
