"""Sweeps, and what they leave where nothing disturbs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from in_process import run_here
from processes import bits

from orchestrator.home import open_home
from orchestrator.sweep_state import status


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these kill real processes, or fill real disks."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture
def undisturbed(tmp_path: Path, new_home: Callable[[Path], Path]) -> Callable[[Path], dict[str, Any]]:
    """The bits that a sweep file leaves, run in this process without a fault."""

    def bits_of(path: Path) -> dict[str, Any]:
        home = new_home(tmp_path / "undisturbed")
        assert run_here(path, str(home), count_flops=True) == []
        assert status(open_home(str(home)), path.stem)["state"] == "done"
        return bits(home, path.stem)

    return bits_of


@pytest.fixture
def home(tmp_path: Path, new_home: Callable[[Path], Path]) -> Path:
    """A home of this test alone."""
    return new_home(tmp_path / "home")
