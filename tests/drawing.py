"""Digits drawn as a person with a mouse would: strokes on a page of any size, colour and width."""

import cv2
import numpy as np

STROKES = {  # points from 0 to 1, x then y
    1: [[(0.4, 0.2), (0.55, 0.0), (0.55, 1.0)]],
    4: [[(0.6, 1.0), (0.6, 0.0), (0.1, 0.65), (0.9, 0.65)]],
    5: [[(0.85, 0.0), (0.2, 0.0)], [(0.2, 0.12), (0.2, 0.45), (0.7, 0.45), (0.85, 0.7), (0.6, 1.0), (0.15, 0.95)]],
    7: [[(0.1, 0.0), (0.9, 0.0), (0.4, 1.0)]],
}
PAPER, INK = (255, 255, 255), (0, 0, 0)


def draw(
    digit: int,
    size: tuple[int, int] = (200, 200),
    at: tuple[float, float] = (60, 40),
    height: float = 110,
    width: int = 11,
    ink: tuple[int, int, int] = INK,
    paper: tuple[int, int, int] = PAPER,
) -> np.ndarray:
    """A page ``size`` (width, height) with a digit's box's corner ``at`` x, y: uint8 (height, width, 3)."""
    page = np.full((size[1], size[0], 3), paper, np.uint8)
    for stroke in STROKES[digit]:
        points = np.array([(at[0] + x * height * 0.7, at[1] + y * height) for x, y in stroke])
        fixed = np.round(points * 16).astype(np.int32)  # four bits of sub-pixel place
        cv2.polylines(page, [fixed], False, ink, width, cv2.LINE_AA, 4)
    return page


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference of a pixel, in grey levels, at the best shift of at most a pixel each way."""
    shifts = [np.roll(one, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return min(float(np.abs(shifted.astype(int) - other).mean()) for shifted in shifts)
