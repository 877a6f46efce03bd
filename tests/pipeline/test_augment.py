import numpy as np
import pytest

from pipeline import augment, features
from pipeline.params import Augment

STILL = Augment(shift=0, rotate=0, zoom=0)


def bar() -> np.ndarray:
    """100 upright bars, 4 wide and 16 high, in the middle: uint8 (100, 28, 28)."""
    images = np.zeros((100, 28, 28), np.uint8)
    images[:, 6:22, 12:16] = 255
    return images


def moved(bands: Augment, seed: int = 0) -> np.ndarray:
    return augment.affine(bar(), bands, np.random.default_rng(seed))


def test_no_bands_change_nothing():
    np.testing.assert_array_equal(moved(STILL), bar())


@pytest.mark.parametrize(
    ("bands", "column", "middle", "reach"),
    [
        (Augment(shift=3, rotate=0, zoom=0), "centroid_x", 13.5, 3),
        (Augment(shift=3, rotate=0, zoom=0), "centroid_y", 13.5, 3),
        (Augment(shift=0, rotate=12, zoom=0), "slant", 0, 12),
        (Augment(shift=0, rotate=0, zoom=0.2), "box_height", 16, 3.2),
    ],
)
def test_each_band_moves_its_own_number_both_ways_and_no_further(
    bands: Augment, column: str, middle: float, reach: float
):
    values = features.describe(moved(bands))[column]
    tolerance = 1.0 if column == "box_height" else 0.6  # boxes are whole pixels; warping blurs moments a little
    assert values.min() >= middle - reach - tolerance and values.max() <= middle + reach + tolerance
    assert values.min() < middle - reach / 2 and values.max() > middle + reach / 2


def test_the_draws_depend_on_the_generator_alone():
    bands = Augment(shift=2, rotate=10, zoom=0.1)
    np.testing.assert_array_equal(moved(bands, seed=5), moved(bands, seed=5))
    assert (moved(bands, seed=5) != moved(bands, seed=6)).any()
