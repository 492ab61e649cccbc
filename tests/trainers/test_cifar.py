"""CIFAR-FS and FC100: two ways to part the same tree."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from miniature import Files, cifar100, write_folder, write_zip
from PIL import Image

from trainers.datasets import recipe_of
from trainers.datasets.cifar100 import SUPERCLASS_OF, SUPERCLASSES
from trainers.datasets.cifar_fs import CIFAR_FS
from trainers.datasets.fc100 import FC100
from trainers.datasets.image_file import ImageTable, open_image_file
from trainers.datasets.recipe import NO_WISHES
from trainers.errors import DatasetError

Make = Callable[..., ImageTable]
SPLITS = "cifar100/splits/bertinetto/"


@pytest.fixture(scope="session")
def real_zip(real_data: Path) -> Path:
    """CIFAR-FS, or some images of each of its classes."""
    path = real_data / "cifar_fs.zip"
    if not path.is_file():
        pytest.skip(f"{path} is absent (METASWEEP_DATA names the folder of the real data)")
    return path


def part_of(table: ImageTable, split: str, name: str) -> str:
    index = next(index for index, entry in enumerate(table.classes) if entry.name == name)
    return next(part for part, indices in table.splits[split].items() if index in indices)


class TestReal:
    def test_parts_and_pixels_are_those_of_the_archive(
        self, real_zip: Path, dataset_file: Callable[[str], Path]
    ) -> None:
        table = open_image_file(dataset_file("cifar_fs"))
        with zipfile.ZipFile(real_zip) as archive:
            for file, part in {"train": "train", "val": "validation", "test": "test"}.items():
                names = archive.read(f"{SPLITS}{file}.txt").decode().split()
                indices = table.splits["bertinetto"][part]
                assert sorted(names) == [table.classes[index].name for index in indices]
            for entry in (table.classes[0], table.classes[57]):
                files = sorted(name for name in archive.namelist() if f"/data/{entry.name}/" in name)
                assert len(files) == entry.count
                for row in (0, entry.count - 1):
                    with Image.open(io.BytesIO(archive.read(files[row]))) as image:
                        assert np.array_equal(table.pixels[entry.first + row], image)

    def test_fc100_has_the_same_images(self, real_zip: Path, make: Make, tmp_path: Path) -> None:
        with zipfile.ZipFile(real_zip) as archive:
            names = sorted(name for name in archive.namelist() if "/data/" in name)
            few = {name: archive.read(name) for name in names[::67] + names[1::200]}
        few |= cifar100(images=0)
        source = write_zip(tmp_path / "few.zip", few)
        one, other = make(CIFAR_FS, source), make(FC100, source)
        assert np.array_equal(one.pixels, other.pixels)
        assert one.classes == other.classes
        assert one.splits.keys() != other.splits.keys()


class TestFc100:
    def test_parts_are_those_of_the_paper(self, make: Make, tmp_path: Path) -> None:
        """TADAM's appendix gives numbers of superclasses, which count them in the order of the alphabet."""
        table = make(FC100, write_zip(tmp_path / "cifar100.zip", cifar100(images=1)))
        numbers: dict[str, set[int]] = {}
        superclasses = sorted(SUPERCLASSES)
        for part, indices in table.splits["oreshkin"].items():
            numbers[part] = {superclasses.index(table.classes[index].alphabet) for index in indices}
        assert numbers == {
            "train": {1, 2, 3, 4, 5, 6, 9, 10, 15, 17, 18, 19},
            "validation": {8, 11, 13, 16},
            "test": {0, 7, 12, 14},
        }

    def test_superclasses_have_five_classes_each(self) -> None:
        assert [len(names.split()) for names in SUPERCLASSES.values()] == [5] * 20
        assert len(SUPERCLASS_OF) == 100

    def test_split_files_come_first(self, make: Make, tmp_path: Path) -> None:
        files = cifar100(images=1)
        names = sorted(SUPERCLASS_OF, reverse=True)
        for part, bounds in {"train": (0, 60), "val": (60, 80), "test": (80, 100)}.items():
            files[f"cifar100/splits/fc100/{part}.txt"] = "\r\n".join(names[slice(*bounds)]).encode()
        table = make(FC100, write_folder(tmp_path / "source", files))
        assert part_of(table, "oreshkin", "worm") == "train"
        assert part_of(table, "oreshkin", "apple") == "test"


class TestLayouts:
    @pytest.mark.parametrize("name", ["cifar_fs", "fc100"])
    @pytest.mark.parametrize("layout", ["zip", "folder", "above", "inside", "bare"])
    def test_all_give_the_same(self, make: Make, tmp_path: Path, name: str, layout: str) -> None:
        files = cifar100(images=2)
        expected = make(recipe_of(name), write_zip(tmp_path / "expected.zip", files))
        backwards = dict(reversed(files.items())) | {"cifar100/README.md": b"hello", "cifar100/data/.DS_Store": b""}
        if layout == "bare":
            backwards = {path.partition("/")[2]: content for path, content in backwards.items()}
        if layout in ("zip", "bare"):
            source = write_zip(tmp_path / "source.zip", backwards)
        else:
            source = write_folder(tmp_path / "x" / "source", backwards)
            source = {"folder": source, "above": source.parent, "inside": source / "cifar100"}[layout]
        assert make(recipe_of(name), source).fingerprint == expected.fingerprint

    def test_classes_may_differ_in_size(self, make: Make, tmp_path: Path) -> None:
        files = cifar100(images=2)
        del files["cifar100/data/apple/apple_0000.png"]
        table = make(CIFAR_FS, write_zip(tmp_path / "cifar100.zip", files))
        assert {entry.count for entry in table.classes} == {1, 2}
        with pytest.raises(DatasetError, match="class apple of train has 1 images"):
            table.check_episodes("bertinetto", 5, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({f"{SPLITS}val.txt": None}, r"val\.txt is not there, but .*train\.txt is"),
        ({f"{SPLITS}{part}.txt": None for part in ("train", "val", "test")}, "no train.txt, val.txt and test.txt"),
        ({f"{SPLITS}test.txt": b"apple\n"}, r"test\.txt: class 'apple' is in test, and in train by .*train\.txt"),
        ({f"{SPLITS}test.txt": b"worm\nworm\n"}, "'worm' is named twice"),
        ({f"{SPLITS}test.txt": b"worms\n"}, "class 'worms' has no images; did you mean 'worm'"),
        ({f"{SPLITS}test.txt": b"\n"}, "no class is in test"),
        ({f"{SPLITS}test.txt": b"worm\n"}, "1 classes are in test instead of 20"),
        ({f"{SPLITS}test.txt": b"\xff\n"}, r"test\.txt is no UTF-8 text"),
        ({"cifar100/data/worm/worm_0000.png": None}, "class 'worm' has no images"),
        ({"cifar100/data/worm/worm_0000.png": b"text"}, r"worm_0000\.png is neither PNG nor JPEG"),
        ({"other/data/worm/worm_0000.png": b""}, "holds 2 trees"),
    ],
)
def test_damage_is_refused(make: Make, tmp_path: Path, changes: dict[str, bytes | None], message: str) -> None:
    files: Files = {name: data for name, data in (cifar100(images=1) | changes).items() if data is not None}
    source = write_folder(tmp_path / "source", files)
    with pytest.raises(DatasetError, match=message) as caught:
        make(CIFAR_FS, source)
    assert str(source) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["cifar_fs", "fc100"])
def test_a_source_is_needed(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match=f"{name} needs --source PATH"):
        recipe_of(name).find(None, NO_WISHES)
    with pytest.raises(DatasetError, match="holds 0 trees"):
        recipe_of(name).find(tmp_path, NO_WISHES)
