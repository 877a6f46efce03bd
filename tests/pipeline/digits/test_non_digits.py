"""What is no digit: the same from the same draw, of every kind, in MNIST's framing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.digits import hands, non_digits
from pipeline.digits.image import CLASSES, SIDE
from pipeline.digits.non_digits import KINDS, NonDigits

DIGITS = np.stack([hands.draw(digit, np.random.default_rng(digit)) for digit in range(CLASSES)])


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_draw_is_an_image_with_ink_but_for_a_blank_texture(kind, seed: int):  # type: ignore[no-untyped-def]
    image = kind(np.random.default_rng(seed), DIGITS)
    assert image.shape == (SIDE, SIDE) and image.dtype == np.uint8 and (image.max() > 0 or kind is non_digits.texture)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not non_digits.texture])
def test_what_is_drawn_is_framed_as_digits_are(kind):  # type: ignore[no-untyped-def]
    images = np.stack([kind(np.random.default_rng(seed), DIGITS) for seed in range(50)]) > 40
    rows, columns = images.any(axis=2).sum(axis=1), images.any(axis=1).sum(axis=1)
    assert np.median(np.maximum(rows, columns)) in range(hands.BOX - 2, hands.BOX + 3)


def test_all_kinds_are_drawn_and_the_same_ones_again():
    first, second = (NonDigits(DIGITS, np.random.default_rng(5), count=300) for _ in range(2))
    np.testing.assert_array_equal(first.images, second.images)
    assert len(set(first.kinds)) == len(KINDS) and sum(KINDS.values()) == pytest.approx(1)
    assert first.some(7, np.random.default_rng(0)).shape == (7, SIDE, SIDE)


def test_letters_that_could_be_digits_are_left_out():
    assert not set("OoIlDBbSsgqQGJj") & set(non_digits.LETTERS)
