"""``orchestrate grid`` and scales, before and after a real sweep."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import orchestrate_in
from processes import SERIAL, run

TINY = """\
trial:
  backbone: {width: 8, pooling: stride}
  training: {iterations: 20, meta_batch: 2, validate_every: 10, validation_episodes: 4}
  evaluation: {episodes: 10, queries: 5}
grid:
  train: {algorithm.name: [maml, anil], algorithm.frozen_layers: [0, 4]}
  test: {evaluation.inner_steps: [1, 2]}
  seeds: 2
"""


def grid(folder: Path, *arguments: str) -> dict[str, object]:
    done = orchestrate_in(folder, "grid", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_table_1_is_ten_cells_of_six_trainings(tmp_path: Path) -> None:
    found = grid(tmp_path, "paper/table1")
    assert (found["cells"], found["trainings"], found["evaluations"], found["stored"]) == (10, 6, 30, None)
    assert isinstance(found["estimate_core_s"], int)
    days = found["estimate_core_s"] / 86400
    smoke = grid(tmp_path, "paper/table1", "--scale", "smoke")
    assert (smoke["name"], smoke["cells"], smoke["trainings"]) == ("table1-smoke", 10, 6)
    assert isinstance(smoke["estimate_core_s"], int)
    assert smoke["estimate_core_s"] / 86400 < days / 100
    assert list(tmp_path.iterdir()) == []  # nothing was started or written


def test_a_grown_grid_runs_only_what_is_new(tmp_path: Path, new_home: Callable[[Path], Path]) -> None:
    (tmp_path / "g.yaml").write_text(TINY)
    before = grid(tmp_path, "g.yaml")
    # MAML with its body frozen and both of ANIL are one training: two of each seed
    assert (before["cells"], before["trainings"], before["evaluations"]) == (4, 4, 8)
    assert before["stored"] is None
    assert before["estimate_core_s"] != 0

    home = new_home(tmp_path / "runs")
    done = run(SERIAL, "sweep", tmp_path / "g.yaml", "--home", home, "--json")
    assert done.returncode == 0, done.stderr
    after = grid(tmp_path, "g.yaml")
    assert (after["stored"], after["stored_evaluations"], after["estimate_core_s"]) == (4, 8, 0)
    attempts = sorted((tmp_path / "runs").glob("trainings/*/attempts/*"))

    # another level of a test factor is no new training, another seed is two
    (tmp_path / "g.yaml").write_text(TINY.replace("[1, 2]", "[1, 2, 3]").replace("seeds: 2", "seeds: 3"))
    grown = grid(tmp_path, "g.yaml")
    assert (grown["trainings"], grown["stored"]) == (6, 4)
    assert (grown["evaluations"], grown["stored_evaluations"]) == (18, 8)
    done = run(SERIAL, "sweep", tmp_path / "g.yaml", "--home", home, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"]["planned"] == 6
    again = sorted((tmp_path / "runs").glob("trainings/*/attempts/*"))
    trained = {path.parts[-3] for path in again} - {path.parts[-3] for path in attempts}
    assert len(trained) == 2
    assert len(sorted((tmp_path / "runs").glob("trainings/*/manifest.json"))) == 6
    assert len(sorted((tmp_path / "runs").glob("trainings/*/evaluations/*.arrow"))) == 18


def test_lists_of_cells_say_which_mean_the_same(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text(TINY)
    done = orchestrate_in(tmp_path, "grid", "g.yaml", "--csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["algorithm.name"], row["algorithm.frozen_layers"], row["evaluation.inner_steps"]) for row in rows] == [
        (name, layers, steps) for name in ("maml", "anil") for layers in "04" for steps in "12"
    ]
    assert [row["same_as"] for row in rows] == ["", "", "", "", "2", "3", "2", "3"]
    assert {row["seeds"] for row in rows} == {"2"}
    listed = orchestrate_in(tmp_path, "grid", "g.yaml", "--list").stdout.splitlines()
    assert listed[0] == "g: 4 cells (8 asked, the others mean the same), 2 seeds"
    assert listed[4].split() == ["0", "algorithm.name=maml", "algorithm.frozen_layers=0", "evaluation.inner_steps=1"]
    assert listed[8].endswith("(the same as 2)")


def test_a_factor_that_never_acts_is_said(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text(
        "grid: {train: {algorithm.inner_steps: {choice: [1, 2], when: {episodes.ways: 20}}}, seeds: 1}\n"
    )
    lines = orchestrate_in(tmp_path, "grid", "g.yaml", "--seeds", "2").stdout.splitlines()
    assert lines[:2] == ["g: 1 cell, 2 seeds", "work:   2 trainings, 2 evaluations"]
    assert lines[4:] == ["never acts: algorithm.inner_steps, whose condition holds in no cell"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("big.yaml",), "big: grid: has 160,000 cells, more than 100,000"),
        (("search.yaml",), "search: has no grid; add grid: to its file"),
        (("g.yaml", "--scale", "smoke"), "--scale smoke: g.yaml has no scale 'smoke'; the file has no scales:"),
        (("g.yaml", "--csv", "--json"), "--list, --csv, --json: more than one is given; choose one"),
        (("g.yaml", "--list", "--json"), "--list, --csv, --json: more than one is given; choose one"),
        (
            ("g.yaml", "--set", "grid.train.episodes.shots=[1, 100]"),
            "grid: the cell {algorithm.name: maml, algorithm.frozen_layers: 0, episodes.shots: 100, ",
        ),
        (("papier/table1",), "papier/table1: no such file"),
        (("paper/tabel1",), "did you mean 'paper/table1'?"),
    ],
    ids=[
        "too large",
        "a search",
        "no scales",
        "two formats",
        "two others",
        "too few images",
        "no folder",
        "no such sweep",
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    levels = list(range(1, 401))
    (tmp_path / "g.yaml").write_text(TINY)
    (tmp_path / "big.yaml").write_text(
        f"grid: {{test: {{evaluation.queries: {levels}, evaluation.inner_steps: {levels}}}}}"
    )
    (tmp_path / "search.yaml").write_text("search:\n  trials: 1\n  space: {algorithm.inner_lr: {uniform: [0.1, 1]}}\n")
    done = orchestrate_in(tmp_path, "grid", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert words in line


def test_a_sweep_as_large_needs_yes_too(tmp_path: Path) -> None:
    levels = list(range(1, 401))
    (tmp_path / "big.yaml").write_text(
        f"grid: {{test: {{evaluation.queries: {levels}, evaluation.inner_steps: {levels}}}}}"
    )
    done = orchestrate_in(tmp_path, "sweep", "big.yaml")
    assert done.returncode == 2
    assert "or say --yes if it is meant" in done.stderr
