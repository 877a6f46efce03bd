"""Where are the digits on a picture of several? A house number, a postcode, a sheet with rows of them.

Every stroke that is no dust and no line of the paper belongs to a digit: pieces above one another are one digit's, and
small ones belong to the nearest. Digits are read in rows from top to bottom, each from left to right. Those that touch
are found as one, which the model then refuses.
"""

from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np

from pipeline.base import pictures
from pipeline.digits import framing, ink, panels, paper, pieces
from pipeline.digits.framing import NoSingleDigit
from pipeline.digits.paper import Strokes

SIDE = 1600  # pixels of the picture's longer side that are looked at
FAINT = 0.15  # of the way from paper to a full stroke
REACH = 25  # pixels: so far into the faint part of a stroke
MOST = 200  # digits of a picture
PIECES = 600  # strokes that are looked at, the largest: a texture has more, and dust
TALL = 0.3  # of the usual digit's height: a smaller piece is no digit of its own
DUST = 0.02  # of the usual digit's box: a smaller piece is dust
OVERLAP = 0.5  # of the narrower one's width: pieces that are above one another by so much are one digit's
BETWEEN = 0.35  # of the usual height, at most between two pieces of one digit
TALLEST = 1.6  # of the usual height: pieces that would make more of one digit are two digits
BESIDE = 0.2  # of the usual height, at most between a small piece and its digit
AROUND = 0.05  # of a panel's shorter side: so much of the page it lies on is looked at
IN_ROW = 0.4  # of the lower one's height: digits of a row overlap by so much


class Found(NamedTuple):
    """One digit of a picture."""

    box: tuple[int, int, int, int]
    """left, top, width and height, in the picture's own pixels, turned as its EXIF data says"""
    image: np.ndarray
    """uint8 (28, 28)"""


def frame(source: Path | BinaryIO, name: str, limits: pictures.Limits = pictures.LIMITS) -> list[Found]:
    """The digits on a picture in reading order. :class:`pipeline.base.errors.BadInput`, naming the picture by ``name``,
    if it cannot be read; :class:`NoSingleDigit` if it shows none, or more than MOST."""
    size = pictures.size(source)
    pixels = pictures.decode(source, name, lambda image: framing.colours(image, SIDE), SIDE, limits)
    longest = max(pixels.shape[:2])
    if longest > SIDE:
        pixels = cv2.resize(pixels, None, fx=SIDE / longest, fy=SIDE / longest, interpolation=cv2.INTER_AREA)
    scale = (size[0] / pixels.shape[1], size[1] / pixels.shape[0])
    strokes, even = _strokes(pixels)
    boxes, labels = hanging_together(strokes.mask)
    digits = in_rows(boxes, together(boxes))
    if not digits:
        raise NoSingleDigit(f"{name}: {framing.BLANK}")
    if len(digits) > MOST:
        raise NoSingleDigit(f"{name}: more than {MOST} strokes apart are to be seen: give a part of it")
    found = []
    for digit in digits:
        alone = _on_panel(pixels, _around(boxes[digit])) if even else None
        image = _image(strokes, labels, boxes, digit) if alone is None else alone
        found.append(Found(_in_picture(boxes[digit], scale), image))
    return found


def _strokes(pixels: np.ndarray) -> tuple[Strokes, bool]:
    """What is ink: by its distance to paper of one colour, or in a photo by that to the paper around it; and whether it
    is paper of one colour."""
    strokes, even = paper.on_even_paper(pixels)
    if not even:
        return _with_faint(paper.on_uneven_paper(pixels)), False
    around = pieces.surroundings(strokes.mask)
    edges = cv2.dilate(around.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0  # antialiased ones
    strokes = strokes._replace(mask=strokes.mask & ~around, contrast=np.where(edges, 0, strokes.contrast))
    unruled = paper.without_lines(strokes)  # among which may be those of frames, one behind the other
    return _with_faint(unruled._replace(mask=unruled.mask | pieces.frames(strokes.mask))), True


def _on_panel(pixels: np.ndarray, box: np.ndarray) -> np.ndarray | None:
    """The digit within a box that is a panel or a frame, as plots of many images have them, uint8 (28, 28); None where
    it is neither, or holds no single digit."""
    left, top, width, height = (int(side) for side in box)
    page = 2 + round(AROUND * min(width, height))
    part = pixels[max(top - page, 0) : top + height + page, max(left - page, 0) : left + width + page]
    mask = paper.on_even_paper(part)[0].mask
    if not panels.find(mask) and not pieces.frames(mask).any():
        return None
    found, digits = ink.find(part)
    return framing.to_mnist(framing.thinned(found)) if digits == 1 else None


def _with_faint(strokes: Strokes) -> Strokes:
    """The strokes with what of them is fainter: where a pen was pressed less, a stroke would fall to pieces."""
    if not strokes.mask.any():
        return strokes
    full = float(np.median(strokes.contrast[strokes.mask]))
    near = cv2.dilate(strokes.mask.astype(np.uint8), np.ones((REACH, REACH), np.uint8)) > 0
    faint = cv2.GaussianBlur(strokes.contrast, (0, 0), 1.0) > strokes.low + FAINT * (full - strokes.low)
    return strokes._replace(mask=strokes.mask | (faint & near))


def hanging_together(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The strokes that hang together: boxes integer (N, 4) of left, top, width and height without dust, and each
    pixel's piece, from 1; 0 where there is none: int32 (height, width)."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    order = 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")[:PIECES]
    boxes = stats[order, :4].astype(np.int64)
    usual = usual_height(boxes)
    kept = (boxes[:, 2:].max(axis=1, initial=0) >= DUST**0.5 * usual) & (stats[order, cv2.CC_STAT_AREA] >= 3)
    place = np.zeros(len(stats), np.int32)
    place[order[kept]] = np.arange(1, kept.sum() + 1)
    return boxes[kept], place[labels]


def usual_height(boxes: np.ndarray) -> float:
    """The height of the digit in the middle, by the ink that the pieces of each height make up: dust weighs nothing."""
    if not len(boxes):
        return 0.0
    heights = boxes[:, 3].astype(np.float64)
    order = np.argsort(heights)
    weights = np.cumsum(heights[order] ** 2)
    return float(heights[order][np.searchsorted(weights, weights[-1] / 2)])


def together(boxes: np.ndarray) -> list[list[int]]:
    """Which of the boxes (N, 4) make up each digit: lists of their indexes."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    usual = usual_height(boxes)
    large = (boxes[:, 3] >= TALL * usual) | (boxes[:, 2] >= usual)
    groups = [[int(index)] for index in np.flatnonzero(large)]
    while True:
        around = np.array([_around(boxes[group]) for group in groups]).reshape(-1, 4)
        count, label = connected_components(csr_array(_one_digit(around, usual)), directed=False)
        if count == len(groups):
            break
        groups = [[index for at in np.flatnonzero(label == one) for index in groups[at]] for one in range(count)]
    for index in np.flatnonzero(~large) if groups else ():
        gaps = [pieces.gap(boxes[index], box) for box in around]
        if min(gaps) <= BESIDE * usual:
            groups[int(np.argmin(gaps))].append(int(index))
    return groups


def _one_digit(boxes: np.ndarray, usual: float) -> np.ndarray:
    """Which boxes lie above one another, near enough, and would make no digit that is far too tall: bool (N, N)."""
    left, top, width, height = boxes.T
    right, bottom = left + width, top + height
    across = np.minimum.outer(right, right) - np.maximum.outer(left, left)
    down = np.maximum.outer(top, top) - np.minimum.outer(bottom, bottom)
    tall = np.maximum.outer(bottom, bottom) - np.minimum.outer(top, top)
    near = (across >= OVERLAP * np.minimum.outer(width, width)) & (down <= BETWEEN * usual)
    return np.asarray(near & ((tall <= TALLEST * usual) | (down < 0)))


def _around(boxes: np.ndarray) -> np.ndarray:
    """The box around several, (N, 4) → (4,)."""
    left, top = boxes[:, 0].min(), boxes[:, 1].min()
    return np.array(
        [left, top, (boxes[:, 0] + boxes[:, 2]).max() - left, (boxes[:, 1] + boxes[:, 3]).max() - top], np.int64
    )


def in_rows(boxes: np.ndarray, digits: list[list[int]]) -> list[list[int]]:
    """The digits in reading order. A row may rise or fall: each digit goes on with the row whose last one is at its
    height."""
    around = [_around(boxes[digit]) for digit in digits]
    rows: list[list[int]] = []
    for index in sorted(range(len(digits)), key=lambda at: int(around[at][0])):
        shared = [_beside(around[row[-1]], around[index]) for row in rows]
        if shared and max(shared) >= IN_ROW:
            rows[int(np.argmax(shared))].append(index)
        else:
            rows.append([index])
    rows.sort(key=lambda row: float(np.mean([around[at][1] + around[at][3] / 2 for at in row])))
    return [digits[index] for row in rows for index in row]


def _beside(one: np.ndarray, other: np.ndarray) -> float:
    """By how much of the lower one's height two boxes are at the same height."""
    shared = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return float(shared / min(one[3], other[3]))


def _in_picture(boxes: np.ndarray, scale: tuple[float, float]) -> tuple[int, int, int, int]:
    left, top, width, height = _around(boxes)
    x, y = scale
    return round(left * x), round(top * y), max(round(width * x), 1), max(round(height * y), 1)


def _image(strokes: Strokes, labels: np.ndarray, boxes: np.ndarray, digit: list[int]) -> np.ndarray:
    """The digit of these pieces alone, in MNIST's framing."""
    left, top, width, height = _around(boxes[digit])
    cut = slice(max(top - 2, 0), top + height + 2), slice(max(left - 2, 0), left + width + 2)
    chosen = np.isin(labels[cut], [piece + 1 for piece in digit])
    return framing.to_mnist(framing.thinned(pieces.drawn(strokes._replace(contrast=strokes.contrast[cut]), chosen)))
