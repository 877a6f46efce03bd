"""Where on a picture is the ink of one digit? Colours in, ink out: 0 = paper, 255 = a full stroke.

Whatever differs in colour from its paper is ink, so that dark on light, light on dark and coloured pictures are alike.
A drawing or scan has paper of one smooth colour (:func:`_even`). Where what differs from that reaches the rim it is a
photo's shadow or the lines of its paper; then the paper is what remains of the picture once everything as narrow as a
stroke is taken away (:func:`_uneven`).
"""

import cv2
import numpy as np

FITTING_SIDE = 128  # pixels, enough for a smooth background
LOCAL_SIDE = 320  # pixels, enough for the edge of a shadow
STROKE = 0.16  # of the picture's side: in a photo whatever is wider than this belongs to the paper
MIN_CONTRAST = 12.0  # grey levels between ink and paper, below which there is nothing to read
SPECK_SHARE = 0.04  # of the largest stroke's area: smaller pieces are dust, not a stroke
FLAT = 4.0  # grey levels from the paper's colour
FLAT_SHARE = 0.85  # of the paper's pixels
NEAR = 0.35  # of the digit's longer side: a piece further away than this belongs to something else
AS_TALL = 0.55  # of the tallest piece: a piece apart from it that is as tall is another digit
APART = 0.06  # of the tallest piece's height, between its box and that of another digit
PIECES = 12  # that are no dust: more are a texture or a page of text, not a digit


def find(pixels: np.ndarray) -> tuple[np.ndarray, int]:
    """The ink on a picture, float32 (height, width, 3) of 0 to 255: float32 (height, width), and how many digits it is.

    The count is 0 (nothing, or no strokes), 1, or 2 for more than one; the ink is that of all of them.
    """
    ink, strong = _even(pixels)
    if _is_flat(pixels[~strong]) or not _rim_share(strong):
        return _digits(ink, strong)
    return _digits(*_uneven(pixels))


def _is_flat(paper: np.ndarray) -> bool:
    """Whether nearly all of the paper's pixels, (N, 3), have one colour, as those of a drawing do and of no photo."""
    away = np.abs(paper - np.median(paper, axis=0)).max(axis=1)
    return bool(np.mean(away <= FLAT) >= FLAT_SHARE)


def _rim_share(mask: np.ndarray) -> float:
    return float(np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean())


# --- paper of one smooth colour --------------------------------------------------------------------------------------


def _even(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ink and the mask of its strokes, by the distance to a smooth paper's colour."""
    distance = np.linalg.norm(pixels - _paper(pixels), axis=2) / np.sqrt(3, dtype=np.float32)
    threshold = _otsu(distance)
    strong = distance > threshold
    if not strong.any() or distance.max() < MIN_CONTRAST:
        return np.zeros_like(distance), np.zeros_like(strong)
    full = float(np.median(distance[strong]))
    noise = float(distance[~strong].mean() + 2 * distance[~strong].std()) if full < 8 * threshold else 0.0
    return _scaled(distance, min(max(0.06 * full, noise), threshold), full), strong


def _scaled(distance: np.ndarray, low: float, full: float) -> np.ndarray:
    return ((distance - low) * (255 / (full - low))).clip(0, 255).astype(np.float32)


def _paper(pixels: np.ndarray) -> np.ndarray:
    """The background's colours under the ink: a quadratic surface a channel, so that uneven light is no ink.

    It starts from the rim's median colour and is fitted again to what lies near it.
    """
    height, width = pixels.shape[:2]
    small = _shrunk(pixels, FITTING_SIDE)
    rim = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])
    fitted = np.broadcast_to(np.median(rim, axis=0), small.shape)
    terms = _surface(*small.shape[:2])
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


# --- a photo's paper --------------------------------------------------------------------------------------------------


def _uneven(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ink and the mask of its strokes, by the contrast to the paper around each place."""
    contrast = _contrast(pixels)
    away = cv2.GaussianBlur(contrast, (0, 0), max(pixels.shape[:2]) / 500)
    noise = 1.48 * float(np.median(away))  # most of a photo is paper
    top = float(np.quantile(away, 0.998))
    if top < max(MIN_CONTRAST, 5 * noise):
        return np.zeros_like(away), np.zeros(away.shape, bool)
    strong = away > max(0.5 * top, _otsu(np.minimum(away, top)))
    strong = _without_lines(strong)
    if not strong.any():
        return np.zeros_like(away), strong
    return _scaled(contrast, 0.3 * top, float(np.median(contrast[strong]))), strong


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


def _without_lines(mask: np.ndarray) -> np.ndarray:
    """The mask without straight lines that cross most of the picture: the paper's own."""
    side = max(mask.shape)
    lines = cv2.HoughLinesP(
        mask.astype(np.uint8), 1, np.pi / 360, threshold=side // 4, minLineLength=0.6 * side, maxLineGap=side / 25
    )
    if lines is None:
        return mask
    drawn = np.zeros(mask.shape, np.uint8)
    for x0, y0, x1, y1 in lines.reshape(-1, 4):
        cv2.line(drawn, (int(x0), int(y0)), (int(x1), int(y1)), 1, max(3, side // 120))
    return mask & ~drawn.astype(bool)


def _shrunk(pixels: np.ndarray, side: int) -> np.ndarray:
    """The picture with at most ``side`` pixels a side, and at least three."""
    height, width = pixels.shape[:2]
    factor = min(1.0, side / max(height, width))
    size = (max(3, round(width * factor)), max(3, round(height * factor)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], 3)


# --- which strokes are the digit --------------------------------------------------------------------------------------


def _digits(ink: np.ndarray, strong: np.ndarray) -> tuple[np.ndarray, int]:
    """The ink without dust and what does not belong to the digit; and how many digits it is: 0, 1, or 2 for more."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(strong.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if not len(areas):
        return np.zeros_like(ink), 0
    large = 1 + np.flatnonzero(areas >= SPECK_SHARE * areas.max())
    if len(large) > PIECES:
        return np.zeros_like(ink), 0
    boxes = {int(piece): stats[piece, :4] for piece in large}  # x, y, width, height
    main = int(large[stats[large, cv2.CC_STAT_AREA].argmax()])
    kept = _together(boxes, main)
    several = any(_another(boxes[main], boxes[piece]) for piece in boxes if piece != main)
    mask = np.isin(labels, list(kept))
    edges = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)  # antialiased ones
    return np.where(edges, ink, 0).astype(np.float32), 2 if several else 1


def _together(boxes: dict[int, np.ndarray], main: int) -> set[int]:
    """The pieces that are near the main one, or near one that is."""
    kept, reach = {main}, NEAR * max(boxes[main][2:])
    while added := {p for p in boxes if p not in kept and any(_gap(boxes[p], boxes[k]) <= reach for k in kept)}:
        kept |= added
    return kept


def _gap(one: np.ndarray, other: np.ndarray) -> float:
    """The distance between two boxes; 0 where they touch."""
    across = max(one[0] - other[0] - other[2], other[0] - one[0] - one[2], 0)
    down = max(one[1] - other[1] - other[3], other[1] - one[1] - one[3], 0)
    return float(np.hypot(across, down))


def _another(main: np.ndarray, piece: np.ndarray) -> bool:
    """Whether a piece is a digit beside, above or below the main one."""
    tallest = max(main[3], piece[3])
    return bool(min(main[3], piece[3]) >= AS_TALL * tallest and _gap(main, piece) >= APART * tallest)
