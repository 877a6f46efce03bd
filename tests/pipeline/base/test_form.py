"""Does the form of a data set's images outlive its file, and say its classes and size as people do?"""

from pathlib import Path

import numpy as np
import pytest

from pipeline.base import files, form
from pipeline.base.form import DIGITS, Form

LETTERS = Form("plain", (32, 24, 3), ("A", "Größe", "🐈"))


@pytest.mark.parametrize("of", [DIGITS, LETTERS])
def test_a_form_comes_back_from_its_file(tmp_path: Path, of: Form):
    form.save(of, tmp_path)
    assert form.load(tmp_path) == of


def test_what_an_earlier_release_left_are_digits(tmp_path: Path):
    assert form.load(tmp_path) == DIGITS
    assert form.load(tmp_path / "nowhere") == DIGITS


def test_a_form_is_plain_json(tmp_path: Path):
    form.save(LETTERS, tmp_path)
    (path,) = tmp_path.iterdir()
    assert files.read_json(path) == {"kind": "plain", "shape": [32, 24, 3], "classes": ["A", "Größe", "🐈"]}


def test_digits_are_said_as_digits():
    assert DIGITS.of_digits and DIGITS.pixels == "28×28"
    assert (DIGITS.a(7), DIGITS.a(8), DIGITS.named(7)) == ("a 7", "an 8", 7)
    assert (LETTERS.a(1), LETTERS.named(1)) == ("Größe", "Größe") and not LETTERS.of_digits
    assert LETTERS.pixels == "32×24 in colour"


def test_ten_numerals_that_are_framed_whole_are_no_digits():
    assert not Form("plain").of_digits


def test_a_label_has_room_for_its_class():
    for count in (2, 256, 257, 1000):
        names = tuple(map(str, range(count)))
        assert np.iinfo(Form("plain", (8, 8), names).labels).max >= count - 1
    assert Form("plain", (8, 8), tuple(map(str, range(256)))).labels == "uint8"
