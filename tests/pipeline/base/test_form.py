"""What an image of a data set is, as it is kept and told."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base import form
from pipeline.base.form import DIGITS, Form

PETS = Form("plain", (32, 48, 3), ("cat", "dog"))


@given(st.lists(st.text(min_size=1), min_size=2, unique=True), st.sampled_from([(28, 28), (8, 9, 3)]))
def test_a_form_is_kept_as_it_is(tmp_path_factory: pytest.TempPathFactory, names: list[str], shape: tuple[int, ...]):
    folder = tmp_path_factory.mktemp("form")
    told = Form("plain", shape, (*filter(str.isprintable, names), "a", "b"))
    form.save(told, folder)
    assert form.load(folder) == told


def test_what_an_earlier_release_left_are_digits(tmp_path: Path):
    assert form.load(tmp_path) == DIGITS


def test_it_is_told_in_words():
    assert (PETS.pixels, DIGITS.pixels) == ("32×48 in colour", "28×28")
    assert (PETS.a(1), DIGITS.a(7)) == ("dog", "a 7")
    assert (PETS.named(1), DIGITS.named(7)) == ("dog", 7)
    assert DIGITS.of_digits and not PETS.of_digits and not Form(classes=("x", "y")).of_digits
    assert (PETS.labels, Form(classes=tuple(map(str, range(300)))).labels) == ("uint8", "uint16")
