"""What becomes of a batch of pictures before it is learnt from? Moved, turned, zoomed, sheared, flipped, recoloured."""

import cv2
import numpy as np

from pipeline.base.form import Form
from pipeline.base.params import Augment
from pipeline.base.stored import Images

GRAIN = 40.0  # grey levels: the standard deviation of the worst noise


def ignored(bands: Augment, form: Form) -> list[str]:
    return bands.given("elastic", "stroke", "clutter", "hands", "non_digits")


class Changes:
    """Within the bands of a recipe's ``augment``; those that are of ink on paper say nothing here."""

    def __init__(self, images: Images, bands: Augment, form: Form, batch_size: int, seed: int) -> None:
        self.bands, self.shape = bands, form.shape

    def __call__(
        self, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Change each image by its own draws from ``rng``: uint8 (N, *shape) → the same. What comes in from outside is
        the rim's colour, reflected."""
        height, width = self.shape[:2]
        changed = np.empty_like(images)
        for image, matrix, out in zip(images, self._matrices(len(images), rng), changed, strict=True):
            cv2.warpAffine(
                image,
                matrix,
                (width, height),
                dst=out,
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REFLECT_101,
            )
        if self.bands.colour:
            changed = self._recoloured(changed, rng)
        if self.bands.paper:
            self._made_grainy(changed, rng)
        return changed, labels

    def _matrices(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Where each pixel of the changed image comes from: float32 (N, 2, 3), about the centre."""
        bands = self.bands
        angles = np.deg2rad(rng.uniform(-bands.rotate, bands.rotate, count))
        scales = rng.uniform(1 - bands.zoom, 1 + bands.zoom, count)
        shears = rng.uniform(-bands.shear, bands.shear, count)
        sides = np.where(rng.random(count) < 0.5, -1, 1) if bands.flip else np.ones(count)
        cos, sin = np.cos(angles), np.sin(angles)
        linear = np.array([[cos * sides, sin + shears], [-sin * sides, cos]]).transpose(2, 0, 1)
        linear = linear / scales[:, None, None]
        centre = (np.array([self.shape[1], self.shape[0]]) - 1) / 2
        offsets = centre - linear @ centre - rng.uniform(-bands.shift, bands.shift, (count, 2))
        return np.concatenate([linear, offsets[:, :, None]], axis=2).astype(np.float32)

    def _made_grainy(self, images: np.ndarray, rng: np.random.Generator) -> None:
        """Put noise on about so many of the images as ``paper`` says, in place."""
        draws, strengths = rng.random(len(images)), rng.random(len(images))
        for index in np.flatnonzero(draws < self.bands.paper):
            noise = GRAIN * strengths[index] * rng.standard_normal(images.shape[1:], np.float32)
            images[index] = np.rint((images[index] + noise).clip(0, 255))

    def _recoloured(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Brighter or darker, with more contrast or less, and each colour for itself."""
        band, one = self.bands.colour, (len(images), *[1] * (images.ndim - 1))
        means = images.mean(axis=tuple(range(1, images.ndim)), keepdims=True, dtype=np.float32)
        contrast = 1 + rng.uniform(-band, band, one).astype(np.float32)
        level = 255 * rng.uniform(-band, band, one).astype(np.float32) / 2
        gains = 1 + rng.uniform(-band, band, (len(images), 1, 1, *images.shape[3:])).astype(np.float32)
        return np.rint((((images - means) * contrast + means + level) * gains).clip(0, 255)).astype(np.uint8)
