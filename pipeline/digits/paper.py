"""What on a picture differs from its paper? Colours in, the contrast of each pixel to its paper out, so that dark on
light, light on dark and coloured pictures are alike.

A drawing or scan has paper of one smooth colour (:func:`on_even_paper`). A photo has shadows and the lines of its
paper; there the paper is what remains of the picture once everything as narrow as a stroke is taken away
(:func:`on_uneven_paper`).
"""

from typing import NamedTuple

import cv2
import numpy as np

from pipeline.base.pictures import rim

FITTING_SIDE = 128  # pixels, enough for a smooth background
RIDGE = 0.01  # pixels: so that a few in a row have a surface too
LOCAL_SIDE = 200  # pixels, enough for the edge of a shadow
STROKE = 0.16  # of the picture's side: in a photo whatever is wider than this belongs to the paper
MIN_CONTRAST = 12.0  # grey levels between ink and paper, below which there is nothing to read
EXACT = 1.0  # grey level: what paper differs from its colour in a drawing, and in no photo
FLAT = 0.05  # of the ink's contrast: what even paper may differ from its colour
FLAT_SHARE = 0.5  # of the paper's pixels: the others are the edges of strokes
BROAD = 0.35  # of the picture's longer side: what is wider is a shadow, no stroke


class Strokes(NamedTuple):
    """What may be ink."""

    contrast: np.ndarray
    """of each pixel to its paper, grey levels: float32 (height, width)"""
    low: float
    """the contrast that is still paper"""
    mask: np.ndarray
    """where a stroke is, without its soft edges: bool (height, width)"""


# --- of one smooth colour --------------------------------------------------------------------------------------------


def on_even_paper(pixels: np.ndarray) -> tuple[Strokes, bool]:
    """Strokes by the distance to the paper's colour; and whether the paper has but one.

    Where it has not, its colours are taken to change smoothly from place to place.
    """
    small = shrunk(pixels, FITTING_SIDE)
    colour = _colour(small)
    distance = _length(cv2.absdiff(pixels, np.append(colour, 0.0)))
    strokes = _by_distance(distance)
    if not strokes.mask.any() or _is_flat(strokes):
        return strokes, True
    smooth = cv2.resize(_smooth(small, colour), pixels.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return _by_distance(_length(cv2.absdiff(pixels, smooth))), False


def _is_flat(strokes: Strokes) -> bool:
    """Whether the paper has one colour: exactly, or nearly and what differs from it is as narrow as strokes are."""
    paper = strokes.contrast[~strokes.mask]
    if np.mean(paper <= EXACT) >= FLAT_SHARE:
        return True
    small = shrunk(strokes.mask.astype(np.float32), FITTING_SIDE) > 0.5  # without the holes of grain
    widest = 2 * cv2.distanceTransform(np.pad(small.astype(np.uint8), 1), cv2.DIST_L2, 3).max()
    return bool(np.mean(paper <= FLAT * _full(strokes)) >= FLAT_SHARE and widest <= BROAD * max(small.shape))


def _by_distance(distance: np.ndarray) -> Strokes:
    threshold = _otsu(distance)
    strokes = Strokes(distance, 0.0, distance > threshold)
    if not strokes.mask.any() or distance.max() < MIN_CONTRAST:
        return strokes._replace(mask=np.zeros(distance.shape, bool))
    mean, deviation = cv2.meanStdDev(distance, mask=(~strokes.mask).astype(np.uint8))
    full = _full(strokes)
    noise = float(mean[0, 0] + 2 * deviation[0, 0]) if full < 8 * threshold else 0.0
    return strokes._replace(low=min(max(0.06 * full, noise), threshold))


def _full(strokes: Strokes) -> float:
    """The contrast of a full stroke."""
    return float(np.median(strokes.contrast[strokes.mask]))


def _length(difference: np.ndarray) -> np.ndarray:
    """The root mean square over the colours: float32 (height, width, 3) → (height, width)."""
    return cv2.sqrt(cv2.transform(cv2.multiply(difference, difference), np.full((1, 3), 1 / 3)))


def _colour(small: np.ndarray) -> np.ndarray:
    """The colour of most of the paper, (3,): the median of what is more like the rim than like the ink."""
    colour = np.median(rim(small), axis=0)
    away = np.linalg.norm(small - colour, axis=2)
    return np.median(small[away <= _otsu(away)], axis=0).astype(np.float32)


def _smooth(small: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """The paper's colours under the ink: a quadratic surface a channel, so that uneven light is no ink.

    It starts from ``colour`` and is fitted again to what lies near it.
    """
    fitted = np.broadcast_to(colour, small.shape)
    terms = _surface(*small.shape[:2])
    for _ in range(3):
        away = np.linalg.norm(small - fitted, axis=2)
        near = away <= _otsu(away)
        used = terms[near.ravel()]
        weights = np.linalg.solve(used.T @ used + RIDGE * np.eye(6, dtype=np.float32), used.T @ small[near])
        fitted = (terms @ weights).reshape(small.shape).clip(0, 255)
    return fitted


def _surface(height: int, width: int) -> np.ndarray:
    """The six terms of a quadratic surface at each pixel: float32 (height × width, 6), places from -1 to 1."""
    grid = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    y, x = (axis.ravel() for axis in grid)
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1).astype(np.float32)


def _otsu(values: np.ndarray) -> float:
    """The threshold that best parts ``values`` in two (N. Otsu, 1979): the middle of the gap, if no value is near it.

    All levels of a gap part the values alike, and OpenCV gives the lowest.
    """
    top = float(values.max())
    if top <= 0:
        return 0.0
    levels = (values * (255 / top)).astype(np.uint8)
    level, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)
    above = int(levels[levels > level].min(initial=255))
    return (level + 1 + above) / 2 * top / 255  # the levels are rounded down


# --- a photo's -------------------------------------------------------------------------------------------------------


def on_uneven_paper(pixels: np.ndarray) -> Strokes:
    """Strokes by the contrast to the paper around each place."""
    contrast = _contrast(pixels)
    away = cv2.GaussianBlur(contrast, (0, 0), max(pixels.shape[:2]) / 500)
    noise = 1.48 * float(np.median(away))  # most of a photo is paper
    top = float(np.quantile(away, 0.998))
    if top < max(MIN_CONTRAST, 5 * noise):
        return Strokes(contrast, 0.0, np.zeros(away.shape, bool))
    return without_lines(Strokes(contrast, 0.3 * top, away > max(0.5 * top, _otsu(np.minimum(away, top)))))


def _contrast(pixels: np.ndarray) -> np.ndarray:
    """How far each pixel is from the paper around it, relative to how bright that is: float32, about 0 to 255."""
    height, width = pixels.shape[:2]
    small = cv2.GaussianBlur(shrunk(pixels, LOCAL_SIDE), (0, 0), 1.0)
    window = int(STROKE * max(small.shape[:2])) | 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (window, window))
    grey = small.mean(axis=2)
    median = cv2.medianBlur(grey.astype(np.uint8), min(2 * window + 1, 255)).astype(np.float32)
    dark = float(((grey - median) ** 3).sum()) < 0  # ink is what stands out most from its surroundings
    paper = cv2.morphologyEx(small, cv2.MORPH_CLOSE if dark else cv2.MORPH_OPEN, disc)
    paper = cv2.resize(cv2.GaussianBlur(paper, (0, 0), 1.5), (width, height), interpolation=cv2.INTER_LINEAR)
    signed = (paper - pixels if dark else pixels - paper).clip(0)
    brightness = paper.mean(axis=2) if dark else 255 - paper.mean(axis=2)
    return np.linalg.norm(signed, axis=2) / np.sqrt(3, dtype=np.float32) * (200 / np.maximum(brightness, 40))


def darkest(strokes: Strokes) -> Strokes:
    """The strokes less what is not half as dark as the darkest: lines in a fainter colour than the pen's."""
    top = float(np.quantile(strokes.contrast[strokes.mask], 0.98))
    return strokes._replace(low=max(strokes.low, 0.3 * top), mask=strokes.contrast > 0.5 * top)


def without_lines(strokes: Strokes) -> Strokes:
    """The strokes less thin straight lines that cross most of the picture: the paper's own."""
    side, mask = max(strokes.mask.shape), strokes.mask.astype(np.uint8)
    width = max(3, side // 120)
    thin = mask - cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((width + 1, width + 1), np.uint8))
    lines = cv2.HoughLinesP(thin, 1, np.pi / 360, threshold=side // 4, minLineLength=0.6 * side, maxLineGap=side / 25)
    if lines is None:
        return strokes
    drawn = np.zeros(strokes.mask.shape, np.uint8)
    for x0, y0, x1, y1 in lines.reshape(-1, 4):
        cv2.line(drawn, (int(x0), int(y0)), (int(x1), int(y1)), 1, width)
    return strokes._replace(mask=strokes.mask & ~drawn.astype(bool))


def shrunk(pixels: np.ndarray, side: int) -> np.ndarray:
    """The picture with at most ``side`` pixels a side, and at least three."""
    height, width = pixels.shape[:2]
    factor = min(1.0, side / max(height, width))
    size = (max(3, round(width * factor)), max(3, round(height * factor)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
