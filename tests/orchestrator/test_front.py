"""The Pareto front of a search, wherever it is shown: status, exports, the end of a sweep, the report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from click.testing import CliRunner
from in_process import TINY, run_here, sweep_file
from made_store import made_search, put_trial, random_accuracies

from orchestrator import rows as rows_module
from orchestrator.cli import cli
from orchestrator.home import open_home
from orchestrator.objectives import Objective
from orchestrator.report.pareto import draw_front, pareto
from orchestrator.report.part import Figure, Table
from orchestrator.report.words import flops
from orchestrator.report.write import write_report
from orchestrator.results import Study
from orchestrator.row_table import results
from orchestrator.rows import Row, find_sweep, front_rows, load_rows
from orchestrator.search.proposals import Outcome
from orchestrator.search.searcher import told_digest
from orchestrator.store import Store, keys_of
from orchestrator.summary import front_text, summary
from orchestrator.sweep_state import status
from trainers.adapt_cost import adapt_flops
from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageTable

BOTH = (Objective(maximize="validation_accuracy"), Objective(minimize="adapt_flops"))
TEXT = """\
trial: {dataset: {name: glyphs}}
search:
  trials: 6
  objective: [{maximize: validation_accuracy}, {minimize: adapt_flops}]
  space: {algorithm.inner_steps: {int: [1, 9]}, algorithm.name: {choice: [maml, anil]}}
"""
STEPS = (5, 1, 3, 4, 2, 9)
VALIDATIONS = [0.9, 0.4, 0.7, 0.6, 0.4]  # the last trial has not run
FRONT = [0, 2, 1]
"""Best validation first: 3 is beaten by 2; 4 is as good as 1 and costs more."""


def front_study(folder: Path, text: str = TEXT, trials: int = 6) -> Study:
    points = [{"algorithm.inner_steps": steps, "algorithm.name": "maml"} for steps in STEPS[:trials]]
    return made_search(folder, text, points, VALIDATIONS)


def row(number: int, **metrics: float) -> Row:
    config = TrialConfig()
    return Row(number, config, keys_of(config, "d" * 20), "completed", metrics)


def test_rows_of_the_front() -> None:
    rows = [
        row(0, validation_accuracy=0.5, adapt_flops=3),
        row(1, validation_accuracy=0.5, adapt_flops=3),
        row(2, validation_accuracy=0.9, adapt_flops=9),
        row(3, validation_accuracy=0.9, adapt_flops=10),
        Row(5, TrialConfig(), keys_of(TrialConfig(), "d" * 20), "failed", error="why"),
        replace(row(1_000_002, validation_accuracy=1.0, adapt_flops=1), confirms=2),  # chooses nothing
    ]
    assert [one.number for one in front_rows(rows, BOTH)] == [2, 0, 1]
    assert [one.number for one in front_rows(rows, BOTH[::-1])] == [2, 0, 1]
    assert front_rows(rows, BOTH[:1]) == []
    assert front_rows([], BOTH) == []
    without_images = row(4, validation_accuracy=0.99)
    assert front_rows([*rows, without_images], BOTH) is None  # it may beat any of them
    assert front_rows([*rows, without_images], BOTH[:1]) == []


def test_a_front_that_can_not_be_told_without_the_images_is_said_to_be_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_module, "image_shape_of", lambda *_: None)  # as of a folder that is elsewhere
    study = front_study(tmp_path)
    home = str(tmp_path / "home")
    said = "adapt_flops of trial 0 is not known without the images of glyphs; give the command where they are"
    assert status(open_home(home), "made")["front"] is None
    exported = results("made", home)["pareto"]
    assert (exported.type, set(exported.to_pylist())) == (pyarrow.bool_(), {None})
    shown = CliRunner().invoke(cli, ["status", "made", "--home", home], catch_exceptions=False).output.splitlines()
    assert f"Pareto front: {said}" in shown
    (table,) = pareto(study)
    assert isinstance(table, Table)
    assert (table.rows, table.notes) == ((), (f"Not known: {said}.",))
    made = write_report(study, open_home(home), str(tmp_path / "report"))
    assert said in Path(made.place, "report.md").read_text()


def test_what_confirms_a_search_is_none_of_its_trials(tmp_path: Path) -> None:
    text = TEXT.replace("  trials: 6\n", "  trials: 5\n  confirm: {top: 1, seeds: 1}\n")
    study = front_study(tmp_path, text, 5)
    home = open_home(str(tmp_path / "home"))
    (again,) = (one for one in study.rows if one.confirms is not None)
    put_trial(Store(home), again.config, random_accuracies({}, 0), 0.99)
    assert status(home, "made")["trials"]["completed"] == 6
    assert "3 of 5 trials" in front_text(home, "made")


def test_status_and_exports_say_it(tmp_path: Path) -> None:
    front_study(tmp_path)
    home = str(tmp_path / "home")
    found = status(open_home(home), "made")
    assert [one["number"] for one in found["front"]] == FRONT
    best = found["front"][0]
    assert {key: best[key] for key in ("training_key", "config", "metrics")} == found["best"]
    config = TrialConfig.model_validate_json(json.dumps(best["config"]))
    assert best["metrics"]["adapt_flops"] == adapt_flops(config, (28, 28, 1))
    exported = results("made", home)
    assert exported["pareto"].to_pylist() == [True, True, True, False, False, False]
    assert exported.column_names.index("pareto") == exported.column_names.index("error") - 1
    assert exported["adapt_flops"].to_pylist()[5] is None

    shown = CliRunner().invoke(cli, ["status", "made", "--home", home], catch_exceptions=False).output.splitlines()
    assert "Pareto front (maximize validation_accuracy and minimize adapt_flops): 3 of 5 trials" in shown[3]
    assert [int(line.split()[0]) for line in shown[5:] if line.split()[0].isdigit()] == FRONT
    assert flops(best["metrics"]["adapt_flops"]) in shown[5]


def test_of_one_objective_there_is_none(tmp_path: Path) -> None:
    text = TEXT.replace("[{maximize: validation_accuracy}, {minimize: adapt_flops}]", "{maximize: validation_accuracy}")
    study = front_study(tmp_path, text)
    home = str(tmp_path / "home")
    assert status(open_home(home), "made")["front"] is None
    assert "pareto" not in results("made", home).column_names
    assert pareto(study) == ()


def test_a_sweep_is_told_what_it_costs(glyphs: ImageTable, fresh_glyphs_home: Path, tmp_path: Path) -> None:
    """A real search: its proposals rest on both values of every earlier trial, and its end shows the front."""
    content: dict[str, Any] = {
        "trial": TINY,
        "search": {
            "trials": 4,
            "window": 1,
            "sampler": "random",
            "objective": [
                {"minimize": "adapt_flops"},
                {"maximize": "validation_accuracy"},
                {"minimize": "train_flops"},
            ],
            "space": {"algorithm.inner_steps": {"int": [1, 3]}, "algorithm.inner_lr": {"uniform": [0.1, 1.0]}},
        },
    }
    home = str(fresh_glyphs_home)
    assert run_here(sweep_file(tmp_path, "several", content), home) == []
    record, spec = find_sweep(open_home(home), "several")
    rows, proposals = load_rows(Store(open_home(home)), record, spec), record.proposals()
    assert [one.metrics["adapt_flops"] for one in rows] == [adapt_flops(one.config, glyphs.image_shape) for one in rows]
    outcomes = [
        Outcome(
            one.number,
            "complete",
            tuple(one.metrics[name] for name in ("adapt_flops", "validation_accuracy", "train_flops")),
        )
        for one in rows
    ]
    assert spec.search is not None
    for proposal in proposals:
        assert told_digest(spec.search, proposal.number, proposals, outcomes, 1) == proposal.told
    end = summary(home, "several", status(open_home(home), "several"))
    front = front_rows(rows, spec.search.objective)
    assert f"{len(front)} of 4 trials" in end
    assert "best trial by validation" in end


def parts(study: Study) -> tuple[Table, list[Figure]]:
    table, *figures = pareto(study)
    assert isinstance(table, Table)
    return table, [one for one in figures if isinstance(one, Figure)]


def test_the_report_has_a_table_and_a_figure(tmp_path: Path) -> None:
    study = front_study(tmp_path)
    table, (figure,) = parts(study)
    assert [row[0] for row in table.rows] == ["0", "2", "1"]
    for shown, values in zip(table.rows, table.values, strict=True):
        cell = next(cell for cell in study.cells if cell.number == values[0])
        by_column = dict(zip(table.value_columns, values, strict=True))
        estimate = cell.estimate
        assert estimate is not None
        assert (by_column["test_low95"], by_column["test_high95"]) == (estimate.low, estimate.high)
        assert by_column["adapt_flops"] == adapt_flops(cell.config, (28, 28, 1))
        assert shown[-1] == flops(by_column["adapt_flops"])
        assert by_column["algorithm.inner_steps"] == STEPS[cell.number]
    assert figure.name == "pareto-adapt-flops"
    assert "adapting to a test episode (MFLOP)" in figure.svg


def test_the_step_line_is_the_best_accuracy_that_so_much_buys(tmp_path: Path) -> None:
    study = front_study(tmp_path)
    front = front_rows(study.rows, BOTH)
    axes = draw_front(study.rows, front, "adapt_flops", others=False).axes[0]
    rest, line, marks = axes.get_lines()
    cost = [one.metrics["adapt_flops"] / 1e6 for one in study.rows if one.metrics]
    assert line.get_drawstyle() == "steps-post"
    assert list(line.get_xdata()) == pytest.approx([cost[1], cost[2], cost[0], max(cost)])
    assert list(line.get_ydata()) == pytest.approx([40, 70, 90, 90])
    assert sorted(marks.get_xdata()) == pytest.approx(sorted(cost[number] for number in FRONT))
    assert sorted(rest.get_ydata()) == pytest.approx([40, 60])
    assert rest.get_markerfacecolor() == "none"


def test_three_objectives_have_a_figure_for_each_cost(tmp_path: Path) -> None:
    study = front_study(
        tmp_path, TEXT.replace("{minimize: adapt_flops}", "{minimize: train_flops}, {minimize: adapt_flops}")
    )
    table, figures = parts(study)
    assert [one.name for one in figures] == ["pareto-train-flops", "pareto-adapt-flops"]
    assert table.value_columns[-2:] == ("train_flops", "adapt_flops")
    assert all("best at this cost or less" in one.svg for one in figures)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 FLOP"),
        (999, "999 FLOP"),
        (1000, "1 kFLOP"),
        (881778, "882 kFLOP"),
        (76038242, "76 MFLOP"),
        (2.5e12, "2.5 TFLOP"),
    ],
)
def test_counts_are_short(count: float, text: str) -> None:
    assert flops(count) == text
