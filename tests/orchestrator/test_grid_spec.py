"""Zipped factors, conditions, exclusions, baselines and scales, against loops written out here."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import SpecError
from orchestrator.grid import baseline_cells, check_size, distinct, expand
from orchestrator.grid_spec import MAX_CHECKED
from orchestrator.spec import SweepSpec, differences
from orchestrator.spec_file import load_spec, spec_to_yaml

SHOTS, QUERIES, FROZEN = "episodes.shots", "evaluation.queries", "evaluation.frozen_layers"


def load(tmp_path: Path, text: str, *overrides: str, scale: str | None = None) -> SweepSpec:
    (tmp_path / "s.yaml").write_text(text)
    return load_spec(tmp_path / "s.yaml", overrides, scale=scale)


def levels(spec: SweepSpec) -> list[dict[str, Any]]:
    assert spec.grid is not None
    return list(spec.grid.combinations(spec.trial))


def test_zipped_factors_move_together(tmp_path: Path) -> None:
    spec = load(
        tmp_path,
        f"grid:\n  train: {{{SHOTS}: [1, 5, 10]}}\n  test: {{{FROZEN}: [0, 4], {QUERIES}: [2, 6, 11]}}\n"
        f"  zip: [{QUERIES}, {SHOTS}]\n",
    )
    wanted = [{SHOTS: k, FROZEN: layers, QUERIES: k + 1} for k in (1, 5, 10) for layers in (0, 4)]
    assert levels(spec) == wanted
    assert spec.grid is not None
    assert spec.grid.most == len(wanted)
    assert [(p.config.episodes.shots, p.config.evaluation.queries) for p in expand(spec)] == [
        (one[SHOTS], one[QUERIES]) for one in wanted
    ]


def test_a_factor_acts_only_where_its_condition_holds(tmp_path: Path) -> None:
    spec = load(
        tmp_path,
        "trial: {algorithm: {frozen_layers: 1}}\n"
        "grid:\n  train:\n    algorithm.name: [maml, anil]\n"
        "    algorithm.frozen_layers: {choice: [0, 2], when: {algorithm.name: maml}}\n"
        f"  test:\n    {FROZEN}: {{choice: [0, 4], when: {{algorithm.name: [anil]}}}}\n",
    )
    assert levels(spec) == [
        {"algorithm.name": "maml", "algorithm.frozen_layers": 0},
        {"algorithm.name": "maml", "algorithm.frozen_layers": 2},
        {"algorithm.name": "anil", FROZEN: 0},
        {"algorithm.name": "anil", FROZEN: 4},
    ]
    points = expand(spec)
    assert [point.config.algorithm.frozen_layers for point in points] == [0, 2, 1, 1]  # the base config's elsewhere
    assert [point.config.evaluation.frozen_layers for point in points] == [None, None, 0, 4]


def test_exclusions_leave_out_what_agrees_in_all_their_factors(tmp_path: Path) -> None:
    spec = load(
        tmp_path,
        f"grid:\n  train: {{{SHOTS}: [1, 5]}}\n  test: {{{QUERIES}: [1, 5, 15], {FROZEN}: [0, 4]}}\n"
        f"  exclude: [{{{SHOTS}: 1, {QUERIES}: [5, 15]}}, {{{QUERIES}: 1, {FROZEN}: 4}}]\n",
    )
    wanted = [
        {SHOTS: k, QUERIES: q, FROZEN: layers}
        for k, q, layers in itertools.product((1, 5), (1, 5, 15), (0, 4))
        if not (k == 1 and q in (5, 15)) and not (q == 1 and layers == 4)
    ]
    assert levels(spec) == wanted
    assert [point.number for point in expand(spec)] == list(range(len(wanted)))


def test_cells_that_mean_the_same_are_one(tmp_path: Path) -> None:
    spec = load(
        tmp_path,
        "grid: {train: {algorithm.name: [maml, anil], algorithm.frozen_layers: [0, 4]}, seeds: 2}\n",
    )
    # MAML with all of the body frozen is ANIL, whose body is always frozen
    assert distinct(expand(spec)) == [(0,), (1, 2, 3)]
    tested = load(tmp_path, f"grid: {{test: {{evaluation.inner_steps: [0, 5], {FROZEN}: [0, 4]}}}}\n")
    assert distinct(expand(tested)) == [(0, 1), (2,), (3,)]  # without a step nothing adapts, frozen or not


def test_each_cell_has_the_baseline_that_is_like_it_otherwise(tmp_path: Path) -> None:
    spec = load(
        tmp_path,
        f"grid:\n  train: {{{SHOTS}: [1, 5]}}\n  test: {{{FROZEN}: [0, 2, 4]}}\n"
        f"  compare: {{baseline: {{{FROZEN}: 2}}}}\n",
    )
    assert baseline_cells(spec, dict(enumerate(levels(spec)))) == {0: 1, 2: 1, 3: 4, 5: 4}


def test_what_moves_with_a_baseline_is_the_baseline_s(tmp_path: Path) -> None:
    spec = load(
        tmp_path,
        f"grid:\n  train: {{{SHOTS}: [1, 5]}}\n  test: {{{QUERIES}: [1, 5], {FROZEN}: [0, 4]}}\n"
        f"  zip: [{SHOTS}, {QUERIES}]\n  compare: {{baseline: {{{SHOTS}: 1}}}}\n",
    )
    assert baseline_cells(spec, dict(enumerate(levels(spec)))) == {2: 0, 3: 1}


def test_a_cell_whose_baseline_is_excluded_has_none(tmp_path: Path) -> None:
    spec = load(
        tmp_path,
        f"grid:\n  train: {{{SHOTS}: [1, 5]}}\n  test: {{{FROZEN}: [0, 4]}}\n"
        f"  exclude: [{{{SHOTS}: 1, {FROZEN}: 0}}]\n  compare: {{baseline: {{{FROZEN}: 0}}}}\n",
    )
    assert levels(spec)[0] == {SHOTS: 1, FROZEN: 4}
    assert baseline_cells(spec, dict(enumerate(levels(spec)))) == {2: 1}


def test_in_a_large_grid_every_pair_of_levels_is_checked(tmp_path: Path) -> None:
    many = ", ".join(str(number) for number in range(2, 72))
    text = (
        f"trial: {{training: {{iterations: 600, validate_every: 100}}}}\n"
        f"grid:\n  train:\n    episodes.ways: [{many}]\n    episodes.shots: [{many}]\n"
        "    training.iterations: [600, 300]\n    training.validate_every: {choice: [100, 60]}\n"
    )
    assert MAX_CHECKED < 4 * 70 * 70
    with pytest.raises(SpecError) as error:
        load(tmp_path, text.replace("[100, 60]", "[100, 60, 77]"))
    assert "holds {training.iterations: 600, training.validate_every: 77}" in str(error.value)
    load(tmp_path, text)


def test_a_scale_replaces_values_and_lengthens_the_name(tmp_path: Path) -> None:
    text = (
        "trial: {dataset: {name: glyphs}}\ngrid: {seeds: 3}\n"
        "scales:\n  smoke: {training.iterations: 100, grid.seeds: 1, dataset.name: omniglot}\n  paper: {}\n"
    )
    spec = load(tmp_path, text)
    assert (spec.name, spec.trial.training.iterations, spec.trial.dataset.name) == ("s", 500, "glyphs")
    smoke = load(tmp_path, text, scale="smoke")
    assert smoke.grid is not None
    assert (smoke.name, smoke.trial.training.iterations, smoke.trial.dataset.name, smoke.grid.seeds) == (
        "s-smoke",
        100,
        "omniglot",
        1,
    )
    assert load(tmp_path, text, scale="paper").name == "s-paper"
    over = load(tmp_path, text, "training.iterations=200", "name=mine", scale="smoke")
    assert (over.name, over.trial.training.iterations) == ("mine", 200)
    assert load(tmp_path, "name: t\n" + text, scale="paper").name == "t-paper"


def test_a_scale_that_makes_no_sense_is_named_where_it_stands(tmp_path: Path) -> None:
    text = "grid: {seeds: 3}\nscales:\n  smoke:\n    training.iterations: 70\n"
    with pytest.raises(SpecError) as error:
        load(tmp_path, text, scale="smoke")
    assert str(error.value).startswith(f"{tmp_path}/s.yaml:4: trial.training.iterations: iterations must be a multiple")
    with pytest.raises(SpecError, match=r"--scale smok: .*s\.yaml has no scale 'smok'; did you mean 'smoke'\?"):
        load(tmp_path, text, scale="smok")
    with pytest.raises(SpecError, match=r"has no scale 'smoke'; the file has no scales:"):
        load(tmp_path, "grid: {seeds: 3}\n", scale="smoke")


def test_a_grid_that_is_too_large_is_refused_before_it_is_laid_out(tmp_path: Path) -> None:
    ranges = {path: list(range(1, 401)) for path in (QUERIES, "evaluation.inner_steps")}
    spec = load(tmp_path, f"grid: {{test: {ranges}, seeds: 3}}\n".replace("'", ""))
    with pytest.raises(SpecError, match="has 160,000 cells times 3 seeds, more than 100,000"):
        check_size(spec)
    few = load(
        tmp_path, (f"grid: {{test: {ranges}, exclude: [{{{QUERIES}: {ranges[QUERIES][1:]}}}]}}\n").replace("'", "")
    )
    check_size(few)  # 400 are left


SETTINGS = """\
grid:
  settings:
    omniglot: {episodes.ways: 20, evaluation.queries: 1, dataset.name: omniglot}
    cifar: {dataset.name: cifar_fs, algorithm.inner_lr: 0.05}
  train: {algorithm.name: [maml, anil]}
  test: {evaluation.frozen_layers: {choice: [0, 4], when: {episodes.ways: 5}}}
  exclude: [{setting: cifar, algorithm.name: anil, evaluation.frozen_layers: 4}]
  compare: {baseline: {algorithm.name: maml}}
"""


def test_settings_are_a_factor_of_several_values(tmp_path: Path) -> None:
    spec = load(tmp_path, SETTINGS)
    assert levels(spec) == [
        {"setting": "omniglot", "algorithm.name": "maml"},
        {"setting": "omniglot", "algorithm.name": "anil"},
        {"setting": "cifar", "algorithm.name": "maml", FROZEN: 0},
        {"setting": "cifar", "algorithm.name": "maml", FROZEN: 4},
        {"setting": "cifar", "algorithm.name": "anil", FROZEN: 0},
    ]
    assert spec.grid is not None
    assert spec.grid.most == 2 * 2 * 2
    configs = [point.config for point in expand(spec)]
    assert [(one.dataset.name, one.episodes.ways, one.algorithm.inner_lr) for one in configs] == [
        *[("omniglot", 20, 0.4)] * 2,
        *[("cifar_fs", 5, 0.05)] * 3,
    ]
    assert [one.evaluation.queries for one in configs] == [1, 1, None, None, None]
    assert baseline_cells(spec, dict(enumerate(levels(spec)))) == {1: 0, 4: 2}
    (tmp_path / "stored.yaml").write_text(spec_to_yaml(spec))
    assert load_spec(tmp_path / "stored.yaml") == spec


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "{dataset.name: cifar_fs, algorithm.inner_lr: 0.05}",
            "{}",
            "s.yaml:4: grid.settings.cifar: must be {name: {path",
        ),
        ("episodes.ways: 20", "episodes.way: 20", "s.yaml:3: grid.settings.omniglot.episodes.way: unknown path"),
        (
            "episodes.ways: 20",
            "episodes.ways: 1",
            "s.yaml:3: grid.settings.omniglot.episodes.ways: holds",
        ),
        ("algorithm.inner_lr: 0.05", "algorithm.name: anil", "s.yaml:4: grid.settings.cifar.algorithm.name: is set by"),
        ("setting: cifar, ", "setting: cofar, ", "s.yaml:7: grid.exclude[0].setting: 'cofar' is no level of setting"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, old: str, new: str, line: str) -> None:
    assert old in SETTINGS
    with pytest.raises(SpecError) as error:
        load(tmp_path, SETTINGS.replace(old, new))
    assert str(error.value).startswith(f"{tmp_path}/{line}"), str(error.value)


def test_settings_may_be_added_and_not_changed(tmp_path: Path) -> None:
    text = "grid:\n  settings: {a: {episodes.ways: 5}, b: {episodes.ways: 20}}\n"
    spec = load(tmp_path, text)
    assert differences(spec, load(tmp_path, text.replace("}}", "}, c: {episodes.ways: 7}}"))) == []
    assert differences(spec, load(tmp_path, text.replace("20", "10"))) == [
        "grid.settings.b: {episodes.ways: 20} -> {episodes.ways: 10}"
    ]
    assert differences(spec, load(tmp_path, text.replace(", b: {episodes.ways: 20}", ""))) == [
        "grid.settings.b: {episodes.ways: 20} -> absent"
    ]
    plain = load(tmp_path, "grid: {seeds: 1}\n")
    assert differences(plain, spec) == ["grid.settings: absent -> [a, b]"]


def test_the_paths_of_baselines_and_settings_can_be_set_one_by_one(tmp_path: Path) -> None:
    text = (
        "grid:\n  settings: {a: {episodes.ways: 5}, b: {episodes.ways: 20}}\n"
        f"  test: {{{FROZEN}: [0, 4]}}\n  compare: {{baseline: {{{FROZEN}: 0}}}}\n"
        f"scales: {{small: {{grid.compare.baseline.{FROZEN}: 4, grid.settings.b.episodes.ways: 7}}}}\n"
    )
    by_hand = f"grid.compare.baseline.{FROZEN}=4", "grid.settings.b.episodes.ways=7"
    for spec in (load(tmp_path, text, *by_hand), load(tmp_path, text, scale="small")):
        assert spec.grid is not None
        assert spec.grid.baseline == {FROZEN: 4}
        assert [point.config.episodes.ways for point in expand(spec)] == [5, 5, 7, 7]
    of_setting = load(tmp_path, text, "grid.compare.baseline={setting: a}", "grid.compare.baseline.setting=b")
    assert of_setting.grid is not None
    assert of_setting.grid.baseline == {"setting": "b"}
