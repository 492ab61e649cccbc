"""How a trial is named in MLflow, what varies first; and what the view of its sweep says of all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.home import open_home
from orchestrator.spec_file import load_spec
from orchestrator.tracking_rows import params, sweep_view
from trainers.config import TrialConfig, flatten

SEARCH = "search:\n  trials: 3\n  space:\n    training.meta_lr: {uniform: [0.1, 1.0]}\n"
GRID = """\
grid:
  train: {training.meta_batch: [1, 2]}
  settings: {one: {episodes.shots: 1}, five: {episodes.shots: 5}}
"""


@pytest.mark.parametrize(
    ("plan", "varying"),
    [
        (SEARCH, {"training.meta_lr"}),
        (GRID, {"training.meta_batch", "episodes.shots"}),
        (GRID + "  seeds: 3\n", {"training.meta_batch", "episodes.shots"}),
    ],
)
def test_what_varies_sorts_before_the_rest(tmp_path: Path, plan: str, varying: set[str]) -> None:
    """MLflow sorts by name; a grid that grows to more seeds renames nothing."""
    path = tmp_path / "s.yaml"
    path.write_text(plan)
    spec = load_spec(path)
    named = params(spec.trial, spec)
    first = varying | {"training.seed"}
    assert set(sorted(named)[: len(first)]) == first
    assert {name.removeprefix("trial."): value for name, value in named.items()} == flatten(spec.trial)
    assert set(named) - first == {f"trial.{name}" for name in flatten(spec.trial) if name not in first}


def test_no_path_of_a_config_sorts_behind_the_prefix() -> None:
    assert max(flatten(TrialConfig())) < "trial."


@pytest.mark.parametrize(
    ("trial", "factor", "levels", "one_scale"),
    [
        ("{problem: rl}", "environment.name", "[navigation_2d, half_cheetah_direction]", False),
        ("{problem: rl}", "algorithm.name", "[maml, anil]", True),
        ("{}", "dataset.name", "[glyphs, omniglot]", True),
    ],
)
def test_returns_of_several_environments_have_no_best(
    tmp_path: Path, trial: str, factor: str, levels: str, one_scale: bool
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"trial: {trial}\ngrid: {{train: {{{factor}: {levels}}}}}\n")
    assert sweep_view(load_spec(path), open_home(str(tmp_path / "home"))).one_scale is one_scale
