"""From the bytes of a PNG or JPEG to pixels, by rules that are the same for every dataset.

In this order: EXIF orientation is applied, so that up is up. A palette becomes its colours. 16 bits become their upper
8. CMYK becomes RGB. What is transparent, by alpha, palette or a transparent colour, lies on white. Then one channel is
wanted, and colours become luma (ITU-R 601-2), or three, and a grey is repeated. Last, the image is *stretched* to a
square by LANCZOS, as miniImageNet was made; an image that has the size already keeps its pixels.

Colour profiles and gamma are ignored, as by the loaders of published results. Pixels of a JPEG may differ by a level
between versions of the decoder: share the Arrow file, not the archive.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from trainers.datasets.source import Source, one_line
from trainers.errors import DatasetError

ENDINGS = (".png", ".jpg", ".jpeg")
"""Endings of the files that are read. What a file is, its content says."""
MOST_PIXELS = 1 << 26
"""Of an image as declared, 67 million: 200 MB in colour. Larger ones are taken for decompression bombs."""
WAY_OUT = "replace the file or take it out"

# What Pillow is known to raise on damaged or oversized input.
_DECODING_ERRORS = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, MemoryError),
    *(struct.error, zlib.error),
)


def decode_images(source: Source, names: Sequence[str], image_shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """The images of these names as uint8 [names, height, width, channels], height = width and channels 1 or 3.

    Raises:
        DatasetError: a file is damaged, no PNG or JPEG, or declares too many pixels; one line that names it.
    """
    pixels = np.empty((len(names), *image_shape), np.uint8)
    for row, name in enumerate(names):
        image = decode(source.read(name), source.place(name), image_shape[2])
        pixels[row] = resize(image, image_shape[0])
    return pixels


def decode(data: bytes, place: str, channels: int) -> Image.Image:
    """The image at its own size, mode L (one channel) or RGB (three).

    Args:
        data: of the file.
        place: of the file, for messages.
        channels: 1 or 3.

    Raises:
        DatasetError: as ``decode_images``.
    """
    try:
        with _quiet(), Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            if image.width * image.height > MOST_PIXELS:
                raise DatasetError(f"{place} declares {image.width}×{image.height} pixels, too many; {WAY_OUT}")
            image.load()
            upright = _opaque(_eight_bits(ImageOps.exif_transpose(image)))
            return upright.convert("L" if channels == 1 else "RGB")
    except Image.DecompressionBombError as error:
        raise DatasetError(f"{place} declares too many pixels ({one_line(error)}); {WAY_OUT}") from error
    except UnidentifiedImageError as error:
        raise DatasetError(f"{place} is neither PNG nor JPEG; {WAY_OUT}") from error
    except _DECODING_ERRORS as error:
        raise DatasetError(f"{place} is damaged ({one_line(error)}); {WAY_OUT}") from error


def _quiet() -> warnings.catch_warnings[None]:
    """Without Pillow's warnings of what is refused here, or is no harm (a broken EXIF block, say)."""
    return warnings.catch_warnings(action="ignore")


def resize(image: Image.Image, side: int) -> npt.NDArray[np.uint8]:
    """The image stretched to a square: uint8 [side, side, channels]."""
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(image).reshape(side, side, -1)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Of a grey image of 16 bits, the upper 8; Pillow itself clips at 255. (It halves colours of 16 bits rightly.)"""
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    small = Image.fromarray((values >> 8).astype(np.uint8))
    transparent = image.info.get("transparency")
    if transparent is not None:
        small.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return small


def _opaque(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    colours = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
