"""Do the numbers of a picture say what their names say?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp
from own_images import scene

from pipeline.plain import features


def measured(image: np.ndarray) -> dict[str, float]:
    return dict(zip(features.FEATURES, features.measure(image[None])[0].tolist(), strict=True))


def halves(left: tuple[int, ...], right: tuple[int, ...]) -> np.ndarray:
    image = np.empty((32, 32, 3), np.uint8)
    image[:, :16], image[:, 16:] = left, right
    return image


def test_the_numbers_of_two_halves():
    found = measured(halves((0, 0, 0), (255, 255, 255)))
    assert found["brightness"] == found["red"] == found["blue"] == pytest.approx(127.5)
    assert found["contrast"] == pytest.approx(127.5) and found["saturation"] == 0
    assert found["edges"] == pytest.approx(32 / (2 * 32 * 31)) and found["entropy"] == pytest.approx(1)
    assert found["centre"] == pytest.approx(0)


def test_colour_is_seen():
    found = measured(halves((200, 0, 0), (200, 0, 0)))
    assert (found["red"], found["green"], found["saturation"]) == (200, 0, 200)
    assert (found["contrast"], found["entropy"], found["edges"], found["sharpness"]) == (0, 0, 0, 0)


def test_a_blurred_picture_is_less_sharp():
    import cv2

    sharp = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    blurred = cv2.GaussianBlur(sharp, (0, 0), 2)
    assert measured(sharp)["sharpness"] > measured(blurred)["sharpness"] + 1
    assert measured(sharp)["edges"] > measured(blurred)["edges"]


def test_grey_has_the_numbers_of_the_same_in_colour():
    grey = scene(1)[..., 0]
    assert measured(grey) == pytest.approx(measured(np.repeat(grey[..., None], 3, axis=2)))


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=8, max_side=20).map(lambda s: (2, *s))))
def test_all_are_finite_for_any_image(images: np.ndarray):
    assert np.isfinite(features.measure(images)).all()


def test_no_images_have_no_rows():
    assert features.measure(np.empty((0, 8, 8, 3), np.uint8)).shape == (0, len(features.FEATURES))


def test_slices_are_of_the_features():
    assert {feature for _, feature, _ in features.SLICES} <= set(features.FEATURES)
