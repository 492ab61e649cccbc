"""One sweep, never disturbed, that others are compared with."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults_spec import SEARCH, write_spec
from processes import SERIAL, bits, run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these kill real processes."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def search_file(session_folder: Path) -> Path:
    """A search of four trials."""
    folder = session_folder / f"search-{os.getpid()}"
    folder.mkdir()
    return write_spec(folder, "search", search=SEARCH)


@pytest.fixture(scope="session")
def whole(search_file: Path, new_home: Callable[[Path], Path]) -> dict[str, Any]:
    """What the search leaves, run without Ray and without a fault."""
    home = new_home(search_file.parent / "whole")
    done = run(SERIAL, "sweep", search_file, "--home", home)
    assert done.returncode == 0, done.stderr
    found = bits(home, "search")
    assert len(found) == 12  # trainings, evaluations, proposals
    return found


@pytest.fixture
def home(tmp_path: Path, new_home: Callable[[Path], Path]) -> Path:
    """A home of this test alone."""
    return new_home(tmp_path / "home")
