"""Where on a picture is the ink of one digit? Colours in, ink out: 0 = paper, 255 = a full stroke.

Whatever differs in colour from its :mod:`paper <pipeline.digits.paper>` is ink; a part of the picture may be what it is
drawn on (:mod:`pipeline.digits.panels`), and some of the ink belongs to no digit (:mod:`pipeline.digits.pieces`).
"""

import cv2
import numpy as np

from pipeline.base.pictures import rim
from pipeline.digits import panels, paper, pieces
from pipeline.digits.paper import Strokes

PREPARED = 48  # pixels, the longer side: so small a picture was made for a model, and has no shadows


def find(pixels: np.ndarray) -> tuple[np.ndarray, int]:
    """The ink on a picture, float32 (height, width, 3) of 0 to 255: float32 (height, width), and how many digits it is.

    The count is 0 (nothing, or no strokes), 1, or 2 for more than one; the ink is that of all of them.
    """
    pixels = panels.within_frame(pixels)
    strokes, even = paper.on_even_paper(pixels)
    if max(strokes.mask.shape) > PREPARED and (panel := panels.find(strokes.mask)):
        inside = panel.cut(pixels)
        drawn_on, flat = paper.on_even_paper(inside)
        within = pieces.digits(drawn_on) if flat else _found(inside, drawn_on, flat)
        if within[1] == 1:
            return within
    return _found(pixels, strokes, even)


def _found(pixels: np.ndarray, strokes: Strokes, even: bool) -> tuple[np.ndarray, int]:
    """The digits among the strokes of a picture; and how many, as :func:`find`."""
    if not rim(strokes.mask).any() or max(strokes.mask.shape) <= PREPARED:
        return pieces.digits(strokes)
    if even:
        return _unruled(strokes)
    found, local = pieces.digits(strokes), pieces.digits(paper.on_uneven_paper(pixels))
    return found if found[1] == 1 and local[1] != 1 and not _is_grain(strokes.mask) else local


def _unruled(strokes: Strokes) -> tuple[np.ndarray, int]:
    """The digits among strokes that reach the rim, some of which may be the paper's lines."""
    for unruled in (paper.darkest(strokes), paper.without_lines(strokes)):
        if 2 * rim(unruled.mask).sum() <= rim(strokes.mask).sum() and (seen := pieces.digits(unruled))[1] == 1:
            return seen
    return pieces.digits(strokes)


def _is_grain(mask: np.ndarray) -> bool:
    """Whether most of the mask is no wider than two pixels, and so the grain of a photo rather than strokes."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return bool(2 * opened.sum() < mask.sum())
