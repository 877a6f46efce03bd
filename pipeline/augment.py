"""How is a training image moved, turned and zoomed? New strokes from old ones, within the bands of train.augment."""

import cv2
import numpy as np

from pipeline.params import Augment


def affine(images: np.ndarray, bands: Augment, rng: np.random.Generator) -> np.ndarray:
    """Shift, rotate and zoom each image about its centre by its own uniform draw: uint8 (N, H, W) → the same.

    One warp an image with linear interpolation; what comes in from outside is paper (0).
    """
    count, height, width = images.shape
    radians = np.deg2rad(rng.uniform(-bands.rotate, bands.rotate, (count,)))
    scales = rng.uniform(1 - bands.zoom, 1 + bands.zoom, (count,))
    shifts = rng.uniform(-bands.shift, bands.shift, (count, 2))
    matrices = _matrices(radians, scales, shifts, centre=((width - 1) / 2, (height - 1) / 2))
    moved = np.empty_like(images)
    for image, matrix, out in zip(images, matrices, moved, strict=True):
        cv2.warpAffine(image, matrix, (width, height), dst=out, flags=cv2.INTER_LINEAR)
    return moved


def _matrices(radians: np.ndarray, scales: np.ndarray, shifts: np.ndarray, centre: tuple[float, float]) -> np.ndarray:
    """The 2×3 matrices that turn and zoom about ``centre`` and then shift: float64 (N, 2, 3)."""
    linear = np.empty((len(radians), 2, 2))
    linear[:, 0, 0] = linear[:, 1, 1] = scales * np.cos(radians)
    linear[:, 0, 1] = scales * np.sin(radians)
    linear[:, 1, 0] = -linear[:, 0, 1]
    offsets = np.asarray(centre) - linear @ np.asarray(centre) + shifts
    return np.concatenate([linear, offsets[:, :, None]], axis=2)
