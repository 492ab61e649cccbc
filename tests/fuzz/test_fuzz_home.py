"""Whatever became of a record of a home, what reads it works or names what is damaged, and writes nothing there."""

from __future__ import annotations

import re
from pathlib import Path

from commands import assert_told, contents, orchestrate
from damage import damaged_bytes, damaged_json
from hypothesis import given, settings
from hypothesis import strategies as st

NEEDS_HOME = True
READING = [
    ["status"],
    ["status", "search", "--json"],
    ["status", "grid"],
    ["export", "search"],
    ["export", "grid", "--format", "json"],
    ["export", "search", "--format", "parquet", "--output", "rows.parquet"],
    ["sweep", "search.yaml", "--dry-run"],
    ["sweep", "grid.yaml", "--dry-run"],
    ["grid", "grid.yaml"],
    ["data", "list"],
]


def _records(home: Path) -> list[Path]:
    """Every file but the images, in an order that does not depend on the ids of attempts."""
    found = [path for path in home.rglob("*") if path.is_file() and path.parent.name != "datasets"]
    return sorted(found, key=lambda path: re.sub("[0-9a-f]{32}", "", str(path)))


def _damage(data: st.DataObject, home: Path) -> tuple[Path, bytes]:
    """Damages one record; gives its path, and what was there."""
    records = _records(home)
    path = records[data.draw(st.integers(0, len(records) - 1))]
    before = path.read_bytes()
    is_json = path.suffix == ".json" and data.draw(st.integers(0, 3)) > 0
    path.write_bytes(data.draw(damaged_json(before) if is_json else damaged_bytes(before)))
    return path, before


@given(st.data())
def test_a_damaged_record_is_named_or_does_no_harm(folder: Path, small_home: Path, data: st.DataObject) -> None:
    path, before = _damage(data, small_home)
    damaged = contents(small_home)
    try:
        for command in data.draw(st.lists(st.sampled_from(READING), min_size=2, max_size=2, unique_by=tuple)):
            assert_told(orchestrate(*command, "--home", "home"))
            assert contents(small_home) == damaged
    finally:
        path.write_bytes(before)


@settings(max_examples=max(5, settings().max_examples // 20))
@given(st.data())
def test_a_report_on_damaged_records(folder: Path, small_home: Path, data: st.DataObject) -> None:
    path, before = _damage(data, small_home)
    damaged = contents(small_home)
    try:
        name = data.draw(st.sampled_from(["search", "grid"]))
        assert_told(orchestrate("report", name, "--home", "home", "--output", "report"))
        assert contents(small_home) == damaged
    finally:
        path.write_bytes(before)
