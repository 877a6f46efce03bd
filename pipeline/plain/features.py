"""What does a picture look like in numbers? One row of summary numbers an image, for drift and slices."""

from typing import Any

import cv2
import numpy as np

NAMES = {  # of each feature, what people call it
    "brightness": "brightness",  # mean grey level, 0 to 255
    "contrast": "contrast",  # standard deviation of the grey levels
    "red": "red",  # mean level
    "green": "green",
    "blue": "blue",
    "saturation": "strength of colour",  # mean of the largest colour less the smallest, 0 to 255; 0 in grey
    "sharpness": "sharpness",  # natural logarithm of the variance of the Laplacian: low where a picture is blurred
    "edges": "share of edges",  # of the pixels: those whose grey level changes by EDGE or more to a neighbour's
    "entropy": "variety of grey levels",  # their entropy, bits
    "centre": "brightness of the middle",  # mean grey level of the middle quarter less that of all
}
FEATURES = tuple(NAMES)
VERSION = 1  # as in pipeline/digits/features.py
# The tails of a test split on which a model may be weaker than its average tells: slice, feature, which tail.
SLICES = (
    ("dark", "brightness", "low"),
    ("bright", "brightness", "high"),
    ("little contrast", "contrast", "low"),
    ("blurred", "sharpness", "low"),
    ("many edges", "edges", "high"),
    ("few edges", "edges", "low"),
    ("pale", "saturation", "low"),
    ("colourful", "saturation", "high"),
)
EDGE = 32  # grey levels
LEVELS = 32  # that are told apart for the entropy


def measure(images: np.ndarray) -> np.ndarray:
    """The FEATURES of each image, uint8 (N, height, width) or (N, height, width, 3): float64 (N, 10), all finite."""
    return np.array([_measure(np.asarray(image)) for image in images], np.float64).reshape(-1, len(FEATURES))


def _measure(image: np.ndarray) -> list[float]:
    colours = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    levels = grey.astype(np.float32)
    across, down = np.abs(np.diff(levels, axis=1)), np.abs(np.diff(levels, axis=0))
    edges = ((across >= EDGE).sum() + (down >= EDGE).sum()) / (across.size + down.size)
    shares = np.bincount(grey.ravel() // (256 // LEVELS), minlength=LEVELS) / grey.size
    height, width = grey.shape
    middle = levels[height // 4 : height - height // 4, width // 4 : width - width // 4]
    return [
        float(levels.mean()),
        float(levels.std()),
        *colours.mean(axis=(0, 1)).tolist(),
        float((colours.max(axis=2) - colours.min(axis=2)).mean()),
        float(np.log1p(cv2.Laplacian(levels, cv2.CV_32F).var())),
        float(edges),
        float(-(shares[shares > 0] * np.log2(shares[shares > 0])).sum()),
        float(middle.mean() - levels.mean()),
    ]


def derived(described: Any) -> Any:
    """SLICES name nothing beside the FEATURES."""
    return described
