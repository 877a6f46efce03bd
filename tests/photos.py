"""Pictures of handwritten digits as people make them: drawn with a mouse, in a paint program, or photographed on paper.

Every picture is rendered from strokes by a seed: several hands a digit, any size, place, pen and colour, and for the
photos uneven light, shadows, ruled lines, grain and JPEG. What is drawn is known, so what is read can be counted.
"""

from collections.abc import Callable
from io import BytesIO

import cv2
import numpy as np
from PIL import Image

# Hands: for each digit some ways to write it, each a list of strokes, each a list of points (x, y) from 0 to 1.
HANDS: dict[int, list[list[list[tuple[float, float]]]]] = {
    0: [
        [[(0.55, 0.0), (0.2, 0.15), (0.08, 0.5), (0.2, 0.88), (0.5, 1.0), (0.8, 0.85), (0.92, 0.5), (0.8, 0.12), (0.52, 0.01)]],
        [[(0.7, 0.05), (0.35, 0.05), (0.1, 0.4), (0.15, 0.8), (0.45, 1.0), (0.8, 0.8), (0.88, 0.35), (0.65, 0.03)]],
        [[(0.5, 0.02), (0.28, 0.12), (0.2, 0.5), (0.3, 0.9), (0.5, 0.99), (0.72, 0.88), (0.8, 0.5), (0.7, 0.1), (0.45, 0.0)]],
    ],
    1: [
        [[(0.5, 0.0), (0.5, 0.35), (0.5, 0.7), (0.5, 1.0)]],
        [[(0.3, 0.22), (0.45, 0.1), (0.56, 0.0)], [(0.56, 0.0), (0.55, 0.5), (0.55, 1.0)]],
        [[(0.62, 0.0), (0.54, 0.5), (0.44, 1.0)]],
    ],
    2: [
        [[(0.15, 0.22), (0.3, 0.04), (0.6, 0.0), (0.82, 0.18), (0.75, 0.42), (0.45, 0.7), (0.12, 0.98)], [(0.12, 0.98), (0.5, 0.97), (0.92, 0.96)]],
        [[(0.18, 0.2), (0.4, 0.02), (0.75, 0.1), (0.78, 0.35), (0.5, 0.68), (0.15, 0.9), (0.22, 1.0), (0.4, 0.9), (0.6, 0.97), (0.95, 0.95)]],
        [[(0.1, 0.15), (0.4, 0.0), (0.8, 0.05), (0.85, 0.3), (0.6, 0.6), (0.1, 1.0)], [(0.1, 1.0), (0.9, 1.0)]],
    ],
    3: [
        [[(0.15, 0.12), (0.45, 0.0), (0.78, 0.12), (0.72, 0.36), (0.42, 0.47)], [(0.42, 0.47), (0.8, 0.58), (0.85, 0.82), (0.5, 1.0), (0.12, 0.88)]],
        [[(0.2, 0.05), (0.6, 0.0), (0.8, 0.2), (0.65, 0.42), (0.4, 0.48), (0.7, 0.55), (0.85, 0.75), (0.65, 0.97), (0.15, 0.95)]],
        [[(0.1, 0.2), (0.35, 0.02), (0.7, 0.05), (0.75, 0.3), (0.45, 0.45)], [(0.45, 0.45), (0.8, 0.55), (0.8, 0.85), (0.45, 1.0), (0.1, 0.82)]],
    ],
    4: [
        [[(0.6, 0.0), (0.35, 0.35), (0.08, 0.65)], [(0.08, 0.65), (0.5, 0.65), (0.95, 0.64)], [(0.68, 0.32), (0.67, 0.65), (0.66, 1.0)]],
        [[(0.2, 0.05), (0.16, 0.3), (0.2, 0.52)], [(0.2, 0.52), (0.5, 0.55), (0.82, 0.5)], [(0.8, 0.02), (0.78, 0.5), (0.75, 1.0)]],
        [[(0.72, 0.0), (0.4, 0.3), (0.05, 0.66)], [(0.05, 0.66), (0.9, 0.62)], [(0.72, 0.0), (0.7, 0.5), (0.68, 1.0)]],
    ],
    5: [
        [[(0.85, 0.02), (0.5, 0.02), (0.25, 0.03)], [(0.25, 0.03), (0.22, 0.25), (0.2, 0.43)], [(0.2, 0.43), (0.5, 0.36), (0.82, 0.5), (0.85, 0.78), (0.55, 1.0), (0.12, 0.92)]],
        [[(0.8, 0.0), (0.3, 0.05)], [(0.3, 0.05), (0.22, 0.42)], [(0.22, 0.42), (0.6, 0.4), (0.8, 0.62), (0.7, 0.9), (0.4, 1.0), (0.1, 0.9)]],
    ],
    6: [
        [[(0.72, 0.0), (0.4, 0.18), (0.18, 0.5), (0.18, 0.82), (0.42, 1.0), (0.75, 0.92), (0.8, 0.68), (0.55, 0.53), (0.25, 0.65)]],
        [[(0.6, 0.0), (0.3, 0.3), (0.15, 0.7), (0.35, 0.98), (0.68, 0.95), (0.8, 0.72), (0.6, 0.55), (0.32, 0.6), (0.18, 0.75)]],
    ],
    7: [
        [[(0.08, 0.03), (0.5, 0.02), (0.9, 0.02)], [(0.9, 0.02), (0.65, 0.45), (0.42, 1.0)]],
        [[(0.1, 0.05), (0.85, 0.0)], [(0.85, 0.0), (0.6, 0.5), (0.45, 1.0)], [(0.38, 0.5), (0.82, 0.47)]],
        [[(0.15, 0.0), (0.85, 0.03)], [(0.85, 0.03), (0.7, 0.3), (0.55, 0.6), (0.5, 1.0)]],
    ],
    8: [
        [[(0.75, 0.12), (0.45, 0.0), (0.2, 0.18), (0.45, 0.45), (0.8, 0.7), (0.7, 0.95), (0.4, 1.0), (0.18, 0.82), (0.4, 0.52), (0.75, 0.28), (0.76, 0.12)]],
        [[(0.5, 0.0), (0.22, 0.15), (0.3, 0.4), (0.5, 0.48), (0.74, 0.35), (0.75, 0.12), (0.5, 0.0)], [(0.5, 0.48), (0.2, 0.65), (0.22, 0.92), (0.5, 1.0), (0.8, 0.9), (0.8, 0.65), (0.5, 0.48)]],
    ],
    9: [
        [[(0.8, 0.2), (0.55, 0.0), (0.22, 0.12), (0.2, 0.4), (0.5, 0.5), (0.78, 0.3), (0.8, 0.18)], [(0.8, 0.18), (0.76, 0.6), (0.68, 1.0)]],
        [[(0.75, 0.1), (0.4, 0.02), (0.18, 0.25), (0.35, 0.48), (0.65, 0.42), (0.8, 0.12)], [(0.8, 0.12), (0.78, 0.55), (0.6, 0.9), (0.3, 0.98)]],
    ],
}  # fmt: skip


def smooth(points: np.ndarray) -> np.ndarray:
    """A Catmull-Rom spline through the points, so that a stroke bends as a hand does: float (n, 2) → (m, 2)."""
    if len(points) < 3:
        return points
    padded = np.concatenate([points[:1], points, points[-1:]])
    along = np.linspace(0, 1, 9)[:, None]
    parts = []
    for before, start, end, after in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        parts.append(
            0.5
            * (
                2 * start
                + (end - before) * along
                + (2 * before - 5 * start + 4 * end - after) * along**2
                + (3 * start - before - 3 * end + after) * along**3
            )
        )
    return np.concatenate(parts)


def strokes(digit: int, rng: np.random.Generator) -> list[np.ndarray]:
    """One writing of a digit: a hand, unsteady, slanted, narrow or wide; the box is about 0 to 1."""
    hand = HANDS[digit][rng.integers(len(HANDS[digit]))]
    angle, slant = np.deg2rad(rng.uniform(-8, 8)), rng.uniform(-0.2, 0.25)
    width = rng.uniform(0.6, 0.9)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ [[width, -slant], [0, 1]]
    jitter = rng.normal(0, 0.015, 2)
    return [
        smooth((np.array(stroke) + rng.normal(0, 0.012, (len(stroke), 2)) - 0.5) @ turn.T + 0.5 + jitter)
        for stroke in hand
    ]


def drawn(digit: int, rng: np.random.Generator, side: int, height: float, pen: float) -> np.ndarray:
    """Where ink lies on a square sheet: float (side, side), 0 to 1. ``height`` and ``pen`` are shares of side and height."""
    tall = height * side
    room = max(side - 1.15 * tall, 0) / 2
    middle = side / 2 + rng.uniform(-room, room, 2) * 0.9
    sheet = np.zeros((side, side), np.uint8)
    for stroke in strokes(digit, rng):
        places = np.round((middle + (stroke - 0.5) * tall) * 16).astype(np.int32)
        cv2.polylines(sheet, [places], False, 255, max(1, round(pen * tall)), cv2.LINE_AA, 4)
    return sheet / 255


def coloured(ink: np.ndarray, pen: np.ndarray, paper: np.ndarray) -> np.ndarray:
    """Ink of one colour on paper of another (or a picture of it): float (side, side, 3), 0 to 255."""
    return paper + ink[:, :, None] * (pen - paper)


def saved(pixels: np.ndarray, kind: str = "PNG", **options: int) -> bytes:
    file = BytesIO()
    Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)).save(file, kind, **options)
    return file.getvalue()


WHITE, BLACK = np.full(3, 255.0), np.zeros(3)


def mouse(digit: int, rng: np.random.Generator) -> bytes:
    return saved(coloured(drawn(digit, rng, 280, rng.uniform(0.5, 0.85), rng.uniform(0.04, 0.1)), BLACK, WHITE))


def light_on_dark(digit: int, rng: np.random.Generator) -> bytes:
    ink = drawn(digit, rng, 300, rng.uniform(0.4, 0.8), rng.uniform(0.05, 0.12))
    return saved(coloured(ink, rng.uniform(200, 255, 3), rng.uniform(0, 50, 3)))


def thin(digit: int, rng: np.random.Generator) -> bytes:
    return saved(coloured(drawn(digit, rng, 600, rng.uniform(0.5, 0.85), 0.004), BLACK, WHITE))


def bold(digit: int, rng: np.random.Generator) -> bytes:
    return saved(coloured(drawn(digit, rng, 300, rng.uniform(0.5, 0.75), rng.uniform(0.14, 0.2)), BLACK, WHITE))


def faint(digit: int, rng: np.random.Generator) -> bytes:
    ink = drawn(digit, rng, 300, rng.uniform(0.5, 0.8), rng.uniform(0.04, 0.09))
    grey = rng.uniform(205, 232)
    return saved(coloured(ink, np.full(3, grey), WHITE))


def tiny(digit: int, rng: np.random.Generator) -> bytes:
    return saved(coloured(drawn(digit, rng, 400, rng.uniform(0.05, 0.12), rng.uniform(0.06, 0.1)), BLACK, WHITE))


def colours(digit: int, rng: np.random.Generator) -> bytes:
    ink = drawn(digit, rng, 320, rng.uniform(0.4, 0.8), rng.uniform(0.04, 0.12))
    while True:
        pen, paper = rng.uniform(0, 255, (2, 3))
        if np.linalg.norm(pen - paper) > 90:
            return saved(coloured(ink, pen, paper), "JPEG", quality=80)


def photo(digit: int, rng: np.random.Generator) -> bytes:
    """A pen on paper: uneven light, perhaps a shadow's edge, perhaps ruled or squared, grain, blur and JPEG."""
    side = int(rng.integers(700, 1100))
    ink = drawn(digit, rng, side, rng.uniform(0.25, 0.6), rng.uniform(0.025, 0.07))
    paper = np.tile(rng.uniform(205, 250, 3), (side, side, 1)) * rng.uniform(0.97, 1.0)
    _rule(paper, rng)
    pen = np.array([(30, 35, 60), (25, 45, 130), (60, 60, 62), (150, 35, 40)][rng.integers(4)], float)
    pixels = coloured(ink * rng.uniform(0.8, 1.0), pen, paper)
    y, x = np.mgrid[:side, :side] / side - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    across = x * np.cos(angle) + y * np.sin(angle)
    light = 1 - rng.uniform(0.1, 0.5) * (across + 0.7) / 1.4 - rng.uniform(0, 0.3) * (x**2 + y**2)
    if rng.random() < 0.5:  # the shadow of a hand or a phone
        light *= 1 - rng.uniform(0.15, 0.4) / (1 + np.exp(-(across - rng.uniform(-0.25, 0.25)) * rng.uniform(15, 80)))
    pixels = cv2.GaussianBlur(pixels * light[:, :, None], (0, 0), rng.uniform(0.6, 2.0))
    pixels += rng.normal(0, rng.uniform(2, 7), (side, side, 1)) + rng.normal(0, 2, (side, side, 3))
    return saved(pixels, "JPEG", quality=int(rng.integers(35, 85)))


def _rule(paper: np.ndarray, rng: np.random.Generator) -> None:
    """Draw nothing, lines or squares on the paper, at a slight angle."""
    kind, side = rng.integers(3), len(paper)
    if kind == 0:
        return
    gap, colour = side / rng.uniform(8, 22), rng.uniform(0.62, 0.85) * np.array([0.85, 0.95, 1.1]) * 235
    tilt = np.tan(np.deg2rad(rng.uniform(-4, 4))) * side
    for place in np.arange(rng.uniform(0, gap), side, gap):
        cv2.line(
            paper, (0, round(place)), (side, round(place + tilt)), colour.tolist(), max(1, side // 400), cv2.LINE_AA
        )
        if kind == 2:
            cv2.line(
                paper, (round(place), 0), (round(place - tilt), side), colour.tolist(), max(1, side // 400), cv2.LINE_AA
            )


KINDS: dict[str, Callable[[int, np.random.Generator], bytes]] = {
    one.__name__: one for one in (mouse, light_on_dark, thin, bold, faint, tiny, colours, photo)
}


def pictures(kind: str, count: int, seed: int) -> list[tuple[int, bytes]]:
    """``count`` pictures of one kind, the digits in turn: the digit and the file's bytes."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    return [(number % 10, KINDS[kind](number % 10, rng)) for number in range(count)]
