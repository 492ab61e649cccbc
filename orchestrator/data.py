"""The datasets of a home on local disk: made once, found by name, mapped by every trial.

``datasets/<name>-<fingerprint>.arrow``: a file never changes under its name, and two processes that make the same
dataset at once write the same bytes, each under a temporary name, so whichever renames last does no harm.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import DatasetError, HomeError
from trainers.datasets import DATASETS, recipe_of
from trainers.datasets.image_file import PARTS, ImageTable, open_image_file, verify_image_file
from trainers.datasets.image_writer import write_images
from trainers.datasets.recipe import NO_WISHES, Progress, Recipe, Wishes

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
    images_per_class: tuple[int, int] | None = None
    """Of the smallest class, and of the largest."""
    splits: Mapping[str, Mapping[str, int]] | None = None
    """Name of a split table -> part -> classes."""
    path: Path | None = None
    size_bytes: int | None = None
    note: str = ""
    """What to do where the dataset is absent or its file damaged."""


@dataclass(frozen=True)
class Verification:
    """What ``orchestrate data verify`` says of one file."""

    name: str
    path: Path
    problem: str
    """Empty where every byte is as it was written."""


def make_dataset(
    home: Path, name: str, source: Path | None, progress: Progress, wishes: Wishes = NO_WISHES, processes: int = 1
) -> Path:
    """Makes a dataset by its recipe and puts it into the home.

    Where the home already has these very images, that file stays as it is and becomes the newest of its name; a file
    that no longer holds what its name says is written again.

    Args:
        home: the home's folder, made where it is absent.
        name: a key of ``DATASETS``, with a label where the recipe takes one.
        source: the original files; None for an embedded dataset.
        progress: called as images are done.
        wishes: what the user chose, where the recipe leaves a choice.
        processes: how many decode; 1 is this one.

    Returns:
        Path of the Arrow file.

    Raises:
        ConfigError: no dataset of that name.
        DatasetError: the source is absent or damaged, or the recipe fixes what was wished for.
        HomeError: the home can't be written.
    """
    recipe = recipe_of(name)
    if wishes.named() and not recipe.labelled:
        raise DatasetError(f"{wishes.named()[0]}: {name} has a size, colours and parts of its own; leave that out")
    listing = recipe.find(source, wishes)
    folder = home / FOLDER
    try:
        with _made(folder):
            return write_images(name, listing, folder, progress, processes, lambda digest: _path(folder, name, digest))
    except OSError as error:
        reason = error.strerror or error
        raise HomeError(f"can't write {folder}: {reason}; free space there or choose --home") from error


def verify_datasets(home: Path, name: str | None) -> list[Verification]:
    """Reads every dataset file of the home, or of one name, and says which are damaged.

    Raises:
        DatasetError: the home has no file of that name.
    """
    found = []
    for path, own, fingerprint in sorted(_files(home)):
        if name in (None, own):
            try:
                recorded = verify_image_file(path).fingerprint
                problem = "" if recorded == fingerprint else f"{path} holds {recorded}; give it that name again"
            except DatasetError as error:
                problem = str(error)
            found.append(Verification(own, path, problem))
    if name is not None and not found:
        there = ", ".join(sorted({own for _, own, _ in _files(home)})) or "none"
        raise DatasetError(f"{name} is not in {home}, so there is nothing to verify; datasets there: {there}")
    return found


def find_dataset(home: Path, name: str, fingerprint: str | None = None) -> Path | None:
    """The dataset's file in the home, or None. Of several, the one made last, unless a fingerprint picks one."""
    files = [path for path, found, digest in _files(home) if found == name and fingerprint in (None, digest)]
    return max(files, key=lambda path: (path.stat().st_mtime_ns, path.name), default=None)


def versions_of(home: Path, name: str) -> set[str]:
    """Fingerprints of all the files that the home has of a dataset."""
    return {digest for _, found, digest in _files(home) if found == name}


def image_shape_of(home: Path, name: str, fingerprint: str) -> tuple[int, int, int] | None:
    """(height, width, channels) of a dataset's images; None where only its file tells, and it is not here.

    Raises:
        ConfigError: no dataset of that name.
    """
    recipe = recipe_of(name)
    if not recipe.labelled:
        return recipe.image_shape
    path = find_dataset(home, name, fingerprint)
    if path is None:
        return None
    try:
        return open_image_file(path).image_shape
    except DatasetError:  # damaged: said by what needs its pixels
        return None


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
    if not recipe_of(name).embedded and find_dataset(home, name) is None:
        raise DatasetError(f"{name} is not in {home}; {way_in(home, name)}")


def known_data(home: Path, name: str) -> ImageTable | Recipe:
    """What is known of a dataset before a sweep: its images where they were imported, else its recipe.

    Raises:
        ConfigError: no dataset of that name.
        DatasetError: the imported file is damaged.
    """
    recipe = recipe_of(name)
    path = None if recipe.embedded else find_dataset(home, name)
    return recipe if path is None else open_image_file(path)


def ensure_dataset(home: Path, name: str, progress: Progress, fingerprint: str | None = None) -> Path:
    """The dataset's file in the home; an embedded dataset is made where it is absent or damaged.

    Args:
        home: the home's folder.
        name: of the dataset.
        progress: called as images are done, where it is made.
        fingerprint: picks one of several files, where it is there; else the newest counts.

    Raises:
        ConfigError: no dataset of that name.
        DatasetError: absent, and only an import can bring it; one line with the command.
        HomeError: the home can't be written.
    """
    check_present(home, name)
    path = find_dataset(home, name, fingerprint) or find_dataset(home, name)
    if path is not None and not (recipe_of(name).embedded and _problem(path)):
        return path
    return make_dataset(home, name, None, progress)


def superseded_files(home: Path, pinned: Collection[str | None]) -> list[Path]:
    """Dataset files that a later one of the same name has taken the place of, but for the fingerprints in ``pinned``.

    A picture that ``orchestrate data show`` put beside such a file comes before it.
    """
    found: list[Path] = []
    for path, name, fingerprint in sorted(_files(home)):
        if path != find_dataset(home, name) and fingerprint not in pinned:
            picture = path.with_suffix(".png")
            found += [picture, path] if picture.is_file() else [path]
    return found


def list_datasets(home: Path) -> list[DatasetRow]:
    """Every dataset file of the home, newest first within a name, and every known dataset that it lacks."""
    files = sorted(_files(home), key=lambda file: file[0].stat().st_mtime_ns, reverse=True)
    rows = []
    for name in [*DATASETS, *sorted({found for _, found, _ in files} - set(DATASETS))]:
        own = [path for path, found, _ in files if found == name]
        rows += [dataset_row(path) for path in own]
        if not own:
            rows.append(DatasetRow(name, recipe_of(name).title, note=way_in(home, name)))
    return rows


def dataset_row(path: Path) -> DatasetRow:
    """What ``orchestrate data list`` says of a file of a home, whether it opens or not."""
    match = _FILE.fullmatch(path.name)
    if match is None:
        raise ValueError(f"{path} has no name of a dataset file")
    name, fingerprint = match["name"], match["fingerprint"]
    title = recipe_of(name).title if name in DATASETS else ""
    size = path.stat().st_size
    try:
        table = open_image_file(path)
    except DatasetError as error:
        return DatasetRow(name, title, fingerprint, path=path, size_bytes=size, note=str(error))
    counts = [entry.count for entry in table.classes]
    return DatasetRow(
        name,
        title,
        fingerprint,
        images=len(table.pixels),
        classes=len(table.classes),
        shape=table.image_shape,
        images_per_class=(min(counts), max(counts)),
        splits={split: {part: len(parts[part]) for part in PARTS} for split, parts in table.splits.items()},
        path=path,
        size_bytes=size,
    )


def way_in(home: Path, name: str) -> str:
    """How a user brings a dataset into the home, or that nothing has to be done."""
    recipe = recipe_of(name)
    if recipe.embedded:
        return "is made when a sweep first needs it"
    default = Path(os.environ.get("ORCHESTRATE_HOME", DEFAULT_HOME))
    option = "" if home.absolute() == default.absolute() else f" --home {shlex.quote(os.fspath(home))}"
    wanted = f"{name}.LABEL" if recipe.labelled and name in DATASETS else name
    by_hand = f"orchestrate data import {wanted} --source PATH{option}"
    if recipe.archives:
        return f"run: orchestrate data fetch {name}{option}, or, with its archives at hand, {by_hand}"
    return f"run: {by_hand}"


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Makes a folder, which is gone again when what is to fill it fails."""
    absent = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # another process has put something there
            for place in absent:
                place.rmdir()
        raise


def _path(folder: Path, name: str, fingerprint: str) -> Path:
    return folder / f"{name}-{fingerprint}.arrow"


def _files(home: Path) -> Iterator[tuple[Path, str, str]]:
    """(path, name, fingerprint) of every dataset file; temporary and foreign files are passed over."""
    folder = home / FOLDER
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _FILE.fullmatch(path.name)
        if match and path.is_file():  # opening a named pipe would wait
            yield path, match["name"], match["fingerprint"]


def _problem(path: Path) -> str:
    """What stops the file from being opened; empty where nothing does."""
    try:
        open_image_file(path)
    except DatasetError as error:
        return str(error)
    return ""
