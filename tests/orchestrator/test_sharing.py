"""A dataset on a worker's machine: mapped where it has the file, else the copy in its object store."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from orchestrator.cluster.sharing import open_here
from orchestrator.errors import DatasetError
from trainers.datasets.image_file import ImageTable, open_image_file

ROOT = Path(__file__).resolve().parents[2]

# Private memory of a process before it opens a dataset, and when it has read all of it.
READER = """
import sys, psutil
import pyarrow, numpy
from orchestrator.cluster.sharing import open_here
open_here(sys.argv[1], "glyphs", sys.argv[2], {})
before = psutil.Process().memory_full_info().uss
data = open_here(sys.argv[1], "glyphs", sys.argv[2], {})
for row in range(0, len(data.pixels), 64):
    data.pixels[row : row + 64].max()
print(psutil.Process().memory_full_info().uss - before)
"""


def test_the_file_of_the_machine_comes_first(fresh_glyphs_home: Path, glyphs: ImageTable) -> None:
    shared = {glyphs.fingerprint: "a reference that is not asked for"}
    found = open_here(str(fresh_glyphs_home), "glyphs", glyphs.fingerprint, shared)
    assert found.fingerprint == glyphs.fingerprint


def test_a_further_reader_takes_no_memory_of_its_own(fresh_glyphs_home: Path, glyphs: ImageTable) -> None:
    first = open_image_file(next((fresh_glyphs_home / "datasets").iterdir()))
    first.pixels.max()
    command = [sys.executable, "-c", READER, str(fresh_glyphs_home), glyphs.fingerprint]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 0.1 * first.pixels.nbytes


def test_a_home_on_an_object_store_has_its_files_in_the_cache_of_the_machine(
    glyphs_file: Path, glyphs: ImageTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DatasetError, match=r"glyphs, fingerprint .* is not in .*/metasweep; import the dataset again"):
        open_here("s3://bucket/home", "glyphs", glyphs.fingerprint, {})
    folder = tmp_path / "metasweep" / "datasets"
    folder.mkdir(parents=True)
    shutil.copyfile(glyphs_file, folder / glyphs_file.name)
    assert open_here("s3://bucket/home", "glyphs", glyphs.fingerprint, {}).fingerprint == glyphs.fingerprint


@pytest.mark.parametrize("damage", ["cut", "another dataset under its name"])
def test_a_file_that_is_not_the_right_one(glyphs_file: Path, glyphs: ImageTable, tmp_path: Path, damage: str) -> None:
    digest = "0" * 20 if damage != "cut" else glyphs.fingerprint
    path = tmp_path / "datasets" / f"glyphs-{digest}.arrow"
    path.parent.mkdir()
    content = glyphs_file.read_bytes()
    path.write_bytes(content[:-100] if damage == "cut" else content)
    with pytest.raises(DatasetError, match="import the dataset again"):
        open_here(str(tmp_path), "glyphs", digest, {})


def test_a_table_travels_beside_its_pickle(glyphs_file: Path) -> None:
    """So that Ray copies pixels once, into shared memory, and a worker's view of them is read-only and no copy."""
    table = open_image_file(glyphs_file)
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(table, protocol=5, buffer_callback=buffers.append)
    assert len(pickled) < 0.02 * table.pixels.nbytes
    frozen = [buffer.raw().toreadonly() for buffer in buffers]
    again: ImageTable = pickle.loads(pickled, buffers=frozen)
    assert (again.fingerprint, again.classes, again.splits) == (table.fingerprint, table.classes, table.splits)
    assert not again.pixels.flags.writeable
    assert any(np.shares_memory(again.pixels, np.frombuffer(buffer, np.uint8)) for buffer in frozen)
    assert (again.pixels[::500] == table.pixels[::500]).all()
