"""Whatever a dataset's file or source holds, it is read or refused in a line, and what was there before stays."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from commands import assert_told, contents, orchestrate
from damage import damaged_bytes
from hypothesis import given
from hypothesis import strategies as st
from miniature import folder as class_folders
from miniature import picture, zipped

NEEDS_HOME = True

SOURCE = class_folders(classes=4, images=2)
ODD_NAMES = st.sampled_from(
    [
        *("../x.png", "/x.png", "a\\..\\x.png", "C:x.png", "birds/a/c00/../x.png", "\x1b[2J.png", "a\nb/x.png"),
        *(".x.png", "x.png", "birds/x.gif", "birds/a/c00/", "split.csv", "birds/split.csv", "train/x.png", "ä/é.png"),
        "a" * 250,
    ]
)
PICTURES = [
    picture(1),
    picture(1, kind="JPEG"),
    *(picture(1, mode=mode) for mode in ("L", "1", "P", "RGBA", "LA", "I;16")),
    picture(1, mode="CMYK", kind="JPEG"),
    b"class,part\nc00,train\nc01,val\n",
    b"",
    b"GIF89a",
]


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No processes to decode a few images."""
    monkeypatch.setattr("orchestrator.environment.cpu_count", lambda: 1)


@given(st.data())
def test_a_damaged_dataset_is_named(folder: Path, small_home: Path, data: st.DataObject) -> None:
    path = next((small_home / "datasets").glob("*.arrow"))
    before = path.read_bytes()
    # Half of the damage lies around the pixels, which are nearly all of the file.
    edge = data.draw(st.sampled_from([0, 3000]))
    changed = data.draw(damaged_bytes(before[-edge:])) if edge else data.draw(damaged_bytes(before))
    path.write_bytes((before[:-edge] if edge else b"") + changed)
    damaged = path.read_bytes() != before
    try:
        outcome = orchestrate("data", "verify", "--home", "home")
        assert_told(outcome)
        assert outcome.code == (2 if damaged else 0)
        outcome = orchestrate(*data.draw(st.sampled_from(COMMANDS)), "--home", "home")
        assert_told(outcome)
    finally:
        path.write_bytes(before)


COMMANDS = [
    ["data", "list"],
    ["data", "show", "folder.birds", "--png", "sheet.png", "--ways", "2", "--queries", "1", "--episodes", "1"],
    ["sweep", "grid.yaml", "--dry-run"],
]


@st.composite
def sources(draw: st.DrawFn) -> bytes:
    """A zip of class folders: names, images or bytes of it changed."""
    files = dict(SOURCE)
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(sorted(files)))
        what = draw(st.sampled_from(["image", "bytes", "rename", "add", "take away"]))
        if what == "image":
            files[name] = draw(st.sampled_from(PICTURES))
        elif what == "bytes":
            files[name] = draw(damaged_bytes(files[name]))
        elif what == "rename":
            files[draw(ODD_NAMES)] = files.pop(name)
        elif what == "add":
            files[draw(ODD_NAMES)] = draw(st.sampled_from(PICTURES))
        elif len(files) > 1:
            del files[name]
    data = zipped(files)
    return draw(damaged_bytes(data)) if draw(st.booleans()) else data


@given(sources())
def test_a_source_is_imported_or_refused(folder: Path, data: bytes) -> None:
    (folder / "source.zip").write_bytes(data)
    before = contents(folder)
    outcome = orchestrate("data", "import", "folder.x", "--source", "source.zip", "--home", "imported", "--size", "8")
    assert_told(outcome, "importing ")
    after = contents(folder)
    new = after.keys() - before.keys()
    assert {name: after[name] for name in before} == before
    assert not new if outcome.code else all(name.startswith("imported") for name in new)


def test_a_zip_bomb_is_refused_by_what_it_declares(folder: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in SOURCE.items():
            archive.writestr(name, content)
        archive.writestr("birds/a/c00/bomb.png", bytes(65 << 20))
    (folder / "bomb.zip").write_bytes(file.getvalue())
    outcome = orchestrate("data", "import", "folder.x", "--source", "bomb.zip", "--home", "never")
    assert_told(outcome)
    assert outcome.code == 2
    assert not (folder / "never").exists()
