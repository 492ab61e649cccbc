"""Searches whose trials lose their worker, time or memory: what later proposals are told of it, and how it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from in_process import SEARCH, opened, outcome, run_here, sweep_file

from orchestrator.errors import InterruptedSweep
from orchestrator.failure import ATTEMPTS_IN_A_RUN, MOST_LOSSES, Failure, FailurePolicy
from orchestrator.rows import find_sweep, load_rows
from orchestrator.store import Store
from orchestrator.sweep_state import status


def rows_of(home: Path, name: str) -> list[tuple[str, bool]]:
    """State of each trial, and whether it stands."""
    found = opened(home)
    return [(row.state, row.final) for row in load_rows(Store(found), *find_sweep(found, name))]


def search(folder: Path, **changed: Any) -> Path:
    return sweep_file(folder, "s", SEARCH | {"search": SEARCH["search"] | changed})


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_worker_lost_in_every_attempt_of_a_run_changes_no_search(tmp_path: Path, new_home: Any, at_once: int) -> None:
    path = search(tmp_path, window=at_once)
    undisturbed, home = new_home(tmp_path / "undisturbed"), new_home(tmp_path / "home")
    assert run_here(path, str(undisturbed), at_once=at_once) == []
    for number in (0, 2):
        losses = {number: ATTEMPTS_IN_A_RUN}
        with pytest.raises(InterruptedSweep, match=f"trial {number}: its worker was lost.*run it again to go on"):
            run_here(path, str(home), at_once=at_once, losses=losses)
        assert losses == {number: 0}
        assert rows_of(home, "s")[number] == ("planned", False)
        assert status(opened(home), "s")["state"] == "interrupted"
    assert run_here(path, str(home), at_once=at_once) == []
    assert outcome(opened(home), "s") == outcome(opened(undisturbed), "s")


def test_a_trial_that_loses_every_worker_is_given_up_until_asked_for(tmp_path: Path, new_home: Any) -> None:
    path, home = search(tmp_path), new_home(tmp_path / "home")
    losses = {0: MOST_LOSSES}
    for _ in range(MOST_LOSSES // ATTEMPTS_IN_A_RUN - 1):
        with pytest.raises(InterruptedSweep):
            run_here(path, str(home), losses=losses)
    run_here(path, str(home), losses=losses)
    assert losses == {0: 0}
    assert rows_of(home, "s")[0] == ("failed", True)
    assert status(opened(home), "s")["state"] == "done"
    assert run_here(path, str(home), losses=losses) == []  # it stands
    (warned,) = run_here(path, str(home), policy=FailurePolicy(retry_failed=True))
    assert "proposals 1 to 2 were chosen knowing other results" in warned
    assert rows_of(home, "s")[0] == ("completed", True)


@pytest.mark.parametrize("kind", ["memory", "timeout"])
def test_what_later_proposals_rest_on_stands(tmp_path: Path, new_home: Any, kind: Any) -> None:
    path, home = search(tmp_path), new_home(tmp_path / "home")
    losses = {0: ATTEMPTS_IN_A_RUN, 2: ATTEMPTS_IN_A_RUN}
    run_here(path, str(home), losses=losses, loss=Failure(kind, "too much"))
    assert rows_of(home, "s") == [("failed", True), ("completed", True), ("failed", False)]
    assert run_here(path, str(home)) == []  # only the last, on which nothing rests, is tried again
    assert rows_of(home, "s") == [("failed", True), ("completed", True), ("completed", True)]
