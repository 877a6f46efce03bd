"""Are images that lie on the disk, in several files, read as one array is?"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base import files
from pipeline.base.stored import Chosen, Collected, InFile, Joined, Stored

COUNTS = (5, 0, 7, 1)
WHOLE = np.random.default_rng(0).integers(0, 256, (sum(COUNTS), 4, 3), np.uint8)
EVERY_THIRD = np.arange(0, len(WHOLE), 3)


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Joined:
    """Of files with a header, and an array in memory."""
    folder, parts = tmp_path_factory.mktemp("files"), []
    for number, part in enumerate(np.split(WHOLE, np.cumsum(COUNTS)[:-1])):
        path = folder / str(number)
        path.write_bytes(b"head" + part.tobytes())
        parts.append(InFile(path, part.shape, 4))
    return Joined([*parts[:2], WHOLE[5:12], parts[3]])


@pytest.fixture(params=["joined", "chosen", "in one file"])
def pair(request: pytest.FixtureRequest, joined: Joined, tmp_path: Path) -> tuple[Stored, np.ndarray]:
    """What is read, and what ought to come of it."""
    (tmp_path / "one").write_bytes(WHOLE.tobytes())
    return {
        "joined": (joined, WHOLE),
        "chosen": (Chosen(joined, EVERY_THIRD), WHOLE[EVERY_THIRD]),
        "in one file": (InFile(tmp_path / "one", WHOLE.shape, 0), WHOLE),
    }[request.param]


def test_it_says_what_it_is(pair: tuple[Stored, np.ndarray]):
    stored, array = pair
    for name in ("shape", "dtype", "ndim", "nbytes"):
        assert getattr(stored, name) == getattr(array, name)
    assert len(stored) == len(array)
    np.testing.assert_array_equal(np.asarray(stored), array)
    assert files.sha256_array(stored) == files.sha256_array(array)


@given(st.slices(sum(COUNTS)))
def test_any_slice(joined: Joined, key: slice):
    np.testing.assert_array_equal(joined[key], WHOLE[key])


@given(st.lists(st.integers(0, sum(COUNTS) - 1)))
def test_any_rows_in_any_order(joined: Joined, rows: list[int]):
    np.testing.assert_array_equal(joined[np.array(rows, int)], WHOLE[np.array(rows, int)])
    np.testing.assert_array_equal(Chosen(joined, np.array(rows, int))[:], WHOLE[np.array(rows, int)])


@given(st.data())
def test_any_index_gives_what_numpy_gives(joined: Joined, data: st.DataObject):
    """Negative ones, none, too large ones, masks, lists and arrays of any whole numbers."""
    count = len(WHOLE)
    number = st.integers(-count - 2, count + 1)
    dtypes = st.sampled_from([np.int8, np.int32, np.int64, np.uint8])
    key = data.draw(
        st.one_of(
            number,
            st.lists(number, max_size=6),
            st.lists(st.booleans(), min_size=count - 1, max_size=count).map(lambda mask: np.array(mask, bool)),
            st.lists(st.booleans(), min_size=count, max_size=count),
            st.tuples(st.lists(st.integers(0, count + 1), max_size=5), dtypes).map(lambda of: np.array(*of)),
            st.lists(st.integers(-count, -1), max_size=5).map(lambda rows: np.array(rows, np.int64)),
        )
    )
    for stored in (joined, Chosen(joined, np.arange(count))):
        try:
            expected = WHOLE[key]
        except IndexError:
            with pytest.raises(IndexError):
                stored[key]
        else:
            np.testing.assert_array_equal(stored[key], expected)


@pytest.mark.parametrize("room", [0, WHOLE.nbytes])
def test_what_came_is_there_wherever_it_is_kept(room: int):
    collected = Collected(len(WHOLE), WHOLE.shape[1:], room)
    for image in WHOLE[:-2]:
        collected.add(image)
    images = collected.images()
    assert isinstance(images, Stored) is (room == 0)
    np.testing.assert_array_equal(np.asarray(images), WHOLE[:-2])
    np.testing.assert_array_equal(images[[1, 0]], WHOLE[[1, 0]])


def test_one_row_and_a_mask(pair: tuple[Stored, np.ndarray]):
    stored, array = pair
    mask = np.arange(len(array)) % 2 == 0
    for key in (0, -1, mask, np.flatnonzero(mask), slice(None, None, -1)):
        np.testing.assert_array_equal(stored[key], array[key])
    with pytest.raises(IndexError, match=f"{len(array)} of {len(array)} images"):
        stored[len(array)]
