"""How does any picture of one digit become 28×28 in MNIST's framing?

First the ink is told from the paper (:func:`read_image`): whatever differs in colour from a smooth background is ink,
so that dark on light, light on dark, coloured and unevenly lit pictures all come out with 0 = paper and 255 = ink.
Then the ink is put as MNIST's digits are (:func:`to_mnist`): its box scaled to 20×20 with its aspect kept, centred by
mass in 28×28 (LeCun et al. 1998, section III.A).
"""

import warnings
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image, ImageOps

from pipeline.errors import BadInput
from pipeline.splits import SIDE

BOX = 20  # pixels, the longer side of a digit in MNIST
CENTRE = 14  # MNIST's centre of mass, in pixel indices
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
MAX_PIXELS = 50_000_000  # judged by the header, before a pixel is decoded
WORKING_SIDE = 1000  # pixels: finer detail than this is lost at 28×28 anyway
FITTING_SIDE = 128  # pixels, enough for a smooth background
MIN_CONTRAST = 12.0  # grey levels between ink and paper, below which there is nothing to read
SPECK_SHARE = 0.04  # of the largest stroke's area: smaller pieces are dust, not a stroke
THIN = 1.6  # pixels at 20×20: a thinner stroke would fade away, MNIST's are 2.4 wide on average
PEN = 2.2  # pixels, what a thin stroke is widened to
BLANK = "no digit: the picture is blank"


class NoSingleDigit(BadInput):
    """The picture can be read, and shows no digit, or more than one."""


def frame(source: Path | BinaryIO, name: str) -> np.ndarray:
    """The digit on a picture in MNIST's framing: uint8 (28, 28). :class:`BadInput` names the picture by ``name``."""
    ink = read_image(source, name)
    try:
        return to_mnist(ink)
    except NoSingleDigit as error:
        raise NoSingleDigit(f"{name}: {error}") from None


def to_mnist(ink: np.ndarray) -> np.ndarray:
    """Any 2-D ink array (0 = paper, more = ink) → uint8 (28, 28); :class:`BadInput` if there is no ink."""
    strongest = float(ink.max(initial=0))
    if strongest <= 0:
        raise NoSingleDigit(BLANK)
    ink = ink.astype(np.float32) * (255 / strongest)
    top, bottom, left, right = _box(ink >= 255 / 10)
    scale = BOX / max(bottom - top, right - left)
    digit = _resized(_widened(ink, scale)[top:bottom, left:right], scale)
    y, x = _offset(digit)
    framed = np.zeros((SIDE, SIDE), np.float32)
    framed[y : y + digit.shape[0], x : x + digit.shape[1]] = digit * (255 / digit.max())
    return np.rint(framed.clip(0, 255)).astype(np.uint8)


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = (np.flatnonzero(np.any(mask, axis=axis)) for axis in (1, 0))
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def _widened(ink: np.ndarray, scale: float) -> np.ndarray:
    """Widen strokes that would be thinner than a pen's once scaled."""
    across, down = np.diff(ink, axis=1, prepend=0), np.diff(ink, axis=0, prepend=0)
    width = 2 * ink.sum() / max(float(np.hypot(across, down).sum()), 1.0)  # see features.py: area over outline
    missing = round(PEN / scale - width)
    if width * scale >= THIN or missing < 1:
        return ink
    return cv2.dilate(ink, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (missing + 1, missing + 1)))


def _resized(ink: np.ndarray, scale: float) -> np.ndarray:
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    if (height, width) == ink.shape:
        return ink
    return cv2.resize(ink, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC).clip(0, 255)


def _offset(digit: np.ndarray) -> tuple[int, int]:
    """Where the digit's upper left corner goes for its centre of mass to lie in the middle, all of it inside."""
    offsets = []
    for axis, side in enumerate(digit.shape):
        mass = digit.sum(axis=1 - axis)
        centre = float(mass @ np.arange(side) / mass.sum())
        offsets.append(min(max(round(CENTRE - centre), 0), SIDE - side))
    return offsets[0], offsets[1]


def read_image(source: Path | BinaryIO, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The ink on a picture: float32 (height, width), 0 = paper to 255 = ink, at most WORKING_SIDE pixels a side.

    PNG, JPEG, GIF, WebP, BMP or TIFF; grey, 16-bit, RGB, alpha, palette or CMYK; turned as its EXIF data says; the
    first frame of an animation. :class:`BadInput`, naming the picture by ``name``, if it cannot be read.
    """
    pixels = _decode(source, name, max_pixels)
    if min(pixels.shape[:2]) < 3:
        raise BadInput(f"{name}: {pixels.shape[1]}×{pixels.shape[0]} pixels are too few to read a digit")
    longest = max(pixels.shape[:2])
    if longest > WORKING_SIDE:
        factor = WORKING_SIDE / longest
        size = (max(3, round(pixels.shape[1] * factor)), max(3, round(pixels.shape[0] * factor)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    distance = np.linalg.norm(pixels - _paper(pixels), axis=2) / np.sqrt(3, dtype=np.float32)
    return _ink(distance)


def _decode(source: Path | BinaryIO, name: str, max_pixels: int) -> np.ndarray:
    """The picture's colours: float32 (height, width, 3), 0 to 255."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(source, formats=FORMATS)
            if image.width * image.height > max_pixels:
                raise Image.DecompressionBombError
            with image:
                return _colours(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise BadInput(f"{name}: there is no such file") from None
    except (IsADirectoryError, PermissionError):
        raise BadInput(f"{name}: is not a file that can be read") from None
    except Image.DecompressionBombError:
        raise BadInput(f"{name}: has more than {max_pixels / 1e6:g} million pixels: give a smaller picture") from None
    except Image.UnidentifiedImageError:
        raise BadInput(f"{name}: is not a picture: give a whole {', '.join(FORMATS)} file") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise BadInput(f"{name}: is cut off or damaged ({error}): give a whole file") from None


def _colours(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):  # 16 or 32 bits of grey: convert() would clip them at 255
        grey = np.asarray(image, dtype=np.float32)
        span = 65535 if image.mode.startswith("I;16") else max(float(grey.max()), 1.0)
        return np.repeat((grey * (255 / span))[:, :, None], 3, axis=2)
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA"), dtype=np.float32)
        colours, alpha = rgba[:, :, :3], rgba[:, :, 3:] / 255
        drawn = float((colours.mean(axis=2, keepdims=True) * alpha).sum() / max(float(alpha.sum()), 1e-6))
        return colours * alpha + (255.0 if drawn < 128 else 0.0) * (1 - alpha)
    return np.asarray(image.convert("RGB"), dtype=np.float32)


def _paper(pixels: np.ndarray) -> np.ndarray:
    """The background's colours under the ink: a quadratic surface a channel, so that uneven light is no ink.

    It starts from the rim's median colour and is fitted again to what lies near it.
    """
    height, width = pixels.shape[:2]
    factor = min(1.0, FITTING_SIDE / max(height, width))
    size = (max(3, round(width * factor)), max(3, round(height * factor)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], 3)
    rim = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])
    fitted = np.broadcast_to(np.median(rim, axis=0), small.shape)
    terms = _surface(size[1], size[0])
    for _ in range(3):
        away = np.linalg.norm(small - fitted, axis=2)
        near = away <= _otsu(away)
        weights, *_ = np.linalg.lstsq(terms[near.ravel()], small[near], rcond=None)
        fitted = (terms @ weights).reshape(small.shape).clip(0, 255)
    return (_surface(height, width) @ weights).reshape(pixels.shape).clip(0, 255)


def _surface(height: int, width: int) -> np.ndarray:
    """The six terms of a quadratic surface at each pixel: float32 (height × width, 6), places from -1 to 1."""
    grid = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    y, x = (axis.ravel() for axis in grid)
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1).astype(np.float32)


def _otsu(values: np.ndarray) -> float:
    """The threshold that best parts ``values`` in two (N. Otsu, 1979)."""
    top = float(values.max())
    if top <= 0:
        return 0.0
    level, _ = cv2.threshold((values * (255 / top)).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    return level * top / 255


def _ink(distance: np.ndarray) -> np.ndarray:
    """Ink from each pixel's distance to the paper's colour: noise to 0, full strokes to 255, dust removed."""
    threshold = _otsu(distance)
    strong = distance > threshold
    if not strong.any() or distance.max() < MIN_CONTRAST:
        return np.zeros_like(distance)
    full = float(np.median(distance[strong]))
    noise = float(distance[~strong].mean() + 2 * distance[~strong].std()) if full < 8 * threshold else 0.0
    low = min(max(0.06 * full, noise), threshold)
    ink = ((distance - low) * (255 / (full - low))).clip(0, 255)
    return np.where(_strokes(strong), ink, 0).astype(np.float32)


def _strokes(strong: np.ndarray) -> np.ndarray:
    """The mask of the pieces large enough to be strokes, with their antialiased edges."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(strong.astype(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0  # the paper
    kept = (areas >= SPECK_SHARE * areas.max())[labels] & strong
    return cv2.dilate(kept.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
