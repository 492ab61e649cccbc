"""The embedded dataset: vector glyphs of the Hershey fonts, each drawn by 20 synthetic hands.

The hands are *synthetic*: no person drew these images. A hand bends the glyph smoothly, moves every stroke a little,
turns, slants, stretches, places it and picks a pen. Shapes come from the PyPI package ``Hershey-Fonts`` (A. V.
Hershey, "Calligraphy for Computers", 1967); half of its files are Latin in other styles and most repeat digits and
punctuation, so a class is a distinct *shape*, and its alphabet is the script, not the font file. Some shapes still
differ by little, as ニ and 二 do: no method reaches 100 %.

Pixels are the same on every machine and for every version of numpy: random numbers are raw bits of Philox, and a hand
uses only additions, products, quotients and square roots, which IEEE 754 rounds in one way. Hence no ``sin``, ``exp``
or matrix product here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainers.datasets.image_file import ImageClass, Pixels
from trainers.datasets.recipe import Job, Listing, Recipe, Wishes
from trainers.errors import DatasetError

SIZE = 28
HANDS = 20
VERSION = 1
"""Seeds every hand. Another drawing needs another version."""

SCRIPTS = {
    "latin": (
        *("futural", "futuram", "cursive", "scripts", "scriptc", "rowmans", "rowmand", "rowmant"),
        *("timesr", "timesrb", "timesi", "timesib"),
        *("gothgbt", "gothgrt", "gothiceng", "gothicger", "gothicita", "gothitt"),
    ),
    "greek": ("greek", "greekc", "greeks", "timesg"),
    "cyrillic": ("cyrilc_1", "cyrillic"),
    "kana": ("japanese",),
    "signs": ("astrology", "markers", "mathlow", "mathupp", "meteorology", "music", "symbolic"),
}
"""Script -> font files. A shape belongs to the first script that has it."""
PARTS_BY_SCRIPT = {"train": ("latin", "cyrillic", "signs"), "validation": ("greek",), "test": ("kana",)}

# How far a hand may go, in units of half the glyph's longer side unless said. Chosen so that 1-nearest-neighbour on
# pixels (5-way 1-shot, test classes) is right in 43 %, as it is on Omniglot.
LONGEST_PIECE = 0.3
WARP = (0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05)
STROKE_SHIFT = 0.06
STROKE_TURN = 0.08
"""Tangent of half the angle, as for TURN."""
TURN = 0.12
SLANT = 0.3
ASPECT = 0.2
SMALLEST, LARGEST = 17.0, 24.0
"""Longer side of the drawn glyph, in pixels."""
PEN_THIN, PEN_THICK = 0.5, 1.2
"""Radius of the pen, in pixels."""

Floats = npt.NDArray[np.float64]
Strokes = tuple[tuple[tuple[int, int], ...], ...]


@dataclass(frozen=True)
class Glyph:
    """A distinct shape: polylines in font units, y downwards."""

    name: str
    script: str
    strokes: Strokes


class Glyphs(Recipe):
    """Hershey glyphs by synthetic hands: 28×28 greys, ink 255."""

    name = "glyphs"
    title = "Hershey font glyphs drawn by synthetic hands: 1,207 classes of 20 images, 28×28 grey"
    splits: Mapping[str, Mapping[str, int]] = {"scripts": {"train": 962, "validation": 74, "test": 171}}
    image_shape = (SIZE, SIZE, 1)
    images_per_class = 20
    embedded = True

    def find(self, source: Path | None, wishes: Wishes) -> Listing:
        """A job a glyph; all of them take seconds on one core."""
        if source is not None:
            raise DatasetError("glyphs is drawn from an installed package: leave --source out")
        glyphs = sorted(distinct_glyphs(), key=lambda glyph: glyph.name)
        jobs = [Job(index * HANDS, HANDS, partial(_rows, glyph)) for index, glyph in enumerate(glyphs)]
        classes = [ImageClass(glyph.name, glyph.script, index * HANDS, HANDS) for index, glyph in enumerate(glyphs)]
        scripts = {
            part: tuple(index for index, glyph in enumerate(glyphs) if glyph.script in members)
            for part, members in PARTS_BY_SCRIPT.items()
        }
        samples = np.tile(np.arange(HANDS, dtype=np.int32), len(glyphs))
        return Listing(self.image_shape, classes, samples, {"scripts": scripts}, jobs)


GLYPHS = Glyphs()


def distinct_glyphs() -> Iterator[Glyph]:
    """Every shape once, under the first script and font that has it; empty glyphs are left out."""
    from HersheyFonts import HersheyFonts  # imports urllib and tarfile: 25 ms that a config check need not pay

    fonts = HersheyFonts()
    seen = set()
    for script, names in SCRIPTS.items():
        for font in names:
            fonts.load_default_font(font)
            for character, glyph in fonts.all_glyphs.items():
                strokes = tuple(tuple(stroke) for stroke in glyph.strokes if len(stroke) > 1)
                shape = _shape(strokes)
                if shape and shape not in seen:
                    seen.add(shape)
                    yield Glyph(f"{script}/{font}-{ord(character):03d}", script, strokes)


def _shape(strokes: Strokes) -> frozenset[frozenset[tuple[int, int]]]:
    """The set of undirected segments, whatever their place and size: images are scaled to a box, so - and — are one."""
    points = [point for stroke in strokes for point in stroke]
    if not points:
        return frozenset()
    left, top = min(x for x, _ in points), min(y for _, y in points)
    extent = max(max(x for x, _ in points) - left, max(y for _, y in points) - top)
    if extent == 0:
        return frozenset()
    unit = 100_000  # fine enough that no two different glyphs of at most some hundred font units meet
    scaled = [[((x - left) * unit // extent, (y - top) * unit // extent) for x, y in stroke] for stroke in strokes]
    return frozenset(frozenset(ends) for stroke in scaled for ends in pairwise(stroke))


def _rows(glyph: Glyph) -> Pixels:
    return draw(glyph)[..., None]


def draw(glyph: Glyph) -> Pixels:
    """The glyph by each of its hands: uint8 [hands, 28, 28], ink 255, no ink cut off by the border."""
    pieces = [_pieces(stroke) for stroke in _boxed(glyph.strokes)]
    stroke_of = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    starts = np.flatnonzero(stroke_of[:-1] == stroke_of[1:])
    points = np.concatenate(pieces)

    # A hand's random numbers: 7 for its warp along x, 7 along y, 6 for its place, 1 for its pen, 4 for each stroke.
    random = _uniform(glyph.name, HANDS * (21 + 4 * len(pieces))).reshape(HANDS, -1)
    strokes = random[:, 21:].reshape(HANDS, len(pieces), 4)[:, stroke_of]
    centres = np.stack([(piece.min(axis=0) + piece.max(axis=0)) / 2 for piece in pieces])[stroke_of]
    x, y = _move_strokes(points, centres, strokes)
    x, y = _warp(x, y, random[:, :7, None], random[:, 7:14, None])
    x, y = _place(x, y, *(random[:, index, None] for index in range(14, 20)))
    pen = PEN_THIN + (PEN_THICK - PEN_THIN) * (1 + random[:, 20]) / 2
    return _ink(x, y, starts, pen)


def _uniform(name: str, count: int) -> Floats:
    """``count`` numbers in [−1, 1) that only the name and VERSION decide."""
    key = int.from_bytes(hashlib.sha256(f"{name} {VERSION}".encode()).digest()[:16], "big")
    raw = np.random.Philox(key=key).random_raw(count)
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0


def _boxed(strokes: Strokes) -> list[Floats]:
    """Strokes centred, the longer side from −1 to 1."""
    points = np.array([point for stroke in strokes for point in stroke], np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    half = (high - low).max() / 2
    return [(np.array(stroke, np.float64) - (low + high) / 2) / half for stroke in strokes]


def _pieces(stroke: Floats) -> Floats:
    """The polyline with long segments cut, so that a warp can bend them."""
    points = [stroke[:1]]
    for start, end in pairwise(stroke):
        step = end - start
        pieces = max(1, int(np.ceil(np.abs(step).max() / LONGEST_PIECE)))
        points.append(start + step * np.arange(1, pieces + 1)[:, None] / pieces)
    return np.concatenate(points)


def _move_strokes(points: Floats, centres: Floats, random: Floats) -> tuple[Floats, Floats]:
    """Every stroke shifted, stretched and turned about its own centre.

    points and centres [points, 2], random [hands, points, 4] -> x and y, each [hands, points].
    """
    cosine, sine = _turn(STROKE_TURN * random[..., 0])
    dx, dy = points[:, 0] - centres[:, 0], points[:, 1] - centres[:, 1]
    stretch = 1 + STROKE_SHIFT * random[..., 1]
    x = centres[:, 0] + stretch * (cosine * dx - sine * dy) + STROKE_SHIFT * random[..., 2]
    y = centres[:, 1] + stretch * (sine * dx + cosine * dy) + STROKE_SHIFT * random[..., 3]
    return x, y


def _warp(x: Floats, y: Floats, along_x: Floats, along_y: Floats) -> tuple[Floats, Floats]:
    """A displacement by polynomials of degree 2 and 3 (Chebyshev's, so that each is at most 1 in the box)."""
    x2, y2 = 2 * x * x - 1, 2 * y * y - 1
    basis = (x2, x * y, y2, (2 * x2 - 1) * x, x2 * y, x * y2, (2 * y2 - 1) * y)
    dx, dy = np.zeros_like(x), np.zeros_like(y)
    for term, (size, field) in enumerate(zip(WARP, basis, strict=True)):
        dx += size * along_x[:, term] * field
        dy += size * along_y[:, term] * field
    return x + dx, y + dy


def _place(
    x: Floats, y: Floats, turn: Floats, slant: Floats, aspect: Floats, size: Floats, right: Floats, down: Floats
) -> tuple[Floats, Floats]:
    """Slanted, stretched, turned, then scaled and shifted so that all of it is on the canvas, pen included. Pixels."""
    cosine, sine = _turn(TURN * turn)
    x, y = (x - SLANT * slant * y) * (1 + ASPECT * aspect), y * (1 - ASPECT * aspect)
    x, y = cosine * x - sine * y, sine * x + cosine * y
    low_x, high_x = x.min(axis=1, keepdims=True), x.max(axis=1, keepdims=True)
    low_y, high_y = y.min(axis=1, keepdims=True), y.max(axis=1, keepdims=True)
    longer = SMALLEST + (LARGEST - SMALLEST) * (1 + size) / 2
    scale = longer / np.maximum(high_x - low_x, high_y - low_y)
    # The free border less the thickest pen, so that shifts never cut ink off.
    free = (SIZE - longer) / 2 - (PEN_THICK + 0.5)
    centre = (SIZE - 1) / 2
    x = centre + (x - (low_x + high_x) / 2) * scale + free * right
    y = centre + (y - (low_y + high_y) / 2) * scale + free * down
    return x, y


def _turn(tangent: Floats) -> tuple[Floats, Floats]:
    """Cosine and sine of an angle, from the tangent of its half."""
    square = tangent * tangent
    return (1 - square) / (1 + square), 2 * tangent / (1 + square)


def _ink(x: Floats, y: Floats, starts: npt.NDArray[np.intp], pen: Floats) -> Pixels:
    """Antialiased strokes: a pixel is inked by clip(½ + pen − distance to the nearest segment).

    x, y [hands, points] in pixels; a segment goes from each point of ``starts`` to the next; pen [hands]: radius.
    """
    x, y = x.astype(np.float32), y.astype(np.float32)
    hands = len(x)
    grid = np.arange(SIZE, dtype=np.float32)
    across, down = grid[None, None, :], grid[None, :, None]
    nearest = np.full((hands, SIZE, SIZE), np.inf, np.float32)
    along, off = np.empty_like(nearest), np.empty_like(nearest)
    for start in starts:
        left, top = x[:, start, None, None], y[:, start, None, None]
        dx, dy = x[:, start + 1, None, None] - left, y[:, start + 1, None, None] - top
        length = np.sqrt(dx * dx + dy * dy)
        safe = np.maximum(length, np.float32(1e-6))
        ux, uy = dx / safe, dy / safe
        # In the segment's own axes: along (how far beyond its ends) and off. Both are sums of a row and a column.
        half = length / 2
        np.add((across - left) * ux, (down - top) * uy - half, out=along)
        np.abs(along, out=along)
        np.subtract(along, half, out=along)
        np.maximum(along, 0, out=along)
        np.subtract((across - left) * uy, (down - top) * ux, out=off)
        np.multiply(along, along, out=along)
        np.multiply(off, off, out=off)
        np.add(along, off, out=along)
        np.minimum(nearest, along, out=nearest)
    ink = np.clip(np.float32(0.5) + pen.astype(np.float32)[:, None, None] - np.sqrt(nearest), 0, 1)
    drawn: Pixels = np.rint(ink * 255).astype(np.uint8)
    return drawn
