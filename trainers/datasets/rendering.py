"""Runs the jobs of a listing, each of which writes its rows into the file: in this process or in several.

Imports neither torch nor Arrow: every worker pays for what this file needs.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from math import prod
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainers.errors import DatasetError

if TYPE_CHECKING:
    from trainers.datasets.recipe import Job

JOBS_A_PROCESS = 4
"""A process takes about half a second to start: fewer jobs are not worth another."""

Shape = tuple[int, int, int]


def render_into(path: Path, offset: int, shape: Shape, jobs: Sequence[Job], processes: int) -> Iterator[int]:
    """Makes all images and writes them into the file at ``path``.

    Args:
        path: a file that is large enough.
        offset: where row 0 begins, in bytes.
        shape: of an image: (height, width, channels).
        jobs: what to make.
        processes: at most so many work; 1 is this one.

    Yields:
        The number of images of each job that is done, in order.

    Raises:
        DatasetError: an image can't be read (of several, one of the first job that has one), or a process was killed.
        OSError: the file can't be written.
    """
    work = partial(_render, path, offset, shape)
    processes = min(processes, len(jobs) // JOBS_A_PROCESS)
    if processes < 2:
        yield from map(work, jobs)
        return
    # Not forked: this process may have threads (a progress bar's), whose locks a copy would inherit locked.
    pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_end_with_parent)
    try:
        with _sigint_blocked():
            done = pool.map(work, jobs)
        yield from done
    except BrokenProcessPool as error:
        raise DatasetError(
            "a process that decodes images was killed, for want of memory perhaps; give the same command again"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _render(path: Path, offset: int, shape: Shape, job: Job) -> int:
    pixels = np.ascontiguousarray(job.render())
    if pixels.shape != (job.count, *shape) or pixels.dtype != np.uint8:
        raise ValueError(f"a job must make uint8 {(job.count, *shape)}, got {pixels.dtype} {pixels.shape}")
    with path.open("r+b") as file:
        file.seek(offset + job.first * prod(shape))
        file.write(pixels.data)
    return job.count


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Processes started inside never see Ctrl-C, not even while they start: ending them is this process's part."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """Ends this worker when its parent is gone, even killed: a worker that waits for its next job would not see it."""

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
