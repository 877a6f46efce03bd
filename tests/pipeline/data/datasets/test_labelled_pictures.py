"""Are pictures read from folders, tables and Parquet, of any classes and sizes, and is what is not whole one line?"""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from small_mnist import PARAMS

from pipeline.base.errors import BadInput
from pipeline.data.datasets import catalogue, labelled_pictures
from pipeline.data.datasets.decoders import Loaded

NAMES = ("ant", "bee", "cat")


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(dataset: str, local_dir: Path, images: dict[str, Any] | None = None, **ingest: Any) -> Loaded:
    """As the stage does, of kind plain, 24×32 in colour; three images a class are enough."""
    wanted = {"kind": "plain", "height": 24, "width": 32, "channels": 3, "min_of_class": 3, **(images or {})}
    told = {"local_dir": str(local_dir), "test_share": 0.4, **ingest}
    changed = {
        "dataset": dataset,
        "images": PARAMS.images.model_copy(update=wanted),
        "ingest": PARAMS.ingest.model_copy(update=told),
    }
    return catalogue.load(PARAMS.model_copy(update=changed))


def refused(*arguments: Any, **changes: Any) -> str:
    with pytest.raises(BadInput) as caught:
        load(*arguments, **changes)
    message = str(caught.value)
    assert message and "Traceback" not in message and all(len(line) < 400 for line in message.splitlines())
    return message


def picture(seed: int, size: tuple[int, int] = (40, 30), kind: str = "JPEG") -> bytes:
    """Noise of an own colour."""
    rng = np.random.default_rng(seed)
    pixels = (rng.uniform(0, 200, 3) + rng.uniform(0, 55, (size[1], size[0], 3))).astype(np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, kind)
    return written.getvalue()


def write_folder(top: Path, names: tuple[str, ...] = NAMES, each: int = 6, seed: int = 0) -> Path:
    for number, name in enumerate(names):
        (top / name).mkdir(parents=True, exist_ok=True)
        for index in range(each):
            (top / name / f"{index}.jpg").write_bytes(picture(1000 * seed + 100 * number + index))
    return top


def counts(loaded: Loaded) -> tuple[int, int]:
    return len(loaded.train.labels), len(loaded.test.labels)


def test_folders_of_any_names_are_the_classes(tmp_path: Path):
    loaded = load("folder", write_folder(tmp_path / "own"))
    assert loaded.form.classes == NAMES and loaded.form.shape == (24, 32, 3) and loaded.form.kind == "plain"
    assert sum(counts(loaded)) == 18 and loaded.train.images.shape[1:] == (24, 32, 3)
    assert loaded.name == "folder" and sorted(loaded.files) == list(NAMES)


def test_a_data_set_is_called_as_params_say(tmp_path: Path):
    assert load("folder", write_folder(tmp_path / "own"), name="insects").name == "insects"


def test_train_val_and_test_are_folders_too(tmp_path: Path):
    for seed, part in enumerate(("train", "val", "test")):
        write_folder(tmp_path / part, each=3, seed=seed)
    loaded = load("folder", tmp_path)
    assert counts(loaded) == (18, 9)  # val is held out anew, by content
    assert sorted({name.split("/")[0] for name in loaded.files}) == ["test", "train", "val"]


def test_grey_is_asked_for_by_channels(tmp_path: Path):
    assert load("folder", write_folder(tmp_path / "own"), {"channels": 1}).form.shape == (24, 32)


def test_a_kind_of_digits_takes_other_signs_by_their_ink(tmp_path: Path):
    for number, name in enumerate(("x", "y", "z")):
        (tmp_path / name).mkdir()
        for index in range(4):
            paper = np.full((60, 60), 240, np.uint8)
            paper[10:50, 20 + index : 26 + index + 3 * number] = 10
            Image.fromarray(paper).save(tmp_path / name / f"{index}.png")
    loaded = load("folder", tmp_path, {"kind": "digits", "height": 28, "width": 28, "channels": 1})
    assert loaded.form.classes == ("x", "y", "z") and loaded.form.shape == (28, 28) and not loaded.form.of_digits


def test_two_folders_that_differ_in_case_only_are_refused(tmp_path: Path):
    assert "differ in case only" in refused("folder", write_folder(tmp_path / "own", ("cat", "Cat", "dog")))


def test_one_folder_is_nothing_to_tell_apart(tmp_path: Path):
    assert "nothing to tell apart" in refused("folder", write_folder(tmp_path / "own", ("cat",)))


def test_damaged_pictures_are_named_and_left_out_up_to_a_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    own = write_folder(tmp_path / "own")
    (own / "ant/0.jpg").write_bytes(picture(0)[:300])
    (own / "bee/1.jpg").write_bytes(b"no picture")
    lines = refused("folder", own).splitlines()
    assert len(lines) == 2 and "ant/0.jpg: is cut off or damaged" in lines[0] and "bee/1.jpg: is not a pic" in lines[1]
    assert "2 of 18, allowed 1 (ingest.max_unreadable)" in refused("folder", own, max_unreadable=0.1)
    loaded = load("folder", own, max_unreadable=0.2)
    assert sum(counts(loaded)) == 16
    said = capsys.readouterr().err
    assert "ant/0.jpg" in said and "2 of 18 pictures are left out" in said


def test_a_class_of_too_few_images_is_told_and_left_out_if_that_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    own = write_folder(tmp_path / "own", ("bee", "cat"))
    write_folder(own, ("ant",), each=2)
    assert "fewer than 3 images of ant (2)" in refused("folder", own)
    loaded = load("folder", own, {"leave_out_small": True})
    assert loaded.form.classes == ("bee", "cat") and sum(counts(loaded)) == 12
    assert set(loaded.train.labels.tolist()) == {0, 1}
    assert "left out, as too few: ant (2)" in capsys.readouterr().err
    assert "fewer than two classes" in refused("folder", own, {"leave_out_small": True, "min_of_class": 7})


# --- Tables ---------------------------------------------------------------------------------------------------------


def write_table(folder: Path, rows: list[dict[str, Any]], name: str = "metadata.jsonl") -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(12):
        (folder / f"{number}.png").write_bytes(picture(number, kind="PNG"))
    if name.endswith("csv"):
        text = "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)])
    else:
        text = "\n".join(map(json.dumps, rows))
    (folder / name).write_text(text + "\n")
    return folder


ROWS: list[dict[str, Any]] = [{"file_name": f"{number}.png", "label": NAMES[number % 3]} for number in range(12)]


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
def test_a_table_names_pictures_and_their_classes(tmp_path: Path, name: str):
    loaded = load("table", write_table(tmp_path / "own", ROWS, name))
    assert loaded.form.classes == NAMES and sum(counts(loaded)) == 12 and name in loaded.files


def test_a_table_says_what_is_test(tmp_path: Path):
    rows = [{**row, "split": "test" if number > 8 else "train"} for number, row in enumerate(ROWS)]
    assert counts(load("table", write_table(tmp_path / "own", rows))) == (9, 3)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"file_name": "../secret.png"}, "row 1: ../secret.png leads out of"),
        ({"file_name": "/etc/passwd"}, "leads out of"),
        ({"file_name": "none.png"}, "none.png"),
        ({"file_name": ""}, "a path (path, file_name"),
        ({"label": None}, "and a label are needed"),
        ({"label": ["ant"]}, "and a label are needed"),
        ({"label": "a\nb"}, "is no name for a class"),
        ({"split": "holdout"}, "split is 'holdout': it must be one of"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, change: dict[str, Any], line: str):
    assert line in refused("table", write_table(tmp_path / "own", [{**ROWS[0], **change}, *ROWS[1:]]))


@pytest.mark.parametrize("text", ["{", "[1]\n", '"a"\n', "\x00\xff", ""])
def test_what_is_no_table_is_one_line(tmp_path: Path, text: str):
    write_table(tmp_path / "own", ROWS)
    (tmp_path / "own/metadata.jsonl").write_bytes(text.encode("latin-1"))
    assert "metadata.jsonl" in refused("table", tmp_path / "own")


# --- Parquet --------------------------------------------------------------------------------------------------------


def write_parquet(path: Path, labels: list[Any], names: tuple[str, ...] | None = None, struct: bool = True) -> Path:
    """As Hugging Face exports a data set."""
    contents = [picture(hash(path.name) % 1000 + number) for number in range(len(labels))]
    column = [{"bytes": content, "path": None} for content in contents] if struct else contents
    table = pa.table({"image": column, "label": labels})
    if names:
        told = {"info": {"features": {"label": {"names": list(names), "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({b"huggingface": json.dumps(told).encode()})
    path.parent.mkdir(exist_ok=True)
    parquet.write_table(table, path)
    return path


def test_parquet_as_hugging_face_exports_it(tmp_path: Path):
    write_parquet(tmp_path / "own/train-00000-of-00001.parquet", [0, 1, 2] * 4, NAMES)
    write_parquet(tmp_path / "own/test-00000-of-00001.parquet", [2, 0, 1], NAMES)
    loaded = load("parquet", tmp_path / "own")
    assert loaded.form.classes == NAMES and counts(loaded) == (12, 3)
    assert loaded.test.labels.tolist() == [2, 0, 1] and len(loaded.files) == 2


def test_parquet_with_bytes_and_names_alone(tmp_path: Path):
    loaded = load("parquet", write_parquet(tmp_path / "own.parquet", [*NAMES] * 4, struct=False))
    assert loaded.form.classes == NAMES and sum(counts(loaded)) == 12


def test_parquet_that_is_not_whole_or_of_other_columns_is_one_line(tmp_path: Path):
    path = write_parquet(tmp_path / "own.parquet", [0, 1, 3] * 4, NAMES)
    assert "label 3 is out of range: there are 3 names" in refused("parquet", path)
    path.write_bytes(path.read_bytes()[:-40])
    assert "is not a whole Parquet file" in refused("parquet", path)
    parquet.write_table(pa.table({"pixels": [1], "label": [1]}), path)
    assert "and no image" in refused("parquet", path)
    parquet.write_table(pa.table({"image": ["text"] * 3, "label": [1, 2, 3]}), path)
    assert "no bytes of a picture" in refused("parquet", path)
    assert "holds no .parquet file" in refused("parquet", write_folder(tmp_path / "empty", each=0))


def test_findings_are_the_first_and_how_many_more():
    lines = labelled_pictures.shortened([f"line {number}" for number in range(50)])
    assert len(lines) == labelled_pictures.FINDINGS + 1 and lines[-1] == "and 30 more"
