"""The datasets of a home on local disk: made once, found by name, mapped by every trial.

``datasets/<name>-<fingerprint>.arrow``: a file never changes under its name, and two processes that make the same
dataset at once write the same bytes, each under a temporary name, so whichever renames last does no harm.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import DatasetError, HomeError
from trainers.datasets import DATASETS
from trainers.datasets.image_file import compute_fingerprint, open_image_file, write_image_file
from trainers.datasets.recipe import Progress, Recipe
from trainers.registry import lookup

FOLDER = "datasets"
DEFAULT_HOME = "runs"
_FILE = re.compile(r"(?P<name>[^.].*)-(?P<fingerprint>[0-9a-f]{20})\.arrow")


@dataclass(frozen=True)
class DatasetRow:
    """One line of ``orchestrate data list``: a file of the home, or a known dataset that the home lacks."""

    name: str
    title: str
    fingerprint: str | None = None
    images: int | None = None
    classes: int | None = None
    shape: tuple[int, int, int] | None = None
    """(height, width, channels)"""
    path: Path | None = None
    size_bytes: int | None = None
    note: str = ""
    """What to do where the dataset is absent or its file damaged."""


def make_dataset(home: Path, name: str, source: Path | None, progress: Progress) -> Path:
    """Reads a dataset by its recipe and puts it into the home.

    Where the home already has these very images, that file stays as it is and becomes the newest of its name; a file
    that no longer holds what its name says is written again.

    Args:
        home: the home's folder, made where it is absent.
        name: a key of ``DATASETS``.
        source: the original files; None for an embedded dataset.
        progress: called as images are done.

    Returns:
        Path of the Arrow file.

    Raises:
        ConfigError: no dataset of that name.
        DatasetError: the source is absent or damaged.
        HomeError: the home can't be written.
    """
    table = _recipe(name).read(source, progress)
    path = home / FOLDER / f"{name}-{table.fingerprint}.arrow"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and _intact(path, table.fingerprint):
            path.touch()
        else:
            write_image_file(table, path)
    except OSError as error:
        raise HomeError(f"can't write {path}: {error.strerror or error}; free space there or choose --home") from error
    return path


def find_dataset(home: Path, name: str, fingerprint: str | None = None) -> Path | None:
    """The dataset's file in the home, or None. Of several, the one made last, unless a fingerprint picks one."""
    files = [path for path, found, digest in _files(home) if found == name and fingerprint in (None, digest)]
    return max(files, key=lambda path: (path.stat().st_mtime_ns, path.name), default=None)


def data_folder(home_url: str) -> Path:
    """The folder whose ``datasets/`` this machine maps: the home, or a cache where the home is not a local disk."""
    if "://" in home_url:
        return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "metasweep"
    return Path(home_url).expanduser().absolute()


def check_present(home: Path, name: str) -> None:
    """Refuses a dataset that only an import can bring, where the home lacks it.

    Raises:
        ConfigError: no dataset of that name.
        DatasetError: absent; one line with the command.
    """
    recipe = _recipe(name)
    if not recipe.embedded and find_dataset(home, name) is None:
        raise DatasetError(f"{name} is not in {home}; {_way_in(home, recipe)}")


def ensure_dataset(home: Path, name: str, progress: Progress) -> Path:
    """The dataset's file in the home; an embedded dataset is made where it is absent or damaged.

    Raises:
        ConfigError: no dataset of that name.
        DatasetError: absent, and only an import can bring it; one line with the command.
        HomeError: the home can't be written.
    """
    check_present(home, name)
    path = find_dataset(home, name)
    if path is not None and not (_recipe(name).embedded and _problem(path)):
        return path
    return make_dataset(home, name, None, progress)


def list_datasets(home: Path) -> list[DatasetRow]:
    """Every dataset file of the home, newest first within a name, and every known dataset that it lacks."""
    files = sorted(_files(home), key=lambda file: file[0].stat().st_mtime_ns, reverse=True)
    rows = []
    for name in [*DATASETS, *sorted({found for _, found, _ in files} - set(DATASETS))]:
        own = [(path, digest) for path, found, digest in files if found == name]
        rows += [_row(path, name, digest) for path, digest in own]
        if not own:
            recipe = _recipe(name)
            rows.append(DatasetRow(name, recipe.title, note=_way_in(home, recipe)))
    return rows


def _recipe(name: str) -> Recipe:
    recipe: Recipe = lookup("dataset", DATASETS, name)
    return recipe


def _files(home: Path) -> Iterator[tuple[Path, str, str]]:
    """(path, name, fingerprint) of every dataset file; temporary and foreign files are passed over."""
    folder = home / FOLDER
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _FILE.fullmatch(path.name)
        if match:
            yield path, match["name"], match["fingerprint"]


def _row(path: Path, name: str, fingerprint: str) -> DatasetRow:
    title = _recipe(name).title if name in DATASETS else ""
    size = path.stat().st_size
    try:
        table = open_image_file(path)
    except DatasetError as error:
        return DatasetRow(name, title, fingerprint, path=path, size_bytes=size, note=str(error))
    images, height, width, channels = table.pixels.shape
    return DatasetRow(
        name, title, fingerprint, images, len(table.classes), (height, width, channels), path=path, size_bytes=size
    )


def _problem(path: Path) -> str:
    """What stops the file from being opened; empty where nothing does."""
    try:
        open_image_file(path)
    except DatasetError as error:
        return str(error)
    return ""


def _intact(path: Path, fingerprint: str) -> bool:
    """Whether the file's bytes still are what its name says. Reads all of it."""
    try:
        table = open_image_file(path)
    except DatasetError:
        return False
    return compute_fingerprint(table.pixels, table.classes, table.splits) == fingerprint


def _way_in(home: Path, recipe: Recipe) -> str:
    if recipe.embedded:
        return "is made when a sweep first needs it"
    default = Path(os.environ.get("ORCHESTRATE_HOME", DEFAULT_HOME))
    option = "" if home.absolute() == default.absolute() else f" --home {shlex.quote(os.fspath(home))}"
    return f"run: orchestrate data import {recipe.name} --source PATH{option}"
