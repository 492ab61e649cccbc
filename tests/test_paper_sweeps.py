"""Studies of the paper that look at the same trainings share them: one home trains each once."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.grid import expand
from orchestrator.spec_file import load_spec
from orchestrator.store import Keys, keys_of
from trainers.config import TrialConfig

PAPER = Path(__file__).resolve().parents[1] / "sweeps" / "paper"
SCALES = ("smoke", "laptop", "paper")


def configs(name: str, scale: str) -> list[TrialConfig]:
    return [point.config for point in expand(load_spec(PAPER / f"{name}.yaml", scale=scale))]


def keys(config: TrialConfig) -> Keys:
    return keys_of(config, config.dataset.name)


def trainings(name: str, scale: str, shots: int | None = None) -> set[str]:
    return {keys(one).training for one in configs(name, scale) if shots in (None, one.episodes.shots)}


@pytest.mark.parametrize("scale", SCALES)
def test_figure_2_looks_at_the_trainings_of_table_1(scale: str) -> None:
    assert trainings("fig2", scale) == trainings("table1", scale)
    assert {one.evaluation.measure for one in configs("fig2", scale)} == {"similarity"}


@pytest.mark.parametrize("scale", SCALES)
def test_figure_3_looks_at_the_5_shot_trainings_of_table_1_on_their_way(scale: str) -> None:
    asked = configs("fig3", scale)
    assert {keys(one).training for one in asked} == trainings("table1", scale, shots=5)
    (last,) = {one.training.iterations for one in asked}
    assert {one.evaluation.weights for one in asked} == set(asked[0].training.snapshots)
    assert max(asked[0].training.snapshots) == last
    assert {len(one.test_adapted_layers) for one in asked} == {1, 5}


@pytest.mark.parametrize("scale", SCALES)
def test_the_appendix_looks_at_the_1_shot_trainings_of_table_1_on_their_way(scale: str) -> None:
    figure, appendix = configs("fig3", scale), configs("appendix-fig3-1-shot", scale)
    assert {keys(one).training for one in appendix} == trainings("table1", scale, shots=1)
    assert [one.evaluation for one in appendix] == [one.evaluation for one in figure]


@pytest.mark.parametrize("scale", SCALES)
def test_table_3_compares_trainings_of_table_5(scale: str) -> None:
    asked = configs("table3", scale)
    assert trainings("table3", scale) <= trainings("table5", scale, shots=1)
    assert {one.algorithm.name for one in asked} == {"maml", "anil", "multiclass", "multitask", "random"}
    assert trainings("appendix-adapted", scale) == {keys(one).training for one in asked[:6]}
    (before, after) = (load_spec(PAPER / f"{name}.yaml", scale=scale) for name in ("table3", "appendix-adapted"))
    assert [spec.grid and spec.grid.between and spec.grid.between.adapted for spec in (before, after)] == [False, True]


@pytest.mark.parametrize(("scale", "shots"), [("smoke", {1, 5}), ("laptop", {1}), ("paper", {1, 5})])
def test_figure_5_has_trainings_and_tests_of_table_4(scale: str, shots: set[int]) -> None:
    figure, table = ({keys(one) for one in configs(name, scale)} for name in ("fig5", "table4"))
    assert figure < table
    assert len(figure) == 2 * 3 * len(shots)
    assert {one.episodes.shots for one in configs("fig5", scale)} == shots


@pytest.mark.parametrize("scale", SCALES)
def test_speed_is_timed_as_the_paper_did(scale: str) -> None:
    """One task, one query image a class, 5 steps in training and 10 in inference; MAML, first-order MAML, ANIL."""
    asked = configs("speed", scale)
    assert {(one.algorithm.name, one.algorithm.first_order) for one in asked} == {
        *(("maml", False), ("maml", True), ("anil", False)),
    }
    for one in asked:
        assert (one.evaluation.measure, one.training.meta_batch) == ("speed", 1)
        assert (one.episodes.queries, one.test_queries) == (1, 1)
        assert (one.algorithm.inner_steps, one.test_inner_steps) == (5, 10)
