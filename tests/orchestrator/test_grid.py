"""Cells of a grid, against itertools.product."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.grid import expand, group_by_training
from orchestrator.spec import SweepSpec
from orchestrator.spec_file import load_spec, spec_to_yaml
from trainers.canonical import evaluation_key, training_key
from trainers.config import TrialConfig, flatten


def grid(tmp_path: Path, text: str) -> SweepSpec:
    (tmp_path / "g.yaml").write_text(text)
    return load_spec(tmp_path / "g.yaml", require_plan=False)


@pytest.mark.parametrize(
    ("seeds", "expected"), [("3", (7, 8, 9)), ("[5, 0]", (5, 0)), ("1", (7,))], ids=["count", "list", "one"]
)
def test_cells_are_the_product_in_file_order(tmp_path: Path, seeds: str, expected: tuple[int, ...]) -> None:
    spec = grid(
        tmp_path,
        "trial: {training: {seed: 7}}\n"
        "grid:\n  train:\n    episodes.shots: [5, 1]\n    algorithm.name: [nil, maml]\n"
        f"    algorithm.frozen_layers: [0, [conv1, head]]\n  seeds: {seeds}\n",
    )
    cells = expand(spec)
    layers = (0, ("conv1", "head"))
    wanted = list(itertools.product((5, 1), ("nil", "maml"), layers, expected))
    assert spec.grid is not None
    assert spec.grid.most * spec.grid.seed_count == len(cells) == len(wanted)
    for number, (cell, (shots, name, frozen, seed)) in enumerate(zip(cells, wanted, strict=True)):
        assert (cell.number, cell.seed) == (number, seed)
        assert cell.levels == {
            "episodes.shots": shots,
            "algorithm.name": name,
            "algorithm.frozen_layers": frozen,
        }
        assert list(cell.levels) == ["episodes.shots", "algorithm.name", "algorithm.frozen_layers"]
        changed = {"training.seed": seed, "episodes.shots": shots, "algorithm.name": name}
        assert cell.config.algorithm.frozen_layers == frozen
        assert {
            **flatten(TrialConfig()),
            **changed,
            "algorithm.frozen_layers": list(frozen) if isinstance(frozen, tuple) else frozen,
        } == flatten(cell.config)
        assert cell.config == TrialConfig.model_validate(cell.config.model_dump())
    assert expand(spec) == cells


def test_test_factors_never_retrain(tmp_path: Path) -> None:
    """Table 1 of the paper: five sets of frozen layers, two shots, three seeds."""
    spec = grid(
        tmp_path,
        "grid:\n  train: {episodes.shots: [1, 5]}\n  test: {evaluation.frozen_layers: [0, 1, 2, 3, 4]}\n  seeds: 3\n",
    )
    cells = expand(spec)
    wanted = list(itertools.product((1, 5), range(5), range(3)))
    assert [
        (cell.config.episodes.shots, cell.config.evaluation.frozen_layers, cell.config.training.seed) for cell in cells
    ] == wanted
    groups = group_by_training(cells, lambda config: training_key(config, "f"))
    assert sorted(len(group) for _, group in groups) == [5] * 6
    assert len({evaluation_key(cell.config, "f") for cell in cells}) < len(cells)  # the same for every training
    for _, group in groups:
        assert len({evaluation_key(cell.config, "f") for cell in group}) == 5
    (tmp_path / "stored.yaml").write_text(spec_to_yaml(spec))
    assert load_spec(tmp_path / "stored.yaml") == spec


def test_seeds_as_a_factor(tmp_path: Path) -> None:
    cells = expand(grid(tmp_path, "grid: {train: {training.seed: [3, 11]}}\n"))
    assert [(cell.seed, cell.config.training.seed) for cell in cells] == [(3, 3), (11, 11)]


def test_a_grid_without_factors_is_its_seeds(tmp_path: Path) -> None:
    cells = expand(grid(tmp_path, "grid: {seeds: 2}\n"))
    assert [(cell.seed, cell.levels) for cell in cells] == [(0, {}), (1, {})]


def test_no_grid_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="has no grid"):
        expand(grid(tmp_path, "trial: {}\n"))


def test_cells_of_one_training_form_one_unit(tmp_path: Path) -> None:
    cells = expand(
        grid(
            tmp_path, "grid: {train: {algorithm.name: [maml, nil, anil], algorithm.frozen_layers: [0, 4]}, seeds: 2}\n"
        )
    )
    groups = group_by_training(cells, lambda config: training_key(config, "f"))
    # MAML with its whole body frozen (cells 2, 3) is ANIL, and NIL is trained as ANIL
    assert [[cell.number for cell in group] for _, group in groups] == [[0], [1], [2, 4, 6, 8, 10], [3, 5, 7, 9, 11]]
    assert [key for key, _ in groups] == [training_key(group[0].config, "f") for _, group in groups]
