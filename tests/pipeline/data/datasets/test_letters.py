"""Are the letters the same whenever they are drawn, in colour, and read by their names?"""

import numpy as np
import pytest
from own_images import params

from pipeline.base.form import Form
from pipeline.data import splits
from pipeline.data.datasets import catalogue, letters

FORM = Form("plain", (32, 32, 3), letters.CLASSES)


def test_the_same_letters_are_drawn_each_time():
    images, labels = letters.draw(3, FORM)
    again, _ = letters.draw(3, FORM)
    np.testing.assert_array_equal(images, again)
    assert images.shape == (78, 32, 32, 3) and np.bincount(labels).tolist() == [3] * 26
    assert len(np.unique(splits.content_hashes(images))) == 78
    assert (letters.draw(3, FORM, seed=1)[0] != images).any()


def test_more_of_them_begin_with_the_same():
    np.testing.assert_array_equal(letters.draw(2, FORM)[0][:26], letters.draw(1, FORM)[0])


def test_a_letter_stands_out_from_its_paper_in_colour():
    images, _ = letters.draw(2, FORM)
    assert (images.max(axis=(1, 2, 3)).astype(int) - images.min(axis=(1, 2, 3)) > 60).all()
    assert (np.ptp(images.astype(int), axis=3).max(axis=(1, 2)) > 20).mean() > 0.9


def test_any_characters_of_any_size_are_drawn():
    images, labels = letters.draw(1, Form("plain", (48, 48, 3), ("a", "7", "%")))
    assert images.shape == (3, 48, 48, 3) and labels.tolist() == [0, 1, 2]


def test_the_data_set_holds_out_its_share(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(letters, "EACH", 4)
    loaded = catalogue.load(params("letters", ""))
    assert loaded.name == "letters" and loaded.form == FORM
    assert len(loaded.train.labels) + len(loaded.test.labels) == 104 and len(loaded.test.labels) > 5
    assert list(loaded.files), "the fonts, with their digests"
