"""A command in this process, as a user would see it, and what must hold of it whatever it was given."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main

DOCUMENTED = (0, 1, 2, 3)
WARNINGS = ("before it can run: ", "search.trials: ", "tracking: ", "--host ")
"""What lines that are no errors begin with."""
FOREIGN = ("ORCHESTRATE_", "MLFLOW_", "RAY_")
"""Settings whose names begin so are the caller's."""
LIMIT_S = 10.0
"""CPU time of a command that starts nothing; more is a hang."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: bytes
    err: str


def orchestrate(*arguments: str) -> Outcome:
    """The command in this process; what it raises beyond its exit code passes through."""
    began = time.process_time()
    with _streams(arguments) as (out, err):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        assert time.process_time() - began < LIMIT_S, arguments
        return Outcome(code, out.getvalue(), err.getvalue().decode())


def orchestrate_in(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command in this process, as if called in a folder with none of the caller's settings that it reads.

    Not for what no answer is waited for: that ends this process, too.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(FOREIGN)]:
            patch.delenv(name)
        for name, value in {"COLUMNS": "200", **variables}.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        ended = orchestrate(*arguments)
    return subprocess.CompletedProcess(arguments, ended.code, ended.out.decode(), ended.err)


@contextmanager
def _streams(arguments: Sequence[str]) -> Iterator[tuple[io.BytesIO, io.BytesIO]]:
    out, err = io.BytesIO(), io.BytesIO()
    before: tuple[Any, ...] = sys.argv, sys.stdout, sys.stderr
    sys.argv = ["orchestrate", *arguments]
    sys.stdout = io.TextIOWrapper(out, encoding="utf-8", errors="surrogateescape", write_through=True)
    sys.stderr = io.TextIOWrapper(err, encoding="utf-8", errors="backslashreplace", write_through=True)
    try:
        yield out, err
    finally:
        sys.argv, sys.stdout, sys.stderr = before


def assert_told(outcome: Outcome, *others: str) -> None:
    """It worked, or each problem is one line; no traceback, nothing that a terminal would take for a command.

    ``others``: what lines of progress begin with.
    """
    assert outcome.code in DOCUMENTED, outcome
    assert "Traceback" not in outcome.err, outcome.err
    lines = outcome.err.split("\n")
    assert lines.pop() == "", outcome.err
    errors = [line for line in lines if line.startswith("error: ")]
    assert [line for line in lines if line not in errors and not line.startswith((*WARNINGS, *others))] == [], (
        outcome.err
    )
    assert len(set(errors)) == len(errors), outcome.err
    assert all(line.isprintable() and len(line) > len("error: ") + 5 for line in lines), outcome.err
    assert bool(errors) == (outcome.code in (2, 3)), outcome


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its bytes, every folder with None."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
