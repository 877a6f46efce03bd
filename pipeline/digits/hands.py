"""How do people write whose hands are rare in a data set? Digits drawn from strokes described here, as training images.

Few of MNIST's American writers wrote a 1 with an upstroke, crossed a 7, left a 4 open or looped a 9. The forms below
are drawn narrow or wide, upright or slanted, unsteady, with pens from a hairline to a brush, and some as a coarse
bitmap; in MNIST's framing, that is 20 pixels on the longer side and centred by mass.
"""

import cv2
import numpy as np

from pipeline.digits.image import CLASSES, SIDE

Stroke = list[tuple[float, float]]

EACH = 200  # images a digit that are drawn once and shared: the augmentation that follows makes new ones of them
BOX = 20  # pixels, the longer side
FINE = 8  # pixels that are drawn to one of the image
PENS = (1.6, 4.5)  # pixels, the thinnest and the boldest; framing brings pictures in between
BITMAPS = 0.3  # share that is a bitmap in black and white
COARSE = 0.8  # pixels of a bitmap to one of the image, as a digit of 16 pixels has
SHIFTS = 8  # bits of a pixel's fraction, of OpenCV


def arc(x: float, y: float, across: float, down: float, start: float, end: float) -> Stroke:
    """Of an ellipse about (x, y), from one angle to another, degrees clockwise from the right."""
    angles = np.deg2rad(np.linspace(start, end, max(4, round(abs(end - start) / 15))))
    return [(x + across * float(np.cos(angle)), y + down * float(np.sin(angle))) for angle in angles]


# For each digit the ways to write it, each a list of strokes; points (x, y) from the upper left (0, 0) to (1, 1).
FORMS: list[list[list[Stroke]]] = [
    [  # 0
        [arc(0.5, 0.5, 0.35, 0.5, -90, 270)],
        [arc(0.5, 0.5, 0.45, 0.5, -60, 300)],
        [arc(0.5, 0.5, 0.3, 0.5, -110, 235)],
    ],
    [  # 1: a bar; with an upstroke, short or from far below; on a foot
        [[(0.5, 0), (0.5, 1)]],
        [[(0.35, 0.2), (0.55, 0), (0.55, 1)]],
        [[(0.2, 0.36), (0.55, 0), (0.55, 1)]],
        [[(0.08, 0.55), (0.55, 0), (0.55, 1)]],
        [[(0.2, 0.3), (0.5, 0), (0.5, 1)], [(0.2, 1), (0.8, 1)]],
        [[(0.1, 0.45), (0.55, 0), (0.5, 1)], [(0.15, 1), (0.9, 1)]],
    ],
    [  # 2: with a straight foot, and with a loop before it
        [[*arc(0.5, 0.28, 0.38, 0.28, -165, 40), (0.1, 1), (0.9, 1)]],
        [[*arc(0.5, 0.27, 0.36, 0.27, -170, 45), (0.4, 0.78), *arc(0.25, 0.88, 0.15, 0.1, -30, -290), (0.95, 0.97)]],
        [[(0.1, 0.1), *arc(0.5, 0.26, 0.38, 0.26, -100, 50), (0.15, 0.97), (0.9, 1)]],
    ],
    [  # 3: round, and with a flat top
        [[*arc(0.45, 0.25, 0.38, 0.25, -155, 95), *arc(0.42, 0.75, 0.42, 0.25, -90, 155)]],
        [[(0.1, 0), (0.82, 0), (0.4, 0.4), *arc(0.42, 0.7, 0.42, 0.3, -80, 150)]],
    ],
    [  # 4: open, its strokes leaning or upright; closed in one stroke; closed in two
        [[(0.25, 0), (0.1, 0.6), (0.92, 0.6)], [(0.65, 0.25), (0.62, 1)]],
        [[(0.15, 0), (0.15, 0.5), (0.85, 0.5)], [(0.8, 0), (0.8, 1)]],
        [[(0.3, 0), (0.08, 0.62), (0.95, 0.58)], [(0.75, 0.05), (0.55, 1)]],
        [[(0.7, 1), (0.7, 0), (0.05, 0.68), (0.95, 0.68)]],
        [[(0.6, 0), (0.05, 0.65), (0.95, 0.65)], [(0.6, 0.3), (0.6, 1)]],
    ],
    [  # 5: in one stroke, and with its bar apart
        [[(0.85, 0), (0.2, 0), (0.15, 0.42), *arc(0.42, 0.68, 0.42, 0.32, -115, 145)]],
        [[(0.2, 0.03), (0.16, 0.42), *arc(0.42, 0.68, 0.42, 0.32, -115, 150)], [(0.28, 0), (0.95, -0.02)]],
    ],
    [  # 6
        [[(0.72, 0), (0.3, 0.35), *arc(0.5, 0.7, 0.38, 0.3, 180, -170)]],
        [[(0.3, 0), (0.14, 0.6), *arc(0.5, 0.73, 0.36, 0.27, 180, -165)]],
    ],
    [  # 7: plain, crossed, begun with a short downstroke, and both
        [[(0.1, 0), (0.9, 0), (0.4, 1)]],
        [[(0.1, 0), (0.9, 0), (0.4, 1)], [(0.28, 0.5), (0.88, 0.46)]],
        [[(0.08, 0.2), (0.1, 0), (0.88, 0), (0.5, 1)]],
        [[(0.08, 0.18), (0.12, 0.02), (0.9, 0), (0.45, 1)], [(0.3, 0.52), (0.9, 0.48)]],
        [[(0.1, 0.02), (0.9, 0), (0.62, 0.4), (0.55, 1)], [(0.3, 0.5), (0.85, 0.5)]],
        [[(0.12, 0.35), (0.12, 0), (0.85, 0), (0.75, 1)]],
    ],
    [  # 8: two rings, and in one stroke
        [arc(0.5, 0.25, 0.3, 0.25, 90, 450), arc(0.5, 0.74, 0.38, 0.26, -90, 270)],
        [[*arc(0.5, 0.25, 0.33, 0.25, -30, -265), *arc(0.5, 0.75, 0.38, 0.25, -80, 250), (0.8, 0.14)]],
    ],
    [  # 9: on a straight stem; with a tail that curls; with a small loop; its ring not quite closed
        [[*arc(0.46, 0.28, 0.36, 0.28, 0, -360), (0.8, 1)]],
        [[*arc(0.46, 0.27, 0.36, 0.27, 0, -360), (0.82, 0.65), *arc(0.44, 0.74, 0.38, 0.26, 10, 145)]],
        [[*arc(0.5, 0.2, 0.27, 0.2, -10, -365), (0.74, 0.6), (0.5, 1)]],
        [[*arc(0.46, 0.27, 0.36, 0.27, -35, -330), (0.8, 0.1), (0.74, 1)]],
    ],
]


class Hands:
    """Images of each digit, drawn once from ``rng``: uint8 (10, EACH, 28, 28)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.images = np.stack([[draw(digit, rng) for _ in range(EACH)] for digit in range(CLASSES)])

    def among(self, images: np.ndarray, labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
        """The images, uint8 (N, 28, 28), about ``share`` of them replaced by another hand's of the same label."""
        replaced = np.flatnonzero(rng.random(len(images)) < share)
        mixed = np.array(images)
        mixed[replaced] = self.images[labels[replaced], rng.integers(EACH, size=len(replaced))]
        return mixed


def draw(digit: int, rng: np.random.Generator) -> np.ndarray:
    """One writing of a digit: uint8 (28, 28)."""
    forms = FORMS[digit]
    return write(forms[rng.integers(len(forms))], rng)


def write(form: list[Stroke], rng: np.random.Generator) -> np.ndarray:
    """One writing of a form's strokes by any hand and pen: uint8 (28, 28)."""
    bent = _unsteady([np.array(stroke, np.float32) for stroke in form], rng)
    pen = float(np.exp(rng.uniform(*np.log(PENS))))
    points = np.concatenate(bent)
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    scale = (BOX - pen) * FINE / max(float(extent.max()), 1e-6)
    offset = (SIDE * FINE - scale * extent) / 2 - scale * low
    canvas = np.zeros((SIDE * FINE, SIDE * FINE), np.uint8)
    for stroke in bent:
        fixed = np.round((scale * stroke + offset) * (1 << SHIFTS)).astype(np.int32)
        cv2.polylines(canvas, [fixed], False, 255, round(pen * FINE), cv2.LINE_8, SHIFTS)
    return _framed(canvas, rng)


def _framed(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What is drawn on a canvas of FINE times the pixels, centred by mass; now and then as a bitmap: uint8 (28, 28)."""
    moments = cv2.moments(canvas)
    centre = np.array([moments["m10"], moments["m01"]]) / moments["m00"]
    shift = np.clip(np.round(SIDE * FINE / 2 - centre), -(SIDE - BOX) * FINE // 2, (SIDE - BOX) * FINE // 2)
    canvas = np.roll(canvas, shift.astype(int)[::-1], (0, 1))
    if rng.random() < BITMAPS:
        side = round(COARSE * SIDE)
        levels = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)
        _, bitmap = cv2.threshold(levels, 127, 255, cv2.THRESH_BINARY)
        return cv2.resize(bitmap, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return cv2.resize(canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _unsteady(strokes: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """The strokes, narrower or slanted, in waves, and each a little out of place."""
    width, slant, (wave, length, phase) = rng.uniform(0.55, 1.0), rng.uniform(-0.25, 0.35), rng.uniform(0, 1, 3)
    bent = []
    for stroke in strokes:
        along = np.linspace(0, 1, 8)[:-1, None, None]  # a straight piece bends too
        dense = np.concatenate([*(stroke[:-1] + along * np.diff(stroke, axis=0)).swapaxes(0, 1), stroke[-1:]])
        x, y = (dense + rng.normal(0, 0.02, 2)).T
        x = x + 0.05 * wave * np.sin(2 * np.pi * (y * (0.5 + length) + phase))
        bent.append(np.stack([width * x - slant * y, y + 0.03 * wave * np.sin(2 * np.pi * (x + phase))], axis=1))
    return bent
