import numpy as np

from pipeline.data import near_copies

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (200, 28, 28), np.uint8)


def test_what_was_saved_again_is_nearly_the_same_and_other_images_are_not():
    noise = RNG.integers(-3, 4, IMAGES.shape)
    again = np.clip(IMAGES.astype(int) + noise, 0, 255).astype(np.uint8)
    assert near_copies.find(again[:50], IMAGES[50:]).sum() == 0
    assert near_copies.find(again, IMAGES).all() and near_copies.find(IMAGES, IMAGES).all()
    lighter = np.clip(IMAGES.astype(int) + 1, 0, 255).astype(np.uint8)
    assert near_copies.find(lighter, IMAGES).all()


def test_the_distance_is_over_all_pixels_and_not_of_the_blocks_means():
    one, other = np.zeros((2, 1, 28, 28), np.uint8)
    one[0, ::2, ::2] = other[0, 1::2, 1::2] = 40  # alike in their blocks' means, far apart
    assert not near_copies.find(one, other).any()


def test_only_what_was_there_before_counts():
    came, others = np.array([0, 1, 2]), np.array([1, 1, 1])
    found = near_copies.find(IMAGES[:3], IMAGES[:3], since=(came, others))
    assert found.tolist() == [False, False, True]


def test_nothing_has_no_copies():
    assert near_copies.find(IMAGES[:0], IMAGES).shape == (0,)
    assert not near_copies.find(IMAGES, IMAGES[:0]).any()
