"""A report as files: formats that other programs read, nothing stale, one line for what is wrong."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from made_store import made_grid, made_search, random_accuracies

from orchestrator.attempt import attempt_trial
from orchestrator.cli import cli
from orchestrator.errors import HomeError, InputError
from orchestrator.grid import expand, group_by_training
from orchestrator.home import open_home
from orchestrator.record import SweepRecord
from orchestrator.report.formats import csv_text, latex, markdown
from orchestrator.report.part import Table
from orchestrator.report.provenance import provenance
from orchestrator.report.write import write_report
from orchestrator.results import Study, cells_table, load_study
from orchestrator.row_table import results
from orchestrator.spec_file import load_spec
from orchestrator.store import Store, keys_of
from orchestrator.summary import summary
from orchestrator.sweep_state import status
from trainers.datasets.image_file import ImageTable

FREEZING = (
    "question: Is <script>alert(1)</script> | *rapid* learning `feature_reuse`?\n"
    "grid: {train: {episodes.shots: [1, 5]}, test: {evaluation.frozen_layers: [0, 4]}, seeds: 3,"
    " compare: {baseline: {evaluation.frozen_layers: 0}}, published: table1}\n"
)

NASTY = (
    r"50 % of $x_1$ & {y} #3 ~ ^ \alpha",
    "<script>alert(1)</script> a|b *bold* __init__ [link](x) `code` &lt;",
    "46.3 ± 0.4†, −0.6 – 1.0 × 2, [conv1] ≥ ≤ …",
    "two\nlines,  \"quoted\"; 'both'",
    "",
)


@pytest.fixture
def nasty() -> Table:
    rows = tuple((text, f"{number}") for number, text in enumerate(NASTY))
    values = tuple((text, number / 3) for number, text in enumerate(NASTY))
    return Table(
        "nasty", "A & B_1", ("te_xt & more", "n"), rows, values, ("text", "third"), ("note 50 % _x_", NASTY[2])
    )


def plain(text: str) -> str:
    return " ".join(text.split())


# --- formats ----------------------------------------------------------------------------------------------------------


def test_csv_gives_the_values_back(nasty: Table) -> None:
    header, *rows = csv.reader(io.StringIO(csv_text(nasty)))
    assert tuple(header) == nasty.value_columns
    assert [(text, float(third)) for text, third in rows] == list(nasty.values)
    absent = Table("t", "t", ("a",), (("–",),), ((None, True),), ("a", "b"))
    assert list(csv.reader(io.StringIO(csv_text(absent))))[1] == ["", "True"]


def test_markdown_shows_every_text_as_it_is_in_aligned_columns(nasty: Table) -> None:
    table, _, notes = markdown(nasty).partition("\n\n")
    lines = table.splitlines()
    assert len({tuple(match.start() for match in re.finditer(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert re.fullmatch(r"\|( -{3,} \|)+", lines[1])
    shown = [[unescaped(cell) for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in (lines[0], *lines[2:])]
    assert shown == [list(nasty.columns), *([plain(text), n] for text, n in nasty.rows)]
    assert [unescaped(line[2:]) for line in notes.splitlines()] == list(map(plain, nasty.notes))
    # nothing that Markdown or HTML would act on is left as it is
    assert not re.search(r"(?<!\\)[*`\[\]]|<|(?<![\w\\])_|(?<!\\)_(?!\w)", table + notes)


def unescaped(text: str) -> str:
    return html.unescape(re.sub(r"\\([\\`*|\[\]_])", r"\1", text)).strip()


LATEX_TEXTS = {
    **{rf"\{mark}": mark for mark in "&%$#_{}"},
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\ldots{}": "…",
    r"$\pm$": "±",
    r"$\times$": "×",
    r"$\geq$": "≥",
    r"$\leq$": "≤",
    r"$^\dagger$": "†",
    "$-$": "−",
    "$<$": "<",
    "$>$": ">",
    "$|$": "|",
    "{[}": "[",
    "--": "–",
}
LATEX_TOKEN = re.compile("|".join(map(re.escape, LATEX_TEXTS)) + r"|[^\\&%$#_{}~^<>|±−–†×≥≤…\[]")


def read_latex(text: str) -> str:
    """What LaTeX would print of one cell; fails on anything that it would act on."""
    printed, at = "", 0
    while at < len(text):
        token = LATEX_TOKEN.match(text, at)
        assert token, f"LaTeX would stumble at {text[at:]!r}"
        printed += LATEX_TEXTS.get(token[0], token[0])
        at = token.end()
    return printed.strip()


def read_latex_table(source: str) -> tuple[str, list[list[str]], list[str]]:
    """Caption, rows and notes of a table, by a grammar that allows nothing but what a booktabs table has."""
    shape = re.compile(
        r"% \\usepackage\{booktabs\}\n\\begin\{table\}\n  \\centering\n  \\caption\{(?P<caption>.*)\}\n"
        r"  \\label\{tab:[a-z0-9_-]+\}\n  \\begin\{tabular\}\{(?P<columns>(?:l|p\{0\.\d\\linewidth\})+)\}\n"
        r"    \\toprule\n    (?P<head>.*) \\\\\n    \\midrule\n(?P<body>(?:    .* \\\\\n)*)    \\bottomrule\n"
        r"  \\end\{tabular\}\n(?P<notes>(?:  \\par\\footnotesize .*\n)*)\\end\{table\}\n"
    )
    found = shape.fullmatch(source)
    assert found, source
    lines = [found["head"], *(line.strip().removesuffix(r"\\") for line in found["body"].splitlines())]
    rows = [[read_latex(cell) for cell in re.split(r"(?<!\\)&", line)] for line in lines]
    assert {len(row) for row in rows} == {len(re.findall(r"l(?!inewidth)|p\{", found["columns"]))}
    notes = [read_latex(line.replace(r"  \par\footnotesize ", "", 1)) for line in found["notes"].splitlines()]
    return read_latex(found["caption"]), rows, notes


def test_latex_prints_every_text_as_it_is(nasty: Table) -> None:
    caption, rows, notes = read_latex_table(latex(nasty))
    assert caption == nasty.title
    assert rows == [list(nasty.columns), *([plain(text), n] for text, n in nasty.rows)]
    assert notes == list(map(plain, nasty.notes))


# --- where the numbers come from --------------------------------------------------------------------------------------


def test_provenance_counts_what_is_shared_once(tmp_path: Path) -> None:
    study = made_grid(
        tmp_path,
        "trial: {training: {iterations: 200}}\n"
        "grid: {train: {algorithm.name: [maml, anil, nil], algorithm.frozen_layers: [4]}, seeds: 2}\n",
        lambda levels, seed: None if seed == 1 else random_accuracies({}, 0),
    )
    source = provenance(study)
    assert (source.trainings, source.evaluations) == (1, 2)  # MAML frozen is ANIL; NIL tests it in another way
    assert (source.iterations, source.train_flops, source.test_episodes) == (200, 2 * 10**9, 80)
    assert source.core_seconds == 20  # 10 s on 2 threads
    assert (source.state, source.missing, source.failed) == ("interrupted", 3, ())
    assert (source.started, source.git_commits) == ("2025-11-24 16:00 UTC", ("c" * 40,))
    assert [(one.device, one.attempts) for one in source.environments] == [("a processor", 1)]
    assert not source.mixed


def test_a_mix_of_environments_is_marked(tmp_path: Path) -> None:
    study = made_grid(tmp_path, FREEZING)
    store = Store(open_home(str(tmp_path / "home")))
    key = study.rows[0].keys.training
    record = store.attempt(key, "a")
    store.put_attempt(key, "a", {**record, "environment": {**record["environment"], "threads": 1}})
    mixed = load_study("made", str(tmp_path / "home"))
    source = provenance(mixed)
    assert source.mixed
    assert [(one.threads, one.attempts) for one in source.environments] == [(2, 5), (1, 1)]
    assert source.core_seconds == 5 * 20 + 10
    store.put_attempt(key, "a", {**store.attempt(key, "a"), "cpu_seconds": 3.5})  # as attempts record it
    assert provenance(load_study("made", str(tmp_path / "home"))).core_seconds == 5 * 20 + 3.5
    place = write_report(mixed, store.home).place
    assert "more than one environment" in Path(place, "report.md").read_text()
    assert "more than one environment" in Path(place, "tables/cells.md").read_text()


# --- files ------------------------------------------------------------------------------------------------------------


def report_of(study: Study, folder: Path, output: Path | None = None) -> Path:
    home = open_home(str(folder / "home"))
    return Path(write_report(study, home, None if output is None else str(output)).place)


def test_a_report_has_every_table_in_every_format(tmp_path: Path) -> None:
    place = report_of(made_grid(tmp_path, FREEZING), tmp_path)
    assert place == tmp_path / "home/sweeps/made/report"
    names = {path.stem for path in (place / "tables").iterdir()}
    assert names >= {"cells", "pivot", "against_table1", "comparisons", "relations"}
    for name in names:
        _, rows, _ = read_latex_table((place / f"tables/{name}.tex").read_text())
        header, *records = csv.reader(io.StringIO((place / f"tables/{name}.csv").read_text()))
        assert len(rows) == len(records) + 1
        assert {len(record) for record in records} == {len(header)}
        lines = (place / f"tables/{name}.md").read_text().splitlines()
        assert sum(line.startswith("| ") for line in lines) == len(records) + 2
        assert lines[0] in (place / "report.md").read_text()
    assert load_spec(place / "spec.yaml") == made_grid(tmp_path, FREEZING).spec


def test_the_page_has_question_answers_budget_and_command(tmp_path: Path) -> None:
    text = (report_of(made_grid(tmp_path, FREEZING), tmp_path) / "report.md").read_text()
    assert "<script" not in text
    assert r"*Is &lt;script>alert(1)&lt;/script> \| \*rapid\* learning \`feature_reuse\`?*" in text
    for words in ("**a1**: ", "6 trainings of 3,000 iterations", "12 evaluations on 480 test episodes", "120 core-sec"):
        assert words in text
    for words in ("fingerprint dddddddd", "a processor, AVX2, 2 threads", "orchestrate sweep spec.yaml"):
        assert words in text
    assert "This sweep" not in text


def test_a_report_takes_the_place_of_the_one_before_and_of_nothing_else(tmp_path: Path) -> None:
    place = report_of(made_grid(tmp_path, FREEZING), tmp_path, tmp_path / "out")
    (place / "tables/mine.csv").write_text("kept")
    (place / "notes.txt").write_text("kept")
    (tmp_path / "later").mkdir()
    report_of(made_grid(tmp_path / "later", "grid: {train: {episodes.shots: [1, 5]}}\n"), tmp_path / "later", place)
    names = {path.name for path in place.rglob("*") if path.is_file()}
    assert names >= {"mine.csv", "notes.txt", "cells.csv", "report.md"}
    assert not any(name.startswith(("pivot", "comparisons", "relations", "against")) for name in names)
    assert not any(name.startswith(".") for name in names)
    text = (place / "report.md").read_text()
    assert "1-shot" not in text
    listed = json.loads((place / "report.json").read_text())["files"]
    assert {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()} - {
        *("report.json", "notes.txt", "tables/mine.csv")
    } == set(listed)


def test_an_unfinished_sweep_says_so(tmp_path: Path) -> None:
    def accuracies(levels: Mapping[str, Any], seed: int) -> Any:
        return None if seed else random_accuracies(levels, seed)

    study = made_grid(tmp_path, FREEZING, accuracies)
    assert "**This sweep was interrupted" in (report_of(study, tmp_path) / "report.md").read_text()
    with SweepRecord(open_home(str(tmp_path / "home")), "made").lock():
        running = load_study("made", str(tmp_path / "home"))
    text = (report_of(running, tmp_path) / "report.md").read_text()
    assert "**This sweep is running: 8 results are missing.**" in text


def test_a_search_that_proposed_nothing_has_a_report(tmp_path: Path) -> None:
    text = "search: {trials: 2, space: {algorithm.inner_lr: {uniform: [0.1, 0.2]}}}\n"
    place = report_of(made_search(tmp_path, text, [], []), tmp_path)
    assert "2 results are missing" in (place / "report.md").read_text()


def test_a_place_that_can_not_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = made_grid(tmp_path, FREEZING)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--output .*file.*name a folder that can be written"):
        report_of(study, tmp_path, tmp_path / "file")
    home = open_home(str(tmp_path / "home"))

    def full(path: str, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(home, "put", full)
    with pytest.raises(HomeError, match=r"--home .*No space left on device.*--output"):
        write_report(study, home)


# --- the command, on real trainings -----------------------------------------------------------------------------------


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_real_grid_from_training_to_report(
    spec_file: Any, fresh_glyphs_home: Path, glyphs: ImageTable, one_thread: None
) -> None:
    factors = {"train": {"episodes.shots": [1, 2]}, "test": {"evaluation.frozen_layers": [0, 4]}, "seeds": 2}
    spec = load_spec(spec_file(grid={**factors, "compare": {"baseline": {"evaluation.frozen_layers": 0}}}))
    home = open_home(str(fresh_glyphs_home))
    SweepRecord(home, "tiny").put_spec(spec, {"glyphs": glyphs.fingerprint})
    asked_by = {"sweep": "tiny", "number": 0, "run": "r", "git_commit": None}
    for _, points in group_by_training(expand(spec), lambda config: keys_of(config, glyphs.fingerprint).training):
        events = list(attempt_trial(Store(home), [point.config for point in points], glyphs, asked_by))
        assert events[-1]["kind"] == "tested"

    done = CliRunner().invoke(cli, ["report", "tiny", "--home", str(fresh_glyphs_home), "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["report"] == f"{fresh_glyphs_home}/sweeps/tiny/report"
    assert said["relations"] == []
    assert all(Path(path).is_file() for path in said["tables"] + said["figures"])
    rows = results("tiny", str(fresh_glyphs_home)).to_pylist()
    table = csv.DictReader(io.StringIO(Path(said["report"], "tables/cells.csv").read_text()))
    for cell, record in enumerate(table):
        tested = [row["test_accuracy"] for row in rows[2 * cell : 2 * cell + 2]]
        assert float(record["test_accuracy"]) == pytest.approx(np.mean(tested))
        assert float(record["test_std_over_seeds"]) == pytest.approx(np.std(tested, ddof=1))
    before = {path: path.read_bytes() for path in Path(said["report"]).rglob("*") if path.is_file()}
    shown = CliRunner().invoke(cli, ["report", "tiny", "--home", str(fresh_glyphs_home)]).stdout
    assert f"{said['report']}/report.md" in shown
    assert {path: path.read_bytes() for path in Path(said["report"]).rglob("*") if path.is_file()} == before

    end = summary(str(fresh_glyphs_home), "tiny", status(home, "tiny"))
    study = load_study("tiny", str(fresh_glyphs_home))
    for record in cells_table(study).to_pylist():
        low, high = 100 * record["test_low95"], 100 * record["test_high95"]
        words = rf"{record['cell']} +{100 * record['test_accuracy']:.1f} +{low:.1f} to {high:.1f} +2  shots="
        assert re.search(words, end), end
    assert "1-nearest-neighbour" in end
    assert "orchestrate report tiny --home" in end


def test_the_end_of_a_large_grid_shows_twenty_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_grid(tmp_path, "grid: {train: {training.meta_lr: [" + ", ".join(f"0.{n + 100}" for n in range(23)) + "]}}\n")
    monkeypatch.setattr("orchestrator.summary._best_and_floors", lambda *_: [])
    home = open_home(str(tmp_path / "home"))
    lines = summary(home.url, "made", status(home, "made")).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("cell  test"))
    assert lines[start + 20].startswith("  19  ")
    assert lines[start + 21] == "… and 3 more"
    assert lines[start + 22].startswith("of one seed")
