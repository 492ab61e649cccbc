"""The datasets of a home: made once, found, listed, repaired."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from orchestrator.data import (
    Verification,
    ensure_dataset,
    find_dataset,
    list_datasets,
    make_dataset,
    verify_datasets,
)
from orchestrator.errors import DatasetError, HomeError
from trainers.datasets.image_file import ImageClass, open_image_file
from trainers.datasets.recipe import Job, Listing, Recipe, Wishes
from trainers.errors import ConfigError


def no_progress(done: int, total: int) -> None:
    """Where a test does not look at progress."""


class Tiny(Recipe):
    """Three classes of two images whose brightness a test chooses."""

    name = "tiny"
    title = "Tiny: 3 classes"
    splits: Mapping[str, Mapping[str, int]] = {"usual": {"train": 1, "validation": 1, "test": 1}}
    image_shape = (4, 4, 1)
    images_per_class = 2
    rotations = False
    embedded = True
    brightness = 1

    def find(self, source: Path | None, wishes: Wishes) -> Listing:
        pixels = np.full((6, 4, 4, 1), self.brightness, np.uint8)
        classes = [ImageClass(name, name, 2 * first, 2) for first, name in enumerate("abc")]
        splits = {"usual": {"train": (0,), "validation": (1,), "test": (2,)}}
        samples = np.tile(np.arange(2, dtype=np.int32), 3)
        return Listing(self.image_shape, classes, samples, splits, [Job(0, 6, lambda: pixels)])


TINY = Tiny()


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TINY, "brightness", 1)
    datasets = {"tiny": f"{__name__}:TINY", "far": f"{__name__}:FAR", "mine": f"{__name__}:MINE"}
    for place in ("orchestrator.data.DATASETS", "trainers.datasets.DATASETS"):
        monkeypatch.setattr(place, datasets)
    monkeypatch.delenv("ORCHESTRATE_HOME", raising=False)


class Far(Tiny):
    """A dataset that only an import brings."""

    name = "far"
    embedded = False


FAR = Far()


class Mine(Far):
    """A dataset of which a home may hold several."""

    name = "mine"
    labelled = True


MINE = Mine()


def file_names(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "datasets").iterdir())


def test_file_is_named_after_its_content(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    path = make_dataset(tmp_path / "new" / "home", "tiny", None, lambda done, total: calls.append((done, total)))
    table = open_image_file(path)
    assert path == tmp_path / "new" / "home" / "datasets" / f"tiny-{table.fingerprint}.arrow"
    assert calls == [(6, 6)]
    assert file_names(tmp_path / "new" / "home") == [path.name]


def test_the_same_again_leaves_the_file(tmp_path: Path) -> None:
    path = make_dataset(tmp_path, "tiny", None, no_progress)
    inode = path.stat().st_ino
    assert make_dataset(tmp_path, "tiny", None, no_progress) == path
    assert path.stat().st_ino == inode
    assert file_names(tmp_path) == [path.name]


def test_a_damaged_file_is_written_again(tmp_path: Path) -> None:
    path = make_dataset(tmp_path, "tiny", None, no_progress)
    good = path.read_bytes()
    pixels = good.index(bytes([1]) * 96)
    for damaged in (good[:100], good[:pixels] + bytes([2]) + good[pixels + 1 :]):
        path.write_bytes(damaged)
        make_dataset(tmp_path, "tiny", None, no_progress)
        assert path.read_bytes() == good


def test_of_several_the_last_made_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_dataset(tmp_path, "tiny") is None
    paths = []
    for brightness in (1, 2, 3):
        monkeypatch.setattr(TINY, "brightness", brightness)
        paths.append(make_dataset(tmp_path, "tiny", None, no_progress))
        os.utime(paths[-1], (time.time() - 100 + brightness,) * 2)
    assert find_dataset(tmp_path, "tiny") == paths[2]
    assert find_dataset(tmp_path, "tiny", open_image_file(paths[0]).fingerprint) == paths[0]
    assert find_dataset(tmp_path, "tiny", "0" * 20) is None
    monkeypatch.setattr(TINY, "brightness", 2)
    make_dataset(tmp_path, "tiny", None, no_progress)
    assert find_dataset(tmp_path, "tiny") == paths[1], "made again, so the newest"


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "datasets"
    folder.mkdir()
    digest = "0123456789abcdef0123"
    for name in (
        f".tiny-{digest}.arrow.abc.tmp",
        f".tiny-{digest}.arrow",
        f"tiny-{digest}.arrow.bak",
        f"tiny-small-{digest}.arrow",
        "tiny-123.arrow",
        "notes.txt",
    ):
        (folder / name).write_text("")
    assert find_dataset(tmp_path, "tiny") is None
    assert find_dataset(tmp_path, "tiny-small") == folder / f"tiny-small-{digest}.arrow"
    assert {row.name for row in list_datasets(tmp_path)} == {"tiny", "far", "mine", "tiny-small"}


def test_an_embedded_dataset_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ensure_dataset(tmp_path, "tiny", no_progress)
    monkeypatch.setattr(TINY, "brightness", 2)  # would be another file, were it made again
    assert ensure_dataset(tmp_path, "tiny", no_progress) == path
    assert file_names(tmp_path) == [path.name]


def test_a_damaged_embedded_dataset_is_made_again(tmp_path: Path) -> None:
    path = ensure_dataset(tmp_path, "tiny", no_progress)
    path.write_bytes(path.read_bytes()[:50])
    open_image_file(ensure_dataset(tmp_path, "tiny", no_progress))


def test_an_embedded_dataset_of_an_older_format_is_made_again(tmp_path: Path) -> None:
    path = make_dataset(tmp_path, "tiny", None, no_progress)
    good = path.read_bytes()
    fingerprint = open_image_file(path).fingerprint
    path.write_bytes(good.replace(b'"format":2', b'"format":1'))
    for wanted in (None, fingerprint):
        assert ensure_dataset(tmp_path, "tiny", no_progress, wanted) == path
        assert path.read_bytes() == good


def test_the_fingerprint_asked_for_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = make_dataset(tmp_path, "tiny", None, no_progress)
    monkeypatch.setattr(TINY, "brightness", 2)
    new = make_dataset(tmp_path, "tiny", None, no_progress)
    assert ensure_dataset(tmp_path, "tiny", no_progress, open_image_file(old).fingerprint) == old
    assert ensure_dataset(tmp_path, "tiny", no_progress, "0" * 20) == new


def test_one_home_holds_several_of_a_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    birds = make_dataset(tmp_path, "mine.birds", tmp_path, no_progress)
    monkeypatch.setattr(MINE, "brightness", 2)
    signs = make_dataset(tmp_path, "mine.signs", tmp_path, no_progress)
    assert find_dataset(tmp_path, "mine") is None
    assert find_dataset(tmp_path, "mine.birds") == birds
    assert ensure_dataset(tmp_path, "mine.signs", no_progress) == signs
    assert [row.name for row in list_datasets(tmp_path)] == ["tiny", "far", "mine", "mine.birds", "mine.signs"]
    with pytest.raises(DatasetError, match=r"data import mine.cars --source PATH"):
        ensure_dataset(tmp_path, "mine.cars", no_progress)


@pytest.mark.parametrize(
    ("wishes", "option"),
    [
        (Wishes(size=20), "--size"),
        (Wishes(grey=True), "--grey"),
        (Wishes(split_file=Path("x")), "--split-file"),
    ],
)
def test_what_a_recipe_fixes_can_not_be_chosen(tmp_path: Path, wishes: Wishes, option: str) -> None:
    with pytest.raises(DatasetError, match=f"^{option}: far has"):
        make_dataset(tmp_path, "far", tmp_path, no_progress, wishes)
    make_dataset(tmp_path, "mine.birds", tmp_path, no_progress, wishes)


class TestVerify:
    def test_reads_all_or_one(self, tmp_path: Path) -> None:
        assert verify_datasets(tmp_path, None) == []
        tiny = make_dataset(tmp_path, "tiny", None, no_progress)
        far = make_dataset(tmp_path, "far", tmp_path, no_progress)
        assert verify_datasets(tmp_path, None) == [Verification("far", far, ""), Verification("tiny", tiny, "")]
        assert verify_datasets(tmp_path, "far") == [Verification("far", far, "")]
        with pytest.raises(DatasetError, match=r"mine is not in .*; datasets there: far, tiny"):
            verify_datasets(tmp_path, "mine")

    def test_finds_a_wrong_pixel(self, tmp_path: Path) -> None:
        path = make_dataset(tmp_path, "tiny", None, no_progress)
        good = path.read_bytes()
        path.write_bytes(good.replace(bytes([1]) * 96, bytes([1]) * 95 + bytes([2])))
        open_image_file(path)
        (verdict,) = verify_datasets(tmp_path, "tiny")
        assert f"{path} is damaged (its pixels" in verdict.problem

    def test_finds_a_file_under_the_name_of_another(self, tmp_path: Path) -> None:
        path = make_dataset(tmp_path, "tiny", None, no_progress)
        other = path.rename(path.with_name(f"tiny-{'a' * 20}.arrow"))
        (verdict,) = verify_datasets(tmp_path, None)
        assert verdict.problem.startswith(f"{other} holds {open_image_file(other).fingerprint}")


@pytest.mark.parametrize(
    ("home", "default", "option"),
    [
        ("runs", None, ""),
        ("./runs", None, ""),
        ("elsewhere", "elsewhere", ""),
        ("runs", "elsewhere", " --home runs"),
        ("my runs", None, " --home 'my runs'"),
    ],
)
def test_what_can_not_be_made_says_how_to_import_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str, default: str | None, option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if default:
        monkeypatch.setenv("ORCHESTRATE_HOME", default)
    with pytest.raises(DatasetError) as caught:
        ensure_dataset(Path(home), "far", no_progress)
    assert str(caught.value).endswith(f"run: orchestrate data import far --source PATH{option}")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir()), "a refusal makes no folder"


def test_an_imported_dataset_is_used(tmp_path: Path) -> None:
    path = make_dataset(tmp_path, "far", tmp_path, no_progress)
    assert ensure_dataset(tmp_path, "far", no_progress) == path


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        make_dataset(tmp_path, "tinny", None, no_progress)
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        ensure_dataset(tmp_path, "tinny", no_progress)


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(HomeError, match="can't write"):
        make_dataset(tmp_path / "home", "tiny", None, no_progress)


def test_a_full_disk_is_an_error_of_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(HomeError, match="No space left on device"):
        make_dataset(tmp_path, "tiny", None, no_progress)
    assert not list(tmp_path.iterdir()), "a failed import leaves no folder"


def test_list_shows_files_and_what_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = list_datasets(tmp_path)
    assert [(row.name, row.path, row.images) for row in absent] == [
        ("tiny", None, None),
        ("far", None, None),
        ("mine", None, None),
    ]
    assert "orchestrate data import mine.LABEL --source PATH" in absent[2].note
    assert "when a sweep first needs it" in absent[0].note
    assert "orchestrate data import far --source PATH" in absent[1].note

    old = make_dataset(tmp_path, "tiny", None, no_progress)
    os.utime(old, (1, 1))
    monkeypatch.setattr(TINY, "brightness", 2)
    new = make_dataset(tmp_path, "tiny", None, no_progress)
    (tmp_path / "datasets" / f"gone-{'a' * 20}.arrow").write_text("damaged")
    rows = list_datasets(tmp_path)
    assert [(row.name, row.path) for row in rows[:3]] == [("tiny", new), ("tiny", old), ("far", None)]
    assert (rows[0].images, rows[0].classes, rows[0].shape, rows[0].note) == (6, 3, (4, 4, 1), "")
    assert rows[0].fingerprint == open_image_file(new).fingerprint
    assert rows[0].size_bytes == new.stat().st_size
    assert rows[0].images_per_class == (2, 2)
    assert rows[0].splits == {"usual": {"train": 1, "validation": 1, "test": 1}}
    assert (rows[4].name, rows[4].images) == ("gone", None)
    assert "damaged" in rows[4].note


def test_makers_at_once_do_no_harm(tmp_path: Path) -> None:
    """Threads in one process and a mapped reader; names of temporary files don't collide, the reader keeps its map."""
    path = make_dataset(tmp_path, "tiny", None, no_progress)
    reader = open_image_file(path)
    path.unlink()
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: make_dataset(tmp_path, "tiny", None, no_progress), range(32)))
    assert set(made) == {path}
    assert file_names(tmp_path) == [path.name]
    assert open_image_file(path).fingerprint == reader.fingerprint
    assert (reader.pixels == 1).all()


def test_processes_at_once_do_no_harm(tmp_path: Path) -> None:
    """Two processes draw a few real glyphs into one home."""
    program = (
        "import sys; from pathlib import Path; from trainers.datasets import glyphs; from orchestrator.data import *\n"
        "few = [g for g in glyphs.distinct_glyphs() if g.name.endswith('97')]\n"
        "glyphs.distinct_glyphs = lambda: iter(few)\n"
        "print(ensure_dataset(Path(sys.argv[1]), 'glyphs', lambda done, total: None))"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    root = Path(__file__).resolve().parents[2]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) for _ in range(2)]
    paths = {process.communicate(timeout=180)[0].strip() for process in running}
    assert [process.returncode for process in running] == [0, 0]
    assert len(paths) == 1
    assert file_names(tmp_path) == [Path(paths.pop()).name]


def test_imports_nothing_heavy() -> None:
    program = "import sys, orchestrator.data; print(sorted({'torch', 'ray', 'optuna', 'mlflow'} & set(sys.modules)))"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
