"""Is a CSV file read whole, and is a wrong cell named where it stands?"""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_mnist import PARAMS, load, refusal, some_images, some_labels

from pipeline.base.errors import BadInput
from pipeline.base.form import Form
from pipeline.data.datasets import catalogue, csv_file, decoders

PIXELS = [f"pixel{i}" for i in range(784)]


def csv_lines(count: int = 50) -> list[str]:
    rows = np.column_stack([some_labels(count), some_images(count).reshape(count, -1)])
    return [",".join(["label", *PIXELS]), *(",".join(map(str, row)) for row in rows)]


def write_csv(folder: Path, lines: list[str]) -> Path:
    (folder / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "train.csv"


def test_as_kaggle_has_it(tmp_path: Path) -> None:
    path = write_csv(tmp_path, csv_lines())
    read = csv_file.read(path, decoders.Source(PARAMS.ingest, PARAMS.images))
    np.testing.assert_array_equal(read.images, some_images(50))
    np.testing.assert_array_equal(read.labels, some_labels(50))
    from_folder, from_file = load("csv", tmp_path), load("csv", path)
    np.testing.assert_array_equal(from_folder.test.images, from_file.test.images)
    assert len(from_folder.train.labels) + len(from_folder.test.labels) == 50


@pytest.mark.parametrize("cell", ["abc", "", "nan", "256", "-1", "0.5", "inf", "99999999999999999999"])
@pytest.mark.parametrize("column", [0, 12, 784])
def test_names_the_line_and_column_of_a_wrong_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: str, column: int
) -> None:
    monkeypatch.setattr(csv_file, "CHUNK", 8)  # so that the line stands in the second chunk
    lines = csv_lines()
    cells = lines[10].split(",")
    cells[column] = cell
    lines[10] = ",".join(cells)
    message = refusal("csv", write_csv(tmp_path, lines))
    assert f"{tmp_path}/train.csv: line 11: {'label' if column == 0 else f'pixel{column - 1}'} is '" in message


def test_label_10_is_refused(tmp_path: Path) -> None:
    lines = csv_lines()
    lines[3] = "10" + lines[3][1:]
    assert "line 4: label is '10'" in refusal("csv", write_csv(tmp_path, lines))


BAD_CSV = {
    "lacks 1 columns, the first is pixel783": [line.rsplit(",", 1)[0] for line in csv_lines()],
    "the first is label": [line.split(",", 1)[1] for line in csv_lines()],
    "line 3: label is ''": [*csv_lines()[:2], "", *csv_lines()[2:]],
    "line 51: pixel783 is": [*csv_lines()[:50], csv_lines()[50].rsplit(",", 1)[0]],
    "line 2 has more cells": [csv_lines()[0], *(f"{line},1" for line in csv_lines()[1:])],
    "in line 5, saw 786": [*csv_lines()[:4], f"{csv_lines()[4]},1", *csv_lines()[5:]],
    "holds no images": csv_lines()[:1],
    "is not a CSV file": [],
}


@pytest.mark.parametrize("reason", BAD_CSV)
def test_what_is_bad_is_refused(tmp_path: Path, reason: str) -> None:
    path = write_csv(tmp_path, BAD_CSV[reason])
    message = refusal("csv", path)
    assert reason in message
    assert str(path) in message


def test_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes(gzip.compress(b"label,pixel0\n1,2\n"))
    assert str(path) in refusal("csv", path)


def load_plain(path: Path, **images: Any) -> decoders.Loaded:
    wanted = PARAMS.images.model_copy(update={"kind": "plain", "min_of_class": 1, **images})
    ingest = PARAMS.ingest.model_copy(update={"local_dir": str(path), "test_share": 0.3})
    return catalogue.load(PARAMS.model_copy(update={"dataset": "csv", "images": wanted, "ingest": ingest}))


def plain_lines(labels: list[str], first: int = 0) -> list[str]:
    """Images of 8×9 with these labels."""
    images = np.random.default_rng(5).integers(0, 256, (len(labels), 72))
    header = ",".join(["label", *(f"pixel{at + first}" for at in range(72))])
    return [header, *(f"{label},{','.join(map(str, image))}" for label, image in zip(labels, images, strict=True))]


def test_of_other_sizes_and_names_counted_from_one(tmp_path: Path) -> None:
    path = write_csv(tmp_path, plain_lines(["dog", "cat"] * 10, first=1))
    loaded = load_plain(path, height=8, width=9)
    assert loaded.form == Form("plain", (8, 9), ("cat", "dog"))
    assert len(loaded.train.labels) + len(loaded.test.labels) == 20
    with pytest.raises(BadInput, match=r"lacks 9 columns, the first is pixel73"):
        load_plain(path, height=9, width=9)
    with pytest.raises(BadInput, match=r"has 8 more pixels than images in params.yaml say"):
        load_plain(path, height=8, width=8)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["007", "7", "12"], ("7", "12")),  # numbers, however they are written
        (["007", "12", "x1"], ("007", "12", "x1")),  # one name, and all are names
        (["2", "1", "3.0"], ("1", "2", "3")),
        (["1", "nan", "none"], ("1", "nan", "none")),
        (["70000", "100200300"], ("70000", "100200300")),
    ],
)
def test_labels_are_numbers_or_names_in_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: list[str], classes: tuple[str, ...]
) -> None:
    monkeypatch.setattr(csv_file, "CHUNK", 20)  # so that each label has chunks of its own
    lines = plain_lines([label for label in labels for _ in range(40)])
    assert load_plain(write_csv(tmp_path, lines), height=8, width=9).form.classes == classes


def test_an_empty_name_is_none(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="'' is no name for a class"):
        load_plain(write_csv(tmp_path, plain_lines(["a", "b", ""] * 10)), height=8, width=9)
