"""Folders of one's own images: which are classes, and who is in which part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from miniature import Files, folder, picture, write_folder, write_zip

from trainers.datasets.folder import FOLDER
from trainers.datasets.image_file import ImageTable
from trainers.datasets.recipe import NO_WISHES, Wishes
from trainers.errors import DatasetError

Make = Callable[..., ImageTable]


def parts(table: ImageTable) -> dict[str, list[str]]:
    return {part: [table.classes[index].name for index in indices] for part, indices in table.splits["classes"].items()}


def flat(names: str, images: int = 2) -> Files:
    """A folder for each letter."""
    return {f"{name}/{number}.png": picture(number) for name in names for number in range(images)}


class TestClasses:
    def test_are_folders_named_below_what_they_share(self, make: Make, tmp_path: Path) -> None:
        table = make(FOLDER, write_zip(tmp_path / "birds.zip", folder(classes=4)))
        assert [entry.name for entry in table.classes] == ["a/c00", "a/c02", "b/c01", "b/c03"]
        assert [entry.alphabet for entry in table.classes] == ["a", "a", "b", "b"]
        assert table.image_shape == (84, 84, 3)

    def test_are_the_same_in_a_folder_a_zip_and_below_others(self, make: Make, tmp_path: Path) -> None:
        files = folder()
        deeper = {f"x/y/{name}": content for name, content in reversed(files.items())} | {"x/notes.txt": b"hello"}
        found = {
            make(FOLDER, write_zip(tmp_path / "one.zip", files)).fingerprint,
            make(FOLDER, write_folder(tmp_path / "two", files)).fingerprint,
            make(FOLDER, tmp_path / "two" / "birds").fingerprint,
            make(FOLDER, write_zip(tmp_path / "three.zip", deeper)).fingerprint,
        }
        assert len(found) == 1

    def test_may_hold_other_classes(self, make: Make, tmp_path: Path) -> None:
        files = flat("ab") | {"a/inner/1.JPEG": picture(7, kind="JPEG")}
        table = make(FOLDER, write_folder(tmp_path / "source", files))
        assert [(entry.name, entry.count) for entry in table.classes] == [("a", 2), ("a/inner", 1), ("b", 2)]

    def test_do_not_depend_on_how_a_letter_is_spelled(self, make: Make, tmp_path: Path) -> None:
        composed, apart = "caf\u00e9", "cafe\u0301"
        split = f"{composed},test\na,train\nb,validation\n".encode()
        found = []
        for name in (composed, apart):
            files = flat("ab") | {f"{name}/{name}.png": picture(1), f"{name}/cafz.png": picture(2), "split.csv": split}
            found.append(make(FOLDER, write_zip(tmp_path / "source.zip", files)))
        assert found[0].fingerprint == found[1].fingerprint
        assert [entry.name for entry in found[1].classes] == ["a", "b", composed]

    def test_have_the_size_and_colours_wished_for(self, make: Make, tmp_path: Path) -> None:
        source = write_zip(tmp_path / "source.zip", flat("abc"))
        assert make(FOLDER, source, Wishes(size=20)).image_shape == (20, 20, 3)
        assert make(FOLDER, source, Wishes(size=32, grey=True)).image_shape == (32, 32, 1)


class TestParts:
    @pytest.mark.parametrize(
        ("classes", "sizes"),
        [(3, (1, 1, 1)), (4, (2, 1, 1)), (10, (6, 2, 2)), (25, (16, 4, 5)), (100, (64, 16, 20))],
    )
    def test_are_64_16_and_20_per_cent(
        self, make: Make, tmp_path: Path, classes: int, sizes: tuple[int, int, int]
    ) -> None:
        source = write_zip(tmp_path / "source.zip", folder(classes, images=1))
        found = parts(make(FOLDER, source, Wishes(size=8)))
        assert tuple(len(found[part]) for part in ("train", "validation", "test")) == sizes

    def test_of_the_shuffle_never_change(self, make: Make, tmp_path: Path) -> None:
        """Fingerprints, and with them stored results, rest on it."""
        found = parts(make(FOLDER, write_zip(tmp_path / "source.zip", flat("abcdefghij", images=1)), Wishes(size=8)))
        assert found == {"train": list("defghi"), "validation": ["b", "j"], "test": ["a", "c"]}

    @pytest.mark.parametrize("place", ["given", "beside", "above"])
    def test_are_those_of_the_split_file(self, make: Make, tmp_path: Path, place: str) -> None:
        lines = b"\xef\xbb\xbfclass,part\r\na,test\r\n\r\nb, val\r\nc,train\r\nd,validation\r\n"
        files = {f"x/images/{name}": content for name, content in flat("abcd").items()}
        split_file = tmp_path / "mine.csv"
        split_file.write_bytes(lines)
        if place == "given":
            files |= {"x/images/split.csv": b"a,train\n"}  # the one that is given comes first
        else:
            files |= {{"beside": "x/images/split.csv", "above": "split.csv"}[place]: lines}
        wishes = Wishes(size=8, split_file=split_file if place == "given" else None)
        table = make(FOLDER, write_zip(tmp_path / "source.zip", files), wishes)
        assert parts(table) == {"train": ["c"], "validation": ["b", "d"], "test": ["a"]}

    def test_may_be_folders(self, make: Make, tmp_path: Path) -> None:
        files = {
            f"mine/{part}/{name}": data
            for part, names in (("train", "cd"), ("val", "a"), ("test", "b"))
            for name, data in flat(names).items()
        }
        table = make(FOLDER, write_zip(tmp_path / "source.zip", files), Wishes(size=8))
        assert parts(table) == {"train": ["c", "d"], "validation": ["a"], "test": ["b"]}
        assert [entry.name for entry in table.classes] == list("abcd")


def test_pixels_are_converted(make: Make, tmp_path: Path) -> None:
    """A grey among colours, and a colour among greys."""
    grey = picture(3, 84, 84, mode="L")
    table = make(FOLDER, write_zip(tmp_path / "source.zip", flat("bc") | {"a/1.png": grey}))
    first = table.pixels[0]
    assert (first == first[..., :1]).all()
    assert np.ptp(first) > 50
    alone = make(FOLDER, tmp_path / "source.zip", Wishes(grey=True))
    assert np.array_equal(alone.pixels[0], first[..., :1])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no PNG or JPEG"),
        ({"a/notes.txt": b"x"}, "holds no PNG or JPEG"),
        (flat("ab"), "holds 2 classes; training, validation and test need one each"),
        (flat("abc") | {"1.png": picture(1)}, r"1\.png is in no class folder"),
        (flat("abc") | {"d/1.webp": b""}, r"d/1\.webp: only PNG and JPEG are read"),
        (flat("abc") | {"d/1.png": b"I am text\n"}, r"d/1\.png is neither PNG nor JPEG"),
        (flat("abc") | {"d/": b""}, r"source\.zip/d is empty"),
        (flat("abc") | {"split.csv": b"a,train\nb,test\n"}, r"split\.csv:1: no class is in validation"),
        (flat("abc") | {"split.csv": b"a,train\nb,test\nc,val\na,test\n"}, r"csv:4: class 'a' is in test, and in"),
        (flat("abc") | {"split.csv": b"a,train\nb,test\nc,val\na,train\n"}, r"split\.csv:4: class 'a' is named twice"),
        (flat("abc") | {"split.csv": b"a,train\nb,test\nx,val\n"}, r"split\.csv:3: class 'x' has no images"),
        (flat("abcd") | {"split.csv": b"a,train\nb,test\nc,val\n"}, r"split\.csv:1: class 'd' is in no part"),
        (flat("abc") | {"split.csv": b"a,training\n"}, r"split\.csv:1: must be class,part with part one of train"),
        (flat("abc") | {"split.csv": b"a\n"}, r"split\.csv:1: must be class,part"),
        (flat("abc") | {"split.csv": b"\xff"}, r"split\.csv is no UTF-8"),
        (
            {f"{part}/{name}": data for part in ("train", "val", "test") for name, data in flat("a").items()},
            "class 'a' is in ",
        ),
    ],
)
def test_what_makes_no_dataset_is_refused(make: Make, tmp_path: Path, files: Mapping[str, bytes], message: str) -> None:
    source = write_zip(tmp_path / "source.zip", files)
    with pytest.raises(DatasetError, match=message) as caught:
        make(FOLDER, source, Wishes(size=8))
    assert str(source) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_source_and_the_split_file_must_be_there(make: Make, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="folder needs --source PATH"):
        FOLDER.find(None, NO_WISHES)
    (tmp_path / "source").mkdir()
    with pytest.raises(DatasetError, match="holds no PNG or JPEG"):
        make(FOLDER, tmp_path / "source")
    source = write_zip(tmp_path / "source.zip", flat("abc"))
    with pytest.raises(DatasetError, match=r"--split-file .*absent\.csv: No such file"):
        make(FOLDER, source, Wishes(split_file=tmp_path / "absent.csv"))
