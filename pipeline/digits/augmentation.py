"""How is a training image changed? New strokes from old ones, within the bands of a recipe's ``augment``.

An image is moved, turned, zoomed and sheared, bent a little, some are drawn with a bolder or a thinner pen, and some
lie on grainy or hazy paper, or under what else a pen left there: what other hands, pens, framings and scanners do to
the same digit.
"""

import cv2
import numpy as np

from pipeline.base.params import Augment
from pipeline.digits.image import SIDE

CENTRE = (SIDE - 1) / 2
FIELDS = 256  # displacement fields that the images share: drawing one takes as long as ten warps
SMOOTHNESS = 4.0  # pixels: the standard deviation of the Gaussian that makes a field out of noise
PEN = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
GRAIN = 50.0  # grey levels: the standard deviation of the noise on the worst grainy paper
HAZE = 150.0  # grey levels that the worst haze adds where it is thickest
FADED = 0.3  # of the ink under the worst haze
FINE = 4  # pixels that clutter is drawn on to one of the image
MOST_BLOTS = 5


class Augmentation:
    """The bands, with the displacement fields drawn once from ``rng``."""

    def __init__(self, bands: Augment, rng: np.random.Generator) -> None:
        self.bands = bands
        needed = bands.elastic or bands.paper
        self.fields = _displacements(rng) if needed else np.empty((0, 2, SIDE, SIDE), np.float32)

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change each image by its own draws from ``rng``: uint8 (N, 28, 28) → the same.

        One warp an image with linear interpolation; what comes in from outside is paper (0).
        """
        if self.bands == Augment():
            return images
        changed = self._warped(images, _matrices(len(images), self.bands, rng), rng)
        if self.bands.stroke:
            _redraw(changed, self.bands.stroke, rng)
        if self.bands.paper:
            _soil(changed, self.bands.paper, self.fields, rng)
        if self.bands.clutter:
            _clutter(changed, self.bands.clutter, rng)
        return changed

    def _warped(self, images: np.ndarray, matrices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        moved = np.empty_like(images)
        if not self.bands.elastic:
            for image, matrix, out in zip(images, matrices, moved, strict=True):
                cv2.warpAffine(image, matrix, (SIDE, SIDE), dst=out, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
            return moved
        rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
        places = np.stack([columns, rows, np.ones_like(rows)]).reshape(3, -1)
        chosen = self.fields[rng.integers(FIELDS, size=len(images))]
        strengths = rng.uniform(0, self.bands.elastic, len(images)).astype(np.float32)
        for image, matrix, field, strength, out in zip(images, matrices, chosen, strengths, moved, strict=True):
            x, y = (matrix @ places).reshape(2, SIDE, SIDE) + strength * field
            cv2.remap(image, x, y, cv2.INTER_LINEAR, dst=out)
        return moved


def _matrices(count: int, bands: Augment, rng: np.random.Generator) -> np.ndarray:
    """Where each pixel of the changed image comes from: float32 (N, 2, 3), about the centre."""
    angles = np.deg2rad(rng.uniform(-bands.rotate, bands.rotate, count))
    scales = rng.uniform(1 - bands.zoom, 1 + bands.zoom, count)
    shifts = rng.uniform(-bands.shift, bands.shift, (count, 2))
    shears = rng.uniform(-bands.shear, bands.shear, count)
    cos, sin = np.cos(angles), np.sin(angles)
    linear = np.array([[cos, sin + shears], [-sin, cos]]).transpose(2, 0, 1) / scales[:, None, None]
    offsets = CENTRE - linear @ np.array([CENTRE, CENTRE]) - shifts
    return np.concatenate([linear, offsets[:, :, None]], axis=2).astype(np.float32)


def _displacements(rng: np.random.Generator) -> np.ndarray:
    """Smooth random fields of standard deviation 1 pixel: float32 (FIELDS, 2, 28, 28).

    Simard, Steinkraus and Platt 2003, "Best Practices for Convolutional Neural Networks Applied to Visual Document
    Analysis", section 2.
    """
    noise = rng.uniform(-1, 1, (FIELDS, 2, SIDE, SIDE)).astype(np.float32)
    smooth = np.stack([[cv2.GaussianBlur(axis, (0, 0), SMOOTHNESS) for axis in field] for field in noise])
    return smooth / smooth.std(axis=(2, 3), keepdims=True)


def _redraw(images: np.ndarray, share: float, rng: np.random.Generator) -> None:
    """Draw about ``share`` of the images anew in place, half of them with a bolder pen and half with a thinner one."""
    draws, strengths = rng.random(len(images)), rng.random(len(images))
    for index in np.flatnonzero(draws < share):
        drawn = (cv2.dilate if draws[index] < share / 2 else cv2.erode)(images[index], PEN)
        images[index] = cv2.addWeighted(drawn, strengths[index], images[index], 1 - strengths[index], 0)


def _soil(images: np.ndarray, share: float, fields: np.ndarray, rng: np.random.Generator) -> None:
    """Put about ``share`` of the images on other paper in place, half of them on grainy and half under a haze."""
    draws, strengths = rng.random(len(images)), rng.random(len(images))
    for index in np.flatnonzero(draws < share):
        if draws[index] < share / 2:
            soiled = images[index] + GRAIN * strengths[index] * rng.standard_normal((SIDE, SIDE))
        else:
            field = fields[rng.integers(FIELDS), 0]
            haze = HAZE * (field - field.min()) / np.ptp(field)
            soiled = images[index] * (1 - FADED * strengths[index]) + strengths[index] * haze
        images[index] = np.clip(np.rint(soiled), 0, 255)


def _clutter(images: np.ndarray, share: float, rng: np.random.Generator) -> None:
    """Lay something over about ``share`` of the images in place: half of them get a line from side to side, bent or
    broken now and then, as those of a form or of a pen that slipped; half get blots."""
    for index in np.flatnonzero(rng.random(len(images)) < share):
        canvas = np.zeros((SIDE * FINE, SIDE * FINE), np.uint8)
        (_line if rng.random() < 0.5 else _blots)(canvas, rng)
        over = cv2.resize(canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        images[index] = np.maximum(images[index], np.rint(rng.uniform(0.5, 1.0) * over).astype(np.uint8))


def _line(canvas: np.ndarray, rng: np.random.Generator) -> None:
    """From one side to the other through a third point, half a pixel to two wide."""
    side, along = len(canvas), np.linspace(0, 1, 24)
    begin, middle, end = rng.uniform(0.1, 0.9, 3) * side
    bend = rng.choice([0.0, 1.0]) * (middle - (begin + end) / 2)
    points = np.stack([along * side, begin + (end - begin) * along + 4 * bend * along * (1 - along)], axis=1)
    points = np.rint(points[:, ::-1] if rng.random() < 0.5 else points).astype(np.int32)
    width, broken = int(rng.integers(FINE // 2, 2 * FINE + 1)), rng.random() < 0.3
    pieces = points.reshape(-1, 3, 2) if broken else points[None]
    cv2.polylines(canvas, list(pieces), False, 255, width, cv2.LINE_AA)


def _blots(canvas: np.ndarray, rng: np.random.Generator) -> None:
    """One to MOST_BLOTS, half a pixel to two and a half across."""
    for _ in range(rng.integers(1, MOST_BLOTS + 1)):
        x, y = rng.integers(0, len(canvas), 2).tolist()
        width, height = rng.integers(FINE // 4, FINE + FINE // 4 + 1, 2).tolist()
        cv2.ellipse(canvas, (x, y), (width, height), float(rng.uniform(0, 180)), 0, 360, 255, -1, cv2.LINE_AA)
