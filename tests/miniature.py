"""Sources of every dataset that has to be imported, in the layout of the real one and, but for Omniglot's, small."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

Files = dict[str, bytes]
"""Name in a folder or zip -> content."""


def picture(seed: int, width: int = 32, height: int = 32, mode: str = "RGB", kind: str = "PNG") -> bytes:
    """An image of smooth random colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode).save(file, kind)
    return file.getvalue()


def cifar100(images: int = 4) -> Files:
    """Bertinetto's tree: parted in the order of the alphabet."""
    from trainers.datasets.cifar100 import SUPERCLASS_OF

    names = sorted(SUPERCLASS_OF)
    files = {
        f"cifar100/data/{name}/{name}_{number:04d}.png": picture(images * index + number)
        for index, name in enumerate(names)
        for number in range(images)
    }
    for part, bounds in {"train": (0, 64), "val": (64, 80), "test": (80, 100)}.items():
        files[f"cifar100/splits/bertinetto/{part}.txt"] = "\n".join(names[slice(*bounds)]).encode() + b"\n"
    return files


def omniglot() -> Files:
    """Both archives, as many alphabets, characters and drawers as there are, but only twenty different images."""
    images = [picture(seed, 105, 105, "1") for seed in range(20)]
    sizes = {"background": 12 * [33] + 12 * [32] + 4 * [31] + 2 * [30], "evaluation": 19 * [33] + [32]}
    archives = {}
    for part, alphabets in sizes.items():
        files = {
            f"images_{part}/{part}{index:02d}/character{character:02d}/{index}_{drawer:02d}.png": image
            for index, characters in enumerate(alphabets)
            for character in range(1, characters + 1)
            for drawer, image in enumerate(images, 1)
        }
        archives[f"images_{part}.zip"] = zipped(files)
    return archives


def mini_imagenet(images: int = 4) -> Files:
    """One flat folder of images with the three split files beside it."""
    files = {}
    for part, bounds in {"train": (0, 64), "val": (64, 80), "test": (80, 100)}.items():
        lines = ["filename,label"]
        for index in range(*bounds):
            for number in range(images):
                name = f"n{index:08d}{number:08d}.jpg"
                files[f"mini/images/{name}"] = picture(images * index + number, 100, 84, kind="JPEG")
                lines.append(f"{name},n{index:08d}")
        files[f"mini/{part}.csv"] = ("\n".join(lines) + "\n").encode()
    return files


def folder(classes: int = 10, images: int = 4) -> Files:
    """Class folders in two groups."""
    return {
        f"birds/{'ab'[index % 2]}/c{index:02d}/{number}.png": picture(images * index + number)
        for index in range(classes)
        for number in range(images)
    }


FILES: Mapping[str, Callable[[], Files]] = {
    "omniglot": omniglot,
    "cifar_fs": cifar100,
    "fc100": cifar100,
    "mini_imagenet": mini_imagenet,
    "folder": folder,
}
"""By dataset. One that is neither here, nor embedded, has no contract tests without real data: they fail."""


def write_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    """The files in a folder; gives its path."""
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    """The files in a zip, in the order given; gives its path."""
    path.write_bytes(zipped(files))
    return path


def zipped(files: Mapping[str, bytes]) -> bytes:
    """The bytes of a zip of these files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()
