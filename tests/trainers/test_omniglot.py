"""Omniglot: layouts that are read, split tables, and damage that is refused in one line."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainers.datasets import omniglot as module
from trainers.datasets.image_file import ImageTable
from trainers.datasets.omniglot import CHARACTERS, OMNIGLOT
from trainers.datasets.recipe import NO_WISHES
from trainers.datasets.source import LARGEST_FILE
from trainers.errors import DatasetError

Make = Callable[..., ImageTable]
ALPHABETS = {"images_background": 3, "images_evaluation": 2}
CHARACTERS_AN_ALPHABET = 2


def png(seed: int, size: int = 105) -> bytes:
    """A one-bit image, white with a black square somewhere."""
    pixels = np.full((size, size), 255, np.uint8)
    x, y = np.random.default_rng(seed).integers(0, size - 30, 2)
    pixels[y : y + 30, x : x + 30] = 0
    file = io.BytesIO()
    Image.fromarray(pixels).convert("1").save(file, "PNG")
    return file.getvalue()


def members(part: str) -> dict[str, bytes]:
    """A small archive of the official layout: names as in the real one."""
    found, number = {}, 0
    for alphabet in range(ALPHABETS[part]):
        for character in range(1, CHARACTERS_AN_ALPHABET + 1):
            number += 1
            for drawer in range(1, 21):
                name = f"{part}/{part[7]}{alphabet}/character{character:02d}/{number:04d}_{drawer:02d}.png"
                found[name] = png(hash((part[7] == "b", number, drawer)) % 2**32)
    return found


def write_zip(path: Path, content: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe, expecting 6 + 4 characters instead of 964 + 659."""
    counts = {part: count * CHARACTERS_AN_ALPHABET for part, count in ALPHABETS.items()}
    monkeypatch.setattr(module, "CHARACTERS", counts)
    monkeypatch.setattr(module, "VALIDATION_ALPHABETS", 1)
    monkeypatch.setattr(module, "MAML_BOUNDS", {"train": (0, 6), "validation": (6, 8), "test": (8, 10)})


@pytest.fixture
def source(small: None, tmp_path: Path) -> Path:
    """A folder with two small archives."""
    folder = tmp_path / "source"
    folder.mkdir()
    for part in CHARACTERS:
        write_zip(folder / f"{part}.zip", members(part))
    return folder


@pytest.fixture
def expected(make: Make, source: Path) -> ImageTable:
    return make(OMNIGLOT, source)


class TestReal:
    def test_splits_follow_the_archives(self, omniglot: ImageTable, omniglot_source: Path) -> None:
        with zipfile.ZipFile(omniglot_source / "images_evaluation.zip") as archive:
            evaluation = {"/".join(name.split("/")[1:3]) for name in archive.namelist() if name.endswith(".png")}
        official = omniglot.splits["official"]
        assert {omniglot.classes[index].name for index in official["test"]} == evaluation
        assert sorted({omniglot.classes[index].alphabet for index in official["validation"]}) == [
            "N_Ko",
            "Ojibwe_(Canadian_Aboriginal_Syllabics)",
            "Sanskrit",
            "Syriac_(Estrangelo)",
            "Tagalog",
            "Tifinagh",
        ]
        alphabets = [{omniglot.classes[index].alphabet for index in part} for part in official.values()]
        assert sum(map(len, alphabets)) == len(set.union(*alphabets)) == 50

    def test_an_image_is_the_inverted_small_original(self, omniglot: ImageTable, omniglot_source: Path) -> None:
        with (
            zipfile.ZipFile(omniglot_source / "images_background.zip") as archive,
            archive.open("images_background/Greek/character05/0398_07.png") as file,
            Image.open(file) as image,
        ):
            original = 255 - np.asarray(image.convert("L")).astype(float)
        entry = next(entry for entry in omniglot.classes if entry.name == "Greek/character05")
        row = entry.first + 6
        assert omniglot.samples[row] == 7
        small = omniglot.pixels[row, :, :, 0].astype(float)
        assert abs(small.mean() - original.mean()) < 1
        rows, columns = np.arange(28) + 0.5, np.arange(105) + 0.5
        for axis in (0, 1):  # the ink's centre of gravity stays where it was, in fractions of the side
            before = (original.sum(axis=axis) * columns).sum() / original.sum() / 105
            after = (small.sum(axis=axis) * rows).sum() / small.sum() / 28
            assert abs(before - after) < 0.005

    def test_maml_split_never_changes(self, omniglot: ImageTable) -> None:
        assert omniglot.splits["maml"]["validation"][:5] == (10, 61, 63, 96, 99)

    def test_drawers_are_kept(self, omniglot: ImageTable) -> None:
        assert np.array_equal(omniglot.samples.reshape(-1, 20), np.tile(np.arange(1, 21), (1623, 1)))

    def test_the_one_known_pair_of_equal_images(self, omniglot: ImageTable) -> None:
        first = next(entry.first for entry in omniglot.classes if entry.name == "Braille/character01")
        assert np.array_equal(omniglot.pixels[first + 2], omniglot.pixels[first + 18])


class TestLayouts:
    def test_classes_are_sorted_and_parted(self, expected: ImageTable) -> None:
        names = [entry.name for entry in expected.classes]
        assert names == [f"{alphabet}/character0{n}" for alphabet in ("b0", "b1", "b2", "e0", "e1") for n in (1, 2)]
        assert expected.splits["official"] == {"train": (0, 1, 2, 3), "validation": (4, 5), "test": (6, 7, 8, 9)}
        assert sorted(sum(expected.splits["maml"].values(), ())) == list(range(10))

    def test_archives_in_any_order_give_the_same(self, make: Make, source: Path, expected: ImageTable) -> None:
        backwards = dict(reversed(members("images_background").items()))
        write_zip(source / "images_background.zip", backwards | {"images_background/": b"", "README.md": b"hello"})
        assert make(OMNIGLOT, source).fingerprint == expected.fingerprint

    @pytest.mark.parametrize("layout", ["unpacked", "doubled", "above", "beside", "archive", "bare", "mixed"])
    def test_reads(self, make: Make, source: Path, expected: ImageTable, layout: str) -> None:
        place = source
        if layout in ("unpacked", "above", "beside", "mixed"):
            for part in CHARACTERS:
                with zipfile.ZipFile(source / f"{part}.zip") as archive:
                    archive.extractall(source)
        if layout == "doubled":  # unpacked into a folder that an archiver named after the zip
            for part in CHARACTERS:
                with zipfile.ZipFile(source / f"{part}.zip") as archive:
                    archive.extractall(source / part)
        if layout in ("unpacked", "doubled", "above", "beside"):
            for part in CHARACTERS:
                (source / f"{part}.zip").unlink()
        if layout == "mixed":
            (source / "images_background.zip").unlink()
        if layout == "above":
            place = source.parent
        if layout == "beside":
            place = source / "images_evaluation"
        if layout == "archive":
            place = source / "images_background.zip"
        if layout == "bare":  # a zip without the top folder
            content = {name.partition("/")[2]: data for name, data in members("images_background").items()}
            write_zip(source / "images_background.zip", content)
        table = make(OMNIGLOT, place)
        assert table.fingerprint == expected.fingerprint
        assert np.array_equal(table.samples, expected.samples)

    def test_progress_reaches_the_end(self, make: Make, source: Path) -> None:
        calls: list[tuple[int, int]] = []
        make(OMNIGLOT, source, progress=lambda done, total: calls.append((done, total)))
        assert calls == [(200, 200)]

    def test_ink_is_bright(self, expected: ImageTable) -> None:
        """A black square of 30 on 105 pixels is about 8 on 28, white on black."""
        ink = (expected.pixels[0] > 127).sum()
        assert 49 <= ink <= 81


def first_name(part: str = "images_background") -> str:
    return next(iter(members(part)))


def damages() -> Iterator[tuple[str, dict[str, bytes | None], str]]:
    """(id, changes to the background archive where None removes, message)."""
    yield "text", {first_name(): b"I am no image\n"}, "neither PNG nor JPEG"
    yield "empty", {first_name(): b""}, "neither PNG nor JPEG"
    yield "cut", {first_name(): png(0)[:60]}, "is damaged"
    yield "size", {first_name(): png(0, 64)}, r"size \(64, 64\) instead of 105×105"
    yield "missing image", {first_name(): None}, "b0/character01 has 19 images instead of 20"
    yield "more", {"images_background/b7/character01/0001_01.png": png(0)}, "7 characters instead of 6"
    yield "twice", {"x/b0/character01/0001_01.png": png(0)}, "second image of b0/character01 by drawer 1"
    yield "outside", {"../b0/character01/0001_01.png": png(0)}, "unsafe name '../b0"
    yield "backslash", {"..\\b0\\character01.png": png(0)}, "unsafe name"
    yield "absolute", {"/tmp/b0/character01/0001_01.png": png(0)}, "unsafe name '/tmp"
    yield "drive", {"C:/b0/character01/0001_01.png": png(0)}, "unsafe name 'C:"
    yield "bomb", {"big.png": bytes(LARGEST_FILE + 1)}, f"of {LARGEST_FILE + 1} bytes"


def refused(make: Make, source: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        make(OMNIGLOT, source)
    message = str(caught.value)
    assert "\n" not in message
    assert "github.com/brendenlake/omniglot" in message or "--source" in message or "replace the file" in message
    return message


class TestDamage:
    @pytest.mark.parametrize(("changes", "message"), [pytest.param(*rest, id=name) for name, *rest in damages()])
    def test_is_refused(self, make: Make, source: Path, changes: dict[str, bytes | None], message: str) -> None:
        content = {name: data for name, data in (members("images_background") | changes).items() if data is not None}
        write_zip(source / "images_background.zip", content)
        with pytest.raises(DatasetError, match=message):
            make(OMNIGLOT, source)
        assert str(source / "images_background.zip") in refused(make, source)
        assert sorted(path.name for path in source.parent.iterdir()) == ["source"], "something was unpacked"

    def test_a_cut_archive_is_refused(self, make: Make, source: Path) -> None:
        path = source / "images_evaluation.zip"
        data = path.read_bytes()
        for size in (0, 10, len(data) // 2, len(data) - 30):
            path.write_bytes(data[:size])
            assert f"{path} is no readable zip" in refused(make, source)

    def test_a_wrong_byte_in_an_archive_is_refused(self, make: Make, source: Path) -> None:
        path = source / "images_evaluation.zip"
        data = bytearray(path.read_bytes())
        data[data.index(b"IDAT") + 6] ^= 0xFF
        path.write_bytes(data)
        assert "e0/character01/0001_01.png can't be read" in refused(make, source)

    def test_a_repeated_archive_is_refused(self, make: Make, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(module.CHARACTERS, "images_evaluation", 6)
        shutil.copyfile(source / "images_background.zip", source / "images_evaluation.zip")
        assert "repeats b0/character01" in refused(make, source)

    def test_what_is_absent_is_named(self, make: Make, source: Path) -> None:
        (source / "images_evaluation.zip").unlink()
        assert "neither images_evaluation.zip nor a folder images_evaluation" in refused(make, source)
        assert "no such file or folder" in refused(make, source / "absent")
        with pytest.raises(DatasetError, match="needs --source PATH"):
            OMNIGLOT.find(None, NO_WISHES)

    def test_a_file_that_is_no_archive_is_refused(self, make: Make, source: Path) -> None:
        path = source / "notes.txt"
        path.write_text("hello")
        assert str(path) in refused(make, path)
