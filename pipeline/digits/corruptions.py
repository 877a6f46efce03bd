"""What may happen to a digit on its way to the model? Fifteen corruptions and an inversion, as functions on arrays.

Most kinds stand in MNIST-C (Mu and Gilmer 2019, "MNIST-C: A Robustness Benchmark for Computer Vision"); plain blur and
noise, contrast, and thick and thin pens are added. The generators are our own. Each takes images uint8 (N, 28, 28), a
random generator and a strength, of which 1 is moderate (a person still reads nearly every digit), and gives new images
of the same shape.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from pipeline.digits.image import SIDE

Corruption = Callable[[np.ndarray, np.random.Generator, float], np.ndarray]
CENTRE = (SIDE - 1) / 2
LINE_POINTS = 84  # samples along a drawn line: three a pixel


def _warped(images: np.ndarray, matrix: np.ndarray, offset: np.ndarray | None = None) -> np.ndarray:
    """Every image through one affine map about its centre; ``matrix`` (2, 2) leads from new to old places (y, x)."""
    shift = np.array([CENTRE, CENTRE]) - matrix @ np.array([CENTRE, CENTRE]) + (0 if offset is None else offset)
    whole = np.eye(3)
    whole[1:, 1:] = matrix
    return ndimage.affine_transform(images, whole, np.array([0.0, *shift]), order=1)


def _either_way(
    images: np.ndarray, rng: np.random.Generator, one: Callable[[np.ndarray, int], np.ndarray]
) -> np.ndarray:
    """``one`` with sign +1 on about half of the images and -1 on the others."""
    changed, up = np.empty_like(images), rng.random(len(images)) < 0.5
    changed[up], changed[~up] = one(images[up], 1), one(images[~up], -1)
    return changed


def shift(images: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Three pixels each way in one diagonal direction, the same for all: a camera or a form out of place."""
    y, x = 3 * strength * rng.choice([-1, 1], 2)
    return _warped(images, np.eye(2), np.array([y, x]))


def rotate(images: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    angle = np.deg2rad(25 * strength)
    cos, sin = np.cos(angle), np.sin(angle)
    return _either_way(images, rng, lambda part, sign: _warped(part, np.array([[cos, sign * sin], [-sign * sin, cos]])))


def shear(images: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    by = 0.4 * strength
    return _either_way(images, rng, lambda part, sign: _warped(part, np.array([[1, 0], [sign * by, 1]])))


def scale(images: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    return _warped(images, np.eye(2) * (1 + 0.5 * strength))


def blur(images: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    return ndimage.gaussian_filter(images, (0, 1.2 * strength, 1.2 * strength))


def noise(images: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    return _clipped(images + rng.normal(0, 40 * strength, images.shape).astype(np.float32))


def impulse(images: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Single pixels all black or all white."""
    hit = rng.random(images.shape) < 0.06 * strength
    return np.where(hit, 255 * (rng.random(images.shape) < 0.5), images).astype(np.uint8)


def brightness(images: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    return _clipped(images + 60 * strength)


def contrast(images: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    means = images.mean(axis=(1, 2), keepdims=True)
    return _clipped(means + (images - means) * (1 - 0.6 * min(strength, 1.5)))


def fog(images: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Light patches over the whole image, of several sizes."""
    drawn = rng.random(images.shape)
    patches = sum(ndimage.gaussian_filter(drawn, (0, size, size), mode="wrap") * size for size in (1.5, 3, 6))
    low, high = patches.min(axis=(1, 2), keepdims=True), patches.max(axis=(1, 2), keepdims=True)
    return _clipped(images * (1 - 0.3 * strength) + 120 * strength * (patches - low) / (high - low))


def dotted_line(images: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """A dashed line from one side to the other."""
    along = np.linspace(0, SIDE - 1, LINE_POINTS)
    starts, ends = rng.uniform(4, SIDE - 5, (2, len(images), 1))
    across = starts + (ends - starts) * along / (SIDE - 1)
    on = (np.arange(LINE_POINTS) // 6) % 2 == 0
    return _drawn(images, across[:, on], np.broadcast_to(along[on], (len(images), on.sum())), strength, rng)


def zigzag(images: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """A jagged line from one side to the other."""
    along = np.linspace(0, SIDE - 1, LINE_POINTS)
    teeth = 5 * (2 * np.abs((along / 6 + rng.random((len(images), 1))) % 1 - 0.5) - 0.5)
    across = rng.uniform(7, SIDE - 8, (len(images), 1)) + teeth
    return _drawn(images, across, np.broadcast_to(along, across.shape), strength, rng)


def spatter(images: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Drops of ink."""
    field = ndimage.gaussian_filter(rng.normal(size=images.shape), (0, 1.3, 1.3), mode="wrap")
    least = np.quantile(field, 1 - 0.07 * strength, axis=(1, 2), keepdims=True)
    return np.where(field > least, np.maximum(images, 200), images).astype(np.uint8)


def thick(images: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    return _mixed(images, ndimage.grey_dilation(images, (1, 3, 3)), strength)


def thin(images: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    return _mixed(images, ndimage.grey_erosion(images, (1, 2, 2)), strength)


def inverted(images: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Light ink on dark paper taken for dark on light; ``strength`` says nothing here."""
    return 255 - images


CORRUPTIONS: dict[str, Corruption] = {
    one.__name__: one
    for one in (
        *(shift, rotate, shear, scale, blur, noise, impulse, brightness, contrast, fog),
        *(dotted_line, zigzag, spatter, thick, thin, inverted),
    )
}


def _clipped(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def _mixed(images: np.ndarray, changed: np.ndarray, strength: float) -> np.ndarray:
    return _clipped(images + (changed.astype(np.float32) - images) * min(strength, 1.0))


def _drawn(
    images: np.ndarray, across: np.ndarray, along: np.ndarray, strength: float, rng: np.random.Generator
) -> np.ndarray:
    """Ink at the places (N, points), lying for half of the images and standing for the others, a pixel wide."""
    changed = images.copy()
    first, second = (np.rint(np.clip(places, 0, SIDE - 1)).astype(int) for places in (across, along))
    standing = (rng.random(len(images)) < 0.5)[:, None]
    rows, columns = np.where(standing, second, first), np.where(standing, first, second)
    changed[np.arange(len(images))[:, None], rows, columns] = min(round(220 * strength), 255)
    return changed
