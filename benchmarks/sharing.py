"""What each further worker on a machine costs: private memory beyond the process itself, time to its first meta-batch.

Workers are Ray actors, all told to begin at the same moment, beside a driver that has read all of the data. Each opens
the data in one of these ways, gathers a meta-batch, then 20 more, and reads every image once:

    mapped file     ours, where the machine has the file
    object store    ours, on a node of a cluster that lacks the file
    torch.load      a file of torch.save
    pickled arrays  Ray, with the arrays inside a pickle, as those of a closure or of a config are
    PNG files       all of them decoded; measured with an eighth of the images, and given times eight

Memory is the USS: pages that no other process has. What was read before lies in the system's cache for all ways alike.

    python benchmarks/sharing.py [--json] [--size-mb MB] [--workers N …]
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import pickle
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image

from orchestrator.cluster.connect import cluster
from orchestrator.cluster.sharing import open_here, share
from trainers.config import TrialConfig
from trainers.datasets.image_file import ImageClass, ImageTable, open_image_file
from trainers.datasets.image_writer import write_image_file
from trainers.episodes import training_sampler
from trainers.tasks import as_tasks

SIDE = 84
CLASSES = 100
EIGHTH = 8
"""Decoding takes so long that it is done to this part of the images: memory and time are in proportion to them."""
PNG_FILES = 1000
"""Image i is file i modulo this: as long to decode as if each had a file of its own."""
META_BATCH = 4
MORE_BATCHES = 20
WARM_UP_MB = 20
MB = 1e6

CONFIG = TrialConfig.model_validate({"episodes": {"ways": 5, "shots": 1, "queries": 15}})
"""Episodes as on miniImageNet."""


class Place:
    """One dataset in every form that a worker can open; made in a folder and in Ray's object store."""

    def __init__(self, folder: Path, size_mb: float) -> None:
        import ray  # reads how to authenticate when it is imported: ``cluster`` comes first

        self.folder = folder
        count = max(int(size_mb * MB / (3 * SIDE**2)), 20 * CLASSES)
        distinct = _photographs(PNG_FILES)
        for name in ("datasets", "png", "nothing"):
            (folder / name).mkdir(parents=True)
        for index, image in enumerate(distinct):
            Image.fromarray(image).save(self._png(index), compress_level=1)
        bounds = np.linspace(0, count, CLASSES + 1).astype(int)
        classes = [
            ImageClass(f"{index:03d}", "", int(first), int(end - first))
            for index, (first, end) in enumerate(pairwise(bounds))
        ]
        parts = {"train": tuple(range(64)), "validation": tuple(range(64, 80)), "test": tuple(range(80, 100))}
        pixels = np.resize(distinct, (count, SIDE, SIDE, 3))
        table = ImageTable.build("noise", pixels, np.zeros(count, np.int32), classes, {"scripts": parts})
        path = folder / "datasets" / f"noise-{table.fingerprint}.arrow"
        write_image_file(table, path)
        torch.save(torch.from_numpy(pixels), folder / "pixels.pt")
        # A pickle as an array, so that it reaches a worker without a copy that would be counted twice.
        self.pickled = ray.put(np.frombuffer(pickle.dumps(pixels, protocol=4), np.uint8))
        mapped = open_image_file(path)
        self.shared = share([mapped])
        self.without_pixels = replace(table, pixels=pixels[:0].copy())
        self.count = count
        read_all(mapped)
        self._kept = mapped

    def opening(self, way: str) -> Callable[[], ImageTable]:
        """What a worker calls; refers to the place by paths and references only."""
        home, folder = str(self.folder), self.folder
        empty, name, fingerprint = self.without_pixels, self._kept.name, self._kept.fingerprint
        shared, pickled, files = self.shared, {"pixels": self.pickled}, [self._png(i) for i in range(PNG_FILES)]
        count = self.count

        def decoded() -> Any:
            pixels = np.empty((count, SIDE, SIDE, 3), np.uint8)
            for row in range(count):
                with Image.open(files[row % PNG_FILES]) as image:
                    pixels[row] = np.asarray(image)
            return pixels

        def unpickled() -> Any:
            import ray

            return pickle.loads(ray.get(pickled["pixels"]))

        ways: dict[str, Callable[[], ImageTable]] = {
            "mapped file": lambda: open_here(home, name, fingerprint, {}),
            "object store": lambda: open_here(str(folder / "nothing"), name, fingerprint, shared),
            "torch.load": lambda: replace(empty, pixels=torch.load(folder / "pixels.pt").numpy()),
            "pickled arrays": lambda: replace(empty, pixels=unpickled()),
            "PNG files": lambda: replace(empty, pixels=decoded()),
        }
        return ways[way]

    def _png(self, index: int) -> str:
        return str(self.folder / "png" / f"{index}.png")


WAYS = ("mapped file", "object store", "torch.load", "pickled arrays", "PNG files")


class Worker:
    """A process that trials could run in."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._process = psutil.Process()

    def uss_mb(self) -> float:
        """Private memory, after what is free went back to the system."""
        gc.collect()
        with suppress(AttributeError, OSError):  # a C library that is not glibc
            ctypes.CDLL(None).malloc_trim(0)
        return float(self._process.memory_full_info().uss / MB)

    def measure(self, opening: Callable[[], ImageTable], seed: int) -> dict[str, float]:
        """Private memory without the data and with it, in MB; seconds to the first meta-batch."""
        before = self.uss_mb()
        started = time.perf_counter()
        data = opening()
        sampler = replace(training_sampler(CONFIG, data), split="scripts", rotations=False, seed=seed)
        like = torch.zeros(1)
        as_tasks(sampler.episodes(range(META_BATCH)), like)
        first_batch_s = time.perf_counter() - started
        for batch in range(1, MORE_BATCHES + 1):
            as_tasks(sampler.episodes(range(META_BATCH * batch, META_BATCH * (batch + 1))), like)
        read_all(data)
        return {"process_mb": before, "added_mb": self.uss_mb() - before, "first_batch_s": first_batch_s}


def read_all(data: ImageTable) -> None:
    """Reads every image, a few at a time."""
    for row in range(0, len(data.pixels), 64):
        data.pixels[row : row + 64].max()


def _photographs(count: int) -> Any:
    """Smooth colours with some noise: a PNG of them is about as large, and as slow to decode, as of a photograph."""
    rng = np.random.default_rng(0)
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for index in range(count):
        coarse = Image.fromarray(rng.integers(20, 230, (12, 12, 3), np.uint8))
        smooth = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.int16)
        images[index] = np.clip(smooth + rng.integers(-6, 7, smooth.shape), 0, 255)
    return images


def run(place: Place, workers: list[Any], way: str, scale: float = 1.0) -> dict[str, float]:
    """All these workers at once; medians over them, and the slowest; times ``scale`` what the data cost."""
    import ray

    opening = place.opening(way)
    found = ray.get([worker.measure.remote(opening, seed) for seed, worker in enumerate(workers)])
    return {
        "process_mb": median(one["process_mb"] for one in found),
        "added_mb": scale * median(one["added_mb"] for one in found),
        "added_mb_most": scale * max(one["added_mb"] for one in found),
        "first_batch_s": scale * median(one["first_batch_s"] for one in found),
        "first_batch_s_slowest": scale * max(one["first_batch_s"] for one in found),
    }


def main() -> None:
    """Prints the table, or one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--size-mb", type=float, default=1000, help="of the pixels; default 1000")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 8])
    asked = parser.parse_args()

    def say(line: str) -> None:
        print(line, file=sys.stderr if asked.json else sys.stdout, flush=True)

    with tempfile.TemporaryDirectory() as folder, cluster(None):
        import ray

        workers = [ray.remote(num_cpus=0)(Worker).remote() for _ in range(max(asked.workers))]
        small, eighth, place = (
            Place(Path(folder) / name, size_mb)
            for name, size_mb in (("small", WARM_UP_MB), ("eighth", asked.size_mb / EIGHTH), ("all", asked.size_mb))
        )
        for way in WAYS:  # so that what a way imports counts as the process itself
            run(small, workers, way)
        size_mb = place.without_pixels.pixels.itemsize * place.count * 3 * SIDE**2 / MB
        say(f"{os.cpu_count()} CPUs, {platform.machine()}, {size_mb:.0f} MB: {place.count} images of {SIDE}×{SIDE}×3")
        say("MB of private memory a worker adds to that of its process; s until its first meta-batch (medians)")
        say(f"{'':16s}" + "".join(f"{f'{count} worker' + 's' * (count > 1):>24s}" for count in asked.workers))
        found: dict[str, dict[str, dict[str, float]]] = {}
        for way in WAYS:
            of = eighth if way == "PNG files" else place
            found[way] = {str(count): run(of, workers[:count], way, place.count / of.count) for count in asked.workers}
            cells = [f"{one['added_mb']:12.1f} MB {one['first_batch_s']:7.3f} s" for one in found[way].values()]
            say(f"{way:16s}" + "".join(cells))
        process_mb = median(one["process_mb"] for counts in found.values() for one in counts.values())
        say(f"the process itself: {process_mb:.0f} MB")
    if asked.json:
        print(json.dumps({"size_mb": size_mb, "process_mb": process_mb, "ways": found}))


if __name__ == "__main__":
    main()
