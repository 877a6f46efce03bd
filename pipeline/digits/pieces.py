"""Which strokes are the digit? Pieces that belong together, without dust, frames and what lies beside a sheet."""

import cv2
import numpy as np

from pipeline.digits.paper import Strokes

SPECK_SHARE = 0.04  # of the largest stroke's area: smaller pieces are dust, not a stroke
ALONG = 0.95  # of a frame lies along its own box; of a side of the picture, what is beside a sheet
LEAST_FRAME = 8  # pixels of its shorter side
FRAME_WIDTH = 0.12  # of its box's shorter side, at most
LEAST_AROUND = 16  # pixels of the shorter side of what surrounds digits,
HOLLOW = 0.3  # of whose box it takes no more
MOST_AROUND = 200  # such pieces of a sheet are looked at, the largest
ON_SHEET = 0.2  # of the picture's height: a digit on a sheet that does not fill the picture is as tall
ROUND = 0.9  # of its hull: a ring's outline has no bays
RINGED = 0.35  # of a ring's height: the digit within it is as tall
NEAR = 0.35  # of the digit's longer side: a piece further away than this belongs to something else
AS_TALL = 0.55  # of the tallest piece: a piece apart from it that is as tall is another digit
APART = 0.06  # of the tallest piece's height, between its box and that of another digit
PIECES = 12  # that are no dust: more are a texture or a page of text, not a digit


def digits(strokes: Strokes) -> tuple[np.ndarray, int]:
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
    return bool(held[piece] <= (1 - ALONG) * area and others.max(initial=0) >= SPECK_SHARE * area)


def frames(mask: np.ndarray) -> np.ndarray:
    """The pixels of all frames, bool (height, width)."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    _, _, widths, heights, areas = stats.T
    narrow = np.minimum(widths, heights)
    few = (narrow >= LEAST_FRAME) & (areas <= 4 * FRAME_WIDTH * np.maximum(widths, heights) * narrow)
    return np.isin(labels, [piece for piece in np.flatnonzero(few).tolist() if piece and _frames(labels, stats, piece)])


def surroundings(mask: np.ndarray) -> np.ndarray:
    """The pixels of what surrounds digits on a sheet: of rings, and of the lines of tables, of boxes that share their
    sides and of frames around several. A frame around one digit is a panel's: bool (height, width)."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    _, _, widths, heights, areas = stats.T
    hollow = (np.minimum(widths, heights) >= LEAST_AROUND) & (areas <= HOLLOW * widths * heights)
    hollow[0] = False  # the paper
    found = np.zeros(mask.shape, bool)
    for piece in sorted(np.flatnonzero(hollow).tolist(), key=lambda piece: -areas[piece])[:MOST_AROUND]:
        x, y, width, height, _ = stats[piece]
        box = slice(y, y + height), slice(x, x + width)
        if not _frames(labels, stats, piece) and _rings(labels, stats, piece):
            found[box] |= labels[box] == piece
        else:
            found[box] |= _grid(labels[box], stats, piece)
    return found


def _grid(labels: np.ndarray, stats: np.ndarray, piece: int) -> np.ndarray:
    """The lines of a piece that go from side to side of its box, the outermost among them, where there are others
    between, or several digits; bool (height, width) as the box."""
    own = labels == piece
    rows, columns = (own.mean(axis=axis) >= ALONG for axis in (1, 0))
    margin = max(2, round(FRAME_WIDTH * min(own.shape)))
    closed = all(side.any() for line in (rows, columns) for side in (line[:margin], line[-margin:]))
    if not closed:
        return np.zeros(own.shape, bool)
    held = np.flatnonzero(np.bincount(labels.ravel()))
    held = held[(held > 0) & (held != piece)]
    if len(held):
        main = held[stats[held, cv2.CC_STAT_AREA].argmax()]
        divided = rows[margin:-margin].any() or columns[margin:-margin].any()
        if divided or any(_another(stats[main], stats[other]) for other in held if other != main):
            return np.asarray(own & (rows[:, None] | columns))
    return np.zeros(own.shape, bool)


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
    return [piece for piece, side in zip(most, sides, strict=True) if piece and np.mean(side == piece) >= ALONG]


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
