"""Are the classes those that the labels, the files or params.yaml name, and is what cannot be one told?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_mnist import PARAMS

from pipeline.base.errors import BadInput
from pipeline.base.form import TEN
from pipeline.data import classes

DIGITS = PARAMS.images
PLAIN = DIGITS.model_copy(update={"kind": "plain"})


def numbers(*labels: int) -> np.ndarray:
    return np.array(labels, np.int64)


def names(*labels: str) -> np.ndarray:
    return np.array(labels, str)


def test_numbers_are_the_ten_digits_of_kind_digits_and_what_there_is_of_kind_plain():
    assert classes.of_labels([numbers(1, 2)], DIGITS, None, "x") == TEN
    assert classes.of_labels([names("1", "2")], DIGITS, None, "x") == TEN
    assert classes.of_labels([numbers(10, 9)], PLAIN, None, "x") == ("9", "10")
    assert classes.of_labels([names("a", "1")], DIGITS, None, "x") == ("1", "a")


def test_the_classes_of_train_and_test_are_one_list():
    assert classes.of_labels([names("b", "a"), names("c")], PLAIN, None, "x") == ("a", "b", "c")


def test_names_of_the_same_number_have_an_order_that_no_hash_of_text_decides():
    padded = ["1", "01", "001", "0001", "00001", "000001"]
    assert classes.of_labels([names("2", *padded)], PLAIN, None, "x") == (*sorted(padded), "2")


def test_whose_word_counts():
    wanted = PLAIN.model_copy(update={"classes": ("no", "yes")})
    assert classes.of_labels([numbers(0, 1)], wanted, None, "x", ["c", "d"]) == ("no", "yes")
    assert classes.of_labels([numbers(0, 1)], wanted, ("e", "f"), "x", ["c", "d"]) == ("e", "f")
    assert classes.of_labels([numbers(0, 1)], PLAIN, None, "x", ["d", "c"]) == ("d", "c")


@pytest.mark.parametrize(
    ("given_", "line"),
    [
        (["a"], "one class: there is nothing to tell apart"),
        ([], "no class"),
        (["a", " "], "' ' is no name"),
        (["a", "b\u202e"], "is no name for a class"),
        (["Cat", "cat"], "'Cat' and 'cat' differ in case only"),
        (["straße", "STRASSE"], "differ in case only"),
        (["cat", "cat "], "'cat' and 'cat ' differ in case only"),
        (["a", "a"], "'a' is named 2 times: name each class once"),
        (["caf\u00e9", "cafe\u0301"], "differ in how their letters are encoded only"),
        (["\u00e9", "e\u0301"], "differ in how their letters are encoded only"),
        ([f"{n}x" for n in range(1001)], "1,001 classes, allowed 1,000: give fewer"),
    ],
)
def test_names_that_cannot_be_are_one_line_wherever_they_come_from(given_: list[str], line: str):
    with pytest.raises(BadInput, match=r"^x: ") as caught:
        classes.of_labels([names("a", "b")], PLAIN, None, "x", given_)
    assert line in str(caught.value) and "\n" not in str(caught.value)
    if given_:
        with pytest.raises(BadInput, match=r"^params.yaml: images.classes: "):
            classes.of_labels([numbers(0, 1)], PLAIN.model_copy(update={"classes": tuple(given_)}), None, "x")


def test_numbers_in_half_precision_are_whole_without_a_word(recwarn: pytest.WarningsRecorder):
    assert classes.whole(np.array([0, 1], np.float16), "x").tolist() == [0, 1] and not recwarn.list


def test_labels_become_indexes():
    assert classes.indexes(names("b", "a", "b"), ("a", "b"), "x").tolist() == [1, 0, 1]
    assert classes.indexes(numbers(12, 3), ("3", "12"), "x").tolist() == [1, 0], "a number that is a name"
    assert classes.indexes(numbers(1, 0), ("no", "yes"), "x").tolist() == [1, 0], "a number that is none"
    assert classes.indexes(names("b"), [f"{n}" for n in range(256)] + ["b"], "x").dtype == np.uint16


def test_numbers_stand_for_the_classes_that_params_yaml_counts_whatever_became_of_them():
    wanted = PLAIN.model_copy(update={"classes": ("bee", "cow", "ant"), "leave_out_small": True})
    there = ("bee", "ant")  # no cow: too few
    of_numbers = classes.numbered(wanted, there, there)
    for two in (numbers(2, 0), names("2", "0"), names("ant", "bee")):
        assert classes.indexes(two, there, "x", of_numbers).tolist() == [1, 0]
    with pytest.raises(BadInput, match=r"number 1 \(from 0\) holds 1: mend or remove it"):
        classes.indexes(numbers(0, 1), there, "x", of_numbers)
    uncounted = classes.numbered(wanted.model_copy(update={"classes": ()}), there, there)
    with pytest.raises(BadInput, match=r"labels must be one of bee, ant, but number 0 \(from 0\) holds 0"):
        classes.indexes(numbers(0, 1), there, "x", uncounted)


def test_a_text_that_is_a_name_is_no_number():
    assert classes.indexes(names("1", "0"), ("a", "0", "1"), "x").tolist() == [2, 1]
    assert classes.indexes(names("1", "2"), ("a", "0", "1"), "x").tolist() == [1, 2]


@pytest.mark.parametrize(
    ("labels", "of", "line"),
    [
        (names("a", "z"), ("a", "b"), "labels must be one of a, b, but number 1 (from 0) holds z: mend or remove it"),
        (numbers(0, 2), ("a", "b"), "labels must be whole numbers 0 to 1, or names, but number 1 (from 0) holds 2"),
        (numbers(-1, 0), ("a", "b"), "holds -1"),
        (numbers(3, 10), TEN, "labels must be whole numbers 0–9, but number 1 (from 0) holds 10"),
        (names("zz"), tuple("abcdefghijklm"), "one of a, b, c, d, e, f, g, h, i, j and 3 more"),
    ],
)
def test_a_label_of_no_class_is_named(labels: np.ndarray, of: tuple[str, ...], line: str):
    with pytest.raises(BadInput, match=r"^x: ") as caught:
        classes.indexes(labels, of, "x")
    assert line in str(caught.value)


def test_numbers_with_a_point_are_whole_or_refused():
    assert classes.whole(np.array([1.0, 7.0], np.float32), "x").tolist() == [1, 7]
    for wrong in (np.nan, np.inf, -np.inf, 0.5, 1e300):
        with pytest.raises(BadInput, match=r"x: labels must be whole numbers, but number 1 \(from 0\) holds "):
            classes.whole(np.array([1.0, wrong]), "x")


@given(st.lists(st.text(max_size=5), min_size=1, max_size=9))
def test_any_names_are_classes_or_bad_input(found: list[str]):
    labels = np.array(found, str)
    try:
        told = classes.of_labels([labels], PLAIN, None, "x")
    except BadInput as error:
        assert str(error).startswith("x: ") and str(error).isprintable()
    else:
        assert [told[at] for at in classes.indexes(labels, told, "x")] == labels.tolist()
