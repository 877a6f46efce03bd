import io
import json
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from serving import requests
from serving.problems import Problem

IMAGES = arrays.arrays(np.uint8, st.tuples(st.integers(1, 3), st.just(28), st.just(28)))


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@given(IMAGES)
def test_images_come_out_as_they_went_in(images: np.ndarray):
    np.testing.assert_array_equal(requests.from_npy(npy(images)), images)
    np.testing.assert_array_equal(requests.from_json_text(json.dumps({"images": images.tolist()}).encode(), 3), images)


@given(IMAGES, st.floats(0, 1), st.binary(max_size=6))
def test_a_damaged_npy_file_is_read_or_a_problem(images: np.ndarray, place: float, patch: bytes):
    whole = npy(images)
    at = int(place * min(len(whole), 140))  # the header is where it hurts
    for damaged in (whole[:at], whole[:at] + patch + whole[at + len(patch) :]):
        try:
            found = requests.from_npy(damaged)
        except Problem as problem:
            assert problem.status_code in (400, 422) and len(problem.detail.splitlines()) == 1
        else:
            assert found.dtype == np.uint8 and found.shape[1:] == (28, 28)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3), st.lists, max_leaves=20)
)
def test_any_json_is_read_or_a_problem(value: object):
    with pytest.raises(Problem) as raised:
        requests.from_json_text(json.dumps({"images": value}).encode(), 3)
    assert raised.value.status_code in (400, 413, 422)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_problem(body: bytes):
    for read in (partial(requests.from_json_text, max_images=3), requests.from_npy):
        with pytest.raises(Problem):
            read(body)


@pytest.mark.parametrize(
    ("part", "status"), [("[],", 413), ("1,", 413), ('"a",', 413), ("{},", 413), ("[" * 150 + "]" * 150 + ",", 400)]
)
def test_json_that_would_take_far_more_memory_than_bytes_is_refused_before_it_is_parsed(part: str, status: int):
    body = '{"images": [' + part * (3_000_000 // len(part)) + "1]}"
    with pytest.raises(Problem) as raised:
        requests.from_json_text(body.encode(), 900)
    assert raised.value.status_code == status
