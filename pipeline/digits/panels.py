"""On which part of a picture is the digit drawn? Not on a frame of another colour around it, nor on the page that a
panel lies on, as plotting programs show an image and a desk holds a note.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np

from pipeline.base.pictures import rim
from pipeline.digits.paper import FITTING_SIDE, MIN_CONTRAST, shrunk

FRAME_RIM = 0.95  # of the rim's pixels: so many have the colour of a frame
FRAME_SHARE = 0.35  # of the picture's pixels: more have the colour of its paper
PANEL_SHARE = 0.2  # of the picture's pixels, at least
PANEL_FULL = 0.4  # of a panel's pixels are its own, the others are the digit's,
PANEL_CLEAR = 0.7  # and where less are, the digit is
CROSSED_RIM = 0.6  # of its edge is its own, where a digit reaches that
ONE_STROKE = 0.7  # of what is not its own
HOLE = 0.75  # no fuller in its own box: a square 0's hole is
PANEL_STRAIGHT = 0.96  # of its box: a panel fills it, a digit's outline does not
DISC_SHARE = 0.15  # of the picture's pixels, at least
DISC_ROUND = 0.93  # of the longest radius or side
DISC_SLIT = 0.5  # of its height: a hole that is narrower than this is a 1 on a disc
UPRIGHT = 0.5  # degrees
PANEL_RIM = 0.015  # of its shorter side: lines along the edge, and what is mixed with the page
TICKS = 0.1  # of its shorter side: what sticks out no further is no part of it


def within_frame(pixels: np.ndarray) -> np.ndarray:
    """The picture without a rim of one colour that is not the colour of most of it."""
    colour = np.median(rim(pixels), axis=0)
    if (
        _alike(rim(pixels), colour).mean() < FRAME_RIM
        or _alike(shrunk(pixels, FITTING_SIDE), colour).mean() > FRAME_SHARE
    ):
        return pixels
    rings = (pixels[i : -i or None, i : -i or None] for i in range(min(pixels.shape[:2]) // 4))
    inset = next((i for i, within in enumerate(rings) if _alike(rim(within), colour).mean() < FRAME_RIM / 2), 0)
    inset = inset + 1 if inset else 0  # its edge is mixed with what it frames
    return pixels[inset : -inset or None, inset : -inset or None]


def _alike(pixels: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return np.abs(pixels - colour).max(axis=-1) <= MIN_CONTRAST


class Panel(NamedTuple):
    """A rectangle of another colour than the page that it lies on."""

    centre: tuple[float, float]
    """x, y"""
    size: tuple[float, float]
    """width, height"""
    angle: float
    """degrees, -45 to 45"""

    def cut(self, values: np.ndarray, inset: float = PANEL_RIM) -> np.ndarray:
        """What of (height, width, ...) lies within its rim, a share of its shorter side, upright."""
        height, width = values.shape[:2]
        if abs(self.angle) > UPRIGHT:
            turn = cv2.getRotationMatrix2D(self.centre, self.angle, 1.0)
            values = cv2.warpAffine(values, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
        off = 1 + inset * min(self.size) if inset else 0
        (left, right), (top, bottom) = (
            (max(0, round(at - side / 2 + off)), min(most, round(at + side / 2 - off)))
            for at, side, most in zip(self.centre, self.size, (width, height), strict=True)
        )
        return values[top:bottom, left:right]

    def own(self, mask: np.ndarray, inset: float = PANEL_RIM) -> np.ndarray:
        """Where what lies within differs from the page: bool (height, width)."""
        return self.cut(mask.astype(np.uint8), inset) > 0


def find(mask: np.ndarray) -> Panel | None:
    """The panel on a page, as plotting programs show an image, or the sheet on a table; None if what differs from the
    page is no such rectangle."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not outlines:
        return None
    largest = max(outlines, key=cv2.contourArea)
    ticks = np.ones(2 * (max(3, int(TICKS * min(cv2.boundingRect(largest)[2:]))),), np.uint8)
    within = cv2.drawContours(np.zeros(mask.shape, np.uint8), [largest], -1, 1, cv2.FILLED)
    solid = cv2.morphologyEx(within, cv2.MORPH_OPEN, ticks)
    if (panel := _disc(solid)) and _is_more_than_a_zero(panel.own(mask)):
        return panel
    panel = _filled_by(solid)
    if panel and (_holds_a_digit(panel.own(mask)) or _is_line_around(panel, mask)):
        return panel
    around = cv2.findNonZero(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, ticks))
    if around is None:
        return None
    panel = _filled_by(cv2.fillConvexPoly(np.zeros(mask.shape, np.uint8), cv2.convexHull(around), 1))
    return panel if panel and _is_crossed_by_a_digit(panel.own(mask)) else None


def _filled_by(solid: np.ndarray) -> Panel | None:
    """The panel that is all of what is 1; None if that is small, or no rectangle, or lies beside the page."""
    if solid.mean() < PANEL_SHARE or rim(solid).any():
        return None
    (x, y), (width, height), angle = cv2.minAreaRect(cv2.findNonZero(solid))
    quarters = round(angle / 90)
    width, height = (height, width) if quarters % 2 else (width, height)
    panel = Panel((x, y), (width + 1, height + 1), angle - 90 * quarters)  # it goes through the middles of pixels
    return panel if solid.sum() >= PANEL_STRAIGHT * math.prod(panel.size) else None


def _disc(solid: np.ndarray) -> Panel | None:
    """The square within the disc that is all of what is 1, as a digit on a badge has it; None if it is no disc."""
    x, y, width, height = cv2.boundingRect(solid)
    area = math.pi / 4 * width * height
    if solid.mean() < DISC_SHARE or rim(solid).any() or min(width, height) < DISC_ROUND * max(width, height):
        return None
    if not PANEL_STRAIGHT <= solid.sum() / area <= 1 / PANEL_STRAIGHT:
        return None
    outlines, _ = cv2.findContours(solid, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    away = np.linalg.norm((outlines[0][:, 0] - (x + (width - 1) / 2, y + (height - 1) / 2)), axis=1)
    if away.min() < DISC_ROUND * away.max():
        return None
    return Panel((x + width / 2, y + height / 2), (width / 2**0.5, height / 2**0.5), 0.0)


def _is_more_than_a_zero(own: np.ndarray) -> bool:
    """Whether what is not a disc's own may be a digit, and not the hole of a round 0, as broad as it is tall."""
    if not own.size or own.mean() < PANEL_FULL or own.all():
        return False
    height, width = (np.ptp(np.flatnonzero(~own.all(axis=axis))) + 1 for axis in (1, 0))
    return bool(not _is_hole(own) or min(height, width) < DISC_SLIT * max(height, width))


def _holds_a_digit(own: np.ndarray) -> bool:
    """Whether what is not the panel's own may be a digit, and not the hole of one: bool (height, width)."""
    share = own.mean() if own.size else 0.0
    return bool(share >= PANEL_CLEAR or (share >= PANEL_FULL and not _is_hole(own)))


def _is_crossed_by_a_digit(own: np.ndarray) -> bool:
    """Whether a digit of the page's colour reaches the panel's edge: one stroke, and no bay of a digit with corners, of
    which it has two, or one and a hole."""
    if not own.size or own.mean() < PANEL_FULL or rim(own).mean() < CROSSED_RIM or own.all() or _is_hole(own):
        return False
    _, _, stats, _ = cv2.connectedComponentsWithStats((~own).astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    return bool(areas.max() >= ONE_STROKE * areas.sum())


def _is_line_around(panel: Panel, mask: np.ndarray) -> bool:
    """Whether a panel of the page's colour has a thin line around it, as axes have, and something else within."""
    own, wide = panel.own(mask), panel.own(mask, inset=0)
    rings = range(2 + round(PANEL_RIM * min(panel.size)))
    line = (
        max(rim(wide[i : -i or None, i : -i or None]).mean() for i in rings) if min(wide.shape) > 2 * len(rings) else 0
    )
    return bool(line >= FRAME_RIM and own.any() and own.mean() < PANEL_FULL and rim(own).mean() < 1 - CROSSED_RIM)


def _is_hole(own: np.ndarray) -> bool:
    """Whether what is 0 fills its own box."""
    rows, columns = (np.flatnonzero(~own.all(axis=axis)) for axis in (1, 0))
    return bool(1 - own[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean() > HOLE)
