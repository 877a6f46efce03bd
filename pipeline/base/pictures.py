"""How is a stranger's picture decoded, with no more of it than may be?"""

import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np
from PIL import ExifTags, Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from pipeline.base.errors import BadInput, brief

SUFFIXES = (".png", ".jpg", ".jpeg")  # files taken for pictures in a folder
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
MAX_SCANS = 40  # of a JPEG, each of which goes over all its pixels: encoders make ten or so
JPEG_EASE = 4  # pixels of a JPEG's scan are as much work as one of another format
LEAST_SIDE = 3  # pixels
TURNED = 5  # EXIF orientations from which on width and height change places

_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # but for those that restart a scan
_START, _END, _SCAN = b"\xd8", b"\xd9", b"\xda"


class Limits(NamedTuple):
    """What is judged by a picture's header, before a pixel is decoded."""

    pixels: int
    work: float
    """in pixels of a PNG"""


LIMITS = Limits(50_000_000, math.inf)


class TooMuchWork(BadInput):
    """The picture may well be read, by whoever has more time for it."""


def decode(
    source: Path | BinaryIO,
    name: str,
    read: Callable[[Image.Image], np.ndarray],
    side: int,
    limits: Limits = LIMITS,
) -> np.ndarray:
    """What ``read`` makes of the picture, turned as its EXIF data says; a JPEG is decoded no larger than it is looked
    at, ``side`` pixels a side or somewhat more.

    PNG, JPEG, GIF, WebP, BMP or TIFF, the first frame of an animation. :class:`BadInput`, naming the picture by
    ``name``, if it cannot be read; :class:`TooMuchWork` if that takes more than the limits allow.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(source, formats=FORMATS) as image:
                _judge(image, name, side, limits)
                ImageOps.exif_transpose(image, in_place=True)
                return read(image)
    except BadInput:
        raise
    except FileNotFoundError:
        raise BadInput(f"{name}: there is no such file") from None
    except IsADirectoryError:
        raise BadInput(f"{name}: is a folder without pictures: give a picture, or a folder that holds some") from None
    except PermissionError:
        raise BadInput(f"{name}: is not a file that can be read") from None
    except Image.DecompressionBombError:
        raise BadInput(
            f"{name}: has more than {limits.pixels / 1e6:g} million pixels: give a smaller picture"
        ) from None
    except MemoryError:
        raise TooMuchWork(f"{name}: takes more memory than a picture may: give a smaller one") from None
    except Image.UnidentifiedImageError:
        raise BadInput(f"{name}: is not a picture: give a whole {', '.join(FORMATS)} file") from None
    except Exception as error:  # of a damaged file Pillow's decoders raise whatever they stumble over
        raise BadInput(f"{name}: is cut off or damaged ({brief(error)}): give a whole file") from None


def size(source: Path | BinaryIO) -> tuple[int, int]:
    """Width and height of the picture in its own pixels, turned as its EXIF data says; (0, 0) if it is none, which
    :func:`decode` tells of."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(source, formats=FORMATS) as image:
                turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= TURNED
                width, height = image.size
    except Exception:  # decode names it
        return 0, 0
    finally:
        if not isinstance(source, Path):
            source.seek(0)
    return (height, width) if turned else (width, height)


WHITES = (1.0, 255.0, 65535.0)  # what the highest level may be of grey in floats or in 32 bits


def grey_levels(image: Image.Image) -> tuple[np.ndarray, float] | None:
    """The values of grey in 16 or 32 bits or in floats, (height, width), finite, and which of them is white; None for
    other pictures. Pillow would clip such values at 255."""
    if image.mode.startswith("I;16"):
        return np.asarray(image), 65535.0
    if image.mode not in ("I", "F"):
        return None
    values = np.nan_to_num(np.asarray(image, np.float32), nan=0.0, posinf=0.0, neginf=0.0).clip(0)
    highest = float(values.max())
    return values, next((white for white in WHITES if highest <= white and (image.mode == "F" or white > 1)), highest)


def rim(values: np.ndarray) -> np.ndarray:
    """The outermost pixels: (height, width, ...) → (pixels, ...)."""
    return np.concatenate([values[0], values[-1], values[1:-1, 0], values[1:-1, -1]])


def _judge(image: Image.Image, name: str, side: int, limits: Limits) -> None:
    """Refuse what its header says is too much, and have a JPEG decoded no larger than it is looked at."""
    pixels, scans = image.width * image.height, 0
    if pixels > limits.pixels:
        raise Image.DecompressionBombError
    if min(image.size) < LEAST_SIDE:
        raise BadInput(f"{name}: {image.width}×{image.height} pixels are too few to be read")
    if isinstance(image, JpegImageFile):
        scans = _scans(cast(BinaryIO, image.fp))
        if scans > MAX_SCANS:
            raise BadInput(f"{name}: is a JPEG of more than {MAX_SCANS} scans: save it as an ordinary one")
        image.draft(image.mode, (side, side))
    if max(image.width * image.height, pixels * scans / JPEG_EASE) > limits.work:
        raise TooMuchWork(f"{name}: has too many pixels: give a smaller picture")


def _scans(file: BinaryIO) -> int:
    """How many scans a JPEG has, by its markers; no further than one more than may be."""
    place = file.tell()
    file.seek(0)
    content = file.read()
    file.seek(place)
    scans, at = 0, 0
    while scans <= MAX_SCANS and (marker := _MARKER.search(content, at)) and marker[1] != _END:
        scans += marker[1] == _SCAN
        at = marker.end()
        if marker[1] != _START:
            at += max(int.from_bytes(content[at : at + 2], "big"), 2)  # its length says where the segment ends
    return scans
