"""Studies from records, against numpy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_store import DATA, EPISODES, made_grid, made_search, random_accuracies
from numpy.typing import NDArray

from orchestrator.errors import AbsentHome, InputError
from orchestrator.results import cells_table, load_study

GRID = (
    "grid: {train: {episodes.shots: [1, 5]}, test: {evaluation.frozen_layers: [0, [conv1, head]]}, seeds: [4, 2, 7],"
    " compare: {baseline: {evaluation.frozen_layers: 0}}}\n"
)


def without(shots: int, seed: int) -> Any:
    """Accuracies of all but one training."""

    def accuracies(levels: Mapping[str, Any], its_seed: int) -> NDArray[np.float64] | None:
        missing = levels["episodes.shots"] == shots and its_seed == seed
        return None if missing else random_accuracies(levels, its_seed)

    return accuracies


def test_a_cell_holds_the_accuracies_of_its_seeds(tmp_path: Path) -> None:
    study = made_grid(tmp_path, GRID)
    assert study.state == "done"
    assert study.fingerprints == {"glyphs": DATA}
    assert study.paths == ["episodes.shots", "evaluation.frozen_layers"]
    wanted = [(1, 0), (1, ("conv1", "head")), (5, 0), (5, ("conv1", "head"))]
    assert [tuple(cell.levels.values()) for cell in study.cells] == wanted
    for cell in study.cells:
        assert cell.seeds == (4, 2, 7)
        expected = np.stack([random_accuracies(cell.levels, seed) for seed in (4, 2, 7)])
        np.testing.assert_array_equal(cell.accuracies, expected)
        assert cell.estimate is not None
        assert cell.estimate.value == pytest.approx(expected.mean())
    assert [cell.baseline for cell in study.cells] == [None, 0, None, 2]
    assert len(study.trainings) == 6
    assert [row.number for row in study.rows] == list(range(12))


def test_what_is_not_there_is_no_number(tmp_path: Path) -> None:
    study = made_grid(tmp_path, GRID, without(shots=5, seed=2))
    assert study.state == "interrupted"
    one_missing = study.cells[2]
    assert (one_missing.seeds, len(one_missing.rows)) == ((4, 7), 3)
    np.testing.assert_array_equal(one_missing.accuracies[1], random_accuracies(one_missing.levels, 7))

    (tmp_path / "empty").mkdir()
    nothing = made_grid(tmp_path / "empty", GRID, lambda levels, seed: None)
    assert [(cell.estimate, cell.mean("train_flops"), len(cell.accuracies)) for cell in nothing.cells] == [
        (None, None, 0)
    ] * 4
    table = cells_table(nothing)
    assert table["seeds"].to_pylist() == [0] * 4
    assert table["test_accuracy"].to_pylist() == [None] * 4


def test_the_table_of_cells_has_means_and_stds_over_seeds(tmp_path: Path) -> None:
    study = made_grid(tmp_path, GRID, without(shots=1, seed=4))
    table = cells_table(study)
    adapting = [row["adapt_flops"] for row in table.to_pylist()]
    assert adapting == [next(row.metrics["adapt_flops"] for row in cell.rows if row.metrics) for cell in study.cells]
    assert len(set(adapting)) == 4
    assert table.column_names == [
        *("cell", "episodes.shots", "evaluation.frozen_layers", "seeds", "seeds_asked", "episodes", "test_accuracy"),
        *("test_std_over_seeds", "test_low95", "test_high95"),
        *("validation_accuracy", "train_flops", "adapt_flops", "train_seconds"),
    ]
    assert table["evaluation.frozen_layers"].to_pylist() == ["0", "conv1+head"] * 2
    assert table["seeds"].to_pylist() == [2, 2, 3, 3]
    assert table["seeds_asked"].to_pylist() == [3] * 4
    for row in table.to_pylist():
        frozen = 0 if row["evaluation.frozen_layers"] == "0" else ("conv1", "head")
        levels = {"episodes.shots": row["episodes.shots"], "evaluation.frozen_layers": frozen}
        seeds = (2, 7) if row["episodes.shots"] == 1 else (4, 2, 7)
        of_seed = [random_accuracies(levels, seed).mean() for seed in seeds]
        assert row["test_accuracy"] == pytest.approx(np.mean(of_seed))
        assert row["test_std_over_seeds"] == pytest.approx(np.std(of_seed, ddof=1))
        assert row["test_low95"] + row["test_high95"] == pytest.approx(2 * row["test_accuracy"])
        assert (row["episodes"], row["validation_accuracy"], row["train_flops"]) == (EPISODES, 0.5, 2e9)
        assert row["train_seconds"] == 8.0


def test_trials_of_a_search_are_cells_of_what_acts(tmp_path: Path) -> None:
    text = (
        "search:\n  trials: 3\n  space:\n    algorithm.name: {choice: [maml, anil]}\n"
        "    algorithm.frozen_layers: {int: [0, 3], when: {algorithm.name: maml}}\n"
    )
    points = [{"algorithm.name": "maml", "algorithm.frozen_layers": 2}, {"algorithm.name": "anil"}]
    study = made_search(tmp_path, text, points, [0.6, 0.7])
    assert study.state == "interrupted"  # a third is planned
    assert [dict(cell.levels) for cell in study.cells] == points
    assert cells_table(study)["algorithm.frozen_layers"].to_pylist() == [2, None]
    assert study.cells[1].mean("validation_accuracy") == 0.7


def test_cells_are_found_by_values_of_their_config(tmp_path: Path) -> None:
    study = made_grid(tmp_path, GRID)
    frozen = {"evaluation.frozen_layers": ("conv1", "head")}
    assert [cell.number for cell in study.matching(frozen)] == [1, 3]
    assert [cell.number for cell in study.matching({**frozen, "episodes.shots": 5, "episodes.ways": 5})] == [3]
    assert study.matching({"episodes.ways": 20}) == []


def test_what_is_not_stored_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AbsentHome):
        load_study("made", str(tmp_path / "home"))
    made_grid(tmp_path, GRID)
    with pytest.raises(InputError, match=r"no sweep 'mad' in .*'made'"):
        load_study("mad", str(tmp_path / "home"))
