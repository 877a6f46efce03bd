import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from pipeline.digits import features
from pipeline.digits.features import FEATURES


def described(image: np.ndarray) -> dict[str, float]:
    return features.describe(image[None]).iloc[0].to_dict()


def blank() -> np.ndarray:
    return np.zeros((28, 28), np.uint8)


def bar(width: int = 4, left: int = 12) -> np.ndarray:
    """An upright bar, 16 high."""
    image = blank()
    image[6:22, left : left + width] = 255
    return image


def ring(image: np.ndarray, centre: tuple[int, int], radius: int) -> np.ndarray:
    return cv2.circle(image, centre, radius, 255, 2)


def test_a_bars_numbers_are_those_of_the_bar():
    facts = described(bar())
    assert list(facts) == list(FEATURES)
    assert facts["mean"] == pytest.approx(255 * 64 / 784)
    assert facts["contrast"] == pytest.approx(255 * np.sqrt(64 / 784 * (1 - 64 / 784)))
    assert facts["ink_share"] == pytest.approx(64 / 784)
    assert (facts["centroid_x"], facts["centroid_y"]) == pytest.approx((13.5, 13.5))
    assert (facts["box_width"], facts["box_height"]) == (4, 16)
    assert facts["border_ink"] == 0 and facts["euler_number"] == 1
    assert facts["slant"] == pytest.approx(0, abs=1e-3)
    assert facts["elongation"] == pytest.approx(4, rel=0.01)  # 16 by 4


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
def test_the_stroke_width_is_the_bars(width: int):
    assert described(bar(width))["stroke_width"] == pytest.approx(width, rel=0.27)


def test_a_wider_stroke_is_always_wider():
    widths = [described(bar(width))["stroke_width"] for width in range(1, 8)]
    assert widths == sorted(widths)


@pytest.mark.parametrize("degrees", [-30, -10, 15, 40])
def test_the_slant_is_the_angle_the_bar_was_sheared_by(degrees: int):
    shear = np.tan(np.radians(degrees))
    matrix = np.array([[1, -shear, 13.5 * shear], [0, 1, 0]])
    assert described(cv2.warpAffine(bar(), matrix, (28, 28)))["slant"] == pytest.approx(degrees, abs=1.5)


@pytest.mark.parametrize("step", [-5, 3])
def test_a_shift_moves_the_centroid_and_nothing_else(step: int):
    before, after = described(bar()), described(np.roll(bar(), (step, 2 * step), axis=(0, 1)))
    assert after.pop("centroid_x") == pytest.approx(before.pop("centroid_x") + 2 * step, abs=1e-3)
    assert after.pop("centroid_y") == pytest.approx(before.pop("centroid_y") + step, abs=1e-3)
    assert after == pytest.approx(before, abs=1e-2)


@pytest.mark.parametrize(
    ("image", "number"),
    [
        (blank(), 0),
        (bar(), 1),
        (ring(blank(), (14, 14), 6), 0),
        (ring(ring(blank(), (14, 8), 5), (14, 18), 5), -1),
        (np.maximum(bar(3, 5), bar(3, 20)), 2),
    ],
)
def test_the_euler_number_is_strokes_minus_holes(image: np.ndarray, number: int):
    assert described(image)["euler_number"] == number


def test_inverted_polarity_shows_at_the_rim():
    assert described(255 - bar())["border_ink"] == 255


def test_a_blank_image_has_defined_numbers():
    facts = described(blank())
    assert (facts.pop("centroid_x"), facts.pop("centroid_y"), facts.pop("elongation")) == (13.5, 13.5, 1)
    assert set(facts.values()) == {0}


def test_chunks_give_the_same_as_the_whole(monkeypatch: pytest.MonkeyPatch):
    images = np.random.default_rng(0).integers(0, 256, (25, 28, 28), dtype=np.uint8)
    whole = features.describe(images)
    monkeypatch.setattr(features, "CHUNK", 10)
    np.testing.assert_array_equal(features.describe(images), whole)
    assert features.describe(images[:0]).shape == (0, len(FEATURES))


@settings(max_examples=100)
@given(arrays(np.uint8, (2, 28, 28)))
def test_every_number_is_finite_whatever_the_image(images: np.ndarray):
    assert np.isfinite(features.describe(images)).all(axis=None)
