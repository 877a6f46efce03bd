import numpy as np
import pytest

from pipeline.base.params import Augment
from pipeline.digits import augmentation, features

STILL = Augment()
EVERY = Augment(shift=2, rotate=10, zoom=0.1, shear=0.1, elastic=1, stroke=0.5, paper=0.5, clutter=0.5)


def bar() -> np.ndarray:
    """100 upright bars, 4 wide and 16 high, in the middle: uint8 (100, 28, 28)."""
    images = np.zeros((100, 28, 28), np.uint8)
    images[:, 6:22, 12:16] = 255
    return images


def moved(bands: Augment, seed: int = 0) -> np.ndarray:
    return augmentation.Augmentation(bands, np.random.default_rng(0))(bar(), np.random.default_rng(seed))


def test_no_bands_change_nothing():
    np.testing.assert_array_equal(moved(STILL), bar())


@pytest.mark.parametrize(
    ("bands", "column", "middle", "reach"),
    [
        (Augment(shift=3), "centroid_x", 13.5, 3),
        (Augment(shift=3), "centroid_y", 13.5, 3),
        (Augment(rotate=12), "slant", 0, 12),
        (Augment(shear=0.2), "slant", 0, 11.3),
        (Augment(zoom=0.2), "box_height", 16, 3.2),
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
    np.testing.assert_array_equal(moved(EVERY, seed=5), moved(EVERY, seed=5))
    assert (moved(EVERY, seed=5) != moved(EVERY, seed=6)).any()


def test_no_bands_but_a_warp_change_next_to_nothing():
    nearly_still = Augment(shift=1e-6, elastic=1e-6)
    assert np.abs(moved(nearly_still).astype(int) - bar()).max() <= 8  # OpenCV interpolates in 1/32 of a pixel


def test_elastic_bends_and_leaves_the_place():
    described = features.describe(moved(Augment(elastic=1.5)))
    assert (moved(Augment(elastic=1.5)) != bar()).any(axis=(1, 2)).mean() > 0.9
    assert abs(described["centroid_x"].mean() - 13.5) < 0.3 and described["centroid_x"].std() < 1.5


def test_stroke_draws_its_share_bolder_and_thinner():
    ink = features.describe(moved(Augment(stroke=0.5)))["mean"]
    still = features.describe(bar())["mean"].iloc[0]
    assert 15 <= (ink > still).sum() <= 35 and 15 <= (ink < still).sum() <= 35 and (ink == still).sum() >= 35


def test_paper_is_grainy_under_a_quarter_and_hazy_under_a_quarter():
    changed = moved(Augment(paper=0.5)).astype(int)
    paper = np.ones((28, 28), bool)
    paper[5:23, 11:17] = False
    neighbours = np.abs(np.diff(changed, axis=2))[:, :4].mean(axis=(1, 2))
    darker = changed[:, paper].mean(axis=1)
    assert 35 <= (darker > 0).sum() <= 65
    grainy = (darker > 0) & (neighbours > 0.3 * darker)
    hazy = (darker > 0) & (neighbours < 0.15 * darker)
    assert 15 <= grainy.sum() <= 35 and 15 <= hazy.sum() <= 35
    assert (changed[:, 13, 13] >= 255 * 0.5).all()  # the ink is still there


def test_clutter_lays_lines_over_a_quarter_and_blots_over_a_quarter_and_takes_no_ink_away():
    changed = moved(Augment(clutter=0.5)).astype(int)
    added = changed - bar()
    assert (added >= 0).all()
    touched = [(image > 0).any(axis=axis).sum() for image in added for axis in (0, 1)]  # columns and rows
    reach = np.array(touched).reshape(-1, 2).max(axis=1)
    assert 35 <= (reach > 0).sum() <= 65
    assert 10 <= (reach >= 20).sum() <= 40  # from side to side, where the bar does not hide it
    assert (added > 0).mean(axis=(1, 2)).max() < 0.3
