"""What every dataset keeps, whatever it shows; and the file that holds it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from itertools import combinations
from pathlib import Path
from pkgutil import iter_modules

import numpy as np
import pyarrow as pa
import pytest

import trainers.datasets
from trainers.datasets import DATASETS, recipe_of
from trainers.datasets.image_file import (
    METADATA_KEY,
    PARTS,
    ImageClass,
    ImageTable,
    compute_fingerprint,
    open_image_file,
    seal_of,
    verify_image_file,
)
from trainers.datasets.image_writer import write_image_file
from trainers.datasets.recipe import Recipe
from trainers.episodes import Episode, EpisodeSampler
from trainers.errors import ConfigError, DatasetError

ROOT = Path(__file__).resolve().parents[2]
CONTENT = {
    "glyphs": {"shape": (24140, 28, 28, 1), "scripts": (962, 74, 171)},
    "omniglot": {"shape": (32460, 28, 28, 1), "official": (780, 184, 659), "maml": (1100, 100, 423)},
}
"""Images, and classes a part of each split table."""


@pytest.fixture(params=sorted(DATASETS))
def dataset(request: pytest.FixtureRequest, dataset_file: Callable[[str], Path]) -> ImageTable:
    """Every member of the list."""
    return open_image_file(dataset_file(request.param))


def small_table(**changes: object) -> ImageTable:
    """Four classes of 3, 2, 3, 2 images, 4×5 RGB."""
    pixels = np.random.default_rng(0).integers(0, 256, (10, 4, 5, 3), np.uint8)
    classes, first = [], 0
    for name, count in (("a/1", 3), ("a/2", 2), ("b/1", 3), ("b/2", 2)):
        classes.append(ImageClass(name, name[0], first, count))
        first += count
    content: dict[str, object] = {
        "name": "small",
        "pixels": pixels,
        "samples": np.arange(10, dtype=np.int32),
        "classes": classes,
        "splits": {"usual": {"train": (0, 3), "validation": (1,), "test": (2,)}},
    }
    return ImageTable.build(**(content | changes))  # type: ignore[arg-type]


class TestContract:
    def test_is_what_its_recipe_says(self, dataset: ImageTable) -> None:
        recipe = recipe_of(dataset.name)
        assert recipe.name == dataset.name
        assert recipe.splits.keys() == dataset.splits.keys()
        counted = {name: {part: len(parts[part]) for part in parts} for name, parts in dataset.splits.items()}
        for split, said in recipe.splits.items():
            assert dict(said) == {part: counted[split][part] for part in said}
            recipe.check_episodes(split, min(counted[split].values()), min(entry.count for entry in dataset.classes))
        if not recipe.labelled:
            assert recipe.image_shape == dataset.image_shape
        if recipe.images_per_class is not None:
            assert recipe.images_per_class == min(entry.count for entry in dataset.classes)
        if any(recipe.splits.values()):
            assert f"{len(dataset.classes):,}" in recipe.title

    def test_images_are_bytes_sorted_by_class(self, dataset: ImageTable) -> None:
        assert dataset.pixels.dtype == np.uint8
        assert dataset.samples.dtype == np.int32
        assert dataset.samples.shape == dataset.pixels.shape[:1]
        names = [entry.name for entry in dataset.classes]
        assert names == sorted(set(names))
        ends = np.cumsum([entry.count for entry in dataset.classes])
        assert [entry.first for entry in dataset.classes] == [0, *ends[:-1]]
        assert ends[-1] == len(dataset.pixels)

    def test_samples_number_the_images_of_a_class(self, dataset: ImageTable) -> None:
        for entry in dataset.classes:
            samples = dataset.samples[entry.first : entry.first + entry.count]
            assert (np.diff(samples) > 0).all(), entry

    def test_parts_share_no_class(self, dataset: ImageTable) -> None:
        for parts in dataset.splits.values():
            assert tuple(sorted(parts)) == tuple(sorted(PARTS))
            for one, other in combinations(PARTS, 2):
                assert not set(parts[one]) & set(parts[other])

    def test_episodes_are_the_same_every_time_and_shots_nested(self, dataset: ImageTable) -> None:
        for split, parts in dataset.splits.items():
            dataset.check_episodes(split, ways=1, images_per_class=3)
            for part, members in parts.items():
                ways = min(5, len(members))

                def episode(shots: int) -> Episode:
                    sampler = EpisodeSampler(dataset, split, part, True, ways, shots, queries=1, seed=7)  # noqa: B023
                    return sampler.episode(3)

                one, two = episode(1), episode(2)
                assert one.support.shape == (ways, 1, *dataset.image_shape)
                assert np.array_equal(two.support[:, :1], one.support)
                assert np.array_equal(two.query, one.query)
                assert np.array_equal(episode(2).support, two.support)

    def test_fingerprint_is_that_of_the_content(self, dataset: ImageTable) -> None:
        assert compute_fingerprint(dataset.pixels, dataset.classes, dataset.splits) == dataset.fingerprint

    def test_survives_the_file(self, dataset: ImageTable, tmp_path: Path) -> None:
        write_image_file(dataset, tmp_path / "copy.arrow")
        copy = verify_image_file(tmp_path / "copy.arrow")
        assert np.array_equal(copy.pixels, dataset.pixels)
        assert np.array_equal(copy.samples, dataset.samples)
        assert (copy.name, copy.classes, copy.splits) == (dataset.name, dataset.classes, dataset.splits)
        assert compute_fingerprint(copy.pixels, copy.classes, copy.splits) == copy.fingerprint == dataset.fingerprint

    def test_is_mapped_and_not_copied(self, dataset: ImageTable, tmp_path: Path) -> None:
        write_image_file(dataset, tmp_path / "copy.arrow")
        before = pa.total_allocated_bytes()
        copy = open_image_file(tmp_path / "copy.arrow")
        assert pa.total_allocated_bytes() - before < 100_000
        for array in (copy.pixels, copy.samples):
            assert not array.flags.writeable
            assert not array.flags.owndata
        with pytest.raises(ValueError, match="read-only"):
            copy.pixels[0] = 0


@pytest.mark.parametrize("name", CONTENT)
class TestInk:
    def test_is_as_large_as_documented(self, request: pytest.FixtureRequest, name: str) -> None:
        table = request.getfixturevalue(name)
        content = dict(CONTENT[name])
        assert table.pixels.shape == content.pop("shape")
        assert content == {split: tuple(len(parts[part]) for part in PARTS) for split, parts in table.splits.items()}

    def test_is_bright_on_dark(self, request: pytest.FixtureRequest, name: str) -> None:
        table = request.getfixturevalue(name)
        assert (table.pixels.reshape(len(table.pixels), -1).max(axis=1) > 100).all()
        assert table.pixels.mean() < 127

    def test_holds_the_usual_episodes(self, request: pytest.FixtureRequest, name: str) -> None:
        table = request.getfixturevalue(name)
        for split in table.splits:
            table.check_episodes(split, ways=20, images_per_class=20)


def test_every_recipe_is_in_the_list() -> None:
    defined = set()
    for module in iter_modules(trainers.datasets.__path__, "trainers.datasets."):
        for value in vars(import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Recipe) and value is not Recipe:
                defined.add(value)
    listed = {type(recipe_of(name)) for name in DATASETS}
    assert defined == listed


def test_checking_a_name_is_cheap() -> None:
    program = (
        "import sys; from trainers.datasets import DATASETS, recipe_of; [recipe_of(name) for name in DATASETS]\n"
        "print(sorted({'torch', 'ray', 'HersheyFonts', 'pyarrow.parquet'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


class TestFingerprint:
    def test_follows_pixels_classes_and_splits(self) -> None:
        table = small_table()
        flipped = table.pixels.copy()
        flipped[9, 3, 4, 2] ^= 1
        classes = [*table.classes[:3], replace(table.classes[3], alphabet="c")]
        splits = {"usual": {"train": (0,), "validation": (1,), "test": (2,)}}
        reshaped = table.pixels.reshape(10, 5, 4, 3)
        others = [
            small_table(pixels=flipped),
            small_table(classes=classes),
            small_table(splits=splits),
            small_table(pixels=reshaped),
        ]
        assert len({table.fingerprint, *(other.fingerprint for other in others)}) == 5

    def test_ignores_names_samples_and_the_order_of_splits(self) -> None:
        parts = {"test": (2,), "validation": (1,), "train": (0, 3)}
        other = small_table(name="x", samples=np.zeros(10, np.int32), splits={"usual": parts})
        assert other.fingerprint == small_table().fingerprint

    def test_never_changes(self) -> None:
        """Keys of stored results rest on it."""
        table = small_table(pixels=np.arange(600, dtype=np.uint16).astype(np.uint8).reshape(10, 4, 5, 3))
        assert table.fingerprint == "83e96ec161a78bf98228"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixels": np.zeros((10, 4, 5), np.uint8)}, "pixels must be"),
        ({"pixels": np.zeros((10, 4, 5, 3), np.float32)}, "pixels must be uint8"),
        ({"samples": np.zeros(9, np.int32)}, "samples must be"),
        ({"classes": [ImageClass("a", "a", 0, 9)]}, "9 images, the table 10"),
        ({"classes": [ImageClass("a", "a", 1, 9)]}, "must start at row 0"),
        ({"classes": [ImageClass("b", "b", 0, 5), ImageClass("a", "a", 5, 5)]}, "sorted by name"),
        ({"splits": {}}, "needs a split table"),
        ({"splits": {"s": {"train": (0,), "test": (1,)}}}, "must have the parts"),
        ({"splits": {"s": {"train": (0, 1), "validation": (1,), "test": (2,)}}}, "share no class"),
        ({"splits": {"s": {"train": (0,), "validation": (1,), "test": (4,)}}}, "only classes of the table"),
        ({"splits": {"s": {"train": (3, 0), "validation": (1,), "test": (2,)}}}, "ascend"),
    ],
)
def test_tables_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_table(**changes)


@pytest.mark.parametrize(
    ("split", "ways", "images", "message"),
    [
        ("usual", 2, 2, "validation has 1 classes, too few for 2 ways"),
        ("usual", 1, 3, "class b/2 of train has 2 images, fewer than shots \\+ queries = 3"),
        ("other", 1, 1, "no split 'other'; it has usual"),
    ],
)
def test_episodes_that_do_not_fit_are_refused(split: str, ways: int, images: int, message: str) -> None:
    table = small_table()
    table.check_episodes("usual", 1, 2)
    with pytest.raises(DatasetError, match=message):
        table.check_episodes(split, ways, images)


class TestFile:
    def test_is_plain_arrow(self, tmp_path: Path) -> None:
        table = small_table()
        write_image_file(table, tmp_path / "small.arrow")
        read = pa.ipc.open_file((tmp_path / "small.arrow").read_bytes())
        assert read.num_record_batches == 1
        assert read.schema.names == ["image", "class", "sample"]
        assert read.read_all().column("class").to_pylist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]
        assert json.loads(read.schema.metadata[METADATA_KEY])["fingerprint"] == table.fingerprint
        assert table.pixels.tobytes() in (tmp_path / "small.arrow").read_bytes(), "compressed or reordered"

    def test_has_the_same_bytes_every_time(self, tmp_path: Path) -> None:
        for name in ("one", "two"):
            write_image_file(small_table(), tmp_path / name)
        assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()

    @pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
    def test_interrupted_write_leaves_the_old_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
    ) -> None:
        path = tmp_path / "small.arrow"
        write_image_file(small_table(), path)
        before = path.read_bytes()

        def fail(descriptor: int) -> None:
            raise failure

        monkeypatch.setattr("os.fsync", fail)
        with pytest.raises(type(failure)):
            write_image_file(small_table(pixels=np.zeros((10, 4, 5, 3), np.uint8)), path)
        assert path.read_bytes() == before
        assert [entry.name for entry in tmp_path.iterdir()] == ["small.arrow"]

    def test_a_cut_file_is_refused_in_one_line(self, tmp_path: Path) -> None:
        write_image_file(small_table(), tmp_path / "good.arrow")
        good = (tmp_path / "good.arrow").read_bytes()
        for number, content in enumerate([*(good[:size] for size in range(0, len(good), 97)), b"text\n"]):
            path = tmp_path / f"{number}.arrow"
            path.write_bytes(content)
            with pytest.raises(DatasetError) as caught:
                open_image_file(path)
            assert str(path) in str(caught.value)
            assert "import the dataset again" in str(caught.value)
            assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("change", [0x01, 0x80, 0xFF])
    def test_every_wrong_byte_is_found(self, tmp_path: Path, change: int) -> None:
        """By the opening, or where it is a pixel by ``verify_image_file``; a wrong length crashes neither."""
        table = small_table()
        path = tmp_path / "small.arrow"
        write_image_file(table, path)
        good = path.read_bytes()
        pixels = range(start := good.index(table.pixels.tobytes()), start + table.pixels.nbytes)
        for place in range(len(good)):
            broken = bytearray(good)
            broken[place] ^= change
            path.write_bytes(broken)
            if place in pixels:
                open_image_file(path)
                with pytest.raises(DatasetError, match=r"is damaged .* import the dataset again"):
                    verify_image_file(path)
            else:
                with pytest.raises(DatasetError, match="again"):
                    open_image_file(path)

    def test_bytes_that_changed_places_are_found(self, tmp_path: Path) -> None:
        """Neither the last byte before the pixels nor the first behind them can become one of theirs."""
        write_image_file(small_table(), tmp_path / "small.arrow")
        good = (tmp_path / "small.arrow").read_bytes()
        assert seal_of(good[:100], good[200:]) != seal_of(good[:101], good[201:])
        assert seal_of(b"ab", b"c") != seal_of(b"a", b"bc")

    def test_a_file_of_another_format_says_so(self, tmp_path: Path) -> None:
        write_image_file(small_table(), tmp_path / "old.arrow")
        good = (tmp_path / "old.arrow").read_bytes()
        (tmp_path / "old.arrow").write_bytes(good.replace(b'"format":2', b'"format":1'))
        with pytest.raises(DatasetError, match="is of format 1, this version reads 2; import the dataset again"):
            open_image_file(tmp_path / "old.arrow")

    def test_foreign_files_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "foreign.arrow"
        table = pa.table({"image": [1, 2], "class": [0, 1], "sample": [0, 0]})
        for metadata in (None, {METADATA_KEY: b"{}"}, {METADATA_KEY: b"no json"}, {METADATA_KEY: b'{"format":2}'}):
            with pa.ipc.new_file(path, table.schema.with_metadata(metadata)) as writer:
                writer.write_table(table.replace_schema_metadata(metadata))
            with pytest.raises(DatasetError, match="damaged or not an image file"):
                open_image_file(path)
        for absent in (tmp_path, tmp_path / "absent.arrow"):
            with pytest.raises(DatasetError, match="import the dataset again"):
                open_image_file(absent)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("foldr.birds", "did you mean 'folder'"),
        ("folder.", "a label is of a-z, 0-9 and _"),
        ("folder.My birds", "a label is of a-z, 0-9 and _"),
        ("folder.a.b", "a label is of a-z, 0-9 and _"),
        ("folder.../x", "a label is of a-z, 0-9 and _"),
        ("omniglot.mine", "omniglot takes no label"),
    ],
)
def test_names_that_are_no_datasets_are_refused(name: str, message: str) -> None:
    assert recipe_of("folder.birds_2") is recipe_of("folder")
    with pytest.raises(ConfigError, match=message) as caught:
        recipe_of(name)
    assert repr(name) in str(caught.value)
