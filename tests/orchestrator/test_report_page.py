"""The page of a report: whole, inline, escaped, and readable by people and by what reads to them."""

from __future__ import annotations

import itertools
import re
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from made_study import made_grid, made_search

from orchestrator.report.page import duration, inline_svg, page
from orchestrator.report.part import Figure, Table
from orchestrator.report.provenance import provenance
from orchestrator.report.trial_list import Scale, sparkline
from orchestrator.report.write import make_parts
from orchestrator.results import Study
from trainers.config import TrialConfig, flatten
from trainers.few_shot import FewShot

ROOT = Path(__file__).parents[2]
FROZEN = "evaluation.frozen_layers"
ATTACK = "<script>alert(1)</script> & \"quotes\" 'too'"
VOID = {"meta", "input", "br", "img", "link"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Descendants in document order; ``class_`` is the attribute ``class``."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        found = []
        for child in self.children:
            if tag in ("*", child.tag) and wanted.items() <= child.attributes.items():
                found.append(child)
            found += child.all(tag, **attributes)
        return found

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


class Tree(HTMLParser):
    """Elements as they nest; fails where an end tag does not close the last one open."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]
        self.feed(source)
        self.close()
        assert len(self.open) == 1

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        assert len(element.attributes) == len(attrs), f"an attribute twice in <{tag}>"
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.words.append(data)


def made_page(study: Study, parts: list[Table | Figure] | None = None) -> str:
    return page(study, make_parts(study) if parts is None else parts, provenance(study))


@pytest.fixture(scope="module")
def study() -> Study:
    return made_grid(
        train={"episodes.shots": [1, 5]},
        test={FROZEN: [0, 2, 4]},
        seeds=2,
        compare={"baseline": {FROZEN: 0}},
        published="table1",
        question=ATTACK,
        absent={(0, 1): f"lost {ATTACK}", (5, 0): None},
    )


@pytest.fixture(scope="module")
def source(study: Study) -> str:
    return made_page(study)


@pytest.fixture(scope="module")
def root(source: str) -> Element:
    return Tree(source).root


def test_nothing_is_loaded_from_anywhere(root: Element, source: str) -> None:
    loading = ("src", "srcset", "href", "xlink:href", "action", "data", "poster", "background")
    for element in root.all("*"):
        for name in loading:
            value = element.attributes.get(name, "#")
            assert value.startswith("#"), f"{element.tag} {name}={value}"
    assert not [one for one in root.all("*") if one.tag in ("link", "iframe", "object", "embed", "base", "form", "img")]
    assert not re.search(r"@import|url\((?!#)", source)
    (policy,) = [one for one in root.all("meta") if "http-equiv" in one.attributes]
    assert policy.attributes["content"].startswith("default-src 'none'")


def test_texts_of_users_are_escaped(root: Element) -> None:
    assert [one.text for one in root.all("h1")] == [ATTACK]
    (script,) = root.all("script")
    assert "alert(1)" not in script.text
    assert f"lost {ATTACK}" in root.all("span", class_="bad")[0].text
    (device,) = [one for one in root.all("dd") if "a <fast> one" in one.text]
    assert device.text == "a <fast> one, AVX2, 2 threads; 4 attempts"


def test_every_row_is_there_once(study: Study, root: Element) -> None:
    (trials,) = root.all("ol", class_="trials")
    summaries = trials.all("summary")
    assert [int(one.attributes["data-number"]) for one in summaries] == list(range(12))
    for row, summary, trial in zip(study.rows, summaries, trials.children, strict=True):
        shots, frozen = row.config.episodes.shots, row.config.evaluation.frozen_layers
        label, outcome = summary.all("span")
        assert label.text == f"maml shots={shots} test_frozen_layers={frozen} seed={row.config.training.seed}"
        if row.state == "completed":
            mean = 100 * row.metrics["test_accuracy"]
            assert outcome.text == f"validation {mean:.1f} %, test {mean:.1f} ± 2.0 %"
        facts = dict(zip((one.text for one in trial.all("dt")), (one.text for one in trial.all("dd")), strict=True))
        assert facts["training"] == row.keys.training
        shared = base_config(root)
        own = {name: value for name, value in facts.items() if name in shared}
        assert as_shown(row.config) == {**shared, **own}
    assert [one.all("span")[1].text for one in summaries if one.attributes["data-number"] in ("1", "10")] == [
        f"failed: lost {ATTACK}",
        "planned",
    ]


def base_config(root: Element) -> dict[str, str]:
    lists = [one for one in root.all("dl") if one.all("dt") and one.all("dt")[0].text == "problem"]
    (its,) = lists
    return dict(zip((one.text for one in its.all("dt")), (one.text for one in its.all("dd")), strict=True))


def as_shown(config: TrialConfig) -> dict[str, str]:
    return {path: "–" if value in (None, []) else str(value) for path, value in flatten(config).items()}


def test_every_part_is_there(study: Study, root: Element) -> None:
    parts = make_parts(study)
    tables = [part for part in parts if isinstance(part, Table)]
    figures = [part for part in parts if isinstance(part, Figure)]
    assert len(tables) >= 3
    assert len(figures) == 2
    assert [one.text for one in root.all("h3")] == [part.title for part in (*figures, *tables)]
    for table, drawn in zip(tables, root.all("table"), strict=True):
        assert tuple(one.text for one in drawn.all("th", scope="col")) == tuple(map(normal, table.columns))
        cells = [tuple(one.text for one in row.children) for row in drawn.all("tbody")[0].all("tr")]
        assert cells == [tuple(map(normal, row)) for row in table.rows]
        assert len(drawn.all("th", scope="row")) == len(table.rows)
        for note in table.notes:
            assert normal(note) in root.text
    relations = next(table for table in tables if table.name == "relations")
    answers = root.all("ul", class_="answers")[0].all("li")
    assert [one.text for one in answers] == [f"{row[0]} {row[-1]}" for row in relations.rows]


def normal(text: str) -> str:
    return " ".join(text.split())


def test_the_page_says_what_it_cost_and_how_to_run_it_again(study: Study, root: Element) -> None:
    its = provenance(study)
    assert root.all("pre")[0].text == its.command
    assert "1 min 36 s (seconds × threads of all attempts)" in root.text  # 4 attempts of 12 s on 2 threads
    assert f"{its.trainings}, together {its.iterations:,} iterations" in root.text
    assert its.iterations == 500 * its.trainings
    assert "fingerprint " + "d" * 20 in root.text
    assert "c" * 40 in root.text
    assert its.missing == 1
    assert "interrupted" in root.all("p", class_="bad")[0].text
    failures = next(one for one in root.all("section") if one.attributes["aria-labelledby"] == "failures")
    assert [one.text for one in failures.all("li")] == [
        f"trial 1 (maml shots=1 test_frozen_layers=0 seed=1): lost {ATTACK}"
    ]
    assert "name a new one with --home to train" in root.text


def test_headings_are_in_order_and_ids_are_unique(root: Element) -> None:
    levels = [int(one.tag[1]) for one in root.all("*") if re.fullmatch(r"h[1-6]", one.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [one.attributes["id"] for one in root.all("*") if "id" in one.attributes]
    assert len(set(ids)) == len(ids)
    for one in root.all("*"):
        for name in ("href", "aria-labelledby", "for", "clip-path"):
            value = one.attributes.get(name, "")
            for target in re.sub(r"url\((.*)\)", r"\1", value).lstrip("#").split():
                assert target in ids, f"{one.tag} {name}={value}"


def test_drawings_have_names(study: Study, root: Element) -> None:
    drawings = root.all("svg")
    assert len(drawings) == 2 + 12
    for one in drawings:
        assert one.attributes["role"] == "img"
        assert one.children[0].tag == "title"
        assert one.children[0].text
    figures = [part for part in make_parts(study) if isinstance(part, Figure)]
    for one, part in zip(root.all("figure"), figures, strict=True):
        assert [child.tag for child in one.children] == ["svg", "figcaption"]
        assert one.children[0].children[0].text == part.title
        assert one.children[1].text == normal(part.caption)
    assert root.all("html")[0].attributes["lang"] == "en"
    assert not [one for one in root.all("svg") if one.all("style")]


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_has_contrast_in_light_dark_and_print(source: str) -> None:
    themes = [dict(re.findall(r"--(\w+): (#\w{6});", rule)) for rule in re.findall(r":root \{(.*?)\}", source)]
    assert len(themes) == 3
    for theme in themes:
        for ink in ("text", "quiet", "accent", "bad"):
            for paper in ("page", "card"):
                light, dark = sorted((luminance(theme[ink]), luminance(theme[paper])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, paper, theme)
    assert "prefers-color-scheme: dark" in source
    assert "@media print" in source
    assert 'name="viewport"' in source


def test_ids_of_two_figures_do_not_meet() -> None:
    svg = (
        '<?xml version="1.0"?>\n<svg width="9pt" height="9pt" viewBox="0 0 9 9" xmlns="http://www.w3.org/2000/svg" '
        'version="1.1"><defs><style type="text/css">*{fill: red}</style></defs><defs><path id="m1" d="M 0 0"/></defs>'
        '<g clip-path="url(#p1)"><use xlink:href="#m1"/></g><clipPath id="p1"/></svg>'
    )
    one, other = (Tree(inline_svg(Figure(name, "a < b", "c", svg, b""))).root for name in ("one", "other"))
    ids = [{each.attributes["id"] for each in tree.all("*") if "id" in each.attributes} for tree in (one, other)]
    assert not ids[0] & ids[1]
    assert {"one-m1", "one-p1"} <= ids[0]
    assert one.all("use")[0].attributes["href"] == "#one-m1"
    assert one.all("g")[0].attributes["clip-path"] == "url(#one-p1)"
    assert one.all("title")[0].text == "a < b"
    assert not one.all("style")
    assert set(one.all("svg")[0].attributes) == {"viewbox", "class", "role", "aria-labelledby"}


def test_a_sparkline_is_the_curve() -> None:
    (drawing,) = Tree(sparkline([(50, 0.2), (100, 0.6)], Scale(0.2, 0.6, 200), FewShot.score)).root.all("svg")
    assert drawing.all("polyline")[0].attributes["points"] == "25.0,24.0 50.0,0.0"
    assert drawing.all("title")[0].text == "validation accuracy 20.0 % at iteration 50, 60.0 % at 100"
    assert sparkline([], Scale(0.2, 0.6, 200), FewShot.score) == ""
    assert "0.0" in sparkline([(1, 0.5)], Scale(0.5, 0.5, 1), FewShot.score)


def test_a_search_answers_with_its_best_by_validation() -> None:
    study = made_search(6)
    root = Tree(made_page(study)).root
    best = max(study.rows, key=lambda row: (row.metrics["validation_accuracy"], -row.number))
    test = 100 * best.metrics["test_accuracy"]
    (answer,) = root.all("ul", class_="answers")[0].all("li")
    assert f"trial {best.number}," in answer.text
    assert f"{test:.1f} ± 2.0 % in the test" in answer.text
    assert "Each trial is one training" in root.text


def test_a_study_of_which_nothing_is_there_yet_has_a_page() -> None:
    empty: Mapping[tuple[int, int], str | None] = {(0, 0): None, (1, 0): None}
    study = made_grid(train={"episodes.shots": [1, 5]}, absent=empty)
    bare: dict[str, Any] = {key: type(its)(key, (), ()) for key, its in study.trainings.items()}
    root = Tree(made_page(Study(study.spec, study.cells, bare, {}, "interrupted"))).root
    assert [one.text for one in root.all("h1")] == ["made"]
    assert len(root.all("ol", class_="trials")[0].children) == 2
    assert root.all("svg") == []
    assert Tree(made_page(made_search(1), [])).root.all("table") == []


def test_five_hundred_trials_are_made_in_seconds_and_stay_small() -> None:
    study = made_search(500, validations=250)
    parts = make_parts(study)
    its = provenance(study)
    begun = time.process_time()
    text = page(study, parts, its)
    assert time.process_time() - begun < 10
    assert len(text.encode()) < 3_000_000
    assert len(Tree(text).root.all("svg", class_="spark")) == 500


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(4.06, "4.1 s"), (59.94, "59.9 s"), (61, "1 min 1 s"), (3599.7, "1 h 0 min"), (4_000_000, "1,111 h 6 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_files_beside_the_modules_are_packaged() -> None:
    package = ROOT / "orchestrator"
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packaged = {path for pattern in settings["package-data"]["orchestrator"] for path in package.glob(pattern)}
    there = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert there == packaged
