import numpy as np
import pytest

from pipeline.digits import features, hands


@pytest.fixture(scope="module")
def drawn() -> hands.Hands:
    return hands.Hands(np.random.default_rng(0))


def test_every_digit_is_framed_as_mnists_are(drawn: hands.Hands):
    assert drawn.images.shape == (10, hands.EACH, 28, 28) and drawn.images.dtype == np.uint8
    seen = features.describe(drawn.images.reshape(-1, 28, 28))
    longer = np.maximum(seen["box_width"], seen["box_height"])
    assert longer.between(18, 24).all() and longer.mean() == pytest.approx(20.5, abs=1)
    assert seen[["centroid_x", "centroid_y"]].sub(13.5).abs().max().max() < 2
    assert seen["stroke_width"].between(1.3, 6).all()
    assert (seen["border_ink"] < 10).all()


def test_a_digit_is_written_in_several_ways(drawn: hands.Hands):
    for images in drawn.images:
        assert len(np.unique(images.reshape(hands.EACH, -1), axis=0)) == hands.EACH
    holes = 1 - features.describe(drawn.images[4])["euler_number"]
    assert (holes <= 0).mean() > 0.3 and (holes >= 1).mean() > 0.2  # open and closed 4s


def test_a_share_of_the_images_is_another_hand_s_of_the_same_label(drawn: hands.Hands):
    rng, labels = np.random.default_rng(1), np.arange(1000) % 10
    blank = np.zeros((1000, 28, 28), np.uint8)
    mixed = drawn.among(blank, labels, 0.2, rng)
    replaced = mixed.any(axis=(1, 2))
    assert 0.15 < replaced.mean() < 0.25 and not blank.any()
    for image, label in zip(mixed[replaced], labels[replaced], strict=True):
        assert (drawn.images[label] == image).all(axis=(1, 2)).any()


def test_the_same_seed_draws_the_same_images():
    one, other = (hands.draw(7, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, other)
