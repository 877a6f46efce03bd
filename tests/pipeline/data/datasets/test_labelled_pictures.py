"""Are pictures of any classes read from folders, tables and Parquet files, and is what is wrong told in a line each?"""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import own_images
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from own_images import PLAIN, counts, encoded, load, refusal, scene, write_folder
from PIL import Image
from pyarrow import parquet

from pipeline.base.errors import BadInput
from pipeline.data.datasets import labelled_pictures

ANIMALS = {"cat": 12, "dog": 10, "Große Möwe": 8}


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test in a workspace of its own."""
    monkeypatch.chdir(tmp_path)


# --- Folders --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_folders_of_any_names_are_the_classes(tmp_path: Path, suffix: str):
    loaded = load("folder", write_folder(tmp_path / "own", ANIMALS, suffix))
    assert loaded.form.classes == ("Große Möwe", "cat", "dog") and counts(loaded) == ANIMALS
    assert (loaded.form.kind, loaded.form.shape) == ("plain", (16, 16, 3))
    assert loaded.train.images.dtype == np.uint8 and loaded.train.images.shape[1:] == (16, 16, 3)
    assert len(loaded.test.labels) > 0 and sorted(loaded.files) == sorted(ANIMALS)


def test_a_folder_says_train_val_and_test(tmp_path: Path):
    for seed, split in enumerate(("train", "val", "test")):
        write_folder(tmp_path / "own" / split, {"a": 3, "b": 2 + seed}, seed=seed)
    loaded = load("folder", tmp_path / "own")
    assert loaded.form.classes == ("a", "b")
    assert np.bincount(loaded.train.labels).tolist() == [6, 5], "val is held out anew"
    assert np.bincount(loaded.test.labels).tolist() == [3, 4]
    assert "val/b" in loaded.files and "test/a" in loaded.files


def test_a_class_may_be_called_train(tmp_path: Path):
    loaded = load("folder", write_folder(tmp_path / "own", {"bus": 12, "train": 11}))
    assert counts(loaded) == {"bus": 12, "train": 11}


def test_what_lies_beside_train_is_not_left_out_in_silence(tmp_path: Path):
    write_folder(tmp_path / "own/train", {"bus": 12, "car": 11})
    write_folder(tmp_path / "own", {"tram": 9})
    said = refusal("folder", tmp_path / "own")
    assert said == f"{tmp_path}/own: holds tram beside train: put classes below train, and test if you have one"


def test_a_class_without_a_picture_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    own = write_folder(tmp_path / "own", {**ANIMALS, "emu": 0})
    line = f"{own}: no picture lies in the folder of emu"
    assert refusal("folder", own) == f"{line}: add some, remove the folder, or set images.leave_out_small"
    leaving = PLAIN.model_copy(update={"leave_out_small": True})
    assert counts(load("folder", own, leaving)) == ANIMALS
    assert capsys.readouterr().err.splitlines() == [f"warning: ingest: {line}: left out"]


def test_a_class_may_lack_pictures_in_one_split_which_validation_judges(tmp_path: Path):
    write_folder(tmp_path / "own/train", {"a": 3, "b": 3})
    write_folder(tmp_path / "own/test", {"a": 3, "b": 0}, seed=1)
    assert counts(load("folder", tmp_path / "own")) == {"a": 6, "b": 3}


def test_that_labels_are_numbers_and_names_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    load("parquet", write_parquet(tmp_path / "own.parquet", ["0", "1", "robin", "wren"] * 5))
    said = capsys.readouterr().err
    assert said.startswith("warning: ingest: parquet: labels are numbers (0, 1) and names (robin, wren), each a class")
    load("parquet", write_parquet(tmp_path / "own.parquet", ["0", "1", "A", "b"] * 5))
    named = PLAIN.model_copy(update={"classes": ("0", "wren")})
    load("parquet", write_parquet(tmp_path / "own.parquet", ["0", "wren"] * 5), named)
    assert capsys.readouterr().err == "", "characters, and classes that params.yaml names, are meant so"


def test_folders_that_are_numbers_are_in_the_order_of_numbers(tmp_path: Path):
    loaded = load("folder", write_folder(tmp_path / "own", {"10": 3, "9": 3, "2": 3}), test_share=0.0)
    assert loaded.form.classes == ("2", "9", "10")


def test_params_yaml_names_classes_that_are_numbers(tmp_path: Path):
    wanted = PLAIN.model_copy(update={"classes": ("east", "north", "west")})
    loaded = load("folder", write_folder(tmp_path / "own", {"2": 12, "0": 13, "1": 14}), wanted)
    assert loaded.form.classes == ("east", "north", "west") and counts(loaded) == {"east": 13, "north": 14, "west": 12}
    path = write_parquet(tmp_path / "own.parquet", [0, 2, 1] * 10)
    assert counts(load("parquet", path, wanted)) == {"east": 10, "north": 10, "west": 10}
    with pytest.raises(BadInput, match=r"whole numbers 0 to 2, or names, but number 3 \(from 0\) holds 3"):
        load("parquet", write_parquet(tmp_path / "own.parquet", [0, 1, 2, 3] * 5), wanted)


def test_a_named_data_set_is_called_so(tmp_path: Path):
    assert load("folder", write_folder(tmp_path / "own", ANIMALS), name="animals").name == "animals"


def test_a_class_that_only_test_has_is_a_class(tmp_path: Path):
    """Validation says that train has none of it."""
    write_folder(tmp_path / "own/train", {"a": 3, "b": 3})
    write_folder(tmp_path / "own/test", {"a": 2, "c": 2}, seed=1)
    loaded = load("folder", tmp_path / "own")
    assert loaded.form.classes == ("a", "b", "c")
    assert np.bincount(loaded.train.labels, minlength=3).tolist() == [3, 3, 0]
    assert np.bincount(loaded.test.labels).tolist() == [2, 0, 2]


def test_an_empty_train_is_not_made_up_for_by_test(tmp_path: Path):
    write_folder(tmp_path / "own/test", {"a": 9, "b": 9})
    (tmp_path / "own/train").mkdir()
    message = refusal("folder", tmp_path / "own")
    assert "own/train: holds no images" in message


BAD_FOLDERS = {
    "the classes 'Cat' and 'cat' differ in case only: rename one": {"Cat": 3, "cat": 3},
    "one class: there is nothing to tell apart; give two": {"cat": 5},
    r"'a\nb' is no name for a class": {"a\nb": 3, "c": 3},
    "is no name for a class: give 1 to 100 characters": {"n" * 101: 3, "c": 3},
    r"'\udcff' is no name for a class": {"\udcff": 3, "c": 3},
}


@pytest.mark.parametrize("reason", BAD_FOLDERS)
def test_classes_that_cannot_be_are_refused(tmp_path: Path, reason: str):
    message = refusal("folder", write_folder(tmp_path / "own", BAD_FOLDERS[reason]))
    assert reason in message and str(tmp_path / "own") in message


def test_single_letters_may_differ_in_case_and_emoji_are_names(tmp_path: Path):
    loaded = load("folder", write_folder(tmp_path / "own", {"A": 3, "a": 3, "🐈": 3}), test_share=0.0)
    assert loaded.form.classes == ("A", "a", "🐈")


def test_a_thousand_classes_are_the_most(tmp_path: Path):
    picture = encoded(scene(0, 8, 8))
    for number in range(1001):
        (tmp_path / "own" / f"class {number}").mkdir(parents=True)
        (tmp_path / "own" / f"class {number}" / "one.png").write_bytes(picture)
    assert "1,001 classes, allowed 1,000: give fewer" in refusal("folder", tmp_path / "own")
    shutil.rmtree(tmp_path / "own/class 7")
    loaded = load("folder", tmp_path / "own", test_share=0.0)
    assert len(loaded.form.classes) == 1000 and loaded.train.labels.dtype == np.uint16


def test_a_folder_that_is_called_like_a_picture_is_told_of(tmp_path: Path):
    (write_folder(tmp_path / "own", {"a": 3, "b": 3}) / "a" / "album.png").mkdir()
    assert "own/a/album.png: is no regular file: remove it" in refusal("folder", tmp_path / "own")


# --- Pictures that are not whole, or of a rare kind ----------------------------------------------------------------


def spoilt(folder: Path, names: tuple[str, ...] = ("a", "b")) -> Path:
    """40 good JPEGs, and two that are cut off."""
    write_folder(folder, dict.fromkeys(names, 20), "jpg")
    for name in names:
        path = folder / name / "spoilt.jpg"
        path.write_bytes(encoded(scene(7, 200, 200), "jpg")[:900])
    return folder


def test_damaged_pictures_are_named_counted_and_stop_the_reading(tmp_path: Path):
    with pytest.raises(BadInput) as caught:
        load("folder", spoilt(tmp_path / "own"))
    lines = str(caught.value).splitlines()
    assert [Path(line.split(": ")[0]).parent.name for line in lines] == ["a", "b"]
    assert all("spoilt.jpg: is cut off or damaged" in line and line.endswith("give a whole file") for line in lines)
    with pytest.raises(BadInput, match=r"2 of 42, allowed 1 \(ingest.max_unreadable\)"):
        load("folder", tmp_path / "own", max_unreadable=0.03)


def test_damaged_pictures_are_left_out_as_far_as_is_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    loaded = load("folder", spoilt(tmp_path / "own"), max_unreadable=0.05)
    assert counts(loaded) == {"a": 20, "b": 20}
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert "a/spoilt.jpg" in told[0] and "b/spoilt.jpg" in told[1]
    assert told[2] == "warning: ingest: 2 of 42 pictures are left out"


def test_a_long_list_of_damaged_pictures_is_cut(tmp_path: Path):
    write_folder(tmp_path / "own", {"a": 2, "b": 2})
    for number in range(50):
        (tmp_path / "own/a" / f"{number}.png").write_bytes(b"nothing")
    with pytest.raises(BadInput) as caught:
        load("folder", tmp_path / "own")
    lines = str(caught.value).splitlines()
    assert len(lines) == labelled_pictures.FINDINGS + 1 and lines[-1] == "and 30 more"


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 400), (400, 2)])
def test_a_picture_of_too_few_pixels_is_named(tmp_path: Path, height: int, width: int):
    write_folder(tmp_path / "own", {"a": 3, "b": 3})
    (tmp_path / "own/a/x.png").write_bytes(encoded(scene(1, height, width)))
    assert f"a/x.png: {width}×{height} pixels are too few to be read" in refusal("folder", tmp_path / "own")


def test_a_line_names_a_file_whatever_it_is_called(tmp_path: Path):
    write_folder(tmp_path / "own", {"a": 3, "b": 3})
    (tmp_path / "own/a/x\ny.png").write_bytes(b"nothing")
    assert r"x\ny.png: is not a picture" in refusal("folder", tmp_path / "own")


def test_a_class_of_few_is_named_or_left_out_if_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    own = write_folder(tmp_path / "own", {"cat": 12, "dog": 11, "emu": 3})
    wanted = PLAIN.model_copy(update={"min_of_class": 10})
    assert "folder: fewer than 10 images of emu (3): add some" in refusal("folder", own, wanted)
    loaded = load("folder", own, wanted.model_copy(update={"leave_out_small": True}))
    assert counts(loaded) == {"cat": 12, "dog": 11}
    assert "left out, as too few: emu (3)" in capsys.readouterr().err
    for_all = wanted.model_copy(update={"leave_out_small": True, "min_of_class": 12})
    assert "fewer than two classes have 12 images" in refusal("folder", own, for_all)


def test_more_images_or_megabytes_than_allowed_are_refused(tmp_path: Path):
    own = write_folder(tmp_path / "own", {"a": 6, "b": 6})
    assert "holds 12 images, allowed 10" in refusal("folder", own, max_images=10)
    assert "MB" in refusal("folder", own, max_mb=0.001)


# --- Tables ---------------------------------------------------------------------------------------------------------


def write_table(folder: Path, rows: list[dict[str, Any]], name: str = "metadata.csv", encoding: str = "utf-8") -> Path:
    folder.mkdir(exist_ok=True)
    with (folder / name).open("w", newline="", encoding=encoding) as file:
        if name.endswith(".csv"):
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return folder


def rows_of(folder: Path, count: int = 20, path: str = "file_name", label: str = "label") -> list[dict[str, Any]]:
    (folder / "pictures").mkdir(parents=True)
    for number in range(count):
        (folder / f"pictures/{number}.jpg").write_bytes(encoded(scene(number), "jpg"))
    return [{path: f"pictures/{n}.jpg", label: ("yes", "no")[n % 2]} for n in range(count)]


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "mine.csv", "mine.jsonl", "mine.json"])
@pytest.mark.parametrize(("path", "label"), [("file_name", "label"), ("image", "class")])
def test_a_table_of_paths_and_labels(tmp_path: Path, name: str, path: str, label: str):
    own = write_table(tmp_path / "own", rows_of(tmp_path / "own", path=path, label=label), name)
    for place in (own, own / name):
        loaded = load("table", place)
        assert loaded.form.classes == ("no", "yes") and counts(loaded) == {"no": 10, "yes": 10}
        assert name in loaded.files


def test_a_table_says_the_splits(tmp_path: Path):
    rows = rows_of(tmp_path / "own")
    for number, row in enumerate(rows):
        row["split"] = ("train", "validation", "test", "")[number % 4]
    loaded = load("table", write_table(tmp_path / "own", rows))
    assert (len(loaded.train.labels), len(loaded.test.labels)) == (15, 5)


def test_a_table_as_a_spreadsheet_saves_it(tmp_path: Path):
    """With a byte order mark before the first column's name."""
    own = write_table(tmp_path / "own", rows_of(tmp_path / "own"), encoding="utf-8-sig")
    assert counts(load("table", own)) == {"no": 10, "yes": 10}


def test_numbers_in_a_table_are_names(tmp_path: Path):
    rows = [row | {"label": (3, 12)[number % 2]} for number, row in enumerate(rows_of(tmp_path / "own"))]
    assert load("table", write_table(tmp_path / "own", rows, "t.jsonl")).form.classes == ("3", "12")


BAD_ROWS: dict[str, dict[str, Any]] = {
    "../secret.jpg leads out of": {"file_name": "../secret.jpg"},
    "/etc/passwd leads out of": {"file_name": "/etc/passwd"},
    "link.jpg leads out of": {"file_name": "link.jpg"},
    "split is 'dev': it must be one of train, val": {"split": "dev"},
    "a path (path, file_name": {"file_name": None},
    "and a label are needed": {"label": None},
    "'' is no name for a class": {"label": ""},
    r"'a\nb' is no name for a class": {"label": "a\nb"},
    "pictures/none.jpg: cannot be opened": {"file_name": "pictures/none.jpg"},
    r"pictures/\x00.jpg": {"file_name": "pictures/\0.jpg"},
    r"\ud800": {"file_name": "\ud800.jpg"},
}


@pytest.mark.parametrize("reason", BAD_ROWS)
def test_a_row_that_cannot_be_is_named(tmp_path: Path, reason: str):
    rows = rows_of(tmp_path / "own")
    (tmp_path / "secret.jpg").write_bytes(encoded(scene(0), "jpg"))
    (tmp_path / "own/link.jpg").symlink_to(tmp_path / "secret.jpg")
    rows[4] |= BAD_ROWS[reason]
    message = refusal("table", write_table(tmp_path / "own", rows, "t.jsonl"))
    assert reason in message
    if "class" not in reason and "opened" not in reason:
        assert "t.jsonl: row 5" in message


BAD_TABLES = {
    "has ['path;label']": b"path;label\na.jpg;cat\n",
    "and a label are needed": b"path,class_of_it\na.jpg,cat\n",
    "(train): holds no images": b"path,label\n",
    "is not a table of paths and labels": b"path,label\n\xff\xfe,cat\n",
    "row 1: has more cells than the header": b"path,label\na.jpg,robin, red\n",
}


@pytest.mark.parametrize("reason", BAD_TABLES)
def test_what_is_no_table_is_refused(tmp_path: Path, reason: str):
    (tmp_path / "t.csv").write_bytes(BAD_TABLES[reason])
    message = refusal("table", tmp_path / "t.csv")
    assert reason in message and "t.csv" in message


@pytest.mark.parametrize("line", ["[1, 2]", "7", "{", "[" * 100_000, '{"path": 1, "label": "x"}'])
def test_what_is_no_line_of_a_table_is_refused(tmp_path: Path, line: str):
    (tmp_path / "t.jsonl").write_text(f"{line}\n")
    assert "t.jsonl" in refusal("table", tmp_path)


def test_a_class_may_have_a_slash_in_a_table(tmp_path: Path):
    rows = [row | {"label": f"{row['label']}/no"} for row in rows_of(tmp_path / "own")]
    assert load("table", write_table(tmp_path / "own", rows)).form.classes == ("no/no", "yes/no")


# --- Parquet --------------------------------------------------------------------------------------------------------


def write_parquet(
    path: Path, labels: list[Any], names: Any = None, *, struct: bool = True, seed: int = 0, **columns: Any
) -> Path:
    """As Hugging Face exports it."""
    pictures: list[Any] = [encoded(scene(seed + number), "jpg") for number in range(len(labels))]
    held = [{"bytes": one, "path": f"{number}.jpg"} for number, one in enumerate(pictures)] if struct else pictures
    table = pyarrow.table({"image": held, "label": labels, **columns})
    if names is not None:
        told = {"info": {"features": {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({b"huggingface": json.dumps(told).encode()})
    path.parent.mkdir(exist_ok=True)
    parquet.write_table(table, path)
    return path


def test_parquet_as_hugging_face_has_it(tmp_path: Path):
    names = ["cat", "dog"]
    write_parquet(tmp_path / "own/train-00000-of-00002.parquet", [0, 1] * 10, names)
    write_parquet(tmp_path / "own/train-00001-of-00002.parquet", [0, 1] * 5, names, seed=100)
    write_parquet(tmp_path / "own/validation-00000-of-00001.parquet", [0, 1] * 2, names, seed=200)
    write_parquet(tmp_path / "own/test-00000-of-00001.parquet", [1, 1, 0], names, seed=300)
    loaded = load("parquet", tmp_path / "own")
    assert loaded.form.classes == ("cat", "dog")
    assert (len(loaded.train.labels), loaded.test.labels.tolist()) == (34, [1, 1, 0])
    assert len(loaded.files) == 4


@pytest.mark.parametrize("struct", [True, False])
def test_parquet_with_names_for_labels(tmp_path: Path, struct: bool):
    path = write_parquet(tmp_path / "own.parquet", ["no", "yes"] * 10, struct=struct)
    assert counts(load("parquet", path)) == {"no": 10, "yes": 10}


def test_parquet_with_numbers_alone(tmp_path: Path):
    assert load("parquet", write_parquet(tmp_path / "own.parquet", [4, 11] * 10)).form.classes == ("4", "11")


BAD_PARQUET: dict[str, dict[str, Any]] = {
    "label 2 is out of range: there are 2 names": {"labels": [0, 2] * 5, "names": ["a", "b"]},
    "label -1 is out of range": {"labels": [0, -1] * 5, "names": ["a", "b"]},
    "the label is None": {"labels": ["a", None] * 5},
    "the label is 0.5": {"labels": [0.5, 1.5] * 5},
    "'A b' and 'a b' differ in case only": {"labels": [0, 1] * 5, "names": ["a", "A b", "a b"]},
    r"'a\nb' is no name for a class": {"labels": [0, 1] * 5, "names": ["a\nb", "b"]},
    "1,001 classes, allowed 1,000": {"labels": [0, 1] * 5, "names": [f"c{n}" for n in range(1001)]},
}


@pytest.mark.parametrize("reason", BAD_PARQUET)
def test_bad_parquet_is_refused(tmp_path: Path, reason: str):
    message = refusal("parquet", write_parquet(tmp_path / "own.parquet", **BAD_PARQUET[reason]))
    assert reason in message and "own.parquet" in message


@pytest.mark.parametrize("names", [5, {"0": "a"}, "ab", [], [[]], ["a", 1]])
def test_metadata_that_are_not_hugging_face_s_say_nothing(tmp_path: Path, names: Any):
    path = write_parquet(tmp_path / "own.parquet", [0, 1] * 10, names)
    assert load("parquet", path).form.classes == ("0", "1")


def test_files_that_name_the_classes_differently_are_refused(tmp_path: Path):
    write_parquet(tmp_path / "own/train.parquet", [0, 1] * 10, ["cat", "dog"])
    write_parquet(tmp_path / "own/test.parquet", [0, 1] * 10, ["dog", "cat"], seed=50)
    message = refusal("parquet", tmp_path / "own")
    assert "train.parquet: names the classes otherwise than test.parquet, 'cat' instead of 'dog'" in message


def test_parquet_without_train_is_refused(tmp_path: Path):
    write_parquet(tmp_path / "own/test.parquet", [0, 1] * 10, ["cat", "dog"])
    assert "(train): holds no images" in refusal("parquet", tmp_path / "own")


def test_parquet_of_other_columns_is_refused(tmp_path: Path):
    parquet.write_table(pyarrow.table({"img": [b"x"], "label": [1]}), tmp_path / "own.parquet")
    assert "has the columns img, label, and no image" in refusal("parquet", tmp_path)
    parquet.write_table(pyarrow.table({"image": ["a path"], "label": [1]}), tmp_path / "own.parquet")
    assert "row 0: the image is no bytes of a picture" in refusal("parquet", tmp_path)


def test_parquet_with_a_column_twice_is_refused(tmp_path: Path):
    columns = [pyarrow.array([b"x"]), pyarrow.array([1]), pyarrow.array([2])]
    parquet.write_table(pyarrow.Table.from_arrays(columns, ["image", "label", "label"]), tmp_path / "own.parquet")
    assert "own.parquet: has the column label more than once" in refusal("parquet", tmp_path)


def test_parquet_with_names_that_are_no_text_is_refused(tmp_path: Path):
    text = pyarrow.array([b"\xff"]).cast(pyarrow.binary()).view(pyarrow.string())
    parquet.write_table(pyarrow.table({"image": [b"x"], "label": text}), tmp_path / "own.parquet")
    assert "own.parquet: is cut off or damaged" in refusal("parquet", tmp_path)


@pytest.mark.parametrize("left", [0, 4, 100, -1, -40])
def test_a_truncated_parquet_file_is_refused(tmp_path: Path, left: int):
    path = write_parquet(tmp_path / "own.parquet", [0, 1] * 10)
    path.write_bytes(path.read_bytes()[:left])
    assert "own.parquet: is not a whole Parquet file" in refusal("parquet", tmp_path)


# --- Anything at all ------------------------------------------------------------------------------------------------


def _whole(kind: str, folder: Path) -> bytes:
    if kind == "parquet":
        return write_parquet(folder / "whole", [0, 1] * 3, ["a", "b"]).read_bytes()
    if kind in ("png", "gif", "jpg"):
        return encoded(scene(3), kind)
    rows = [{"path": f"{number}.png", "label": "ab"[number % 2]} for number in range(6)]
    return (write_table(folder, rows, f"t.{kind}") / f"t.{kind}").read_bytes()


@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "parquet", "csv", "jsonl"])
@given(bytes_=st.binary(max_size=60), at=st.integers(0, 3000), whole=st.booleans())
def test_spoilt_files_raise_nothing_but_bad_input(
    tmp_path_factory: pytest.TempPathFactory, kind: str, bytes_: bytes, at: int, whole: bool
):
    folder = tmp_path_factory.mktemp("spoilt")
    data = _whole(kind, folder)
    at %= len(data)
    content = bytes_ if whole else data[:at] + bytes_ + data[at + len(bytes_) :]
    try:
        if kind in ("png", "jpg", "gif"):
            for images in (PLAIN, own_images.PARAMS.images):
                labelled_pictures.framed(content, "x", own_images.source(folder, images))
        else:
            (folder / f"x.{kind}").write_bytes(content)
            load("parquet" if kind == "parquet" else "table", folder / f"x.{kind}")
    except BadInput as error:
        assert str(error).startswith((str(folder), "x: "))


def test_a_picture_of_another_mode_is_read_as_what_it_shows(tmp_path: Path):
    write_folder(tmp_path / "own", {"a": 3, "b": 3})
    picture = Image.fromarray(scene(5))
    picture.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "own/a/palette.png")
    picture.convert("CMYK").save(tmp_path / "own/a/cmyk.jpg", quality=95)
    picture.convert("RGBA").save(tmp_path / "own/a/transparent.png")
    loaded = load("folder", tmp_path / "own", test_share=0.0)
    shown = labelled_pictures.framed(encoded(scene(5)), "x", own_images.source(tmp_path)).astype(int)
    for image in loaded.train.images[3:6]:  # by name, after the three that are numbered
        assert np.abs(image.astype(int) - shown).mean() < 12


def test_who_asks_for_ink_on_pictures_of_anything_is_told_of_the_other_kind(tmp_path: Path):
    for name in ("cat", "dog"):
        (tmp_path / "own" / name).mkdir(parents=True)
        (tmp_path / "own" / name / "1.png").write_bytes(encoded(np.full((40, 40, 3), 90, np.uint8)))
    ink = PLAIN.model_copy(update={"kind": "digits", "height": 28, "width": 28, "channels": 1})
    with pytest.raises(BadInput, match=r"for pictures of anything else set images\.kind: plain"):
        load("folder", tmp_path / "own", ink)


@pytest.mark.parametrize(("damaged", "hinted"), [(True, False), (False, True)])
def test_another_kind_is_proposed_for_pictures_unlike_digits_and_not_for_a_damaged_file(
    tmp_path: Path, damaged: bool, hinted: bool
):
    folder = write_folder(tmp_path / "own", {"cat": 3, "dog": 3})
    picture = encoded(scene(1))[:60] if damaged else encoded(np.full((60, 60, 3), 255, np.uint8))
    for path in (path for path in folder.rglob("*") if path.is_file()):
        path.write_bytes(picture)
    with pytest.raises(BadInput) as caught:
        load("folder", folder, own_images.PARAMS.images)
    assert ("images.kind: plain" in str(caught.value)) == hinted
