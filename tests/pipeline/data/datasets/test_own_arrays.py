"""Are arrays of any classes, sizes and colours read from npz, IDX and CSV files, and is what cannot be told so?"""

import csv
import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from own_images import PLAIN, counts, load, refusal
from small_mnist import PARAMS

from pipeline.base.errors import BadInput
from pipeline.data.datasets import decoders

N = 40
GREY = np.random.default_rng(0).integers(0, 256, (N, 20, 12), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (N, 20, 12, 3), dtype=np.uint8)
NUMBERS = np.arange(N) % 4
NAMES = np.array(["ash", "birch", "cedar", "Straße"])[NUMBERS]


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test in a workspace of its own."""
    monkeypatch.chdir(tmp_path)


# --- npz ------------------------------------------------------------------------------------------------------------


def write_npz(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "own.npz", **arrays)
    return folder / "own.npz"


@pytest.mark.parametrize("images", [GREY, COLOUR, GREY[..., None], GREY.astype(float), np.repeat(GREY, 5, axis=1)])
@pytest.mark.parametrize("labels", [NAMES, NUMBERS, NUMBERS.astype(np.float32), NUMBERS.astype(np.int8)])
def test_arrays_keep_their_shape_and_labels_may_be_names(tmp_path: Path, images: np.ndarray, labels: np.ndarray):
    loaded = load("npz", write_npz(tmp_path, images=images, labels=labels), test_share=0.0)
    shape = images.shape[1:3] if images.shape[3:] != (3,) else images.shape[1:]
    assert loaded.form.shape == shape and loaded.train.images.shape == (N, *shape)
    named = ("Straße", "ash", "birch", "cedar") if labels is NAMES else ("0", "1", "2", "3")
    assert loaded.form.classes == named and set(counts(loaded).values()) == {10}
    assert (
        np.array(named)[loaded.train.labels].tolist()
        == labels.astype(int if labels is not NAMES else str).astype(str).tolist()
    )


def test_names_for_numbers_come_from_params(tmp_path: Path):
    wanted = PLAIN.model_copy(update={"classes": ("north", "east", "south", "west")})
    path = write_npz(tmp_path, images=GREY, labels=NUMBERS)
    assert load("npz", path, wanted).form.classes == ("north", "east", "south", "west")
    few = wanted.model_copy(update={"classes": ("north", "east", "south")})
    line = "labels must be whole numbers 0 to 2, or names, but number 3 (from 0) holds 3"
    assert line in refusal("npz", path, few)


def test_train_and_test_have_classes_of_their_own(tmp_path: Path):
    path = write_npz(tmp_path, x_train=GREY, y_train=NAMES, x_test=GREY[:3], y_test=np.array(["ash", "elm", "elm"]))
    loaded = load("npz", path)
    assert "elm" in loaded.form.classes and "elm" not in {loaded.form.classes[at] for at in loaded.train.labels}


def with_label(value: Any, dtype: Any = float) -> np.ndarray:
    labels = NUMBERS.astype(dtype)
    labels[5] = value
    return labels


BAD_NPZ: dict[str, dict[str, Any]] = {
    "number 5 (from 0) holds nan": {"labels": with_label(np.nan)},
    "number 5 (from 0) holds inf": {"labels": with_label(np.inf)},
    "number 5 (from 0) holds 0.5": {"labels": with_label(0.5)},
    "number 5 (from 0) holds -1": {"labels": with_label(-1, int)},
    "labels must be whole numbers or names, but these are of type bool": {"labels": NUMBERS > 1},
    "labels must be whole numbers or names, but these are of type |S": {"labels": NAMES[NAMES != "Straße"].astype("S")},
    "'' is no name for a class": {"labels": with_label("", "U9")},
    r"'a\nb' is no name for a class": {"labels": with_label("a\nb", "U9")},
    "one class: there is nothing to tell apart": {"labels": np.zeros(N, int)},
    "'Ash' and 'ash' differ in case only": {"labels": np.where(NUMBERS == 3, "Ash", NAMES)},
    "shape is (40, 4, 4)": {"images": GREY[:, :4, :4]},
    "shape is (40, 600, 12)": {"images": np.repeat(GREY, 30, axis=1)},
    "shape is (40, 600, 600)": {"images": np.zeros((N, 600, 600), np.uint8)},
    "8 to 512 pixels a side": {"images": GREY[:, :, :4]},
    "shape is (40, 20, 12, 4)": {"images": np.concatenate([COLOUR, COLOUR[..., :1]], axis=3)},
    "shape is (40, 3, 20, 12)": {"images": COLOUR.transpose(0, 3, 1, 2)},
    "in [0, 1]": {"images": GREY / 255},
    "are of type <U1": {"images": GREY.astype("U1")},
}


@pytest.mark.parametrize("reason", BAD_NPZ)
def test_bad_npz_is_refused(tmp_path: Path, reason: str):
    arrays = {"images": GREY, "labels": NUMBERS, **BAD_NPZ[reason]}
    count = len(arrays["labels"])
    message = refusal("npz", write_npz(tmp_path, images=arrays["images"][:count], labels=arrays["labels"]))
    assert reason.replace("(40, ", f"({count}, ") in message and "own.npz" in message


def test_too_many_classes_are_refused(tmp_path: Path):
    images = np.zeros((1001, 8, 8), np.uint8)
    assert "1,001 classes, allowed 1,000" in refusal("npz", write_npz(tmp_path, images=images, labels=np.arange(1001)))


def test_train_and_test_of_different_shapes_are_refused(tmp_path: Path):
    path = write_npz(tmp_path, x_train=GREY, y_train=NAMES, x_test=COLOUR, y_test=NAMES)
    assert "train and test are of different shapes" in refusal("npz", path)


def test_kind_digits_says_what_to_do_with_other_sizes(tmp_path: Path):
    path = write_npz(tmp_path, images=GREY, labels=NUMBERS)
    assert "(N, 28, 28) is needed, or images.kind: plain for others" in refusal("npz", path, PARAMS.images)


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int16, np.float32, "U2", np.bool_]), hnp.array_shapes(max_dims=4, max_side=10)
    ),
    hnp.arrays(st.sampled_from([np.uint8, np.int64, np.float32, "U2"]), hnp.array_shapes(max_dims=2, max_side=10)),
)
def test_any_arrays_are_a_data_set_or_bad_input(images: np.ndarray, labels: np.ndarray):
    source = decoders.Source(PARAMS.ingest, PLAIN)
    try:
        (split,), form = decoders.formed([decoders.Arrays(images, labels, "x")], source)
    except BadInput as error:
        assert str(error).startswith("x: ")
    else:
        assert split.images.shape == (len(labels), *form.shape) and split.labels.max() < len(form.classes)


# --- IDX ------------------------------------------------------------------------------------------------------------


def write_idx(folder: Path, before: str, test: str, count: int = 60, first: int = 1) -> np.ndarray:
    """As MNIST's relatives have it; returns the images of train as people see them."""
    folder.mkdir(exist_ok=True)
    drawn = np.random.default_rng(2).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    lying = drawn.swapaxes(1, 2) if before.startswith("emnist") else drawn
    for split, images in (("train", lying), (test, lying[:20])):
        labels = (np.arange(len(images)) % 3 + first).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            path = folder / f"{before}{split}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(decoders.encode_idx(np.ascontiguousarray(array)), mtime=0))
    return drawn


def test_emnist_stands_upright_and_has_its_letters(tmp_path: Path):
    drawn = write_idx(tmp_path / "own", "emnist-letters-", "test")
    (tmp_path / "own/emnist-letters-mapping.txt").write_text("1 65 97\n2 66 98\n3 67 99\n")
    loaded = load("idx", tmp_path / "own")
    assert loaded.form.classes == ("A", "B", "C") and loaded.form.shape == (28, 28)
    np.testing.assert_array_equal(loaded.train.images, drawn)
    assert (len(loaded.train.labels), len(loaded.test.labels)) == (60, 20)
    assert loaded.train.labels[:3].tolist() == [0, 1, 2]


def test_emnist_without_its_mapping_has_numbers(tmp_path: Path):
    write_idx(tmp_path / "own", "emnist-letters-", "test")
    assert load("idx", tmp_path / "own").form.classes == ("1", "2", "3")


def test_letters_may_be_framed_as_digits_are(tmp_path: Path):
    write_idx(tmp_path / "own", "emnist-letters-", "test")
    (tmp_path / "own/emnist-letters-mapping.txt").write_text("1 65\n2 66\n3 67\n")
    images = PARAMS.images.model_copy(update={"min_of_class": 1})
    loaded = load("idx", tmp_path / "own", images)
    assert (loaded.form.kind, loaded.form.classes) == ("digits", ("A", "B", "C"))


@pytest.mark.parametrize(
    ("mapping", "line"),
    [
        ("1 65\n2 66\n", "label 3 has no line in"),
        ("1\n", "is not a label and the code of a character a line"),
        ("a 65\n", "is not a label and the code of a character a line"),
        ("1 65\n2 66\n3 99999999999\n", "is not a label and the code of a character a line"),
        ("1 65\n2 66\n3 10\n", r"'\n' is no name for a class"),
        ("1 65\n2 66\n3 66\n", "'B' is named 2 times"),
        ("", "label 1 has no line in"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(tmp_path: Path, mapping: str, line: str):
    write_idx(tmp_path / "own", "emnist-letters-", "test")
    (tmp_path / "own/emnist-letters-mapping.txt").write_text(mapping)
    assert line in refusal("idx", tmp_path / "own")


def test_fashion_mnist_has_mnist_s_names_and_its_classes_in_params(tmp_path: Path):
    write_idx(tmp_path / "own", "", "t10k", first=0)
    wanted = PLAIN.model_copy(update={"classes": ("shirt", "boot", "bag")})
    loaded = load("idx", tmp_path / "own", wanted)
    assert counts(loaded) == {"shirt": 27, "boot": 27, "bag": 26}


def test_idx_in_colour(tmp_path: Path):
    pixels = np.random.default_rng(3).integers(0, 256, (9, 10, 11, 3), dtype=np.uint8)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(struct.pack(">HBB4I", 0, 8, 4, *pixels.shape) + pixels.tobytes())
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(decoders.encode_idx((np.arange(9) % 2).astype(np.uint8)))
    assert load("idx", tmp_path, test_share=0.0).form.shape == (10, 11, 3)


def test_two_data_sets_in_a_folder_are_refused(tmp_path: Path):
    write_idx(tmp_path / "own", "emnist-letters-", "test")
    write_idx(tmp_path / "own", "emnist-digits-", "test")
    assert "leave the files of one data set there" in refusal("idx", tmp_path / "own")


# --- CSV ------------------------------------------------------------------------------------------------------------

SMALL = PLAIN.model_copy(update={"height": 8, "width": 9, "channels": 1})
PIXELS = 72


def write_csv(folder: Path, first: int = 0, labels: np.ndarray = NAMES, pixels: int = PIXELS) -> Path:
    images = np.random.default_rng(4).integers(0, 256, (N, pixels), dtype=np.uint8)
    with (folder / "train.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["label", *(f"pixel{first + n}" for n in range(pixels))])
        writer.writerows([label, *image] for label, image in zip(labels, images.tolist(), strict=True))
    return folder / "train.csv"


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("labels", [NAMES, NUMBERS, NUMBERS.astype(float)])
def test_csv_of_any_size_from_pixel_0_or_1(tmp_path: Path, first: int, labels: np.ndarray):
    loaded = load("csv", write_csv(tmp_path, first, labels), SMALL, test_share=0.0)
    assert loaded.form.shape == (8, 9)
    assert loaded.form.classes == (("Straße", "ash", "birch", "cedar") if labels is NAMES else ("0", "1", "2", "3"))
    assert set(counts(loaded).values()) == {10}


def test_csv_in_colour_has_its_colours_side_by_side(tmp_path: Path):
    path = write_csv(tmp_path, pixels=3 * PIXELS)
    loaded = load("csv", path, SMALL.model_copy(update={"channels": 3}), test_share=0.0)
    first = np.loadtxt(path, delimiter=",", skiprows=1, max_rows=1, usecols=range(1, 7))
    assert loaded.train.images[0, 0, :2].ravel().tolist() == first.tolist()


@pytest.mark.parametrize(
    ("images", "line"),
    [
        (SMALL.model_copy(update={"height": 10}), "lacks 18 columns, the first is pixel72"),
        (SMALL.model_copy(update={"width": 8}), "has 8 more pixels than images in params.yaml say: set height"),
    ],
)
def test_csv_of_another_size_than_params_say_is_refused(tmp_path: Path, images: Any, line: str):
    assert line in refusal("csv", write_csv(tmp_path), images)


@pytest.mark.parametrize("cell", ["256", "-1", "x", ""])
def test_a_wrong_pixel_beside_names_is_named(tmp_path: Path, cell: str):
    path = write_csv(tmp_path)
    lines = path.read_text().splitlines()
    lines[7] = f"{lines[7].rsplit(',', 1)[0]},{cell}"
    path.write_text("\n".join(lines))
    assert f"train.csv: line 8: pixel71 is '{cell}" in refusal("csv", path, SMALL)


def test_csv_with_numbers_in_one_part_and_names_in_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decoders, "CHUNK", 8)
    labels = np.array([*["1"] * 20, *["one"] * 20])
    assert load("csv", write_csv(tmp_path, labels=labels), SMALL).form.classes == ("1", "one")


@pytest.mark.parametrize("kind", ["csv", "npz", "idx"])
@given(bytes_=st.binary(max_size=60), at=st.integers(0, 9000), whole=st.booleans())
def test_spoilt_files_raise_nothing_but_bad_input(
    tmp_path_factory: pytest.TempPathFactory, kind: str, bytes_: bytes, at: int, whole: bool
):
    folder = tmp_path_factory.mktemp("spoilt")
    if kind == "idx":
        write_idx(folder, "emnist-letters-", "test", 30)
        path = folder / "emnist-letters-train-images-idx3-ubyte.gz"
    else:
        path = write_csv(folder) if kind == "csv" else write_npz(folder, images=GREY[:, :8, :9], labels=NAMES)
    data = path.read_bytes()
    at %= len(data)
    path.write_bytes(bytes_ if whole else data[:at] + bytes_ + data[at + len(bytes_) :])
    try:
        load(kind, folder, SMALL)
    except BadInput as error:
        assert str(folder) in str(error)
