"""Tables of a report, from made-up accuracies, against numpy and scipy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_store import fail_trial, made_grid, made_search, random_accuracies
from numpy.typing import NDArray
from scipy import stats

from orchestrator.home import open_home
from orchestrator.report.against_published import against_published
from orchestrator.report.cells import cells, pivot
from orchestrator.report.comparisons import comparisons
from orchestrator.report.part import Table
from orchestrator.report.relations import judged_relations, relations
from orchestrator.results import Study, load_study
from orchestrator.store import Store

FREEZING = (
    "grid: {train: {episodes.shots: [1, 5]}, test: {evaluation.frozen_layers: [0, 1, 2, 3, 4]}, seeds: 3,"
    " compare: {baseline: {evaluation.frozen_layers: 0}}, published: table1}\n"
)


def only(tables: Any) -> Table:
    """The one table, whose rows and values have the widths of their columns."""
    (table,) = tables
    assert {len(row) for row in table.rows} <= {len(table.columns)}
    assert {len(row) for row in table.values} <= {len(table.value_columns)}
    assert len(table.rows) == len(table.values)
    return table  # type: ignore[no-any-return]


def column(table: Table, name: str) -> list[str]:
    return [row[table.columns.index(name)] for row in table.rows]


def values(table: Table, name: str) -> list[Any]:
    return [row[table.value_columns.index(name)] for row in table.values]


def matrix(shots: int, frozen: int, seeds: tuple[int, ...] = (0, 1, 2)) -> NDArray[np.float64]:
    levels = {"episodes.shots": shots, "evaluation.frozen_layers": frozen}
    return np.stack([random_accuracies(levels, seed) for seed in seeds])


def costing(cost: float) -> Any:
    """Freezing all layers costs so much, the same in every episode but for a little noise."""

    def accuracies(levels: Mapping[str, Any], seed: int) -> NDArray[np.float64]:
        rng = np.random.default_rng(seed)
        hard = rng.normal(0.5, 0.05, 40)
        return hard - (levels["evaluation.frozen_layers"] == 4) * (cost + rng.normal(0, 0.002, 40))

    return accuracies


def crossed_half_width(differences: NDArray[np.float64], comparisons: int) -> float:
    """As docs/statistics.md has it: one t quantile for seeds, one for episodes, Bonferroni."""
    S, E = differences.shape
    by_seed, by_episode = differences.mean(1), differences.mean(0)
    rest = differences - by_seed[:, None] - by_episode[None, :] + differences.mean()
    of_seeds, of_episodes = E * by_seed.var(ddof=1), S * by_episode.var(ddof=1)
    of_rest = (rest**2).sum() / ((S - 1) * (E - 1))
    p = 1 - 0.05 / comparisons / 2
    t_seeds, t_episodes = stats.t.ppf(p, S - 1), stats.t.ppf(p, E - 1)
    squared = max(0, t_seeds**2 * of_seeds - t_episodes**2 * of_rest) + t_episodes**2 * of_episodes
    return float(np.sqrt(squared / (S * E)))


# --- cells ------------------------------------------------------------------------------------------------------------


def test_cells_show_mean_and_std_over_seeds_in_per_cent(tmp_path: Path) -> None:
    table = only(cells(made_grid(tmp_path, FREEZING)))
    assert table.columns[:2] == ("shots", "test_frozen_layers")
    assert [row[:2] for row in table.rows] == [(str(shots), str(k)) for shots in (1, 5) for k in range(5)]
    for row in table.rows:
        of_seed = 100 * matrix(int(row[0]), int(row[1])).mean(1)
        assert row[2] == f"{of_seed.mean():.1f} ± {of_seed.std(ddof=1):.1f}"
        low, _, high = row[3].partition(" to ")
        half = 100 * crossed_half_width(matrix(int(row[0]), int(row[1])), 1)
        assert (float(low), float(high)) == pytest.approx((of_seed.mean() - half, of_seed.mean() + half), abs=0.06)
        assert row[4:] == ("50.0", "3", "2", "8")
    assert any("divided by seeds − 1" in note for note in table.notes)
    assert not any("one seed" in note or "Not complete" in note for note in table.notes)


def test_missing_cells_are_dashes_and_are_counted(tmp_path: Path) -> None:
    def accuracies(levels: Mapping[str, Any], seed: int) -> NDArray[np.float64] | None:
        return None if levels["episodes.shots"] == 5 and seed > 0 else random_accuracies(levels, seed)

    study = made_grid(tmp_path, FREEZING, accuracies)
    store = Store(open_home(str(tmp_path / "home")))
    fail_trial(store, study.rows[16].config, "the training loss is nan")  # 5 shots, seed 1: five rows
    table = only(cells(load_study("made", str(tmp_path / "home"))))
    assert column(table, "seeds") == ["3"] * 5 + ["1 of 3"] * 5
    assert column(table, "test, %")[5] == f"{100 * matrix(5, 0, (0,)).mean():.1f}"  # no ± of one seed
    assert values(table, "test_std_over_seeds")[5:] == [None] * 5
    assert any("one seed" in note for note in table.notes)
    assert any("5 results are missing, 5 failed" in note for note in table.notes)

    (tmp_path / "none").mkdir()
    nothing = only(cells(made_grid(tmp_path / "none", FREEZING, lambda levels, seed: None)))
    assert nothing.rows[0] == ("1", "0", "–", "–", "–", "0 of 3", "–", "–")
    assert any("30 results are missing, 0 failed" in note for note in nothing.notes)


def test_a_search_has_its_best_trial_first(tmp_path: Path) -> None:
    text = (
        "search:\n  trials: 4\n  space:\n    algorithm.name: {choice: [maml, anil]}\n"
        "    algorithm.inner_lr: {loguniform: [0.01, 1.0], when: {algorithm.name: maml}}\n"
    )
    points = [{"algorithm.name": "anil"}, *({"algorithm.name": "maml", "algorithm.inner_lr": lr} for lr in (0.25, 0.5))]
    study = made_search(tmp_path, text, points, [0.6, 0.9])
    table = only(cells(study))
    assert table.columns[:3] == ("trial", "algorithm", "inner_lr")
    assert [row[:3] for row in table.rows] == [("1", "maml", "0.25"), ("0", "anil", "–"), ("2", "maml", "0.5")]
    assert values(table, "cell") == [1, 0, 2]
    assert values(table, "validation_accuracy") == [0.9, 0.6, None]
    assert any("2 results are missing" in note for note in table.notes)  # one proposed, one not yet
    assert pivot(study) == ()


def test_two_factors_make_a_rectangle_with_the_longer_one_downwards(tmp_path: Path) -> None:
    table = only(pivot(made_grid(tmp_path, FREEZING)))
    assert table.columns == ("test_frozen_layers", "shots=1", "shots=5")
    for k, (row, its_values) in enumerate(zip(table.rows, table.values, strict=True)):
        assert row[0] == str(k)
        assert [text.partition(" ")[0] for text in row[1:]] == [f"{100 * matrix(s, k).mean():.1f}" for s in (1, 5)]
        assert its_values[0] == str(k)
        assert its_values[1:] == pytest.approx((matrix(1, k).mean(), matrix(5, k).mean()))


def test_factors_that_move_together_are_one_side_of_the_rectangle(tmp_path: Path) -> None:
    grid = (
        "grid: {train: {episodes.shots: [1, 5]}, test: {evaluation.queries: [1, 5],"
        " evaluation.frozen_layers: [0, 2, 4]}, zip: [episodes.shots, evaluation.queries]}\n"
    )
    table = only(pivot(made_grid(tmp_path, grid)))
    assert table.columns == ("test_frozen_layers", "shots=1 test_queries=1", "shots=5 test_queries=5")
    for row, k in zip(table.rows, (0, 2, 4), strict=True):
        of_cells = [
            random_accuracies({"episodes.shots": s, "evaluation.queries": s, "evaluation.frozen_layers": k}, 0)
            for s in (1, 5)
        ]
        assert row == (str(k), *(f"{100 * its.mean():.1f}" for its in of_cells))


@pytest.mark.parametrize(
    "grid",
    [
        "{train: {episodes.shots: [1, 5]}, seeds: 2}",
        "{train: {episodes.shots: [1, 5], algorithm.name: [maml, anil], algorithm.inner_steps: [1, 2]}}",
        "{train: {episodes.shots: [1, 5], training.meta_batch: [4, 2]}, zip: [[episodes.shots, training.meta_batch]]}",
        "{train: {episodes.shots: [1, 5], episodes.ways: [5, 20]}, exclude: [{episodes.shots: 5, episodes.ways: 20}]}",
    ],
    ids=["one factor", "three", "two that move together", "one combination excluded"],
)
def test_what_is_no_rectangle_is_not_shown_as_one(tmp_path: Path, grid: str) -> None:
    assert pivot(made_grid(tmp_path, f"grid: {grid}\n")) == ()


# --- beside published numbers -----------------------------------------------------------------------------------------


def test_ours_stands_beside_the_published_number_of_the_same_cell(tmp_path: Path) -> None:
    table = only(against_published(made_grid(tmp_path, FREEZING)))
    published = column(table, "published, %")
    # the status of each number as docs of the paper have it: means of 5-shot 1 to 3 and most deviations from memory
    assert published == [
        *("46.9 ± 0.2", "46.5 ± 0.3†", "46.4 ± 0.4†", "46.3 ± 0.4†", "46.3 ± 0.4"),
        *("63.1 ± 0.4", "63.0† ± 0.6†", "62.6† ± 0.6†", "61.2† ± 0.5†", "61.0 ± 0.6†"),
    ]
    for row, gap in zip(table.rows, values(table, "difference"), strict=True):
        ours = matrix(int(row[0]), int(row[1])).mean()
        assert gap == pytest.approx(ours - float(row[4].split("†")[0].split(" ")[0]) / 100)
        assert row[5] == f"{100 * gap:+.1f}".replace("-", "−")
    assert values(table, "published_confirmed") == [True] * 6 + [False] * 3 + [True]
    assert any(note.startswith("† ") for note in table.notes)


def test_what_is_not_like_for_like_is_said(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (note,) = [one for one in only(against_published(made_grid(tmp_path, FREEZING))).notes if "Not like" in one]
    for words in ("dataset mini_imagenet there, glyphs here", "iterations 30000† there, 500 here"):
        assert words in note
    assert "ways" not in note  # 5, as in the paper

    like = (
        "trial: {episodes: {ways: 5}, backbone: {width: 32}, algorithm: {inner_steps: 5},"
        " evaluation: {inner_steps: 10}, training: {meta_batch: 4, iterations: 30000}}\n"
    )
    (note,) = [
        one
        for one in only(against_published(made_grid(tmp_path / "other", like + FREEZING))).notes
        if "Not like" in one
    ]
    assert note == "Not like for like: dataset mini_imagenet there, glyphs here."


def test_a_test_without_a_head_has_no_inner_steps_to_be_unlike(tmp_path: Path) -> None:
    grid = (
        "trial: {evaluation: {inner_steps: 10}}\ngrid: {train: {algorithm.name: [maml, nil]}, published: table4-mini}\n"
    )
    (note,) = [one for one in only(against_published(made_grid(tmp_path, grid))).notes if "Not like" in one]
    assert "test_inner_steps" not in note
    assert "dataset mini_imagenet there, glyphs here" in note


def test_several_published_tables_stand_one_after_the_other(tmp_path: Path) -> None:
    grid = (
        "grid: {train: {algorithm.name: [maml, anil], episodes.ways: [5, 20]}, seeds: 3,"
        " published: [table4-omniglot, table4-mini]}\n"
    )
    study = made_grid(tmp_path, grid)
    omniglot, mini = against_published(study)
    assert (omniglot.name, mini.name) == ("against_table4-omniglot", "against_table4-mini")
    assert [column(omniglot, "ways"), column(mini, "ways")] == [["20", "20"], ["5", "5"]]
    assert column(mini, "published, %") == ["46.9 ± 0.2", "46.7 ± 0.4"]
    (judged,) = relations(study)
    assert [one.split(":")[0] for one in column(judged, "verdict")].count("not tested here") == 6  # 5 shots, and NIL


def test_published_numbers_without_a_cell_are_listed(tmp_path: Path) -> None:
    study = made_grid(tmp_path, "grid: {test: {evaluation.frozen_layers: [0, 4, [conv1]]}, published: table1}\n")
    table = only(against_published(study))
    assert column(table, "test_frozen_layers") == ["0", "4"]  # [conv1] means 1, but is asked in other words
    (note,) = [one for one in table.notes if "not in this sweep" in one]
    assert "shots=1 test_frozen_layers=2: 46.4 ± 0.4†" in note
    assert "shots=5 test_frozen_layers=0: 63.1 ± 0.4" in note
    assert "46.9" not in note


def test_only_what_is_asked_stands_there(tmp_path: Path) -> None:
    study = made_grid(tmp_path, "grid: {test: {evaluation.frozen_layers: [0, 4]}}\n")
    assert [list(part(study)) for part in (against_published, comparisons, relations)] == [[], [], []]


# --- comparisons ------------------------------------------------------------------------------------------------------


def test_cells_of_the_same_trainings_are_paired_by_seed_and_episode(tmp_path: Path) -> None:
    table = only(comparisons(made_grid(tmp_path, FREEZING)))
    assert len(table.rows) == 8
    assert set(column(table, "minus")) == {"test_frozen_layers=0"}
    assert set(column(table, "paired by")) == {"seed, episode"}
    rows = zip(table.rows, values(table, "difference"), values(table, "low95"), values(table, "high95"), strict=True)
    for row, value, low, high in rows:
        differences = matrix(int(row[0]), int(row[1])) - matrix(int(row[0]), 0)
        half = crossed_half_width(differences, 4)  # those with the same baseline
        assert (value, low, high) == pytest.approx((differences.mean(), value - half, value + half), rel=1e-6)


def test_pairs_are_of_one_training_where_cells_lack_different_seeds(tmp_path: Path) -> None:
    """An evaluation can be missing while its training is there."""
    frozen = "evaluation.frozen_layers"

    def accuracies(levels: Mapping[str, Any], seed: int) -> NDArray[np.float64] | None:
        lacking = {0: 1, 4: 2}[levels[frozen]]
        return None if seed == lacking else random_accuracies(levels, seed)

    grid = f"grid: {{test: {{{frozen}: [0, 4]}}, seeds: 5, compare: {{baseline: {{{frozen}: 0}}}}}}\n"
    table = only(comparisons(made_grid(tmp_path, grid, accuracies)))
    both = [np.stack([random_accuracies({frozen: k}, seed) for seed in (0, 3, 4)]) for k in (4, 0)]
    half = crossed_half_width(both[0] - both[1], 1)
    assert values(table, "difference") == pytest.approx([(both[0] - both[1]).mean()])
    assert values(table, "high95") == pytest.approx([(both[0] - both[1]).mean() + half])
    assert values(table, "seeds") == [3]


@pytest.mark.parametrize(("seeds", "verdict"), [(2, "no verdict: 2 seeds"), (3, "higher")])
def test_cells_of_other_trainings_are_paired_by_episode_alone(tmp_path: Path, seeds: int, verdict: str) -> None:
    def accuracies(levels: Mapping[str, Any], seed: int) -> NDArray[np.float64]:
        rng = np.random.default_rng(seed)
        return np.clip(rng.normal(0.8 if levels["algorithm.name"] == "anil" else 0.3, 0.01, 40), 0, 1)

    compare = "compare: {baseline: {algorithm.name: maml}}"
    grid = f"grid: {{train: {{algorithm.name: [maml, anil]}}, seeds: {seeds}, {compare}}}\n"
    table = only(comparisons(made_grid(tmp_path, grid, accuracies)))
    assert column(table, "paired by") == ["episode"]
    assert column(table, "minus") == ["maml"]
    assert column(table, "reads")[0].startswith(verdict)
    assert not any("p-value" in text or "p =" in text for text in (*table.columns, *table.notes, *table.rows[0]))


@pytest.mark.parametrize(
    ("factor", "levels", "paired"),
    [
        ("episodes.ways", "[5, 10]", "nothing"),
        ("episodes.shots", "[1, 5]", "episode"),
        ("dataset.rotations", "[false, true]", "nothing"),
        ("evaluation.episodes", "[40, 50]", "seed"),
        ("evaluation.queries", "[5, 1]", "seed, episode"),
    ],
)
def test_what_the_test_shares_decides_the_pairs(tmp_path: Path, factor: str, levels: str, paired: str) -> None:
    def accuracies(its: Mapping[str, Any], seed: int) -> NDArray[np.float64]:
        return np.resize(random_accuracies(its, seed), its.get("evaluation.episodes", 40))

    part, first = ("test" if factor.startswith("evaluation") else "train"), levels.strip("[]").split(",")[0]
    grid = f"grid: {{{part}: {{{factor}: {levels}}}, seeds: 3, compare: {{baseline: {{{factor}: {first}}}}}}}\n"
    table = only(comparisons(made_grid(tmp_path, grid, accuracies)))
    assert column(table, "paired by") == [paired]


def test_algorithms_that_share_a_training_are_paired_by_it(tmp_path: Path) -> None:
    """MAML with its whole body frozen is ANIL."""
    grid = (
        "grid: {train: {algorithm.frozen_layers: [4], algorithm.name: [maml, anil, nil]}, seeds: 3,"
        " compare: {baseline: {algorithm.name: maml}}}\n"
    )
    table = only(comparisons(made_grid(tmp_path, grid)))
    assert column(table, "paired by") == ["seed, episode"] * 2
    assert column(table, "reads")[0] == "the same"


def test_a_comparison_without_results_says_so(tmp_path: Path) -> None:
    def accuracies(levels: Mapping[str, Any], seed: int) -> NDArray[np.float64] | None:
        return None if levels["episodes.shots"] == 5 else random_accuracies(levels, seed)

    table = only(comparisons(made_grid(tmp_path, FREEZING, accuracies)))
    assert column(table, "reads")[4:] == ["not complete"] * 4
    assert column(table, "difference")[4:] == ["–"] * 4


def test_comparisons_to_come_count_so_that_no_interval_grows(tmp_path: Path) -> None:
    def accuracies(levels: Mapping[str, Any], seed: int) -> NDArray[np.float64] | None:
        return None if levels["evaluation.frozen_layers"] in (1, 2) else random_accuracies(levels, seed)

    table = only(comparisons(made_grid(tmp_path, FREEZING, accuracies)))
    assert values(table, "comparisons") == [None, None, 4, 4] * 2


def test_one_seed_is_said_to_be_one(tmp_path: Path) -> None:
    grid = "grid: {test: {evaluation.frozen_layers: [0, 4]}, compare: {baseline: {evaluation.frozen_layers: 0}}}\n"
    assert any("One seed" in note for note in only(comparisons(made_grid(tmp_path, grid))).notes)


# --- relations --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cost", "outcome"),
    [(0.002, "holds"), (0.05, "does not hold"), (0.01, "cannot be told at this size")],
)
def test_a_relation_is_judged_by_the_interval(tmp_path: Path, cost: float, outcome: str) -> None:
    study = made_grid(tmp_path, FREEZING, costing(cost))
    judged = judged_relations(study)[0]
    assert (judged.name, judged.outcome) == ("a1", outcome)
    assert judged.sentence.startswith(f"{outcome}: shots=1: test_frozen_layers=0 − test_frozen_layers=4 is")
    assert "at most 1 asked" in judged.sentence
    table = only(relations(study))
    assert table.rows[0][1] == "46.9 ± 0.2 minus 46.3 ± 0.4: +0.6"
    assert table.rows[1][1] == "63.1 ± 0.4 minus 61.0 ± 0.6†: +2.1"
    assert values(table, "outcome")[0] == outcome
    assert values(table, "difference")[0] == pytest.approx(cost, abs=0.002)
    assert any(note.startswith("† ") for note in table.notes)


def sentences(study: Study) -> list[str]:
    return [one.sentence for one in judged_relations(study) if one.outcome == "not tested here"]


def test_a_relation_whose_cells_are_absent_or_several_says_so(tmp_path: Path) -> None:
    for name in ("absent", "several", "incomplete"):
        (tmp_path / name).mkdir()
    absent = made_grid(
        tmp_path / "absent", "grid: {test: {evaluation.frozen_layers: [0, 4]}, seeds: 3, published: table1}\n"
    )
    assert sentences(absent) == ["not tested here: no cell has shots=5 test_frozen_layers=0"]
    several = made_grid(
        tmp_path / "several",
        "grid: {train: {algorithm.inner_steps: [1, 5]}, test: {evaluation.frozen_layers: [0, 4]}, published: table1}\n",
    )
    assert sentences(several)[0] == "not tested here: 2 cells have shots=1 test_frozen_layers=0"
    incomplete = made_grid(
        tmp_path / "incomplete",
        FREEZING,
        lambda levels, seed: None if levels["episodes.shots"] == 1 else random_accuracies(levels, seed),
    )
    assert sentences(incomplete) == ["not tested here: shots=1 test_frozen_layers=0 is not complete"]
    assert only(relations(incomplete)).rows[0][2] == "–"
