"""The embedded dataset: scripts, distinct shapes, hands."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trainers.datasets.glyphs import GLYPHS, HANDS, SCRIPTS, Glyph, _shape, distinct_glyphs, draw
from trainers.datasets.image_file import ImageTable
from trainers.datasets.recipe import NO_WISHES
from trainers.errors import DatasetError

CORNER = Glyph("test/corner", "test", (((0, 0), (0, 20), (10, 20)),))
"""An L: down, then right."""


def test_is_the_same_for_ever(glyphs: ImageTable) -> None:
    """A hand or a rule that changed needs a new VERSION, and every stored result with glyphs starts anew."""
    assert glyphs.fingerprint == "330284cefa1da6b187e5"


def test_classes_per_script(glyphs: ImageTable) -> None:
    counts = Counter(entry.alphabet for entry in glyphs.classes)
    assert counts == {"latin": 744, "greek": 74, "cyrillic": 44, "kana": 171, "signs": 174}
    assert all(entry.count == HANDS for entry in glyphs.classes)


def test_parts_are_scripts(glyphs: ImageTable) -> None:
    scripts = {
        part: {glyphs.classes[index].alphabet for index in indices}
        for part, indices in glyphs.splits["scripts"].items()
    }
    assert scripts == {"train": {"latin", "cyrillic", "signs"}, "validation": {"greek"}, "test": {"kana"}}


def test_every_font_file_has_one_script() -> None:
    from HersheyFonts import HersheyFonts

    assert sorted(font for fonts in SCRIPTS.values() for font in fonts) == sorted(HersheyFonts().default_font_names)


def test_a_shape_belongs_to_the_first_script_that_has_it() -> None:
    """The Greek, Cyrillic and astrology files repeat Latin letters and digits."""
    names = {glyph.name for glyph in distinct_glyphs()}
    assert "latin/futural-065" in names
    assert not names & {"greek/greek-065", "greek/greeks-048", "cyrillic/cyrillic-048", "signs/mathupp-065"}
    assert {"greek/greek-097", "cyrillic/cyrilc_1-066", "signs/markers-069"} <= names


def test_no_two_classes_show_one_shape() -> None:
    shapes = [_shape(glyph.strokes) for glyph in distinct_glyphs()]
    assert len(set(shapes)) == len(shapes)
    assert all(shapes)


@pytest.mark.parametrize(
    ("strokes", "same"),
    [
        ((((5, 7), (5, 27), (15, 27)),), True),  # moved
        ((((0, 0), (0, 40), (20, 40)),), True),  # twice the size
        ((((10, 20), (0, 20)), ((0, 20), (0, 0))), True),  # drawn the other way round, in two strokes
        ((((0, 0), (0, 20), (11, 20)),), False),
        ((((0, 0), (0, 20), (-10, 20)),), False),  # mirrored
        ((((0, 0), (0, 20), (10, 20), (10, 0)),), False),
    ],
)
def test_shape_is_what_a_scaled_image_shows(strokes: tuple[tuple[tuple[int, int], ...], ...], same: bool) -> None:
    assert (_shape(strokes) == _shape(CORNER.strokes)) is same


def test_empty_and_single_point_glyphs_have_no_shape() -> None:
    assert not _shape(())
    assert not _shape((((3, 3), (3, 3)),))


def test_ink_lies_where_the_glyph_is() -> None:
    """Most of an L's ink is in its lower left; y points downwards."""
    mean = draw(CORNER).mean(axis=0)
    assert mean.shape == (28, 28)
    quarters = {"upper right": mean[:14, 14:].sum(), "lower left": mean[14:, :14].sum()}
    assert quarters["lower left"] > 4 * quarters["upper right"]


def test_ink_against_sampled_points() -> None:
    """The distance to a segment, checked against the nearest of many points on it."""
    from trainers.datasets.glyphs import _ink

    x, y = np.array([[4.2, 20.7, 9.1]]), np.array([[6.3, 11.9, 24.4]])
    steps = np.linspace(0, 1, 4001)
    points = np.concatenate(
        [
            np.stack([x[0, i] + steps * (x[0, i + 1] - x[0, i]), y[0, i] + steps * (y[0, i + 1] - y[0, i])], axis=1)
            for i in range(2)
        ]
    )
    rows, columns = np.mgrid[:28, :28]
    distance = np.sqrt((columns[..., None] - points[:, 0]) ** 2 + (rows[..., None] - points[:, 1]) ** 2).min(axis=-1)
    expected = np.clip(0.5 + 0.9 - distance, 0, 1) * 255
    drawn = _ink(x, y, np.array([0, 1]), np.array([0.9]))[0]
    assert np.abs(drawn - expected).max() <= 1


def test_drawing_depends_on_nothing_but_the_glyph() -> None:
    """Drawn alone, or after others, or again: the same. Another name, another hand."""
    again = Glyph("test/corner", "test", CORNER.strokes)
    other = Glyph("test/corner-2", "test", CORNER.strokes)
    first = draw(CORNER)
    draw(other)
    assert np.array_equal(first, draw(again))
    assert not np.array_equal(first, draw(other))
    assert hashlib.sha256(first.tobytes()).hexdigest()[:16] == "13c6b7460829b8ed"


def test_hands_differ_but_a_class_stays_one(glyphs: ImageTable) -> None:
    """No two images are equal; 1-nearest-neighbour on pixels is far above chance and far below what can be learned."""
    flat = glyphs.pixels.reshape(len(glyphs.pixels), -1)
    assert len(np.unique(flat, axis=0)) == len(flat)
    assert 0.38 < nearest_neighbour_accuracy(glyphs, "test", ways=5, episodes=400) < 0.6
    assert 0.15 < nearest_neighbour_accuracy(glyphs, "test", ways=20, episodes=100) < 0.4


def nearest_neighbour_accuracy(table: ImageTable, part: str, ways: int, episodes: int) -> float:
    """1-shot, 5 queries a class, squared distance of pixels."""
    random = np.random.default_rng(0)
    hits = []
    for _ in range(episodes):
        chosen = random.choice(table.splits["scripts"][part], ways, replace=False)
        rows = np.stack([table.classes[c].first + random.permutation(HANDS)[:6] for c in chosen])
        images = table.pixels[rows].reshape(ways, 6, -1).astype(np.float32)
        support, queries = images[:, 0], images[:, 1:].reshape(ways * 5, -1)
        nearest = ((queries[:, None] - support[None]) ** 2).sum(axis=-1).argmin(axis=1)
        hits.append(nearest == np.repeat(np.arange(ways), 5))
    return float(np.mean(hits))


def test_a_source_is_refused() -> None:
    with pytest.raises(DatasetError, match="leave --source out"):
        GLYPHS.find(Path("anything"), NO_WISHES)


def test_progress_reaches_the_end(make: Callable[..., ImageTable], monkeypatch: pytest.MonkeyPatch) -> None:
    glyphs = list(distinct_glyphs())
    some = [next(glyph for glyph in glyphs if glyph.script == script) for script in SCRIPTS]
    monkeypatch.setattr("trainers.datasets.glyphs.distinct_glyphs", lambda: iter(some))
    calls: list[tuple[int, int]] = []
    table = make(GLYPHS, None, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(20 * n, 100) for n in range(1, 6)]
    assert len(table.pixels) == 100
