"""Where on a picture is the ink of one digit? Colours in, ink out: 0 = paper, 255 = a full stroke.

Whatever differs in colour from its paper is ink, so that dark on light, light on dark and coloured pictures are alike.
A drawing or scan has paper of one smooth colour (:func:`on_even_paper`). Where what differs from that reaches the rim
it is a photo's shadow or the lines of its paper; then the paper is what remains of the picture once everything as
narrow as a stroke is taken away (:func:`on_uneven_paper`).
"""

import math
from typing import NamedTuple

import cv2
import numpy as np

from pipeline.base.pictures import rim

FITTING_SIDE = 128  # pixels, enough for a smooth background
RIDGE = 0.01  # pixels: so that a few in a row have a surface too
LOCAL_SIDE = 200  # pixels, enough for the edge of a shadow
STROKE = 0.16  # of the picture's side: in a photo whatever is wider than this belongs to the paper
MIN_CONTRAST = 12.0  # grey levels between ink and paper, below which there is nothing to read
SPECK_SHARE = 0.04  # of the largest stroke's area: smaller pieces are dust, not a stroke
EXACT = 1.0  # grey level: what paper differs from its colour in a drawing, and in no photo
FLAT = 0.05  # of the ink's contrast: what even paper may differ from its colour
FLAT_SHARE = 0.5  # of the paper's pixels: the others are the edges of strokes
BROAD = 0.35  # of the picture's longer side: what is wider is a shadow, no stroke
PREPARED = 48  # pixels, the longer side: so small a picture was made for a model, and has no shadows
ON_SHEET = 0.2  # of the picture's height: a digit on a sheet that does not fill the picture is as tall
ROUND = 0.9  # of its hull: a ring's outline has no bays
RINGED = 0.35  # of a ring's height: the digit within it is as tall
FRAME_RIM = 0.95  # of the rim's pixels: so many have the colour of a frame
FRAME_SHARE = 0.35  # of the picture's pixels: more have the colour of its paper
FRAME_WIDTH = 0.12  # of its box's shorter side, at most
PANEL_SHARE = 0.2  # of the picture's pixels, at least
PANEL_FULL = 0.4  # of a panel's pixels are its own, the others are the digit's,
PANEL_CLEAR = 0.7  # and where less are, the digit is
HOLE = 0.75  # no fuller in its own box: a square 0's hole is
PANEL_STRAIGHT = 0.96  # of its box: a panel fills it, a digit's outline does not
UPRIGHT = 0.5  # degrees
PANEL_RIM = 0.015  # of its shorter side: lines along the edge, and what is mixed with the page
TICKS = 0.1  # of its shorter side: what sticks out no further is no part of it
NEAR = 0.35  # of the digit's longer side: a piece further away than this belongs to something else
AS_TALL = 0.55  # of the tallest piece: a piece apart from it that is as tall is another digit
APART = 0.06  # of the tallest piece's height, between its box and that of another digit
PIECES = 12  # that are no dust: more are a texture or a page of text, not a digit


class Strokes(NamedTuple):
    """What may be ink."""

    contrast: np.ndarray
    """of each pixel to its paper, grey levels: float32 (height, width)"""
    low: float
    """the contrast that is still paper"""
    mask: np.ndarray
    """where a stroke is, without its soft edges: bool (height, width)"""


def find(pixels: np.ndarray) -> tuple[np.ndarray, int]:
    """The ink on a picture, float32 (height, width, 3) of 0 to 255: float32 (height, width), and how many digits it is.

    The count is 0 (nothing, or no strokes), 1, or 2 for more than one; the ink is that of all of them.
    """
    pixels = _within_frame(pixels)
    strokes, even = on_even_paper(pixels)
    if panel := _panel(strokes.mask):
        inside = panel.cut(pixels)
        drawn_on, flat = on_even_paper(inside)
        within = _digits(drawn_on) if flat else _found(inside, drawn_on, flat)
        if within[1] == 1:
            return within
    return _found(pixels, strokes, even)


def _found(pixels: np.ndarray, strokes: Strokes, even: bool) -> tuple[np.ndarray, int]:
    """The digits among the strokes of a picture; and how many, as :func:`find`."""
    if not rim(strokes.mask).any() or max(strokes.mask.shape) <= PREPARED:
        return _digits(strokes)
    if even:
        return _unruled(strokes)
    found, local = _digits(strokes), _digits(on_uneven_paper(pixels))
    return found if found[1] == 1 and local[1] != 1 and not _is_grain(strokes.mask) else local


def _unruled(strokes: Strokes) -> tuple[np.ndarray, int]:
    """The digits among strokes that reach the rim, some of which may be the paper's lines."""
    for unruled in (_darkest(strokes), without_lines(strokes)):
        if 2 * rim(unruled.mask).sum() <= rim(strokes.mask).sum() and (seen := _digits(unruled))[1] == 1:
            return seen
    return _digits(strokes)


def _is_grain(mask: np.ndarray) -> bool:
    """Whether most of the mask is no wider than two pixels, and so the grain of a photo rather than strokes."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return bool(2 * opened.sum() < mask.sum())


def _within_frame(pixels: np.ndarray) -> np.ndarray:
    """The picture without a rim of one colour that is not the colour of most of it."""
    colour = np.median(rim(pixels), axis=0)
    if (
        _alike(rim(pixels), colour).mean() < FRAME_RIM
        or _alike(_shrunk(pixels, FITTING_SIDE), colour).mean() > FRAME_SHARE
    ):
        return pixels
    rings = (pixels[i : -i or None, i : -i or None] for i in range(min(pixels.shape[:2]) // 4))
    inset = next((i for i, within in enumerate(rings) if _alike(rim(within), colour).mean() < FRAME_RIM / 2), 0)
    inset = inset + 1 if inset else 0  # its edge is mixed with what it frames
    return pixels[inset : -inset or None, inset : -inset or None]


class Panel(NamedTuple):
    """A rectangle of another colour than the page that it lies on."""

    centre: tuple[float, float]
    """x, y"""
    size: tuple[float, float]
    """width, height"""
    angle: float
    """degrees, -45 to 45"""

    def cut(self, values: np.ndarray) -> np.ndarray:
        """What of (height, width, ...) lies within its rim, upright."""
        height, width = values.shape[:2]
        if abs(self.angle) > UPRIGHT:
            turn = cv2.getRotationMatrix2D(self.centre, self.angle, 1.0)
            values = cv2.warpAffine(values, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
        inset = 1 + PANEL_RIM * min(self.size)
        (left, right), (top, bottom) = (
            (max(0, round(at - side / 2 + inset)), min(most, round(at + side / 2 - inset)))
            for at, side, most in zip(self.centre, self.size, (width, height), strict=True)
        )
        return values[top:bottom, left:right]


def _panel(mask: np.ndarray) -> Panel | None:
    """The panel on a page, as plotting programs show an image, or the sheet on a table; None if what differs from the
    page is no such rectangle."""
    if mask.mean() < PANEL_SHARE or max(mask.shape) <= PREPARED:
        return None
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    largest = max(outlines, key=cv2.contourArea)
    solid = cv2.drawContours(np.zeros(mask.shape, np.uint8), [largest], -1, 1, cv2.FILLED)
    if rim(solid).any():  # it lies beside the page
        return None
    ticks = max(3, int(TICKS * min(cv2.boundingRect(largest)[2:])))
    solid = cv2.morphologyEx(solid, cv2.MORPH_OPEN, np.ones((ticks, ticks), np.uint8))
    if not solid.any():
        return None
    (x, y), (width, height), angle = cv2.minAreaRect(cv2.findNonZero(solid))
    quarters = round(angle / 90)
    width, height = (height, width) if quarters % 2 else (width, height)
    panel = Panel((x, y), (width + 1, height + 1), angle - 90 * quarters)  # it goes through the middles of pixels
    if solid.sum() < PANEL_STRAIGHT * math.prod(panel.size) or not _holds_a_digit(panel.cut(mask.astype(np.uint8))):
        return None
    return panel


def _holds_a_digit(panel: np.ndarray) -> bool:
    """Whether what is 0, not the panel's own, may be a digit, and not the hole of one."""
    own = panel.mean() if panel.size else 0.0
    if own < PANEL_FULL:
        return False
    if own >= PANEL_CLEAR:
        return True
    rows, columns = (np.flatnonzero(~panel.all(axis=axis)) for axis in (1, 0))
    return bool(1 - panel[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean() <= HOLE)


def _alike(pixels: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return np.abs(pixels - colour).max(axis=-1) <= MIN_CONTRAST


# --- paper of one smooth colour --------------------------------------------------------------------------------------


def on_even_paper(pixels: np.ndarray) -> tuple[Strokes, bool]:
    """Strokes by the distance to the paper's colour; and whether the paper has but one.

    Where it has not, its colours are taken to change smoothly from place to place.
    """
    small = _shrunk(pixels, FITTING_SIDE)
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
    small = _shrunk(strokes.mask.astype(np.float32), FITTING_SIDE) > 0.5  # without the holes of grain
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


# --- a photo's paper --------------------------------------------------------------------------------------------------


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
    small = cv2.GaussianBlur(_shrunk(pixels, LOCAL_SIDE), (0, 0), 1.0)
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


def _darkest(strokes: Strokes) -> Strokes:
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


def _shrunk(pixels: np.ndarray, side: int) -> np.ndarray:
    """The picture with at most ``side`` pixels a side, and at least three."""
    height, width = pixels.shape[:2]
    factor = min(1.0, side / max(height, width))
    size = (max(3, round(width * factor)), max(3, round(height * factor)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


# --- which strokes are the digit --------------------------------------------------------------------------------------


def _digits(strokes: Strokes) -> tuple[np.ndarray, int]:
    """The ink without dust and what does not belong to the digit; and how many digits it is: 0, 1, or 2 for more."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(strokes.mask.astype(np.uint8), connectivity=8)
    pieces = _large(labels, stats)
    if not 0 < len(pieces) <= PIECES:
        return np.zeros_like(strokes.contrast), 0
    boxes = {int(piece): stats[piece, :4] for piece in pieces}  # x, y, width, height
    main = int(pieces[stats[pieces, cv2.CC_STAT_AREA].argmax()])
    kept = _together(boxes, main)
    several = any(_another(boxes[main], boxes[piece]) for piece in boxes if piece != main)
    return drawn(strokes, np.isin(np.arange(len(stats)), list(kept))[labels]), 2 if several else 1


def drawn(strokes: Strokes, chosen: np.ndarray) -> np.ndarray:
    """The ink of the chosen pixels and of their soft edges alone: float32 (height, width), 0 to 255."""
    full = float(np.median(strokes.contrast[chosen]))
    edges = cv2.dilate(chosen.astype(np.uint8), np.ones((3, 3), np.uint8))  # antialiased ones
    ink = (strokes.contrast - strokes.low) * (255 / (full - strokes.low)) * edges
    return ink.clip(0, 255)


def _large(labels: np.ndarray, stats: np.ndarray) -> np.ndarray:
    """The numbers of the pieces that are neither dust nor a frame around others."""
    areas = stats[:, cv2.CC_STAT_AREA]
    pieces = np.arange(1, len(stats))
    widest = 1 + (stats[1:, cv2.CC_STAT_WIDTH] * stats[1:, cv2.CC_STAT_HEIGHT]).argmax() if len(pieces) else 0
    if len(pieces) > 1 and (_frames(labels, stats, widest) or _rings(labels, stats, widest)):
        pieces = np.delete(pieces, widest - 1)
    if len(pieces) > 1:
        pieces = np.setdiff1d(pieces, _beside(labels, stats))
    return pieces[areas[pieces] >= SPECK_SHARE * areas[pieces].max(initial=0)]


def _frames(labels: np.ndarray, stats: np.ndarray, piece: int) -> bool:
    """Whether a piece is a frame: another one of some size lies within it, and it lies along its own box alone."""
    x, y, width, height, area = stats[piece]
    margin = round(FRAME_WIDTH * min(width, height))
    within = labels[y + margin : y + height - margin, x + margin : x + width - margin]
    held = np.bincount(within.ravel(), minlength=len(stats))
    others = np.delete(held, [0, piece])
    return bool(held[piece] <= (1 - FRAME_RIM) * area and others.max(initial=0) >= SPECK_SHARE * area)


def _beside(labels: np.ndarray, stats: np.ndarray) -> list[int]:
    """The pieces that lie along a whole side of the picture, what is beside a sheet, where one as tall as a digit lies
    within it."""
    height, width = labels.shape
    lefts, tops, widths, heights, _ = stats[1:].T
    within = (lefts > 0) & (tops > 0) & (lefts + widths < width) & (tops + heights < height)
    if not (within & (heights >= ON_SHEET * height)).any():
        return []
    sides = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    most = [int(np.bincount(side).argmax()) for side in sides]
    return [piece for piece, side in zip(most, sides, strict=True) if piece and np.mean(side == piece) >= FRAME_RIM]


def _rings(labels: np.ndarray, stats: np.ndarray, piece: int) -> bool:
    """Whether a piece is a ring around a digit: another one that is RINGED of its height lies within it."""
    x, y, width, height, _ = stats[piece]
    lefts, tops, widths, heights, _ = stats.T
    inside = (lefts > x) & (tops > y) & (lefts + widths < x + width) & (tops + heights < y + height)
    inside &= heights >= RINGED * height
    if not inside[1:].any():
        return False
    outlines, _ = cv2.findContours((labels == piece).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if cv2.contourArea(outlines[0]) < ROUND * cv2.contourArea(cv2.convexHull(outlines[0])):
        return False  # the outline of a hollow digit
    solid = cv2.drawContours(np.zeros(labels.shape, np.uint8), outlines, -1, 1, cv2.FILLED)
    return any(solid[labels == other].all() for other in np.flatnonzero(inside) if other)


def _together(boxes: dict[int, np.ndarray], main: int) -> set[int]:
    """The pieces that are near the main one, or near one that is."""
    kept, reach = {main}, NEAR * max(boxes[main][2:])
    while added := {p for p in boxes if p not in kept and any(gap(boxes[p], boxes[k]) <= reach for k in kept)}:
        kept |= added
    return kept


def gap(one: np.ndarray, other: np.ndarray) -> float:
    """The distance between two boxes; 0 where they touch."""
    across = max(one[0] - other[0] - other[2], other[0] - one[0] - one[2], 0)
    down = max(one[1] - other[1] - other[3], other[1] - one[1] - one[3], 0)
    return float(np.hypot(across, down))


def _another(main: np.ndarray, piece: np.ndarray) -> bool:
    """Whether a piece is a digit beside, above or below the main one."""
    tallest = max(main[3], piece[3])
    return bool(min(main[3], piece[3]) >= AS_TALL * tallest and gap(main, piece) >= APART * tallest)
