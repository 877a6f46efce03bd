"""Are labels of any kind told apart, and is what can be no class refused in one line?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import BadInput
from pipeline.base.form import TEN
from pipeline.data import classes
from pipeline.data.datasets.decoders import OF_DIGITS

PLAIN = OF_DIGITS.images.model_copy(update={"kind": "plain", "classes": ()})
DIGITS = OF_DIGITS.images.model_copy(update={"classes": ()})


def told(labels: list, wanted=PLAIN, known: tuple[str, ...] | None = None) -> tuple[str, ...]:
    return classes.told([np.array(labels)], wanted, known, "here")


def test_names_come_from_the_data_in_their_order():
    assert told(["cat", "dog", "ant", "dog"]) == ("ant", "cat", "dog")
    assert told([10, 2, 3]) == ("2", "3", "10")
    assert told(["10", "9"]) == ("9", "10")


def test_numbers_of_digits_are_the_ten_and_other_names_are_not():
    assert told([3, 4], DIGITS) == told(["3", "4"], DIGITS) == TEN
    assert told([3, 12], DIGITS) == TEN  # 12 is then refused, as a mistake
    assert told(["a", "b"], DIGITS) == ("a", "b")


def test_params_name_them_and_a_batch_takes_those_that_are_there():
    named = PLAIN.model_copy(update={"classes": ("shirt", "shoe")})
    assert told([1, 0], named) == ("shirt", "shoe")
    assert told([1, 0], named, known=("hat", "coat")) == ("hat", "coat")


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        (["cat"], "one class: there is nothing to tell apart"),
        (["cat", "Cat", "dog"], "'Cat' and 'cat' differ in case only"),
        (["cat", "do\ng"], "is no name for a class"),
        (["cat", " "], "is no name for a class"),
        (["cat", "c" * 101], "is no name for a class"),
        ([f"class {number}" for number in range(1001)], "1,001 classes, allowed 1,000"),
    ],
)
def test_what_can_be_no_class_is_one_line(labels: list[str], line: str):
    with pytest.raises(BadInput, match=line) as error:
        told(labels)
    assert "\n" not in str(error.value) and str(error.value).startswith("here")


def test_letters_of_both_cases_and_signs_are_classes():
    assert told(["a", "A", "🐈", "a/b"]) == ("A", "a", "a/b", "🐈")


def test_numbers_are_names_where_the_names_are_numbers_else_indexes():
    assert classes.indexes(np.array([26, 1]), ("1", "7", "26"), "here").tolist() == [2, 0]
    assert classes.indexes(np.array([1, 0]), ("cat", "dog"), "here").tolist() == [1, 0]
    assert classes.indexes(np.array(["dog"]), ("cat", "dog"), "here").dtype == np.uint8
    assert classes.indexes(np.array([999]), tuple(f"c{n}" for n in range(1000)), "here").dtype == np.uint16


@pytest.mark.parametrize(
    ("labels", "names", "line"),
    [
        (["dog", "cow"], ("cat", "dog"), r"labels must be one of cat, dog, but number 1 \(from 0\) holds cow"),
        ([0, 2], ("cat", "dog"), r"whole numbers 0 to 1, or names, but number 1 \(from 0\) holds 2"),
        ([-1], ("cat", "dog"), "holds -1"),
        ([0.5], ("cat", "dog"), "holds 0.5"),
        ([np.nan], ("cat", "dog"), "holds nan"),
        ([np.inf], TEN, "holds inf"),
        ([10], TEN, "labels must be whole numbers 0–9, but number 0"),
        ([1.5], TEN, "holds 1.5"),
    ],
)
def test_a_label_of_no_class_is_named(labels: list, names: tuple[str, ...], line: str):
    with pytest.raises(BadInput, match=line):
        classes.indexes(np.array(labels), names, "here")


@given(st.lists(st.sampled_from(["ant", "bee", "cat", "7", "é"]), min_size=2).filter(lambda names: len(set(names)) > 1))
def test_an_index_is_that_of_the_name(labels: list[str]):
    names = told(labels)
    assert [names[index] for index in classes.indexes(np.array(labels), names, "here")] == labels
