"""How does any picture become an image of a given size? Whole, in its own light, and turned as its EXIF data says.

It is scaled to fit, with its aspect kept; what is left over has the picture's mean colour.
"""

from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

from pipeline.base import pictures

OVERSIZE = 2  # times the image's side: no larger is a JPEG decoded, or another picture kept
AVERAGED = ("L", "LA", "RGB", "RGBA", "CMYK")  # modes whose pixels can be averaged


def frame(
    source: Path | BinaryIO,
    name: str,
    shape: tuple[int, ...],
    limits: pictures.Limits = pictures.LIMITS,
) -> np.ndarray:
    """The picture as uint8 ``shape``; :class:`pipeline.base.errors.BadInput`, naming it by ``name``, if it cannot be
    read."""
    mode, side = "RGB" if len(shape) == 3 else "L", OVERSIZE * max(shape[:2])
    pixels = pictures.decode(source, name, lambda image: _pixels(_smaller(image, side), mode), side, limits)
    height, width = pixels.shape[:2]
    if pixels.shape == shape:
        return pixels
    scale = min(shape[0] / height, shape[1] / width)
    size = (max(1, min(round(width * scale), shape[1])), max(1, min(round(height * scale), shape[0])))
    resized = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    if resized.shape == shape:
        return resized
    image = np.empty(shape, np.uint8)
    image[:] = np.rint(resized.mean(axis=(0, 1)))
    top, left = (shape[0] - size[1]) // 2, (shape[1] - size[0]) // 2
    image[top : top + size[1], left : left + size[0]] = resized
    return image


def _smaller(image: Image.Image, side: int) -> Image.Image:
    """A far larger picture by whole pixels, before it is copied several times over."""
    times = max(image.size) // side
    return image.reduce(times) if times > 1 and image.mode in AVERAGED else image


def _pixels(image: Image.Image, mode: str) -> np.ndarray:
    """uint8 (height, width) or (height, width, 3); what is transparent lies on white."""
    if grey := pictures.grey_levels(image):
        values, white = grey
        image = Image.fromarray(np.rint(values * np.float32(255 / white)).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return np.asarray(image.convert(mode))
