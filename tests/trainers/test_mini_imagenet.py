"""miniImageNet: images in one folder or in one a class, and split files that name each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from miniature import Files, mini_imagenet, write_folder, write_zip
from PIL import Image

from trainers.datasets.image_file import ImageTable
from trainers.datasets.mini_imagenet import MINI_IMAGENET
from trainers.datasets.recipe import NO_WISHES
from trainers.errors import DatasetError

Make = Callable[..., ImageTable]
FIRST = "n0000000000000000.jpg"


def by_class(files: Files) -> Files:
    """The images in a folder for each class, the split files in one of their own."""
    moved = {}
    for name, content in files.items():
        file = name.rpartition("/")[2]
        moved[f"images/{file[:9]}/{file}" if file.endswith(".jpg") else f"split/{file}"] = content
    return moved


def numbered(files: Files) -> Files:
    """As ``by_class``, with file names that repeat in every class."""
    renamed = {}
    for name, content in by_class(files).items():
        folder, _, file = name.rpartition("/")
        if file.endswith(".jpg"):
            renamed[f"{folder}/{file[9:]}"] = content
        else:
            lines = content.decode().splitlines()
            renamed[name] = "\n".join([lines[0], *(line[9:] for line in lines[1:])]).encode()
    return renamed


def test_images_are_84_wide_and_parted_by_the_files(make: Make, tmp_path: Path) -> None:
    files = mini_imagenet(images=2)
    table = make(MINI_IMAGENET, write_zip(tmp_path / "mini.zip", files))
    assert table.pixels.shape == (200, 84, 84, 3)
    names = [entry.name for entry in table.classes]
    assert names == [f"n{index:08d}" for index in range(100)]
    assert [len(part) for part in table.splits["ravi"].values()] == [20, 64, 16]  # test, train, validation
    assert table.splits["ravi"]["validation"] == tuple(range(64, 80))
    write_folder(tmp_path / "unpacked", files)
    with Image.open(tmp_path / "unpacked" / "mini" / "images" / FIRST) as image:
        assert np.array_equal(table.pixels[0], image.resize((84, 84), Image.Resampling.LANCZOS))


@pytest.mark.parametrize("layout", [lambda files: files, by_class, numbered], ids=["flat", "by class", "numbered"])
def test_all_layouts_give_the_same(make: Make, tmp_path: Path, layout: Callable[[Files], Files]) -> None:
    files = mini_imagenet(images=2)
    expected = make(MINI_IMAGENET, write_zip(tmp_path / "expected.zip", files))
    moved = dict(reversed(layout(files).items())) | {"extra/unused.jpg": b"nobody names it"}
    assert make(MINI_IMAGENET, write_folder(tmp_path / "folder", moved)).fingerprint == expected.fingerprint


def test_processes_and_one_process_make_the_same(make: Make, tmp_path: Path) -> None:
    """600 images are three jobs, and 8 take part in two processes: enough are made here."""
    source = write_zip(tmp_path / "mini.zip", mini_imagenet(images=21))
    calls: list[tuple[int, int]] = []
    many = make(MINI_IMAGENET, source, processes=2, progress=lambda *call: calls.append(call))
    assert np.array_equal(many.pixels, make(MINI_IMAGENET, source).pixels)
    assert calls[-1] == (2100, 2100)
    assert len(calls) > 8
    assert calls == sorted(calls)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("train.csv", lambda text: text.replace("filename,label", "a,b"), "first line must be filename,label"),
        ("train.csv", lambda text: text + "x.jpg\n", r"train\.csv:66: must be filename,label"),
        ("train.csv", lambda text: text + "x.jpg,n00000000\n", r"names x\.jpg of class n00000000, .* holds 0 such"),
        ("train.csv", lambda text: text + f"{FIRST},n00000000\n", f"names {FIRST} a second time"),
        ("val.csv", lambda text: text + f"{FIRST},n00000000\n", "class 'n00000000' is in validation, and in train by"),
        ("val.csv", lambda text: text.splitlines()[0], "no class is in validation"),
        ("val.csv", lambda text: "\n".join(text.splitlines()[:-1]), "15 classes are in validation instead of 16"),
    ],
)
def test_wrong_split_files_are_refused(
    make: Make, tmp_path: Path, file: str, change: Callable[[str], str], message: str
) -> None:
    files = mini_imagenet(images=1)
    files[f"mini/{file}"] = change(files[f"mini/{file}"].decode()).encode()
    with pytest.raises(DatasetError, match=message) as caught:
        make(MINI_IMAGENET, write_zip(tmp_path / "mini.zip", files))
    assert "\n" not in str(caught.value)


def test_split_files_must_be_there_once(make: Make, tmp_path: Path) -> None:
    files = mini_imagenet(images=1)
    with pytest.raises(DatasetError, match="needs --source PATH"):
        MINI_IMAGENET.find(None, NO_WISHES)
    with pytest.raises(DatasetError, match=r"holds 2 files val\.csv instead of one"):
        make(MINI_IMAGENET, write_zip(tmp_path / "twice.zip", files | {"val.csv": b""}))
    del files["mini/val.csv"]
    with pytest.raises(DatasetError, match=r"holds 0 files val\.csv instead of one; .*github\.com"):
        make(MINI_IMAGENET, write_zip(tmp_path / "without.zip", files))
