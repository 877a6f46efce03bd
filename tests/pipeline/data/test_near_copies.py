import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.base.stored import Stored
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


class Counted(Stored):
    """Images, and how many of them were looked at."""

    def __init__(self, images: np.ndarray) -> None:
        super().__init__(images.shape)
        self.images, self.looked = images, 0

    def _range(self, start: int, stop: int) -> np.ndarray:
        self.looked += stop - start
        return self.images[start:stop]

    def _rows(self, rows: np.ndarray) -> np.ndarray:
        self.looked += len(rows)
        return self.images[rows]


def test_what_stands_there_a_thousand_times_is_compared_once():
    """A test split with many blank images, of which train has many too."""
    blank = np.zeros((1000, 28, 28), np.uint8)
    counted = Counted(np.concatenate([blank, IMAGES]))
    among = near_copies.Among(counted)
    counted.looked = 0
    assert among.has(np.concatenate([blank, IMAGES[:5], 255 - IMAGES[:5]])).tolist() == [True] * 1005 + [False] * 5
    assert counted.looked <= 2 * 1010
    ((row, places),) = among.near(blank[:1])
    assert row == 0 and sorted(places.tolist()) == list(range(1000))


def test_what_is_nearly_blank_a_thousand_times_is_mostly_compared_once():
    noisy = np.where(RNG.random((1000, 28, 28)) < 0.01, RNG.integers(1, 30, (1000, 28, 28)), 0).astype(np.uint8)
    counted = Counted(noisy)
    among = near_copies.Among(counted)
    counted.looked = 0
    assert among.has(noisy // 2).all() and counted.looked < 10 * 1000


def test_nothing_has_no_copies():
    assert near_copies.find(IMAGES[:0], IMAGES).shape == (0,)
    assert not near_copies.find(IMAGES, IMAGES[:0]).any()


@settings(max_examples=60)
@given(st.data())
def test_it_finds_what_comparing_each_with_each_finds(data: st.DataObject):
    shape = data.draw(st.sampled_from([(28, 28), (8, 9), (40, 33, 3)]))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    smooth = rng.integers(0, 200, (12, *[1] * len(shape))) + rng.integers(0, 30, (12, *shape))
    images = smooth.astype(np.uint8)
    moved = data.draw(st.floats(0, 5))  # grey levels on each pixel, about what is near
    others = np.clip(images[rng.permutation(12)] + rng.normal(moved, 1, (12, *shape)), 0, 255).astype(np.uint8)
    distances = np.square(images[:, None].astype(int) - others[None].astype(int)).reshape(12, 12, -1).sum(axis=2)
    expected = (distances <= near_copies.NEAR_LEVELS**2 * math.prod(shape)).any(axis=1)
    np.testing.assert_array_equal(near_copies.find(images, others), expected)
    np.testing.assert_array_equal(near_copies.find(images, np.concatenate([others, others])), expected)
    np.testing.assert_array_equal(near_copies.Among(others).has(images), expected)
