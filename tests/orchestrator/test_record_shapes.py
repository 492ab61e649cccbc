"""Records that were damaged or made by others: named, and taken as absent; nothing follows where they lead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from made_store import made_grid

from orchestrator import home_objects
from orchestrator.errors import HomeError
from orchestrator.home import open_folder, open_home
from orchestrator.report.write import write_report
from orchestrator.results import load_study
from orchestrator.seal import seal_table

GRID = "trial: {dataset: {name: glyphs}}\ngrid: {train: {episodes.shots: [1, 2]}}\n"


@pytest.fixture(autouse=True)
def each_line_anew() -> None:
    """A line is said once a process."""
    home_objects._log_once.cache_clear()


def damage(path: Path, *place: Any, value: Any) -> None:
    """Puts another value into a JSON record, whose seal goes: it is one of before there were any."""
    record = json.loads(path.read_text())
    del record["seal"]
    holder = record
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("record", "place", "value"),
    [
        ("trainings/*/manifest.json", ["attempt"], "../../elsewhere"),
        ("trainings/*/manifest.json", ["files"], {"../../x": "0" * 64}),
        ("trainings/*/manifest.json", ["files"], {"/etc/passwd": "0" * 64}),
        ("trainings/*/manifest.json", ["final"], "many"),
        ("trainings/*/manifest.json", ["best", "linear"], None),
        ("trainings/*/attempts/a/attempt.json", ["started_ms"], None),
        ("trainings/*/attempts/a/attempt.json", ["started_ms"], 10**30),
        ("trainings/*/attempts/a/attempt.json", ["asked_by"], []),
        ("trainings/*/attempts/a/attempt.json", ["asked_by", "git_commit"], {}),
        ("trainings/*/attempts/a/attempt.json", ["environment"], {"device": "one"}),
        ("trainings/*/attempts/a/attempt.json", ["train_seconds"], "long"),
    ],
)
def test_a_record_of_another_shape_counts_as_absent(
    tmp_path: Path, record: str, place: list[Any], value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    whole = made_grid(tmp_path, GRID)
    path = sorted((tmp_path / "home").glob(record))[0]
    damage(path, *place, value=value)
    study = load_study("made", str(tmp_path / "home"))
    (line,) = [one.getMessage() for one in caplog.records if "passed over" in one.getMessage()]
    assert str(path) in line
    assert "\n" not in line
    (key,) = [key for key, its in study.trainings.items() if key in str(path)]
    if path.name == "manifest.json":
        assert [row.state for row in study.rows if row.keys.training == key] == ["planned"]
    else:
        assert study.trainings[key].attempts == ()
    assert [row for row in study.rows if row.keys.training != key] == [
        row for row in whole.rows if row.keys.training != key
    ]


@pytest.mark.parametrize("value", ["../../elsewhere", 1])
def test_data_of_another_shape_are_said(tmp_path: Path, value: Any) -> None:
    made_grid(tmp_path, GRID)
    damage(tmp_path / "home" / "sweeps" / "made" / "datasets.json", "glyphs", value=value)
    with pytest.raises(HomeError, match=r"datasets\.json: absent or damaged"):
        load_study("made", str(tmp_path / "home"))


def test_a_manifest_of_another_training_is_said(tmp_path: Path) -> None:
    made_grid(tmp_path, GRID)
    path = sorted((tmp_path / "home").glob("trainings/*/manifest.json"))[0]
    damage(path, "best", value={})
    with pytest.raises(HomeError, match="names no best weights of the linear head"):
        load_study("made", str(tmp_path / "home"))


def test_a_manifest_that_says_more_than_this_version_knows_counts(tmp_path: Path) -> None:
    whole = made_grid(tmp_path, GRID)
    path = sorted((tmp_path / "home").glob("trainings/*/manifest.json"))[0]
    damage(path, "of_a_later_version", value=1)
    assert load_study("made", str(tmp_path / "home")).rows == whole.rows


@pytest.mark.parametrize("column", ["accuracy", "other"])
@pytest.mark.parametrize("header", [{"weights_sha256": "0" * 64}, {"weights_sha256": 1}, {}])
def test_an_evaluation_of_another_shape_counts_as_absent(tmp_path: Path, column: str, header: dict[str, Any]) -> None:
    made_grid(tmp_path, GRID)
    path = sorted((tmp_path / "home").glob("trainings/*/evaluations/*.arrow"))[0]
    path.write_bytes(seal_table(pa.table({"episode": [0, 1], column: ["a", "b"]}), header))
    states = [row.state for row in load_study("made", str(tmp_path / "home")).rows]
    assert sorted(states) == ["completed", "planned"]


def test_data_that_a_sweep_lacks_is_said(tmp_path: Path) -> None:
    made_grid(tmp_path, GRID)
    (tmp_path / "home" / "sweeps" / "made" / "datasets.json").write_text("{}")
    with pytest.raises(HomeError, match=r"datasets\.json: absent or damaged"):
        load_study("made", str(tmp_path / "home"))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": 1', "\ufeff{}"], ids=["deep", "cut off", "another encoding"])
def test_what_is_no_json_is_named(tmp_path: Path, text: str) -> None:
    made_grid(tmp_path, GRID)
    (tmp_path / "home" / "sweeps" / "made" / "datasets.json").write_text(text)
    with pytest.raises(HomeError, match=r"datasets\.json: absent or damaged"):
        load_study("made", str(tmp_path / "home"))


@pytest.mark.parametrize(
    "data",
    [b"\xff" * 8, b"\xff" * 7 + b"\x00", b"\x02\0\0\0\0\0\0\0[]", b"\x02\0\0\0\0\0\0\0{}", b"\x09\0\0\0\0\0\0\0{}"],
)
def test_a_curve_that_is_none_is_named(tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The first bytes say how long its header is, up to 2^64."""
    made_grid(tmp_path, GRID)
    attempt = sorted((tmp_path / "home" / "trainings").glob("*/attempts/a"))[0]
    (attempt / "progress.safetensors").write_bytes(data)
    study = load_study("made", str(tmp_path / "home"))
    assert [its.curve for its in study.trainings.values()] == [(), ()]
    assert "progress.safetensors: damaged" in caplog.text


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
    write_report(study, open_folder(tmp_path / "home"), str(output))
    assert (tmp_path / "victim").read_text() == "mine"
    assert (output / "report.md").is_file()
