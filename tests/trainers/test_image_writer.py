"""Making the file: in bounded memory, by several processes, and never in half."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from trainers.datasets.image_file import ImageClass, open_image_file, verify_image_file
from trainers.datasets.image_writer import write_images
from trainers.datasets.recipe import Job, Listing
from trainers.errors import DatasetError

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (4, 5, 3)


def brightness(first: int, count: int) -> np.ndarray:
    """Every image as bright as its row."""
    return np.broadcast_to(np.arange(first, first + count, dtype=np.uint8)[:, None, None, None], (count, *SHAPE))


def listing(jobs: list[Job]) -> Listing:
    """Three classes of the rows that the jobs make."""
    each = sum(job.count for job in jobs) // 3
    classes = [ImageClass(name, name, index * each, each) for index, name in enumerate("abc")]
    splits = {"usual": {"train": (0,), "validation": (1,), "test": (2,)}}
    return Listing(SHAPE, classes, np.tile(np.arange(each, dtype=np.int32), 3), splits, jobs)


def jobs(count: int = 12, rows: int = 5) -> list[Job]:
    return [Job(rows * index, rows, partial(brightness, rows * index, rows)) for index in range(count)]


def write(folder: Path, made: Listing, processes: int, progress: Callable[[int, int], None] | None = None) -> Path:
    silent = progress or (lambda done, total: None)
    return write_images("small", made, folder, silent, processes, lambda fingerprint: folder / f"{fingerprint}.arrow")


def failing(first: int) -> np.ndarray:
    raise DatasetError(f"row {first} can't be read")


def killed() -> np.ndarray:
    os._exit(9)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_every_row_is_where_it_belongs(tmp_path: Path, processes: int) -> None:
    calls: list[tuple[int, int]] = []
    table = verify_image_file(write(tmp_path, listing(jobs()), processes, lambda *call: calls.append(call)))
    assert np.array_equal(table.pixels, brightness(0, 60))
    assert calls == [(5 * n, 60) for n in range(1, 13)]


def test_processes_work_beside_this_one(tmp_path: Path) -> None:
    def others(processes: int) -> set[int]:
        made = listing([Job(5 * index, 5, partial(pid, 5)) for index in range(12)])
        pixels = open_image_file(write(tmp_path, made, processes)).pixels
        return set(np.ascontiguousarray(pixels[:, 0, :2, 0]).view("<u2").ravel()) - {os.getpid() % 2**16}

    assert others(1) == set()
    assert 1 <= len(others(2)) <= 2


def test_processes_never_see_ctrl_c(tmp_path: Path) -> None:
    """Nor while they start: one that does ends with a traceback of its own."""
    made = listing([Job(5 * index, 5, partial(sigint_blocked, 5)) for index in range(12)])
    assert open_image_file(write(tmp_path, made, processes=2)).pixels.all()
    assert not sigint_blocked(5).any(), "this process does see it"


def sigint_blocked(count: int) -> np.ndarray:
    blocked = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    return np.full((count, *SHAPE), int(blocked), np.uint8)


def pid(count: int) -> np.ndarray:
    pixels = np.zeros((count, *SHAPE), np.uint8)
    pixels[:, 0, :2, 0] = list((os.getpid() % 2**16).to_bytes(2, "little"))
    return pixels


@pytest.mark.parametrize("processes", [1, 2])
def test_of_several_damaged_images_the_first_is_named(tmp_path: Path, processes: int) -> None:
    made = jobs()
    for index in (4, 5, 9):
        made[index] = Job(made[index].first, 5, partial(failing, made[index].first))
    with pytest.raises(DatasetError, match=r"^row 20 can't be read$"):
        write(tmp_path, listing(made), processes)
    assert not list(tmp_path.iterdir())


def test_a_worker_that_is_killed_is_an_error(tmp_path: Path) -> None:
    made = jobs()
    made[3] = Job(15, 5, killed)
    with pytest.raises(DatasetError, match="was killed, for want of memory perhaps"):
        write(tmp_path, listing(made), processes=2)
    assert not list(tmp_path.iterdir())


def test_a_recipe_that_makes_other_shapes_is_mistaken(tmp_path: Path) -> None:
    made = jobs()
    made[3] = Job(15, 5, partial(brightness, 15, 4))
    with pytest.raises(ValueError, match=r"must make uint8 \(5, 4, 5, 3\), got uint8 \(4, 4, 5, 3\)"):
        write(tmp_path, listing(made), processes=1)
    assert not list(tmp_path.iterdir())


def test_the_same_content_keeps_its_file(tmp_path: Path) -> None:
    path = write(tmp_path, listing(jobs()), processes=1)
    before, inode = path.read_bytes(), path.stat().st_ino
    os.utime(path, (1, 1))
    assert write(tmp_path, listing(jobs(6, 10)), processes=2) == path
    assert (path.read_bytes(), path.stat().st_ino) == (before, inode)
    assert path.stat().st_mtime > 1, "it is the newest now"
    path.write_bytes(before[:-1] + b"x")
    write(tmp_path, listing(jobs()), processes=1)
    assert path.read_bytes() == before


def test_a_full_disk_is_said_before_anything_is_made(tmp_path: Path) -> None:
    called: list[int] = []
    made = listing([Job(0, 3, lambda: called.append(1) or brightness(0, 3))])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write(tmp_path, made, processes=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not called
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process its own peak")
def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    """400 MB of pixels are made, written, fingerprinted and verified in a fraction of that."""
    program = """
import re, sys
from functools import partial
from pathlib import Path
import numpy as np
from trainers.datasets.image_file import ImageClass, verify_image_file
from trainers.datasets.image_writer import write_images
from trainers.datasets.recipe import Job, Listing

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])

side, count, images = 1000, 10, 400
splits = {"usual": {"train": (0,), "validation": (1,), "test": (2,)}}
classes = [ImageClass(name, name, first, size) for name, first, size in (("a", 0, 300), ("b", 300, 50), ("c", 350, 50))]
jobs = [Job(first, count, partial(np.full, (count, side, side, 1), 7, np.uint8)) for first in range(0, images, count)]
listing = Listing((side, side, 1), classes, np.zeros(images, np.int32), splits, jobs)
before = peak()
folder = Path(sys.argv[1])
path = write_images("big", listing, folder, lambda *call: None, 1, lambda fingerprint: folder / fingerprint)
verify_image_file(path)
print(peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert int(done.stdout) < 100e6
