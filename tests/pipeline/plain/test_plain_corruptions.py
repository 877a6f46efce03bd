"""Does each corruption of pictures give images of the same shape, which are other ones, and the same for a seed?"""

import numpy as np
import pytest
from own_images import scene

from pipeline.plain import corruptions

COLOUR = np.stack([scene(seed, 32, 24) for seed in range(6)])
GREY = COLOUR[..., 1]


@pytest.mark.parametrize("images", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("name", corruptions.CORRUPTIONS)
def test_a_corruption_changes_pictures_and_keeps_their_shape(name: str, images: np.ndarray):
    before = images.copy()
    changed = corruptions.CORRUPTIONS[name](images, np.random.default_rng(0), 1.0)
    assert changed.shape == images.shape and changed.dtype == np.uint8
    assert (changed != images).any(axis=tuple(range(1, images.ndim))).all(), "each of them"
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("images", [GREY, COLOUR, GREY[:0], COLOUR[:1, :8, :8]])
@pytest.mark.parametrize("strength", [0.2, 1.0, 2.0])
def test_each_repeats(images: np.ndarray, strength: float):
    for name, corrupt in corruptions.CORRUPTIONS.items():
        first, second = (corrupt(images, np.random.default_rng(3), strength) for _ in range(2))
        assert first.shape == images.shape and first.dtype == np.uint8, name
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", ["noise", "blur", "contrast", "darkness", "covered", "pixelate", "rotate"])
def test_more_strength_is_further_away(name: str):
    def distance(strength: float) -> float:
        changed = corruptions.CORRUPTIONS[name](COLOUR, np.random.default_rng(0), strength)
        return float(np.abs(changed.astype(int) - COLOUR).mean())

    assert distance(0.3) < distance(1.0) < distance(1.8)
