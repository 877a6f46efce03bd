"""What is drawn where a digit is expected, and is none? Images in MNIST's framing that a model learns to refuse.

Signs and letters that no digit looks like, dots, scribbles, digits that were crossed out, two digits in one picture,
textures. What could be a digit is left out: l and I are 1, O is 0, a steep line is 1.
"""

from collections.abc import Callable

import cv2
import numpy as np

from pipeline.digits import hands
from pipeline.digits.hands import BOX, FINE, Stroke, arc
from pipeline.digits.image import SIDE

COUNT = 6000  # are drawn once and shared: the augmentation that follows makes new ones of them
LETTERS = "AaCcdEeFfHhKkLMmNnPpRrTtUuVvWwXxYyZz&@#%?$*="
FACES = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)
LETTER_SIDE = 160  # pixels of the canvas that a letter is put on before it is distorted
MARGIN = (SIDE - BOX) // 2

# Points (x, y) from the upper left (0, 0) to (1, 1), as in hands.py.
SIGNS: list[list[Stroke]] = [
    [[(0, 0.5), (1, 0.5)], [(0.5, 0), (0.5, 1)]],  # +
    [[(0, 0.5), (1, 0.5)]],  # -
    [[(0, 0.5), (0.5, 0.45), (1, 0.52)]],  # - by an unsteady hand
    [[(0, 0.35), (1, 0.35)], [(0, 0.65), (1, 0.65)]],  # =
    [[(0, 0), (1, 1)], [(1, 0), (0, 1)]],  # x
    [[(0, 0), (0.6, 0.5), (1, 1)], [(0.9, 0), (0.4, 0.5), (0, 1)]],
    [[*arc(0.2, 0.5, 0.3, 0.5, -80, 80)], [*arc(0.8, 0.5, 0.3, 0.5, 260, 100)]],  # x of two arcs
    [[(0, 0), (0.45, 0.5)], [(1, 0), (0.1, 1)]],  # y
    [[(0, 0), (0.5, 0.5)], [(1, 0), (0.5, 0.5), (0.5, 1)]],
    [[(0, 0), *arc(0.35, 0.3, 0.35, 0.25, 180, 0), (0.75, 0)], [(0.75, 0), *arc(0.45, 0.8, 0.3, 0.2, 0, 170)]],
    [[(0, 0), (0.95, 0), (0.05, 1), (1, 1)]],  # z
    [[(0, 0), (0.95, 0), (0.05, 1), (1, 1)], [(0.2, 0.5), (0.8, 0.5)]],
    [[(0, 0.02), (0.9, 0), (0.05, 0.98), (0.95, 1)], [(0.25, 0.55), (0.7, 0.48)]],
    [[(0, 0.5), (1, 0.5)], arc(0.5, 0.1, 0.05, 0.05, 0, 360), arc(0.5, 0.9, 0.05, 0.05, 0, 360)],  # a division
    [arc(0.5, 0.05, 0.05, 0.05, 0, 360), arc(0.5, 0.95, 0.05, 0.05, 0, 360)],  # :
    [[(1, 0), (0, 0.5), (1, 1)]],  # <
    [[(0, 0), (1, 0.5), (0, 1)]],  # >
    [[(0, 1), (0.5, 0), (1, 1)]],  # ^
    [[(0, 0.6), (0.35, 1), (1, 0)]],  # a tick
    [[(0, 0.6), (0.2, 1), (0.4, 0), (1, 0)]],  # a root
    [[(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]],  # a box
    [[(0, 1), (0.5, 0), (1, 1), (0, 1)]],  # a triangle
    [[(0, 0.5), (1, 0.5)], [(0.6, 0.2), (1, 0.5), (0.6, 0.8)]],  # an arrow
    [[(0.5, 1), (0.5, 0)], [(0.2, 0.35), (0.5, 0), (0.8, 0.35)]],
    [[*arc(0.27, 0.3, 0.25, 0.28, 170, 350), *arc(0.75, 0.3, 0.25, 0.28, 190, 370), (0.5, 1), (0.03, 0.35)]],  # a heart
    [[(0.5, 0), (0.8, 1), (0, 0.4), (1, 0.4), (0.2, 1), (0.5, 0)]],  # a star
    [[(0, 0), (1, 0)], [(0.2, 0), (0.15, 1)], [(0.75, 0), (0.8, 1)]],  # pi
    [[(1, 0), (0, 0), (0.5, 0.5), (0, 1), (1, 1)]],  # a sum
    [[*arc(0.25, 0.5, 0.25, 0.3, 0, 360), *arc(0.75, 0.5, 0.25, 0.3, 180, 540)]],  # infinity
    [[(0, 0.4), *arc(0.25, 0.4, 0.25, 0.2, 180, 360), *arc(0.75, 0.4, 0.25, 0.2, 180, 0)]],  # a wave
    [[(0.3, 0), (0.2, 1)], [(0.8, 0), (0.7, 1)], [(0, 0.35), (1, 0.35)], [(0, 0.7), (0.95, 0.7)]],  # #
    [[(0.25, 0), (0.25, 0.3)], [(0.75, 0), (0.75, 0.3)]],  # "
]


class NonDigits:
    """Non-digits of every kind, drawn once from ``rng``, some of them made of ``digits``, uint8 (M, 28, 28)."""

    def __init__(self, digits: np.ndarray, rng: np.random.Generator, count: int = COUNT) -> None:
        kinds = rng.choice(len(KINDS), size=count, p=list(KINDS.values()))
        self.kinds = [list(KINDS)[kind].__name__.replace("_", " ") for kind in kinds]
        self.images = np.stack([list(KINDS)[kind](rng, digits) for kind in kinds])

    def by_kind(self, count: int) -> dict[str, np.ndarray]:
        """So many of each kind at most, uint8 (n, 28, 28)."""
        kinds = np.array(self.kinds)
        return {str(kind): self.images[kinds == kind][:count] for kind in np.unique(kinds)}

    def some(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """uint8 (count, 28, 28)"""
        return self.images[rng.integers(len(self.images), size=count)]


def sign(rng: np.random.Generator, _: np.ndarray) -> np.ndarray:
    return hands.write(SIGNS[rng.integers(len(SIGNS))], rng)


def letter(rng: np.random.Generator, _: np.ndarray) -> np.ndarray:
    """By one of OpenCV's pens, slanted, narrowed and bent."""
    canvas = np.zeros((LETTER_SIDE, LETTER_SIDE), np.uint8)
    face, text = FACES[rng.integers(len(FACES))], LETTERS[rng.integers(len(LETTERS))]
    cv2.putText(canvas, text, (40, 110), face, 3, 255, int(rng.integers(6, 18)))
    bend = np.array([[rng.uniform(0.6, 1.2), rng.uniform(-0.3, 0.4), 0], [rng.normal(0, 0.1), 1, 0]])
    bend[:, 2] = LETTER_SIDE / 2 - bend[:, :2] @ [70, 80]  # its middle stays in the middle
    return boxed(np.asarray(cv2.warpAffine(canvas, bend, canvas.shape)))


def dot(rng: np.random.Generator, _: np.ndarray) -> np.ndarray:
    """A point, a comma, a blot: full, whatever its form."""
    canvas = np.zeros((SIDE * FINE, SIDE * FINE), np.uint8)
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(9, 30)))
    radii = rng.uniform(rng.uniform(0.6, 1), 1, len(angles))
    axes = np.array([1, rng.uniform(0.6, 1)])
    outline = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None] * axes
    turn = rng.uniform(0, np.pi)
    outline = outline @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    cv2.fillPoly(canvas, [np.round(SIDE * FINE / 2 * (1 + outline)).astype(np.int32)], 255)
    return boxed(canvas)


def scribble(rng: np.random.Generator, _: np.ndarray) -> np.ndarray:
    """A pen that goes to and fro, in corners or in rounds."""
    points = rng.uniform(0, 1, (rng.integers(7, 16), 2))
    if rng.random() < 0.5:  # in rounds: a spline by corner cutting
        for _round in range(3):
            points = np.concatenate([0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]], 1)
            points = points.reshape(-1, 2)
    return hands.write([list(map(tuple, points))], rng)


def crossed_out(rng: np.random.Generator, digits: np.ndarray) -> np.ndarray:
    """A digit under several lines: a single one makes a seven or a zero of the kind that some write."""
    image = cv2.resize(digits[rng.integers(len(digits))], None, fx=FINE, fy=FINE, interpolation=cv2.INTER_LINEAR)
    for _ in range(rng.integers(2, 6)):
        ends = rng.uniform(0.05, 0.95, (2, 2))
        ends[:, 0] = [rng.uniform(0, 0.2), rng.uniform(0.8, 1)]
        first, last = (tuple(map(int, end * SIDE * FINE)) for end in ends)
        cv2.line(image, first, last, 255, int(rng.uniform(1.5, 3.5) * FINE))
    return boxed(image)


def several(rng: np.random.Generator, digits: np.ndarray) -> np.ndarray:
    """Two or three digits that touch, or nearly."""
    images = digits[rng.integers(len(digits), size=rng.integers(2, 4))]
    apart = int(rng.integers(10, 18))
    canvas = np.zeros((SIDE, SIDE + apart * (len(images) - 1)), np.uint8)
    for place, image in enumerate(images):
        part = canvas[:, place * apart : place * apart + SIDE]
        np.maximum(part, image, out=part)
    return boxed(cv2.resize(canvas, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR))


def texture(rng: np.random.Generator, _: np.ndarray) -> np.ndarray:
    """Noise of any grain, soft or in black and white, alone or in stripes; now and then nothing."""
    side = int(rng.integers(3, SIDE))
    shape = [(side, side), (1, side), (side, 1)][rng.integers(3)]
    coarse = rng.uniform(0, 255, shape).astype(np.float32)
    noise = cv2.resize(coarse, (SIDE, SIDE), interpolation=[cv2.INTER_CUBIC, cv2.INTER_NEAREST][rng.integers(2)])
    if rng.random() < 0.5:
        noise = np.where(noise > rng.uniform(60, 200), 255, 0)
    if rng.random() < 0.5:  # MNIST's frame of paper
        noise[:MARGIN] = noise[-MARGIN:] = 0
        noise[:, :MARGIN] = noise[:, -MARGIN:] = 0
    return noise.clip(0, 255).astype(np.uint8)


KINDS: dict[Callable[[np.random.Generator, np.ndarray], np.ndarray], float] = {
    sign: 0.35,
    letter: 0.25,
    dot: 0.08,
    scribble: 0.1,
    crossed_out: 0.08,
    several: 0.08,
    texture: 0.06,
}


def boxed(canvas: np.ndarray) -> np.ndarray:
    """What is drawn on a canvas of any size, in MNIST's box and centred by mass: uint8 (28, 28)."""
    x, y, width, height = cv2.boundingRect(canvas)
    drawn = canvas[y : y + height, x : x + width]
    scale = BOX / max(drawn.shape)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    drawn = cv2.resize(drawn, size, interpolation=cv2.INTER_AREA)
    moments = cv2.moments(drawn)
    centre = (moments["m10"] / moments["m00"], moments["m01"] / moments["m00"])
    left, top = (int(np.clip(round(SIDE / 2 - c), 0, SIDE - s)) for c, s in zip(centre, size, strict=True))
    image = np.zeros((SIDE, SIDE), np.uint8)
    image[top : top + size[1], left : left + size[0]] = drawn
    return image
