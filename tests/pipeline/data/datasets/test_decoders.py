"""Are labelled images read from every kind of file, and is everything that is not whole refused in one line?"""

import gzip
import io
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from small_mnist import (
    ARRAYS,
    CONTENTS,
    PARAMS,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    load,
    refusal,
    some_images,
    some_labels,
    write_mnist,
)

from pipeline.base.errors import BadInput
from pipeline.base.form import Form
from pipeline.base.stored import Stored
from pipeline.data import splits
from pipeline.data.datasets import bounds, catalogue, decoders, mnist

LIMITS = bounds.Bounds(images=1000, bytes=10_000_000)


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test in a workspace of its own."""
    monkeypatch.chdir(tmp_path)


# --- IDX ------------------------------------------------------------------------------------------------------------


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=3, max_side=30)))
def test_idx_round_trip(array: np.ndarray) -> None:
    np.testing.assert_array_equal(decoders.decode_idx(decoders.encode_idx(array), array.ndim, "x"), array)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\0\0\x08\x01", b"\0\0\x08\x03", b"\x1f\x8b\x08"]))
def test_arbitrary_bytes_raise_nothing_but_bad_input(tail: bytes, head: bytes) -> None:
    for ndim in (1, 3):
        try:
            array = decoders.decode_idx(bounds.gunzip(head + tail, "x", 10_000_000), ndim, "x")
        except BadInput as error:
            assert str(error).startswith("x")
        else:
            assert array.ndim == ndim


def test_idx_without_test_files_holds_out_by_content(tmp_path: Path) -> None:
    write_mnist(tmp_path, {name: CONTENTS[name] for name in (TRAIN_IMAGES, TRAIN_LABELS)})
    loaded = load("idx", tmp_path)
    held_out = splits.held_out(splits.content_hashes(ARRAYS[TRAIN_IMAGES]), PARAMS.ingest.test_share, "test")
    assert 0 < held_out.sum() < 50
    np.testing.assert_array_equal(loaded.test.images, ARRAYS[TRAIN_IMAGES][held_out])
    np.testing.assert_array_equal(loaded.train.labels, ARRAYS[TRAIN_LABELS][~held_out])


@pytest.fixture
def all_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every plain file of images is left where it lies, to be read piece by piece."""
    monkeypatch.setattr(splits, "SHARD_BYTES", 20 * 28 * 28)


@pytest.mark.usefixtures("all_large")
def test_a_large_idx_file_is_left_where_it_lies_and_read_as_a_small_one_is(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    whole = load("idx", tmp_path)  # packed: read whole
    for name in CONTENTS:
        (tmp_path / f"{name}.gz").unlink(missing_ok=True)
        (tmp_path / name).write_bytes(CONTENTS[name])
    left = load("idx", tmp_path)
    assert isinstance(left.train.images, Stored) and not isinstance(whole.train.images, Stored)
    assert left.files == whole.files and left.form == whole.form
    for one, other in zip((*left.train, *left.test), (*whole.train, *whole.test), strict=True):
        np.testing.assert_array_equal(np.asarray(one), other)
    for kind in ("labels", "a packed file", "a small one"):
        path = tmp_path / {"labels": TRAIN_LABELS, "a packed file": "some.gz", "a small one": "small"}[kind]
        if kind != "labels":
            content = decoders.encode_idx(some_images(50 if "packed" in kind else 5))
            path.write_bytes(gzip.compress(content) if "packed" in kind else content)
        assert decoders._large_idx(path, LIMITS) is None, kind


@pytest.mark.usefixtures("all_large")
@pytest.mark.parametrize("change", ["written to", "replaced", "gone"])
def test_a_large_idx_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, change: str) -> None:
    for name in CONTENTS:
        (tmp_path / name).write_bytes(CONTENTS[name])
    loaded, path = load("idx", tmp_path), tmp_path / TRAIN_IMAGES
    assert len(loaded.train.images[:10]) == 10
    if change == "written to":
        os.utime(path, ns=(0, 0))
        path.write_bytes(CONTENTS[TRAIN_IMAGES][:-1] + b"\7")
    elif change == "replaced":
        (tmp_path / "new").write_bytes(CONTENTS[TRAIN_IMAGES])
        (tmp_path / "new").replace(path)
    else:
        path.unlink()
    with pytest.raises(BadInput, match=f"^{path}: was changed while it was read: leave it alone and run this again"):
        splits.save(tmp_path / "raw", loaded.train)


BAD_IDX = {
    "cut short": (TRAIN_IMAGES, None),
    "magic": (TRAIN_IMAGES, b"\0\0\x0d\x03" + CONTENTS[TRAIN_IMAGES][4:]),
    "within its IDX header": (TRAIN_IMAGES, CONTENTS[TRAIN_IMAGES][:10]),
    "bytes, but there are": (TRAIN_IMAGES, CONTENTS[TRAIN_IMAGES][:-1]),
    "empty": (TRAIN_LABELS, decoders.encode_idx(np.empty(0, np.uint8))),
    "50 images but 49 labels": (TRAIN_LABELS, decoders.encode_idx(some_labels(49))),
    "labels must be whole numbers 0–9": (TRAIN_LABELS, decoders.encode_idx(some_labels(50) + np.uint8(1))),
    "(50, 27, 28)": (TRAIN_IMAGES, decoders.encode_idx(some_images(50)[:, 1:])),
}


@pytest.mark.parametrize("reason", BAD_IDX)
def test_bad_idx_is_refused(tmp_path: Path, reason: str) -> None:
    name, content = BAD_IDX[reason]
    write_mnist(tmp_path, CONTENTS | {name: content or b""})
    path = tmp_path / f"{name}.gz"
    if content is None:
        path.write_bytes(gzip.compress(CONTENTS[name])[:-9])
    message = refusal("idx", tmp_path)
    assert reason in message
    assert name in message


def test_half_a_test_pair_is_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path, {name: CONTENTS[name] for name in (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES)})
    assert f"no {TEST_LABELS}" in refusal("idx", tmp_path)


@pytest.mark.parametrize("dataset", ["idx", "npz", "csv", "folder"])
def test_own_data_needs_local_dir(dataset: str) -> None:
    for local_dir in ("data/incoming", ""):
        assert f"ingest.local_dir is '{local_dir}', but nothing is there" in refusal(dataset, local_dir)


# --- npz ------------------------------------------------------------------------------------------------------------


def write_npz(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "own.npz", **arrays)
    return folder / "own.npz"


def test_npz_with_a_test_split(tmp_path: Path) -> None:
    write_npz(tmp_path, **{key: ARRAYS[name].astype(np.int64) for name, key in mnist.IN_NPZ.items()})
    loaded = load("npz", tmp_path)
    np.testing.assert_array_equal(loaded.test.images, ARRAYS[TEST_IMAGES])
    assert {array.dtype.name for array in (*loaded.train, *loaded.test)} == {"uint8"}
    assert list(loaded.files) == ["own.npz"]


def test_npz_with_images_and_labels(tmp_path: Path) -> None:
    loaded = load("npz", write_npz(tmp_path, images=some_images(50), labels=some_labels(50)))
    assert len(loaded.train.labels) + len(loaded.test.labels) == 50


def with_value(value: float) -> np.ndarray:
    images = some_images(50).astype(np.float64)
    images[7, 5, 6] = value
    return images


BAD_NPZ = {
    "in [0, 1]": {"images": some_images(50) / 255},
    "number 7 (from 0) holds nan": {"images": with_value(np.nan)},
    "number 7 (from 0) holds 256": {"images": with_value(256).astype(np.int64)},
    "number 7 (from 0) holds -1": {"images": with_value(-1)},
    "number 7 (from 0) holds 0.5": {"images": with_value(0.5)},
    "of type bool": {"images": some_images(50) > 0},
    "allow_pickle=False": {"images": some_images(50).astype(object)},
    "(50, 27, 28)": {"images": some_images(50)[:, 1:]},
    "images' shape is ()": {"images": np.array(5)},
    "labels' shape is (50, 10)": {"labels": np.eye(10, dtype=np.uint8)[some_labels(50)]},
    "holds no images": {"images": some_images(0), "labels": some_labels(0)},
    "holds 10": {"labels": some_labels(50) + 1},
    "50 images but 51 labels": {"labels": some_labels(51)},
    "no labels": {"labels": None},
}


@pytest.mark.parametrize("reason", BAD_NPZ)
def test_bad_npz_is_refused(tmp_path: Path, reason: str) -> None:
    arrays = {"images": some_images(50), "labels": some_labels(50), **BAD_NPZ[reason]}
    path = write_npz(tmp_path, **{key: array for key, array in arrays.items() if array is not None})
    message = refusal("npz", tmp_path)
    assert reason in message
    assert str(path) in message


def test_broken_npz_is_refused(tmp_path: Path) -> None:
    path = write_npz(tmp_path, images=some_images(50), labels=some_labels(50))
    path.write_bytes(path.read_bytes()[:-100])
    assert str(path) in refusal("npz", tmp_path)
    path.write_bytes(b"")
    assert str(path) in refusal("npz", tmp_path)


def test_a_folder_with_two_npz_files_is_refused(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        np.savez(tmp_path / name, images=some_images(2))
    assert "2 files *.npz" in refusal("npz", tmp_path)


@given(st.binary(max_size=80), st.integers(0, 60_000))
def test_spoilt_npz_raises_nothing_but_bad_input(bytes_: bytes, at: int) -> None:
    whole = io.BytesIO()
    np.savez(whole, images=some_images(50))
    data = whole.getvalue()
    try:
        decoders.read_npz(io.BytesIO(data[:at] + bytes_ + data[at + len(bytes_) :]), "x.npz", LIMITS)
    except BadInput as error:
        assert str(error).startswith("x.npz")


# --- A folder of pictures -------------------------------------------------------------------------------------------


def write_pictures(folder: Path, images: np.ndarray, labels: np.ndarray, suffix: str = "png") -> None:
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / str(label) / f"{i:03}.{suffix}")


def test_pictures_that_are_mnists_already_are_taken_as_they_are(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train", ARRAYS[TRAIN_IMAGES], ARRAYS[TRAIN_LABELS])
    write_pictures(tmp_path / "test", ARRAYS[TEST_IMAGES], ARRAYS[TEST_LABELS])
    loaded = load("folder", tmp_path)
    by_class = np.argsort(ARRAYS[TEST_LABELS], kind="stable")
    np.testing.assert_array_equal(loaded.test.images, ARRAYS[TEST_IMAGES][by_class])
    np.testing.assert_array_equal(loaded.test.labels, ARRAYS[TEST_LABELS][by_class])
    assert sorted(loaded.files) == sorted(f"{split}/{label}" for split in ("test", "train") for label in range(10))


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPEG"])
def test_pictures_of_any_size_and_polarity_are_framed(tmp_path: Path, suffix: str) -> None:
    scans = np.full((20, 60, 40), 250, np.uint8)
    for i, scan in enumerate(scans):
        scan[10 : 25 + i, 10 + i : 16 + i] = 20  # a dark stroke on light paper
    write_pictures(tmp_path, scans, some_labels(20), suffix)
    loaded = load("folder", tmp_path, test_share=0.5)
    images = np.concatenate([loaded.train.images, loaded.test.images])
    assert images.shape == (20, 28, 28)
    assert (images[:, 0] == 0).all(), "paper is 0"
    assert (images.max(axis=(1, 2)) > 200).all(), "ink is light"


def test_a_small_dark_on_light_picture_is_framed_not_taken_as_it_is(tmp_path: Path) -> None:
    scans = np.full((20, 28, 28), 250, np.uint8)
    for i, scan in enumerate(scans):
        scan[4:24, 10:14] = scan[4 + i // 2 : 8 + i // 2, 8 : 14 + i // 3] = 20  # dark on light, of MNIST's size
    write_pictures(tmp_path, scans, some_labels(20))
    loaded = load("folder", tmp_path, test_share=0.5)
    assert (loaded.train.images[:, 0] == 0).all()


def test_each_unreadable_picture_has_its_line(tmp_path: Path) -> None:
    write_pictures(tmp_path, some_images(20), some_labels(20))
    for name in ("3/empty.png", "4/text.jpg"):
        (tmp_path / name).write_bytes(b"" if "empty" in name else b"no picture")
    with pytest.raises(BadInput) as caught:
        load("folder", tmp_path)
    first, second = str(caught.value).splitlines()
    assert "3/empty.png" in first
    assert "4/text.jpg" in second


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("3/a.bmp", "neither PNG nor JPEG"),
    ],
)
def test_what_does_not_belong_into_the_folder_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    write_pictures(tmp_path, some_images(20), some_labels(20))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"")
    assert reason in refusal("folder", tmp_path)


def test_a_file_is_no_folder_of_pictures(tmp_path: Path) -> None:
    assert "a file" in refusal("folder", write_npz(tmp_path))


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    assert "holds no images" in refusal("folder", tmp_path / "own")


def test_the_idx_header_is_lecuns() -> None:
    assert CONTENTS[TRAIN_IMAGES][:16] == struct.pack(">IIII", 2051, 50, 28, 28)
    assert CONTENTS[TRAIN_LABELS][:8] == struct.pack(">II", 2049, 50)


# --- Other classes, sizes and colours -------------------------------------------------------------------------------


def load_plain(dataset: str, path: Path, **images: Any) -> decoders.Loaded:
    wanted = PARAMS.images.model_copy(update={"kind": "plain", "min_of_class": 1, **images})
    ingest = PARAMS.ingest.model_copy(update={"local_dir": str(path), "test_share": 0.3})
    return catalogue.load(PARAMS.model_copy(update={"dataset": dataset, "images": wanted, "ingest": ingest}))


def coloured(count: int, shape: tuple[int, ...] = (12, 20, 3)) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, *shape), np.uint8)


def test_npz_of_any_shape_with_names(tmp_path: Path) -> None:
    names = np.array(["cat", "dog"])[np.arange(60) % 2]
    loaded = load_plain("npz", write_npz(tmp_path, images=coloured(60), labels=names))
    assert loaded.form == Form("plain", (12, 20, 3), ("cat", "dog"))
    assert load_plain("npz", write_npz(tmp_path, images=coloured(60)[..., :1], labels=names)).form.shape == (12, 20)


def test_params_name_the_classes_of_numbers(tmp_path: Path) -> None:
    path = write_npz(tmp_path, images=coloured(60), labels=np.arange(60) % 3)
    assert load_plain("npz", path, classes=("a", "b", "c")).form.classes == ("a", "b", "c")
    with pytest.raises(BadInput, match=r"whole numbers 0 to 1, or names, but number 2 \(from 0\) holds 2"):
        load_plain("npz", path, classes=("a", "b"))
    assert load_plain("npz", path).form.classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("arrays", "line"),
    [
        ({"images": coloured(60, (4, 4))}, "8 to 512 pixels a side"),
        ({"images": coloured(60, (12, 20, 4))}, r"\(N, height, width\) or \(N, height, width, 3\) is needed"),
        ({"images": coloured(60, (600, 12))}, "8 to 512 pixels a side"),
        ({"labels": np.full(60, np.nan)}, "holds nan"),
        ({"labels": np.full(60, "cat")}, "nothing to tell apart"),
        ({"labels": np.arange(60).astype("datetime64[D]")}, "labels must be whole numbers or names"),
    ],
)
def test_what_has_no_such_form_is_one_line(tmp_path: Path, arrays: dict[str, Any], line: str) -> None:
    whole = {"images": coloured(60), "labels": np.arange(60) % 2, **arrays}
    with pytest.raises(BadInput, match=line) as error:
        load_plain("npz", write_npz(tmp_path, **whole))
    assert "\n" not in str(error.value)


def test_train_and_test_must_be_of_one_shape(tmp_path: Path) -> None:
    labels = np.arange(60) % 2
    arrays = {"x_train": coloured(60), "y_train": labels, "x_test": coloured(60, (12, 12, 3)), "y_test": labels}
    with pytest.raises(BadInput, match="train and test are of different shapes"):
        load_plain("npz", write_npz(tmp_path, **arrays))


def test_emnist_s_files_as_they_come(tmp_path: Path) -> None:
    """Under their own names, images on their side, labels from 1, and a file that says which letters these are."""
    images, labels = some_images(40), (np.arange(40) % 3 + 1).astype(np.uint8)
    for part, some in (("train", slice(0, 30)), ("test", slice(30, 40))):
        for what, array in (("images-idx3", images[some].swapaxes(1, 2)), ("labels-idx1", labels[some])):
            content = decoders.encode_idx(np.ascontiguousarray(array))
            (tmp_path / f"emnist-letters-{part}-{what}-ubyte.gz").write_bytes(gzip.compress(content))
    (tmp_path / "emnist-letters-mapping.txt").write_text("1 65 97\n2 66 98\n3 67 99\n")
    loaded = load("idx", tmp_path)
    assert loaded.form == Form("digits", (28, 28), ("A", "B", "C"))
    np.testing.assert_array_equal(loaded.test.images, images[30:])
    assert loaded.test.labels.tolist() == (labels[30:] - 1).tolist()
    (tmp_path / "emnist-letters-mapping.txt").write_text("1 65 97\n2 66 98\n")
    assert "label 3 has no line in" in refusal("idx", tmp_path)
    (tmp_path / "emnist-digits-train-images-idx3-ubyte").write_bytes(b"")
    assert "leave the files of one data set there" in refusal("idx", tmp_path)
