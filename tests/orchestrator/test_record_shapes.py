"""Records that were damaged or made by others: named where they are read, and nothing follows where they lead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_store import made_grid

from orchestrator.errors import HomeError
from orchestrator.home import open_folder, open_home
from orchestrator.report.write import write_report
from orchestrator.results import load_study

GRID = "trial: {dataset: {name: glyphs}}\ngrid: {train: {episodes.shots: [1, 2]}}\n"


def damage(path: Path, *place: Any, value: Any) -> None:
    """Puts another value into a JSON record."""
    record = json.loads(path.read_text())
    holder = record
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("record", "place", "value"),
    [
        ("sweeps/made/datasets.json", ["glyphs"], "../../elsewhere"),
        ("sweeps/made/datasets.json", ["glyphs"], 1),
        ("trainings/*/manifest.json", ["attempt"], "../../elsewhere"),
        ("trainings/*/manifest.json", ["files"], {"../../x": "0" * 64}),
        ("trainings/*/manifest.json", ["files"], {"/etc/passwd": "0" * 64}),
        ("trainings/*/manifest.json", ["final"], "many"),
        ("trainings/*/manifest.json", ["best"], {}),
        ("trainings/*/manifest.json", ["best", "linear"], None),
        ("trainings/*/attempts/a/attempt.json", ["started_ms"], None),
        ("trainings/*/attempts/a/attempt.json", ["started_ms"], 10**30),
        ("trainings/*/attempts/a/attempt.json", ["asked_by"], []),
        ("trainings/*/attempts/a/attempt.json", ["asked_by", "git_commit"], {}),
        ("trainings/*/attempts/a/attempt.json", ["environment"], {"device": "one"}),
        ("trainings/*/attempts/a/attempt.json", ["train_seconds"], "long"),
    ],
)
def test_a_record_of_another_shape_is_named(tmp_path: Path, record: str, place: list[Any], value: Any) -> None:
    made_grid(tmp_path, GRID)
    path = sorted((tmp_path / "home").glob(record))[0]
    damage(path, *place, value=value)
    with pytest.raises(HomeError, match="damaged record") as caught:
        load_study("made", str(tmp_path / "home"))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_data_that_a_sweep_lacks_is_said(tmp_path: Path) -> None:
    made_grid(tmp_path, GRID)
    (tmp_path / "home" / "sweeps" / "made" / "datasets.json").write_text("{}")
    with pytest.raises(HomeError, match=r"datasets\.json: damaged record \(names no glyphs\)"):
        load_study("made", str(tmp_path / "home"))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": 1', "\ufeff{}"], ids=["deep", "cut off", "another encoding"])
def test_what_is_no_json_is_named(tmp_path: Path, text: str) -> None:
    made_grid(tmp_path, GRID)
    (tmp_path / "home" / "sweeps" / "made" / "datasets.json").write_text(text)
    with pytest.raises(HomeError, match=r"datasets\.json: damaged record"):
        load_study("made", str(tmp_path / "home"))


@pytest.mark.parametrize(
    "data",
    [b"\xff" * 8, b"\xff" * 7 + b"\x00", b"\x02\0\0\0\0\0\0\0[]", b"\x02\0\0\0\0\0\0\0{}", b"\x09\0\0\0\0\0\0\0{}"],
)
def test_a_curve_that_is_none_is_named(tmp_path: Path, data: bytes) -> None:
    """The first bytes say how long its header is, up to 2^64."""
    made_grid(tmp_path, GRID)
    attempt = sorted((tmp_path / "home" / "trainings").glob("*/attempts/a"))[0]
    (attempt / "progress.safetensors").write_bytes(data)
    with pytest.raises(HomeError, match=r"progress\.safetensors: damaged record"):
        load_study("made", str(tmp_path / "home"))


@pytest.mark.parametrize("path", ["../secret", "sweeps/../../secret", ".."])
def test_no_path_leads_out_of_a_home(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_text("1")
    home = open_home(str(tmp_path / "home"))
    for act in (home.read, home.exists, home.names, home.remove, lambda place: home.put(place, b"")):
        with pytest.raises(HomeError, match="leads out of the home"):
            act(path)
    assert (tmp_path / "secret").read_text() == "1"


@pytest.mark.parametrize("name", ["../../victim", "/victim", "tables/../../victim", ".hidden", ""])
def test_a_report_removes_nothing_but_files_of_reports(tmp_path: Path, name: str) -> None:
    """Its listing may come from a foreign home or folder."""
    study = made_grid(tmp_path, GRID)
    output = tmp_path / "inner" / "report"
    output.mkdir(parents=True)
    (output / "report.json").write_text(json.dumps({"files": [name]}))
    (tmp_path / "victim").write_text("mine")
    with pytest.raises(HomeError, match=r"report\.json: damaged record"):
        write_report(study, open_folder(tmp_path / "home"), str(output))
    assert (tmp_path / "victim").read_text() == "mine"
    assert [path.name for path in output.iterdir()] == ["report.json"]
