"""What every kind of PNG and JPEG becomes, against values worked out by hand."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from trainers.datasets.decode import MOST_PIXELS, decode, resize
from trainers.errors import DatasetError


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int, colour_type: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG by the specification: what Pillow can't write."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
    end = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + end


def colours(data: bytes) -> list[list[int]]:
    """Of the first row, as RGB."""
    return np.asarray(decode(data, "x.png", 3))[0].tolist()


def greys(data: bytes) -> list[int]:
    """Of the first row, as one channel."""
    return np.asarray(decode(data, "x.png", 1))[0].tolist()


def test_colours_stay_and_greys_are_repeated() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8)
    assert np.array_equal(decode(encoded(Image.fromarray(rgb)), "x", 3), rgb)
    grey = rgb[..., 0]
    assert np.array_equal(decode(encoded(Image.fromarray(grey)), "x", 3), np.stack([grey] * 3, axis=-1))
    assert np.array_equal(decode(encoded(Image.fromarray(grey)), "x", 1), grey)


def test_one_bit_is_black_and_white() -> None:
    assert greys(encoded(Image.fromarray(np.array([[0, 255, 0]], np.uint8)).convert("1"))) == [0, 255, 0]


def test_grey_is_luma() -> None:
    """ITU-R 601-2: 0.299 R + 0.587 G + 0.114 B."""
    rgb = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    luma = rgb.astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(np.asarray(decode(encoded(Image.fromarray(rgb)), "x", 1)) - luma).max() <= 0.51


def test_what_is_transparent_lies_on_white() -> None:
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 200, 51]]], np.uint8)
    fifth = [round(0.2 * value + 0.8 * 255) for value in (0, 100, 200)]
    assert colours(encoded(Image.fromarray(pixels))) == [[10, 20, 30], [255, 255, 255], fifth]
    grey_alpha = Image.fromarray(np.array([[[10, 255], [10, 0]]], np.uint8), "LA")
    assert greys(encoded(grey_alpha)) == [10, 255]


def test_a_palette_becomes_its_colours_with_its_transparency() -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    assert colours(encoded(image)) == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert colours(encoded(image, transparency=1)) == [[255, 0, 0], [255, 255, 255], [0, 0, 255]]
    assert colours(encoded(image, transparency=bytes([255, 0, 51])))[1:] == [[255, 255, 255], [204, 204, 255]]


def test_a_transparent_colour_becomes_white() -> None:
    rgb = png(2, 1, 8, 2, b"\0" + bytes([1, 2, 3, 4, 5, 6]), chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3)))
    assert colours(rgb) == [[255, 255, 255], [4, 5, 6]]
    assert greys(png(2, 1, 8, 0, b"\0\x07\x08", chunk(b"tRNS", struct.pack(">H", 7)))) == [255, 8]


def test_of_16_bits_the_upper_8_stay() -> None:
    values = [0, 255, 256, 0x80FF, 65535]
    upper = [value >> 8 for value in values]
    row = b"\0" + struct.pack(">5H", *values)
    assert greys(png(5, 1, 16, 0, row)) == upper
    assert greys(png(5, 1, 16, 0, row, chunk(b"tRNS", struct.pack(">H", 256)))) == [0, 0, 255, 128, 255]
    rgb = b"\0" + struct.pack(">6H", *values, 0x1234)
    assert colours(png(2, 1, 16, 2, rgb)) == [upper[:3], [*upper[3:], 0x12]]
    with_alpha = b"\0" + struct.pack(">4H", 0x4000, 65535, 0x4000, 0)
    assert greys(png(2, 1, 16, 4, with_alpha)) == [0x40, 255]


def test_cmyk_becomes_rgb() -> None:
    """(1 - C)(1 - K) and so on; JPEG rounds."""
    ink = Image.new("CMYK", (8, 8), (0, 51, 102, 51))
    wanted = [round(255 * (1 - part) * 0.8) for part in (0, 0.2, 0.4)]
    assert np.abs(np.array(colours(encoded(ink, "JPEG", quality=100))[0]) - wanted).max() <= 2


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize(
    ("orientation", "corner"), [(1, (0, 0)), (2, (0, -1)), (3, (-1, -1)), (4, (-1, 0)), (6, (0, -1)), (8, (-1, 0))]
)
def test_exif_turns_up_what_is_up(kind: str, orientation: int, corner: tuple[int, int]) -> None:
    """The stored first corner is white; the standard says where it is shown."""
    pixels = np.zeros((16, 32), np.uint8)
    pixels[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    shown = np.asarray(decode(encoded(Image.fromarray(pixels), kind, exif=exif), "x", 1))
    assert shown.shape == ((32, 16) if orientation > 4 else (16, 32))
    assert shown[corner] > 250
    assert (shown > 128).sum() == 64


def test_the_wanted_size_is_kept_and_others_are_stretched() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
    assert np.array_equal(resize(Image.fromarray(pixels), 6), pixels)
    halves = np.zeros((40, 80), np.uint8)
    halves[:, 40:] = 200
    small = resize(Image.fromarray(halves), 10)
    assert small.shape == (10, 10, 1)
    assert (small[:, :2] == 0).all()
    assert (small[:, 8:] == 200).all()
    assert np.abs(small.mean() - 100) < 1
    assert (resize(Image.new("L", (3, 90), 77), 20) == 77).all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"I am text\n", "neither PNG nor JPEG"),
        (b"", "neither PNG nor JPEG"),
        (encoded(Image.new("RGB", (4, 4)), "GIF"), "neither PNG nor JPEG"),
        (encoded(Image.new("RGB", (4, 4)), "BMP"), "neither PNG nor JPEG"),
        (encoded(Image.effect_noise((64, 64), 50))[:-1000], "is damaged"),
        (encoded(Image.effect_noise((64, 64), 50), "JPEG")[:-1000], "is damaged"),
        (png(1 << 13, (MOST_PIXELS >> 13) + 1, 8, 0, b""), "too many"),
        (png(10**5, 10**5, 8, 0, b""), "too many"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(data: bytes, message: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DatasetError, match=message) as caught:
            decode(data, "cats/1.png", 3)
    assert str(caught.value).startswith("cats/1.png ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_wrong_bytes_never_raise_anything_else(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    good = encoded(Image.effect_noise((16, 16), 50), kind, exif=exif)
    rng = np.random.default_rng(0)
    messages = []
    for _ in range(600):
        broken = bytearray(good)
        for place in rng.integers(0, len(good), rng.integers(1, 4)):
            broken[place] = rng.integers(256)
        try:
            decode(bytes(broken), "x", 3)
        except DatasetError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert not [message for message in messages if "\n" in message]
