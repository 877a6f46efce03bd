"""Are batches of pictures changed within their bands, by their own draws, and by nothing else?"""

from typing import Any

import numpy as np
import pytest
from own_images import scene

from pipeline.base.form import Form
from pipeline.base.params import Augment
from pipeline.plain.training import Changes

COLOUR = np.stack([scene(seed, 32, 24) for seed in range(12)])
LABELS = np.arange(12, dtype=np.uint8)


def changed(images: np.ndarray = COLOUR, seed: int = 0, **bands: Any) -> np.ndarray:
    form = Form("plain", images.shape[1:], tuple(map(str, range(12))))
    made, labels = Changes(images, Augment(**bands), form, len(images), 7)(
        images, LABELS[: len(images)], np.random.default_rng(seed)
    )
    np.testing.assert_array_equal(labels, LABELS[: len(images)])
    assert made.shape == images.shape and made.dtype == np.uint8
    return made


def test_without_bands_nothing_changes():
    np.testing.assert_array_equal(changed(), COLOUR)
    np.testing.assert_array_equal(changed(COLOUR[..., 0]), COLOUR[..., 0])


def test_flip_turns_about_half_of_them_over_and_nothing_else():
    images = np.concatenate([COLOUR] * 10)
    form = Form("plain", images.shape[1:], ("a", "b"))
    made, _ = Changes(images, Augment(flip=True), form, 120, 0)(images, np.zeros(120, int), np.random.default_rng(0))
    over = np.array([(new == old[:, ::-1]).all() for new, old in zip(made, images, strict=True)])
    same = np.array([(new == old).all() for new, old in zip(made, images, strict=True)])
    assert (over ^ same).all() and 40 <= over.sum() <= 80


def test_no_flip_without_the_band():
    bars = np.zeros((12, 32, 32), np.uint8)
    bars[:, :, 2:6] = 255  # on the left, and there it stays
    made = changed(bars, shift=1.0, rotate=5.0, zoom=0.05)
    assert (made[:, :, :16].mean(axis=(1, 2)) > made[:, :, 16:].mean(axis=(1, 2))).all()


def test_a_shift_stays_within_its_band():
    dots = np.zeros((12, 33, 33), np.uint8)
    dots[:, 15:18, 15:18] = 255
    for image in changed(dots, shift=3.0):
        y, x = (image.sum(axis=axis) @ np.arange(33) / image.sum() for axis in (1, 0))
        assert abs(y - 16) <= 3.1 and abs(x - 16) <= 3.1


def test_colour_changes_the_light_and_keeps_the_shapes():
    made = changed(colour=0.3)
    assert (made != COLOUR).any(axis=(1, 2, 3)).all()
    for new, old in zip(made, COLOUR, strict=True):
        assert np.corrcoef(new.ravel(), old.ravel())[0, 1] > 0.6
    assert changed(COLOUR[..., 0], colour=0.3).shape == COLOUR.shape[:3]


def test_paper_makes_as_many_grainy_as_it_says():
    flat = np.full((12, 24, 24, 3), 128, np.uint8)
    assert (changed(flat, paper=1.0).std(axis=(1, 2, 3)) > 0).all()
    grainy = (changed(flat, paper=0.5).std(axis=(1, 2, 3)) > 0).sum()
    assert 0 < grainy < 12


@pytest.mark.parametrize("images", [COLOUR, COLOUR[..., 0]], ids=["colour", "grey"])
def test_the_same_draws_make_the_same_batch(images: np.ndarray):
    bands = {"shift": 2.0, "rotate": 10.0, "zoom": 0.1, "shear": 0.1, "flip": True, "colour": 0.2, "paper": 0.3}
    np.testing.assert_array_equal(changed(images, 3, **bands), changed(images, 3, **bands))
    assert (changed(images, 3, **bands) != changed(images, 4, **bands)).any()


def test_bands_of_ink_say_nothing():
    np.testing.assert_array_equal(changed(stroke=1.0, hands=1.0, non_digits=0.5), COLOUR)
