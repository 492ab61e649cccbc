"""Fixtures that several test files share: real data, and datasets made once per test session."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from miniature import FILES, write_folder
from small_home import make_home
from xdist.scheduler import LoadScopeScheduling

from orchestrator.data import find_dataset, make_dataset
from orchestrator.tracking_uri import default_uri
from trainers.datasets import recipe_of
from trainers.datasets.image_file import ImageTable, open_image_file

ROOT = Path(__file__).resolve().parents[1]

SHARED_MACHINES = ("tests/cluster/test_nodes.py",)
"""Files whose tests share what takes minutes to make."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow tests first, so that no worker ends with one while the others have nothing left."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


class OneWorkerAFile(LoadScopeScheduling):
    """Hands tests out singly, but for those of some files, which go to one worker, with what they share."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file in SHARED_MACHINES else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneWorkerAFile:
    """By a hook, since xdist 3.8 does not pass its own groups on to pytest 9.2."""
    return OneWorkerAFile(config, log)


def no_progress(done: int, total: int) -> None:
    """Where a test does not look at progress."""


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data (its README says what lies there); it may be absent."""
    return Path(os.environ.get("METASWEEP_DATA", ROOT / ".." / "shared" / "data")).resolve()


@pytest.fixture(scope="session")
def omniglot_source(real_data: Path) -> Path:
    """Folder with Omniglot's two archives."""
    folder = real_data / "omniglot"
    for name in ("images_background.zip", "images_evaluation.zip"):
        if not (folder / name).is_file():
            pytest.skip(f"{folder / name} is absent (METASWEEP_DATA names the folder of the real data)")
    return folder


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all xdist workers of this test session share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "session"
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def once(session_folder: Path) -> Callable[[str, Callable[[Path], object]], Path]:
    """Makes a folder of this name, by whichever worker comes first. Never write to it afterwards."""

    def folder_of(name: str, make: Callable[[Path], object]) -> Path:
        with _locked(session_folder / f"{name}.lock"):
            if not (session_folder / name / "made").exists():
                shutil.rmtree(session_folder / name, ignore_errors=True)
                (session_folder / name).mkdir()
                make(session_folder / name)
                (session_folder / name / "made").touch()
        return session_folder / name

    return folder_of


def _made_once(folder: Path, name: str, source: Path | None) -> Path:
    """The dataset's file in ``folder``, made by whichever worker comes first."""
    with _locked(folder / f"{name}.lock"):
        return find_dataset(folder, name) or make_dataset(folder, name, source, no_progress)


@pytest.fixture(scope="session")
def dataset_file(session_folder: Path, real_data: Path) -> Callable[[str], Path]:
    """The file of any dataset, from the real data where they are there, else from a small source. Never write to it."""

    def made(name: str) -> Path:
        if recipe_of(name).embedded:
            return _made_once(session_folder, name, None)
        for source in (real_data / name, real_data / f"{name}.zip"):
            if source.exists():
                return _made_once(session_folder, name, source)
        if name not in FILES:
            pytest.fail(f"{name} can't be tested: put {name}.zip into {real_data}, or a small source into miniature.py")
        with _locked(session_folder / f"{name}-source.lock"):
            source = session_folder / f"{name}-source"
            if not source.exists():
                write_folder(source, FILES[name]())
        return _made_once(session_folder, name, source)

    return made


@pytest.fixture(scope="session")
def glyphs_file(session_folder: Path) -> Path:
    """The embedded dataset as a file. Never write to it."""
    return _made_once(session_folder, "glyphs", None)


@pytest.fixture(scope="session")
def glyphs(glyphs_file: Path) -> ImageTable:
    """The embedded dataset, mapped."""
    return open_image_file(glyphs_file)


@pytest.fixture(scope="session")
def glyphs_home(glyphs_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that holds the embedded dataset, shared by the tests of this worker."""
    return _home_with(tmp_path_factory.mktemp("glyphs-home"), glyphs_file)


@pytest.fixture
def fresh_glyphs_home(glyphs_file: Path, tmp_path: Path) -> Path:
    """A home that holds the embedded dataset and that only this test sees."""
    return _home_with(tmp_path / "home", glyphs_file)


@pytest.fixture(scope="session")
def empty_database(once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A tracking store without runs: MLflow takes seconds for its tables. Never write to it."""

    def make(folder: Path) -> None:
        from orchestrator.tracking.client import open_client

        open_client(default_uri(folder))

    return once("empty-database", make) / "mlflow.db"


@pytest.fixture(scope="session")
def new_home(glyphs_file: Path, empty_database: Path) -> Callable[[Path], Path]:
    """Makes a home with the embedded dataset and an empty tracking store, as one is found by a second sweep."""

    def make(home: Path) -> Path:
        shutil.copy(empty_database, _home_with(home, glyphs_file))
        return home

    return make


@pytest.fixture(scope="module")
def small_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with every kind of record, and the files of its sweeps beside it: ``small_home.make_home``."""
    return make_home(tmp_path_factory.mktemp("small"))


def _home_with(home: Path, file: Path) -> Path:
    (home / "datasets").mkdir(parents=True)
    try:
        os.link(file, home / "datasets" / file.name)
    except OSError:  # another filesystem, or one without hard links
        shutil.copyfile(file, home / "datasets" / file.name)
    return home


@pytest.fixture(scope="session")
def omniglot_file(session_folder: Path, omniglot_source: Path) -> Path:
    """All of Omniglot as a file, imported once. Never write to it."""
    return _made_once(session_folder, "omniglot", omniglot_source)


@pytest.fixture(scope="session")
def omniglot(omniglot_file: Path) -> ImageTable:
    """All of Omniglot, mapped."""
    return open_image_file(omniglot_file)
