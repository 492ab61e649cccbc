"""Analyses: which trainings a grid compares, that each pair is recorded once, and what a record must agree with."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from processes import link_data
from scipy import stats as scipy_stats

from orchestrator import layout
from orchestrator.analyses import (
    analyses_of,
    cell_pairs,
    count_analyses,
    distinct_analyses,
    lacking,
    put_scores,
    read_scores,
    weights_file,
)
from orchestrator.analysis_attempt import attempt_analyses
from orchestrator.attempt import attempt_trial
from orchestrator.errors import SpecError
from orchestrator.grid import expand
from orchestrator.home import open_home
from orchestrator.layout import lay_out, layout_text
from orchestrator.record import SweepRecord
from orchestrator.report.between_trainings import between_trainings
from orchestrator.report.part import Table
from orchestrator.results import load_study
from orchestrator.seal import open_json, seal_json
from orchestrator.spec import SweepSpec
from orchestrator.spec_file import load_spec
from orchestrator.stats import estimate_cell, seed_pseudo_values
from orchestrator.store import Store
from orchestrator.sweep_state import status
from trainers import comparison_cost
from trainers.between_trainings import Side, similarities
from trainers.comparison_cost import ComparisonCost
from trainers.config import Between
from trainers.datasets.image_file import ImageTable, open_image_file
from trainers.snapshots import Weights

TRIAL = {
    "dataset": {"name": "glyphs"},
    "episodes": {"ways": 3, "shots": 1, "queries": 5},
    "backbone": {"width": 3, "pooling": "stride"},
    "training": {"iterations": 2, "validate_every": 2, "meta_batch": 1, "validation_episodes": 2},
    "evaluation": {"episodes": 4},
}


def spec_of(**grid: Any) -> SweepSpec:
    return SweepSpec.model_validate({"name": "alike", "trial": TRIAL, "grid": {"between": {}, **grid}})


def trained(home: Path, data: ImageTable, spec: SweepSpec) -> Store:
    torch.set_num_threads(1)
    store = Store(open_home(str(home)))
    SweepRecord(store.home, spec.name).put_spec(spec, {"glyphs": data.fingerprint})
    for point in expand(spec):
        assert [e["kind"] for e in attempt_trial(store, [point.config], data, {"sweep": "s", "number": 0})][
            -1
        ] == "tested"
    return store


def test_every_two_cells_under_different_seeds() -> None:
    spec = spec_of(train={"algorithm.name": ["maml", "anil"], "episodes.shots": [1, 2]}, seeds=3)
    pairs = cell_pairs(spec, {"glyphs": "f"})
    assert [pair.cells for pair in pairs] == list(itertools.combinations_with_replacement(range(4), 2))
    for pair in pairs:
        seeds = [analysis.seeds for analysis in pair.analyses]
        if pair.cells[0] == pair.cells[1]:
            assert seeds == [(0, 1), (0, 2), (1, 2)]
        else:
            assert seeds == list(itertools.permutations(range(3), 2))


def test_only_trainings_on_the_same_points_are_compared() -> None:
    spec = spec_of(train={"episodes.ways": [3, 4]}, test={"evaluation.queries": [5, 6]}, seeds=2)
    assert [pair.cells for pair in cell_pairs(spec, {"glyphs": "f"})] == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert cell_pairs(spec_of(seeds=2).model_copy(update={"grid": None}), {}) == []


def test_seeds_that_are_a_factor_are_compared() -> None:
    pairs = cell_pairs(spec_of(train={"training.seed": [4, 9]}), {"glyphs": "f"})
    assert [(pair.cells, pair.analyses[0].seeds) for pair in pairs] == [((0, 1), (4, 9))]


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ({"train": {"algorithm.name": ["maml", "anil"]}}, "set grid.seeds to 2 or more"),
        ({"seeds": [3], "between": {}}, "set grid.seeds to 2 or more"),
        ({"seeds": 2, "train": {"training.meta_batch": list(range(1, 52))}}, "there are more than 50"),
        ({"seeds": 2, "between": {"measure": "distance"}}, "similarity"),
        ({"seeds": 2, "between": {"adaptd": True}}, "adapted"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, grid: dict[str, Any], words: str) -> None:
    path = tmp_path / "alike.yaml"
    path.write_text(yaml.safe_dump({"trial": TRIAL, "grid": {"between": {}, **grid}}))
    with pytest.raises(SpecError, match="between") as refused:
        load_spec(path)
    assert words in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_pair_is_compared_once_and_its_record_agrees_with_the_weights(tmp_path: Path, glyphs: ImageTable) -> None:
    spec = spec_of(train={"algorithm.name": ["maml", "anil"]}, seeds=2)
    store = Store(open_home(str(tmp_path / "home")))
    pairs = cell_pairs(spec, {"glyphs": glyphs.fingerprint})
    assert lacking(store, pairs) == [], "nothing can be compared before it is trained"
    trained(tmp_path / "home", glyphs, spec)
    todo = lacking(store, pairs)
    assert [analysis.seeds for analysis in todo] == [(0, 1), (0, 1), (1, 0), (0, 1)]
    assert status(store.home, "alike")["state"] == "interrupted"
    assert list(attempt_analyses(store, todo, glyphs)) == [{"kind": "compared", "analyses": 4}]
    assert lacking(store, pairs) == []
    assert count_analyses(store, pairs) == {"planned": 4, "completed": 4}
    said = status(store.home, "alike")
    assert (said["state"], said["analyses"]) == ("done", {"planned": 4, "completed": 4})

    sides = []
    for config, keys in zip(todo[1].configs, todo[1].keys, strict=True):
        file = weights_file(store, config, keys)
        assert file is not None
        data = store.read_file(*file)
        assert data is not None
        sides.append(Side(config, Weights.from_bytes(data).params))
    (expected,) = similarities(sides, [(0, 1)], glyphs, Between())
    found = read_scores(store, todo[1])
    assert found is not None
    assert found.keys() == expected.keys()
    for column, values in expected.items():
        np.testing.assert_array_equal(found[column], values)

    manifest = tmp_path / "home" / "trainings" / todo[1].keys[0].training / "manifest.json"
    record = open_json(manifest.read_bytes())
    manifest.write_bytes(seal_json({**record, "files": dict.fromkeys(record["files"], "0" * 64)}))
    assert read_scores(store, todo[1]) is None, "the weights are others now"
    assert todo[1].key in [analysis.key for analysis in lacking(store, pairs)]


def test_a_grid_laid_out_counts_them(glyphs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cells of two seeds are four comparisons of four networks; all of them are in one block."""
    monkeypatch.setattr(layout, "estimate_any_core_s", lambda *_: 1000.0)
    monkeypatch.setattr(comparison_cost, "measured_comparison", lambda *_: ComparisonCost(10.0, 1.0))
    spec, home = spec_of(train={"algorithm.name": ["maml", "anil"]}, seeds=2), tmp_path / "home"

    def laid_out() -> tuple[int, int | None, int]:
        found = lay_out(spec, str(home))
        said = found.to_json()
        assert (said["comparisons"], said["stored_comparisons"]) == (found.comparisons, found.stored_comparisons)
        text = layout_text(found)
        assert "4 trainings, 4 evaluations, 4 comparisons between trainings\n" in text
        assert ("of the comparisons\n" in text) == (found.stored_comparisons is not None)
        return found.comparisons, found.stored_comparisons, found.estimate_core_s - 1000

    assert laid_out() == (4, None, 4 * (4 * 10 + 4))
    link_data(glyphs_file, home)
    store = trained(home, open_image_file(glyphs_file), spec)
    assert laid_out() == (4, 0, 4 * (4 * 10 + 4))
    (first, second, *_) = distinct_analyses(cell_pairs(spec, {"glyphs": glyphs_file.stem.rpartition("-")[2]}))
    for analysis in (first, second):
        put_scores(store, analysis, {"cka.head": np.ones(4)})
    assert first.configs[0] == second.configs[0]  # no other comparison needs it
    assert laid_out() == (4, 2, 4 * (3 * 10 + 2))

    other = lay_out(spec_of(seeds=2, between=None), str(home))
    assert (other.comparisons, other.stored_comparisons) == (0, 0)
    assert "comparison" not in layout_text(other)


@pytest.mark.parametrize("damage", [lambda data: data[:40], lambda data: b"", lambda data: data[:-1]])
def test_a_record_that_is_not_whole_is_done_again(tmp_path: Path, glyphs: ImageTable, damage: Any) -> None:
    spec = spec_of(seeds=2)
    store = trained(tmp_path / "home", glyphs, spec)
    (pair,) = cell_pairs(spec, {"glyphs": glyphs.fingerprint})
    list(attempt_analyses(store, pair.analyses, glyphs))
    (path,) = (tmp_path / "home" / "analyses").rglob("*.arrow")
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert lacking(store, [pair]) == list(pair.analyses)
    list(attempt_analyses(store, pair.analyses, glyphs))
    assert path.read_bytes() == whole


def test_weights_that_are_gone_make_their_training_incomplete(tmp_path: Path, glyphs: ImageTable) -> None:
    spec = spec_of(seeds=2)
    store = trained(tmp_path / "home", glyphs, spec)
    (pair,) = cell_pairs(spec, {"glyphs": glyphs.fingerprint})
    (analysis,) = pair.analyses
    file = weights_file(store, analysis.configs[1], analysis.keys[1])
    assert file is not None
    (tmp_path / "home" / "trainings" / file[0] / file[1]).unlink()
    (failed,) = attempt_analyses(store, pair.analyses, glyphs)
    assert (failed["kind"], failed["failure"]) == ("failed", "error")
    assert f"the weights of training {file[0]} are gone or damaged" in failed["cause"]
    assert store.manifest(analysis.keys[1].training) is None
    trained(tmp_path / "home", glyphs, spec)
    assert lacking(store, [pair]) == [analysis]
    assert [event["kind"] for event in attempt_analyses(store, pair.analyses, glyphs)] == ["compared"]


def test_a_study_has_the_pairs_with_the_mean_over_the_body(tmp_path: Path, glyphs: ImageTable) -> None:
    spec = spec_of(train={"algorithm.name": ["maml", "anil"]}, seeds=3)
    store = trained(tmp_path / "home", glyphs, spec)
    pairs = cell_pairs(spec, {"glyphs": glyphs.fingerprint})
    rng = np.random.default_rng(0)
    for analysis in (analysis for pair in pairs for analysis in pair.analyses):
        put_scores(
            store, analysis, {f"{k}.{i}": rng.random(4) for k in ("cca", "cka") for i in analysis.configs[0].layers}
        )
    study = load_study("alike", str(tmp_path / "home"))
    assert study.state == "done"
    assert [(pair.first.number, pair.second.number, len(pair.seeds)) for pair in study.pairs] == [
        (0, 0, 3),
        (0, 1, 6),
        (1, 1, 3),
    ]
    both = study.pairs[1]
    layers = [both.scores[f"cka.conv{i}"] for i in (1, 2, 3, 4)]
    np.testing.assert_allclose(both.scores["cka.body"], np.mean(layers, axis=0))
    estimate = both.score("cka.body")
    assert estimate is not None
    assert estimate.value == pytest.approx(both.scores["cka.body"].mean())
    assert estimate.seeds == 3
    assert both.is_between({"algorithm.name": "anil"}, {"algorithm.name": "maml"})
    assert not both.is_between({"algorithm.name": "anil"}, {"algorithm.name": "anil"})


def test_what_is_not_finite_is_recorded_and_left_out_of_the_means(tmp_path: Path, glyphs: ImageTable) -> None:
    spec = spec_of(seeds=3)
    store = trained(tmp_path / "home", glyphs, spec)
    (pair,) = cell_pairs(spec, {"glyphs": glyphs.fingerprint})
    columns = [f"cka.{layer}" for layer in pair.analyses[0].configs[0].layers]
    for analysis, score in zip(pair.analyses, (0.2, np.nan, 0.4), strict=True):
        put_scores(store, analysis, dict.fromkeys(columns, np.full(4, score)))
    study = load_study("alike", str(tmp_path / "home"))
    assert study.state == "done", "it would not be finite again"
    (found,) = study.pairs
    assert (found.seeds, found.diverged) == (((0, 1), (1, 2)), 1)
    np.testing.assert_allclose(found.scores["cka.body"], [[0.2] * 4, [0.4] * 4])
    table = between_trainings(study)[0]
    assert isinstance(table, Table)
    assert any("not finite: all – all (1)" in note for note in table.notes)


PAIRS = list(itertools.permutations(range(4), 2))


def test_pseudo_values_of_what_each_seed_adds_are_that() -> None:
    """Where a pair's score is the mean of what its two seeds have, leaving a seed out takes away what it has."""
    of_seed = np.random.default_rng(3).normal(size=(4, 5))
    scores = np.array([(of_seed[one] + of_seed[other]) / 2 for one, other in PAIRS])
    np.testing.assert_allclose(seed_pseudo_values(scores, PAIRS), of_seed, atol=1e-12)


def test_pseudo_values_have_the_mean_of_all_pairs_and_the_variance_of_the_jackknife() -> None:
    scores = np.random.default_rng(4).normal(size=(len(PAIRS), 6))
    found = seed_pseudo_values(scores, PAIRS)
    np.testing.assert_allclose(found.mean(0), scores.mean(0))
    without = np.array(
        [np.mean([row.mean() for row, pair in zip(scores, PAIRS, strict=True) if s not in pair]) for s in range(4)]
    )
    jackknife = 3 / 4 * ((without - without.mean()) ** 2).sum()
    assert found.mean(1).var(ddof=1) / 4 == pytest.approx(jackknife)
    assert estimate_cell(found, "").value == pytest.approx(scores.mean())


def test_one_pair_of_seeds_gives_an_interval_over_episodes_only() -> None:
    scores = np.random.default_rng(5).normal(size=(1, 9))
    estimate = estimate_cell(seed_pseudo_values(scores, [(0, 1)]), "")
    half = scipy_stats.t.ppf(0.975, 8) * scores.std(ddof=1) / 3
    assert (estimate.low, estimate.high) == pytest.approx((scores.mean() - half, scores.mean() + half))
    assert "1 seed" in estimate.no_verdict


def test_pseudo_values_need_a_row_for_every_pair() -> None:
    with pytest.raises(ValueError, match="row for each of 2 pairs, got 3"):
        seed_pseudo_values(np.zeros((3, 4)), [(0, 1), (0, 2)])


def test_analyses_of_configs_two_by_two() -> None:
    configs = [point.config for point in expand(spec_of(seeds=4))]
    assert [analysis.seeds for analysis in analyses_of(configs, Between(), "f")] == [(0, 1), (2, 3)]
