"""What does an image look like in numbers? One row of summary numbers an image, for validation, drift and slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.digits.image import SIDE

if TYPE_CHECKING:  # the service needs the numbers alone, and starts in half the time without
    import pandas as pd

NAMES = {  # of each feature, what people call it
    "mean": "grey level",  # mean, 0 = paper to 255 = ink
    "contrast": "contrast",  # standard deviation of the grey levels
    "ink_share": "share of ink",  # of the pixels: those that are not paper
    "border_ink": "ink at the border",  # mean grey level of the outermost rim; high where the polarity is inverted
    "centroid_x": "centre, from the left",  # pixels from the left edge, of the ink's mass
    "centroid_y": "centre, from the top",  # pixels from the top edge
    "box_width": "width",  # pixels, of the smallest box around all ink
    "box_height": "height",
    "slant": "slant",  # degrees from upright, leaning right is positive
    "elongation": "elongation",  # long over short axis of the ellipse with the ink's second moments, 1 = round
    "stroke_width": "width of the stroke",  # pixels
    "euler_number": "strokes less holes",  # separate ones: 1 for a 1, 0 for a 0, -1 for an 8
}
FEATURES = tuple(NAMES)
# Of FEATURES: up by one when one comes or goes. One that is computed otherwise gets a new name, so that what was kept
# under the old one is not compared with it.
VERSION = 1
# The tails of a test split on which a model may be weaker than its average tells: slice, feature, which tail.
SLICES = (
    ("thin strokes", "stroke_width", "low"),
    ("thick strokes", "stroke_width", "high"),
    ("slanted left", "slant", "low"),
    ("slanted right", "slant", "high"),
    ("narrow", "box_width", "low"),
    ("wide", "box_width", "high"),
    ("small", "box_area", "low"),
    ("little ink", "mean", "low"),
    ("much ink", "mean", "high"),
)
INK = 64  # grey level from which a pixel counts as ink: a quarter of full, as the antialiased rim of a stroke does
CHUNK = 256  # images at once: a chunk's float arrays stay in the processor's caches, which takes half the time of 4,096


def describe(images: np.ndarray) -> pd.DataFrame:
    """The FEATURES of each image, uint8 (N, 28, 28): a float64 frame of N rows."""
    import pandas as pd

    return pd.DataFrame(measure(images), columns=list(FEATURES))


def measure(images: np.ndarray) -> np.ndarray:
    """The FEATURES of each image, uint8 (N, 28, 28), a column each: float64 (N, 12).

    Every number is finite. A blank image has its centroid in the middle, no box, slant 0, elongation 1, stroke 0.
    """
    parts = [_measure(images[start : start + CHUNK]) for start in range(0, len(images), CHUNK)]
    return np.concatenate(parts) if parts else np.empty((0, len(FEATURES)))


def _measure(images: np.ndarray) -> np.ndarray:
    ink = images.astype(np.float32) / 255  # (N, 28, 28)
    dark = np.asarray(images) >= INK
    centroid_x, centroid_y, slant, elongation = _moments(ink)
    rim = np.ones((SIDE, SIDE), bool)
    rim[1:-1, 1:-1] = False
    columns = [
        255 * ink.mean(axis=(1, 2)),
        255 * ink.std(axis=(1, 2)),
        (images > 0).mean(axis=(1, 2)),
        images[:, rim].mean(axis=1),
        centroid_x,
        centroid_y,
        _extent(np.any(dark, axis=1)),
        _extent(np.any(dark, axis=2)),
        slant,
        elongation,
        _stroke_width(ink),
        _euler_number(dark),
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def _moments(ink: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Centroid x and y in pixels, slant in degrees, elongation, from the first and second moments of the ink.

    Slant is the shear that makes the digit upright, as for MNIST's deskewing (LeCun et al. 1998, section III.A).
    """
    # Sums, no matrix products: those of BLAS differ in the last bits with how many images there are.
    place = np.arange(SIDE, dtype=np.float32)
    across, down = ink.sum(axis=1), ink.sum(axis=2)  # (N, 28) mass of each column and row
    mass = across.sum(axis=1)
    blank = mass == 0
    mass = np.where(blank, 1, mass)
    x = np.where(blank, (SIDE - 1) / 2, (across * place).sum(axis=1) / mass)
    y = np.where(blank, (SIDE - 1) / 2, (down * place).sum(axis=1) / mass)
    xx = (across * place**2).sum(axis=1) / mass - x**2
    yy = (down * place**2).sum(axis=1) / mass - y**2
    xy = ((ink * place).sum(axis=2) * place).sum(axis=1) / mass - x * y
    xx, yy, xy = (np.where(blank, 0, moment) for moment in (xx, yy, xy))
    slant = np.degrees(np.arctan2(-xy, np.maximum(yy, 1e-3)))
    spread = np.hypot((xx - yy) / 2, xy)
    middle = np.maximum((xx + yy) / 2, spread)
    pixel = 1 / 12  # the variance of a pixel of width 1: keeps a one-pixel line's elongation finite
    return x, y, slant, np.sqrt((middle + spread + pixel) / (middle - spread + pixel))


def _extent(occupied: np.ndarray) -> np.ndarray:
    """From the first to the last occupied place, in pixels: bool (N, 28) → (N,); 0 where none is."""
    first = occupied.argmax(axis=1)
    last = SIDE - 1 - occupied[:, ::-1].argmax(axis=1)
    return np.where(occupied.any(axis=1), last - first + 1, 0)


def _stroke_width(ink: np.ndarray) -> np.ndarray:
    """Twice the area over the length of the outline, which for a long stroke is its width, in pixels.

    The outline's length is the total variation of the grey levels, so that antialiasing does not blur it.
    """
    padded = np.pad(ink, ((0, 0), (0, 1), (0, 1)))
    down, across = np.diff(padded, axis=1)[:, :, :-1], np.diff(padded, axis=2)[:, :-1]
    outline = np.sqrt(down**2 + across**2).sum(axis=(1, 2))
    return 2 * ink.sum(axis=(1, 2)) / np.maximum(outline, 1)


def _euler_number(dark: np.ndarray) -> np.ndarray:
    """Connected strokes (8-neighbourhood) minus holes, from counts of 2×2 patterns (S. B. Gray, 1971)."""
    padded = np.pad(dark, ((0, 0), (1, 1), (1, 1))).astype(np.int8)
    rows = padded[:, :-1] + 2 * padded[:, 1:]
    quads = rows[:, :, :-1] + 4 * rows[:, :, 1:]  # bits: upper left 1, lower left 2, upper right 4, lower right 8
    worth = np.zeros(16, np.int8)
    worth[[1, 2, 4, 8]] = 1  # one pixel of the four
    worth[[7, 11, 13, 14]] = -1  # three
    worth[[6, 9]] = -2  # two on a diagonal
    return worth[quads].sum(axis=(1, 2), dtype=np.int32) / 4


def derived(described: pd.DataFrame) -> pd.DataFrame:
    """With the column ``box_area``: the framing makes one side of most boxes equally long."""
    return described.assign(box_area=described["box_width"] * described["box_height"])
