"""What may happen to a picture on its way to the model? Fourteen corruptions, as functions on arrays.

Most kinds stand in ImageNet-C (Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations"); the generators are our own. Each takes images uint8 (N, height, width) or (N, height,
width, 3), a random generator and a strength, of which 1 is moderate, and gives new images of the same shape.
"""

from collections.abc import Callable

import cv2
import numpy as np

Corruption = Callable[[np.ndarray, np.random.Generator, float], np.ndarray]


def noise(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    return _clipped(images + rng.normal(0, 20 * strength, images.shape).astype(np.float32))


def impulse(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Single values at either end."""
    hit = rng.random(images.shape) < 0.03 * strength
    return np.where(hit, 255 * (rng.random(images.shape) < 0.5), images).astype(np.uint8)


def blur(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    sigma = 0.025 * strength * _side(images)
    return _each(images, lambda image: cv2.GaussianBlur(image, (0, 0), sigma))


def motion(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """A camera that moved across."""
    length = max(2, round(0.12 * strength * _side(images)))
    return _each(images, lambda image: cv2.blur(image, (length, 1)))


def brightness(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    return _clipped(images + np.float32(50 * strength))


def darkness(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    return _clipped(images * np.float32(1 - 0.5 * min(strength, 1.8)))


def contrast(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    means = images.mean(axis=tuple(range(1, images.ndim)), keepdims=True, dtype=np.float32)
    return _clipped(means + (images - means) * (1 - 0.5 * min(strength, 1.8)))


def fog(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Light patches over the whole picture."""
    height, width = images.shape[1:3]

    def fogged(image: np.ndarray) -> np.ndarray:
        patches = cv2.resize(rng.random((4, 4), np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        patches = patches.reshape(height, width, *[1] * (image.ndim - 2))
        return _clipped(image * (1 - 0.25 * strength) + 110 * strength * patches)

    return _each(images, fogged)


def cast(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Light of a colour; of a grey picture a change of brightness."""
    shape = (len(images), 1, 1, *images.shape[3:])
    return _clipped(images * (1 + 0.25 * strength * rng.uniform(-1, 1, shape)).astype(np.float32))


def pixelate(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    height, width = images.shape[1:3]
    small = (max(2, round(width / (1 + strength))), max(2, round(height / (1 + strength))))

    def coarse(image: np.ndarray) -> np.ndarray:
        less = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        return cv2.resize(less, (width, height), interpolation=cv2.INTER_NEAREST)

    return _each(images, coarse)


def jpeg(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    quality = [cv2.IMWRITE_JPEG_QUALITY, max(1, round(30 - 15 * strength))]

    def packed(image: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_UNCHANGED))

    return _each(images, packed)


def shift(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    y, x = 0.1 * strength * _side(images) * rng.choice([-1, 1], 2)
    return _warped(images, np.array([[1, 0, x], [0, 1, y]]))


def rotate(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    centre = ((images.shape[2] - 1) / 2, (images.shape[1] - 1) / 2)
    return _warped(images, cv2.getRotationMatrix2D(centre, 15 * strength * rng.choice([-1, 1]), 1))


def covered(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """A grey square somewhere on each."""
    changed = images.copy()
    height, width = images.shape[1:3]
    side = min(round(0.3 * strength * min(height, width)), min(height, width))
    for image in changed:
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        image[top : top + side, left : left + side] = 128
    return changed


CORRUPTIONS: dict[str, Corruption] = {
    one.__name__: one
    for one in (
        *(noise, impulse, blur, motion, brightness, darkness, contrast),
        *(fog, cast, pixelate, jpeg, shift, rotate, covered),
    )
}


def _side(images: np.ndarray) -> int:
    return min(images.shape[1:3])


def _each(images: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.stack([change(image) for image in images]) if len(images) else images


def _warped(images: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    size = (images.shape[2], images.shape[1])
    return _each(images, lambda image: cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REPLICATE))


def _clipped(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)
