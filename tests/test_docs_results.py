"""``docs/results`` says what its tables say."""

from __future__ import annotations

import csv
import re
import tempfile
from pathlib import Path

import pytest
import yaml

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
README = (RESULTS / "README.md").read_text(encoding="utf-8")
MACHINE = (str(RESULTS.parents[1]), f"{Path.home()}/", f"{tempfile.gettempdir()}/", "localhost")
FOLDERS = sorted(path.parent for path in RESULTS.glob("*/report.md"))


UNTOLD = "not tested here"


def shown(value: str, returns: bool) -> str:
    """As points of accuracy; returns as they are."""
    text = f"{(1 if returns else 100) * float(value):+.1f}".replace("-", "−")
    return text.lstrip("+−") if float(text.replace("−", "-")) == 0 else text


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_each_relation_stands_in_the_table_with_its_numbers_and_verdict(folder: Path) -> None:
    path = folder / "tables" / "relations.csv"
    relations = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.is_file() else []
    lines = [line for line in README.splitlines() if f"]({folder.name}/report.md)" in line]
    returns = yaml.safe_load((folder / "spec.yaml").read_text(encoding="utf-8"))["trial"].get("problem") == "rl"
    if len(lines) < len(relations):  # those that another report tests may be left out
        relations = [relation for relation in relations if relation["outcome"] != UNTOLD]
    assert len(lines) == len(relations)
    for line, relation in zip(lines, relations, strict=True):
        cells = [cell.strip() for cell in line.split("|")]
        assert cells[4] == relation["outcome"]
        if relation["difference"]:
            value, low, high = (shown(relation[name], returns) for name in ("difference", "low95", "high95"))
            assert cells[3] == f"{value} ({low} to {high})"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_a_report_is_whole_and_of_no_machine(folder: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (folder / "report.md").read_text(encoding="utf-8")):
        assert (folder / target).is_file()
    for file in folder.rglob("*"):
        if file.suffix in {".md", ".html", ".csv", ".tex", ".yaml", ".json", ".svg"}:
            text = file.read_text(encoding="utf-8")
            assert [place for place in MACHINE if place in text] == []
    assert any(line.startswith("## ") and folder.name in line for line in README.splitlines())


def test_there_are_relations() -> None:
    assert sum(line.startswith("| (") for line in README.splitlines()) > 10
