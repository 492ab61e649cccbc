"""Whatever a sweep file holds, it is a sweep, or every mistake in it is one line and nothing is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import assert_told, contents, orchestrate
from hypothesis import given
from sweep_files import SPECIAL, sweep_files

from orchestrator.errors import SpecError
from orchestrator.spec_file import load_spec, spec_to_yaml
from orchestrator.yaml_file import MAX_TOLD


@given(sweep_files)
def test_a_sweep_file_is_read_or_refused(folder: Path, data: bytes) -> None:
    path = folder / "read.yaml"
    path.write_bytes(data)
    try:
        spec = load_spec(path, require_plan=False)
    except SpecError:
        return
    path.write_text(spec_to_yaml(spec), encoding="utf-8")  # what is stored of it means the same
    assert load_spec(path, require_plan=False) == spec


@pytest.mark.parametrize("data", SPECIAL.values(), ids=SPECIAL)
def test_what_is_meant_to_hurt_does_not(folder: Path, data: bytes) -> None:
    (folder / "special.yaml").write_bytes(data)
    outcome = orchestrate("sweep", "special.yaml", "--dry-run")
    assert_told(outcome)
    assert outcome.code == 2
    assert outcome.err.count("\n") <= MAX_TOLD + 1


@given(sweep_files)
def test_a_dry_run_says_what_would_run_or_what_is_wrong(folder: Path, data: bytes) -> None:
    (folder / "dry.yaml").write_bytes(data)
    before = contents(folder)
    assert_told(orchestrate("sweep", "dry.yaml", "--dry-run", "--yes"))
    assert contents(folder) == before
