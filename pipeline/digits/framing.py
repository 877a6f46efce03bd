"""How does any picture of one digit become 28×28 in MNIST's framing?

First the ink is told from the paper (:func:`read_image`, by :mod:`pipeline.digits.ink`): 0 = paper and 255 = ink,
whatever the picture's colours and light. Then the ink is put as MNIST's digits are (:func:`to_mnist`): its box scaled
to 20×20 with its aspect kept, centred by mass in 28×28 (LeCun et al. 1998, section III.A).
"""

import math
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

from pipeline.base import pictures
from pipeline.base.errors import BadInput
from pipeline.digits import ink
from pipeline.digits.image import SIDE

BOX = 20  # pixels, the longer side of a digit in MNIST
FINE = 8  # pixels to one of the result, beyond which detail only costs time
CENTRE = 14  # MNIST's centre of mass, in pixel indices
ROWS = 256  # worked on at once where a picture is large
WORKING_SIDE = 400  # pixels: finer detail than this is lost at 28×28 anyway
THIN = 1.6  # pixels at 20×20: a thinner stroke would fade away, MNIST's are 2.4 wide on average
BOLD = 4.2  # pixels at 20×20: bolder strokes close their loops, MNIST's are not
FULL = 3.4  # pixels, what a bold stroke is thinned to
PEN = 2.2  # pixels, what a thin stroke is widened to
FEWEST_EDGES = 3  # of the squares of an enlarged bitmap, along each side: fewer may be of one stroke
BLANK = "no digit is to be seen"
SEVERAL = "more than one digit is to be seen"


class NoSingleDigit(BadInput):
    """The picture can be read, and shows no digit, or more than one."""


def frame(
    source: Path | BinaryIO,
    name: str,
    shape: tuple[int, ...] = (SIDE, SIDE),
    limits: pictures.Limits = pictures.LIMITS,
) -> np.ndarray:
    """The digit on a picture in MNIST's framing: uint8 ``shape``, which is (28, 28). :class:`BadInput` names the
    picture by ``name``."""
    return to_mnist(read_image(source, name, limits))


def to_mnist(drawn: np.ndarray) -> np.ndarray:
    """Any 2-D ink array (0 = paper, more = ink) → uint8 (28, 28); :class:`NoSingleDigit` if there is no ink."""
    strongest = float(drawn.max(initial=0))
    if strongest <= 0:
        raise NoSingleDigit(BLANK)
    drawn = drawn.astype(np.float32) * (255 / strongest)
    top, bottom, left, right = _box(drawn >= 255 / 10)
    drawn = drawn[top:bottom, left:right]
    drawn = _resized(drawn, min(FINE * BOX / max(drawn.shape), 1.0))
    scale = BOX / max(drawn.shape)
    digit = _resized(_widened(drawn, scale), scale)
    y, x = _offset(digit)
    framed = np.zeros((SIDE, SIDE), np.float32)
    framed[y : y + digit.shape[0], x : x + digit.shape[1]] = digit * (255 / digit.max())
    return np.rint(framed.clip(0, 255)).astype(np.uint8)


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = (np.flatnonzero(np.any(mask, axis=axis)) for axis in (1, 0))
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def _widened(drawn: np.ndarray, scale: float) -> np.ndarray:
    """Widen strokes that would be thinner than a pen's once scaled."""
    width = _stroke_width(drawn)
    missing = round(PEN / scale - width)
    if width * scale >= THIN or missing < 1:
        return drawn
    return cv2.dilate(drawn, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (missing + 1, missing + 1)))


def _stroke_width(drawn: np.ndarray) -> float:
    """Pixels; see features.py: twice the area over the outline."""
    return 2 * float(drawn.sum()) / max(255 * _outline(drawn), 1.0)


def _outline(drawn: np.ndarray) -> float:
    """Pixels: the ink's total variation, 255 = a full stroke."""
    padded = np.pad(drawn, 1)
    across, down = np.diff(padded, axis=1)[:-1], np.diff(padded, axis=0)[:, :-1]
    return float(np.hypot(across, down).sum()) / 255


def _resized(drawn: np.ndarray, scale: float) -> np.ndarray:
    height, width = (max(1, round(side * scale)) for side in drawn.shape)
    if (height, width) == drawn.shape:
        return drawn
    return cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC).clip(
        0, 255
    )


def _offset(digit: np.ndarray) -> tuple[int, int]:
    """Where the digit's upper left corner goes for its centre of mass to lie in the middle, all of it inside."""
    offsets = []
    for axis, side in enumerate(digit.shape):
        mass = digit.sum(axis=1 - axis)
        centre = float(mass @ np.arange(side) / mass.sum())
        offsets.append(min(max(round(CENTRE - centre), 0), SIDE - side))
    return offsets[0], offsets[1]


def read_image(source: Path | BinaryIO, name: str, limits: pictures.Limits = pictures.LIMITS) -> np.ndarray:
    """The ink on a picture: float32 (height, width), 0 = paper to 255 = ink, at most WORKING_SIDE pixels a side.

    Grey, 16-bit, RGB, alpha, palette or CMYK, in any of :data:`pipeline.base.pictures.FORMATS`. :class:`BadInput`,
    naming the picture by ``name``, if it cannot be read or shows no single digit.
    """
    pixels = _unenlarged(pictures.decode(source, name, colours, 2 * WORKING_SIDE, limits))
    longest = max(pixels.shape[:2])
    if longest > WORKING_SIDE:
        factor = WORKING_SIDE / longest
        pixels = cv2.resize(pixels, _size(pixels, factor), interpolation=cv2.INTER_AREA)
    found, digits = ink.find(pixels)
    if digits != 1:
        raise NoSingleDigit(f"{name}: {SEVERAL if digits else BLANK}")
    return thinned(found)


def _unenlarged(pixels: np.ndarray) -> np.ndarray:
    """A bitmap that was enlarged by repeating its pixels in its own size: the edges of squares are no strokes'."""
    height, width = pixels.shape[:2]
    if 1 in (_side(_edges(pixels[:, None, width // 2], 0)), _side(_edges(pixels[None, height // 2], 1))):
        return pixels  # of nearly every picture a line tells
    edges = [_edges(pixels, axis) for axis in (0, 1)]
    side = math.gcd(*map(_side, edges))
    if side < 2 or min(map(len, edges)) < FEWEST_EDGES:
        return pixels
    rows, columns = (slice(places[0] % side, None, side) for places in edges)
    return pixels[rows, columns]


def _edges(pixels: np.ndarray, axis: int) -> np.ndarray:
    """The rows (0) or columns (1) that differ from the one before."""
    return 1 + np.flatnonzero(np.diff(pixels, axis=axis).any(axis=(1 - axis, 2)))


def _side(edges: np.ndarray) -> int:
    """Of the squares whose edges lie there; 0 if there are too few to tell."""
    return math.gcd(*np.diff(edges).tolist())


def _size(values: np.ndarray, factor: float) -> list[int]:
    """Width and height of the values (height, width, ...) made smaller by that."""
    return [max(pictures.LEAST_SIDE, round(length * factor)) for length in reversed(values.shape[:2])]


def thinned(drawn: np.ndarray) -> np.ndarray:
    """Strokes that would be bolder than a pen's once scaled are made thinner: those of a coarse bitmap are."""
    top, bottom, left, right = _box(drawn >= 255 / 10)
    digit = drawn[top:bottom, left:right]
    digit = np.pad(_resized(digit, FINE * BOX / max(digit.shape)), 1)
    half, area = _outline(digit) / 4, float(digit.sum())
    width = half - np.sqrt(max(half**2 - area / 255, 0.0))  # of a rectangle with this area and outline
    excess = round(width - FINE * FULL)
    if width <= FINE * BOLD:
        return drawn
    return cv2.erode(digit, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (excess + 1, excess + 1)))


def colours(image: Image.Image, side: int = WORKING_SIDE) -> np.ndarray:
    """The colours, float32 (height, width, 3), 0 to 255, what is transparent on paper; pictures of more than twice
    ``side`` pixels are made smaller before they become floats."""
    if grey := pictures.grey_levels(image):
        return _grey(*grey, side)
    transparent = "A" in image.getbands() or "transparency" in image.info
    if transparent:
        image = image.convert("RGBA")
        transparent = int(np.asarray(image.getchannel("A")).min()) < 255  # a screenshot is opaque
    times = max(image.size) // side
    mode = "RGBA" if transparent else "RGB"
    if image.mode != mode and (transparent or image.mode != "L"):  # the numbers of a palette cannot be averaged
        image = image.convert(mode)
    if times > 1:
        image = image.reduce(times)
    if image.mode != mode:
        image = image.convert(mode)
    return _on_paper(np.asarray(image)) if transparent else np.asarray(image, dtype=np.float32)


def _on_paper(values: np.ndarray) -> np.ndarray:
    """uint8 (height, width, 4) → float32 (height, width, 3): paper is white under dark ink, black under light ink.

    Some rows at a time: as floats, all of them with what lies between would take the memory of a far larger picture.
    """
    parts = [slice(top, top + ROWS) for top in range(0, len(values), ROWS)]
    ink_sum = alpha_sum = 0.0
    for part in parts:
        alpha = values[part, :, 3] / np.float32(255)
        ink_sum += float((values[part, :, :3].mean(axis=2, dtype=np.float32) * alpha).sum())
        alpha_sum += float(alpha.sum())
    paper = 255.0 if ink_sum / max(alpha_sum, 1e-6) < 128 else 0.0
    colours = np.empty((*values.shape[:2], 3), np.float32)
    for part in parts:
        alpha = values[part, :, 3:] / np.float32(255)
        colours[part] = values[part, :, :3] * alpha + paper * (1 - alpha)
    return colours


def _grey(values: np.ndarray, white: float, side: int) -> np.ndarray:
    factor = min(1.0, 2 * side / max(values.shape))
    if factor < 1:
        values = cv2.resize(values, _size(values, factor), interpolation=cv2.INTER_AREA)
    return np.repeat((values.astype(np.float32) * (255 / white))[:, :, None], 3, axis=2)
