"""``orchestrate data show``: what it says, and that the sheet has the pixels of the episodes that trials see."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orchestrator import contact_sheet as module
from orchestrator.contact_sheet import Asked, class_names, draw_sheet, sampler_of
from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageClass, ImageTable, open_image_file
from trainers.episodes import EpisodeSampler, training_sampler, validation_sampler
from trainers.episodes import test_sampler as sampler_in_test

ORCHESTRATE = Path(sys.executable).parent / "orchestrate"
SAMPLERS = {"train": training_sampler, "validation": validation_sampler, "test": sampler_in_test}


def show(home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ORCHESTRATE, "data", "show", *options, "--home", home], capture_output=True, text=True, timeout=120
    )


def spans(flags: Any) -> list[tuple[int, int]]:
    """[first, last] of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(flags, int), [0]])))
    return [(int(first), int(end) - 1) for first, end in edges.reshape(-1, 2)]


def coloured(channels: int) -> ImageTable:
    """12 classes of 6 images of 10×8, each of one value of its own, which no text or paper has."""
    count = 12 * 6
    values = np.arange(130, 130 + count, dtype=np.uint8)
    pixels = np.broadcast_to(values[:, None, None, None], (count, 10, 8, channels)).copy()
    if channels == 3:
        pixels[..., 1] = 0
    classes = [ImageClass(f"class {index:02d} of a long name", "", 6 * index, 6) for index in range(12)]
    parts = {"train": tuple(range(4)), "validation": tuple(range(4, 8)), "test": tuple(range(8, 12))}
    return ImageTable.build("glyphs", pixels, np.zeros(count, np.int32), classes, {"scripts": parts})


@pytest.mark.parametrize("part", SAMPLERS)
def test_episodes_are_those_of_trials(glyphs: ImageTable, part: str) -> None:
    config = TrialConfig.model_validate({"episodes": {"ways": 4, "shots": 2, "queries": 3}})
    assert sampler_of(glyphs, Asked(part, 4, 2, 3)) == SAMPLERS[part](config, glyphs)
    assert sampler_of(glyphs, Asked(part, 4, 2, 3, seed=7)).seed == 7


def test_rotations_are_the_usual(omniglot: ImageTable) -> None:
    assert sampler_of(omniglot, Asked("test", 5, 1, 1)).rotations
    assert sampler_of(omniglot, Asked("test", 5, 1, 1, split="maml")).split == "maml"


def test_class_names_are_those_of_the_support(glyphs: ImageTable) -> None:
    sampler = sampler_of(glyphs, Asked("test", 5, 2, 3))
    for index in range(3):
        support, query, _ = sampler.rows(index)
        for label, name in enumerate(class_names(sampler, index)):
            (entry,) = (entry for entry in glyphs.classes if entry.name == name)
            rows = {*support[label].tolist(), *query[label].tolist()}
            assert rows <= set(range(entry.first, entry.first + entry.count))


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_is_where_it_belongs(channels: int) -> None:
    """Read back from the picture: rows are classes, support left of query, episodes below each other."""
    ways, shots, queries = 3, 2, 4
    sampler = sampler_of(coloured(channels), Asked("validation", ways, shots, queries))
    sheet = np.asarray(draw_sheet(sampler, range(2)))
    values = sheet[..., 0].astype(int)
    mine = (sheet[..., 1] == 0) & (values >= 130) if channels == 3 else (values >= 130) & (values < 202)
    mine &= sheet[..., 2] == values
    # Of all lines, those with images: a column is one where some image reaches over its whole height.
    rows = [span for span in spans(mine.sum(axis=1) > 200) if span[1] - span[0] > 20]
    assert len(rows) == 2 * ways
    for number, (top, bottom) in enumerate(rows):
        support, query, _ = sampler.rows(number // ways)
        expected = [*support[number % ways], *query[number % ways]]
        columns = spans(mine[top : bottom + 1].all(axis=0))
        assert [values[top, left] - 130 for left, _ in columns] == expected
        sizes = {(bottom - top + 1, right - left + 1) for left, right in columns}
        assert sizes == {(70, 56)}, "10×8, seven times as large"
        for left, right in columns:
            assert (values[top : bottom + 1, left : right + 1] == values[top, left]).all()
        gaps = [after[0] - before[1] - 1 for before, after in pairwise(columns)]
        assert gaps == [module.GAP] * (shots - 1) + [module.GAP + module.APART] + [module.GAP] * (queries - 1)


def test_an_image_is_shown_upright_and_whole(glyphs: ImageTable) -> None:
    sampler = sampler_of(glyphs, Asked("test", 2, 1, 1))
    sheet = np.asarray(draw_sheet(sampler, [0]))[..., 0]
    top = module.MARGIN + 4 * module.LINE
    left = module.MARGIN + module.NAME_WIDTH
    assert (sheet[top : top + 56 : 2, left : left + 56 : 2] == sampler.episode(0).support[0, 0, :, :, 0]).all()


def test_what_is_said(glyphs_file: Path, fresh_glyphs_home: Path) -> None:
    done = show(fresh_glyphs_home, "glyphs", "--part", "test", "--episodes", "2")
    assert done.returncode == 0, done.stderr
    png = fresh_glyphs_home / "datasets" / f"{glyphs_file.stem}.png"
    assert done.stdout.splitlines() == [
        "glyphs: 24140 images, 1207 classes of 20, 28x28x1, 18.4 MiB",
        "  split scripts: 962 train, 74 validation, 171 test",
        f"  {fresh_glyphs_home / 'datasets' / glyphs_file.name}",
        f"  {png}: its first 2 episodes in test",
    ]
    sampler = sampler_of(open_image_file(glyphs_file), Asked("test", 5, 1, 5))
    with Image.open(png) as sheet:
        assert sheet.format == "PNG"
        assert (np.asarray(sheet) == np.asarray(draw_sheet(sampler, range(2)))).all()


def test_json(fresh_glyphs_home: Path, tmp_path: Path, glyphs: ImageTable) -> None:
    png = tmp_path / "sheet.png"
    done = show(fresh_glyphs_home, "glyphs", "--json", "--png", str(png), "--ways", "2", "--seed", "3")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert (said["images"], said["classes"], said["splits"]["scripts"]["train"]) == (24140, 1207, 962)
    sheet = said["contact_sheet"]
    assert (sheet["png"], sheet["part"], sheet["split"], sheet["seed"]) == (str(png), "train", "scripts", 3)
    sampler = EpisodeSampler(glyphs, "scripts", "train", False, 2, 1, 5, 3)
    assert sheet["episodes"] == [{"index": index, "classes": class_names(sampler, index)} for index in range(4)]
    assert png.exists()
    assert [path.suffix for path in (fresh_glyphs_home / "datasets").iterdir()] == [".arrow"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["glyphs", "--split", "official"], ["no split 'official'", "scripts"]),
        (["glyphs", "--part", "validation", "--ways", "100"], ["validation has 74 classes, too few for 100 ways"]),
        (["glyphs", "--shots", "19"], ["20 images, fewer than shots + queries = 24"]),
        (["glyphs", "--ways", "70", "--queries", "19"], ["--ways 70", "5600 images", "5000 are the most"]),
        (["glyphs", "--png", "/nonexistent/sheet.png"], ["can't write /nonexistent/sheet.png", "--png"]),
        (["glyphs", "--episodes", "0"], ["--episodes 0: must be"]),
        (["glyhps"], ["'glyhps'", "'glyphs'"]),
        (["cifar_fs"], ["cifar_fs is not in", "orchestrate data import cifar_fs --source PATH"]),
        (["omniglot"], ["omniglot is not in", "orchestrate data fetch omniglot"]),
    ],
)
def test_refused(fresh_glyphs_home: Path, options: list[str], words: list[str]) -> None:
    before = sorted(fresh_glyphs_home.rglob("*.*"))
    done = show(fresh_glyphs_home, *options)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert [word for word in words if word not in done.stderr] == []
    left = sorted(fresh_glyphs_home.rglob("*.*"))
    assert [path for path in left if path not in before and path.name != "home.json"] == []
