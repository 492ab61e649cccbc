"""A picture of a few episodes, as a trial sees them: a row a class, support and query apart."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from orchestrator.errors import HomeError, InputError
from trainers.datasets import recipe_of
from trainers.datasets.image_file import ImageTable
from trainers.episodes import TEST_SEED, VALIDATION_SEED, Episode, EpisodeSampler, Pixels

SEEDS = {"train": 0, "validation": VALIDATION_SEED, "test": TEST_SEED}
"""Seeds of the episodes that trials see; in training that of ``training.seed`` 0."""
SMALLEST_SIDE = 56
"""Pixels: images that are smaller are shown larger, by a whole factor."""
MARGIN, GAP, APART, LINE = 16, 4, 28, 22
"""Pixels around the sheet, between images, between support and query, of a line of text."""
NAME_WIDTH = 190
MOST_IMAGES = 5000
PAPER, INK, FAINT = (255, 255, 255), (20, 20, 20), (120, 120, 120)
FONT_SIZE = 14


@dataclass(frozen=True)
class Asked:
    """Which episodes."""

    part: str
    """``train``, ``validation`` or ``test``."""
    ways: int
    shots: int
    queries: int
    split: str | None = None
    """The dataset's usual one where left out."""
    seed: int | None = None
    """That of the trials where left out."""


def sampler_of(data: ImageTable, asked: Asked) -> EpisodeSampler:
    """The episodes, as trials see them: rotated where that is usual.

    Raises:
        DatasetError: no such split, or it can't fill such episodes.
    """
    recipe = recipe_of(data.name)
    split = asked.split or next(iter(recipe.splits))
    data.check_episodes(split, asked.ways, asked.shots + asked.queries)
    seed = SEEDS[asked.part] if asked.seed is None else asked.seed
    return EpisodeSampler(data, split, asked.part, recipe.rotations, asked.ways, asked.shots, asked.queries, seed)


def class_names(sampler: EpisodeSampler, index: int) -> list[str]:
    """Names of the classes of an episode, in the order of their labels."""
    support, _, _ = sampler.rows(index)
    first = [entry.first for entry in sampler.data.classes]
    return [sampler.data.classes[place].name for place in np.searchsorted(first, support[:, 0], "right") - 1]


def draw_sheet(sampler: EpisodeSampler, indices: Sequence[int]) -> Image.Image:
    """The episodes below each other, RGB.

    Raises:
        InputError: more images than anybody looks at, or memory holds.
    """
    images = len(indices) * sampler.ways * (sampler.shots + sampler.queries)
    if images > MOST_IMAGES:
        raise InputError(
            f"--episodes {len(indices)} --ways {sampler.ways} --shots {sampler.shots} --queries {sampler.queries}: a "
            f"sheet of {images} images, and {MOST_IMAGES} are the most; ask for fewer"
        )
    episodes = sampler.episodes(indices)
    tiles = [_tile(episode, class_names(sampler, index)) for index, episode in zip(indices, episodes, strict=True)]
    width = 2 * MARGIN + max(tile.width for tile in tiles)
    height = MARGIN + 2 * LINE + sum(LINE + tile.height + MARGIN for tile in tiles)
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    what = f"{sampler.data.name}, split {sampler.split}, {sampler.part}, seed {sampler.seed}"
    kind = f"{sampler.ways}-way {sampler.shots}-shot" + (", classes rotated" if sampler.rotations else "")
    pen.text((MARGIN, MARGIN), f"{what}: {kind}", INK, _font())
    top = MARGIN + 2 * LINE
    for index, tile in zip(indices, tiles, strict=True):
        pen.text((MARGIN, top), f"episode {index}", INK, _font())
        sheet.paste(tile, (MARGIN, top + LINE))
        top += LINE + tile.height + MARGIN
    return sheet


def save_png(sheet: Image.Image, path: Path) -> None:
    """Writes the sheet in one atomic step.

    Raises:
        HomeError: the place can't be written.
    """
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        sheet.save(temporary, "PNG")
        os.replace(temporary, path)
    except OSError as error:
        raise HomeError(f"can't write {path}: {error.strerror or error}; name another file by --png") from error
    finally:
        with suppress(OSError):  # it may never have been there, nor its folder
            temporary.unlink()


def _tile(episode: Episode, names: Sequence[str]) -> Image.Image:
    """Names, support and query of an episode, a class a row, under headings."""
    ways, shots, height, width, _ = episode.support.shape
    queries = episode.query.shape[1]
    scale = max(1, -(-SMALLEST_SIDE // min(height, width)))
    across, down = width * scale + GAP, height * scale + GAP
    query_left = NAME_WIDTH + shots * across + APART
    tile = Image.new("RGB", (query_left + queries * across, LINE + ways * down), PAPER)
    pen = ImageDraw.Draw(tile)
    pen.text((NAME_WIDTH, 0), "support", FAINT, _font())
    pen.text((query_left, 0), "query", FAINT, _font())
    middle = query_left - (APART + GAP) // 2
    pen.line((middle, LINE, middle, tile.height - GAP), FAINT)
    for label, name in enumerate(names):
        top = LINE + label * down
        pen.text((0, top), _fitted(f"{label}  {name}"), INK, _font())
        for left, images in ((NAME_WIDTH, episode.support[label]), (query_left, episode.query[label])):
            for column, image in enumerate(images):
                tile.paste(_enlarged(image, scale), (left + column * across, top))
    return tile


def _enlarged(image: Pixels, scale: int) -> Image.Image:
    """[height, width, channels] as a picture, every pixel a square of ``scale``."""
    large = image.repeat(scale, axis=0).repeat(scale, axis=1)
    return Image.fromarray(large[:, :, 0] if large.shape[2] == 1 else large).convert("RGB")


def _fitted(text: str) -> str:
    """The text, its end cut off where it would run into the images."""
    font, shown = _font(), text
    while font.getlength(shown) > NAME_WIDTH - GAP:
        text = text[:-1]
        shown = f"{text}…"
    return shown


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(FONT_SIZE)
