"""Many pictures, read in order, with those that cannot be read among them."""

import csv
import json
import shutil
from pathlib import Path

import linear_model
import numpy as np
import pandas as pd
import pytest
from drawing import draw
from PIL import Image

from pipeline.base.errors import BadInput
from pipeline.learning import reading
from pipeline.learning.reading import Answer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 1, a 4, a blank page, text that says it is a picture, and what is none."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "inner").mkdir()
    Image.fromarray(draw(1)).save(folder / "1.png")
    Image.fromarray(draw(4)).save(folder / "inner/4.JPG")
    Image.new("L", (90, 90), 255).save(folder / "blank.png")
    (folder / "broken.png").write_text("seven")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    linear_model.write(path, np.random.default_rng(0).normal(0, 0.1, (784, 10)), np.zeros(10))
    return path


def test_folders_patterns_and_files_are_found_in_order(folder: Path):
    names = ["1.png", "blank.png", "broken.png", "inner/4.JPG"]
    assert reading.find([str(folder)]) == [str(folder / name) for name in names]
    assert reading.find([f"{folder}/b*.png"]) == [f"{folder}/blank.png", f"{folder}/broken.png"]
    assert reading.find([f"{folder}/**/*.JPG"]) == [f"{folder}/inner/4.JPG"]
    assert reading.find(["absent.png", f"{folder}/*.gif"]) == ["absent.png", f"{folder}/*.gif"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder: Path):
    shutil.copy(folder / "1.png", folder / "one[1].png")
    assert reading.find([f"{folder}/one[1].png"]) == [f"{folder}/one[1].png"]
    (folder / "one[1].png").unlink()


def test_what_the_model_is_not_certain_of_has_its_doubt_and_the_probabilities(folder: Path, tmp_path: Path):
    weights = np.zeros((784, 10))
    for scale, reason in ((0.0, "it could be a 9 or an 8"), (1.0, "it looks like no digit")):
        linear_model.write(tmp_path / f"{scale}.onnx", weights, 9 * scale * np.eye(10)[3], certain_from=2.0)
        (answer,) = reading.read([str(folder / "1.png")], tmp_path / f"{scale}.onnx")
        assert (answer.digit, answer.reason, len(answer.probabilities)) == (None, reason, 10)
    linear_model.write(tmp_path / "certain.onnx", weights, 9 * np.eye(10)[3], certain_from=0.5)
    (answer,) = reading.read([str(folder / "1.png")], tmp_path / "certain.onnx")
    assert (answer.digit, answer.reason) == (3, None)


def test_what_cannot_be_read_has_its_reason_and_the_others_go_on(folder: Path, onnx: Path):
    found = list(reading.read([*reading.find([str(folder)]), "absent.png"], onnx))
    reasons = [answer.reason and answer.reason.split(":")[0] for answer in found]
    assert reasons == [None, "no digit is to be seen", "is not a picture", None, "there is no such file"]
    for answer in found:
        assert (answer.digit is None) == (answer.reason is not None)
    one = found[0]
    assert one.digit != one.second and one.confidence == max(one.probabilities)


def test_several_processes_answer_as_one_does(folder: Path, onnx: Path, monkeypatch: pytest.MonkeyPatch):
    pictures = reading.find([str(folder)]) * 3
    alone = list(reading.read(pictures, onnx))
    monkeypatch.setattr(reading, "FEW", 0)
    monkeypatch.setattr(reading, "PART", 5)
    monkeypatch.setattr(reading.os, "sched_getaffinity", lambda _: {0, 1})
    assert list(reading.read(pictures, onnx)) == alone


ANSWERS = [Answer("a.png", 7, 0.75, 1, None, (0.0,) * 10), Answer("b,\n.png", reason="is not a picture")]


def test_answers_are_saved_on_their_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "ROW_GROUP", 1)
    for suffix in reading.WRITERS:
        assert list(reading.saved(ANSWERS, tmp_path / f"out{suffix}")) == ANSWERS
    rows = list(csv.DictReader((tmp_path / "out.csv").open(newline="")))
    assert rows[0] == {"file": "a.png", "digit": "7", "confidence": "0.75", "second": "1", "reason": ""}
    assert rows[1]["file"] == "b,\n.png" and rows[1]["digit"] == "" and rows[1]["reason"] == "is not a picture"
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert lines[0] == {"file": "a.png", "digit": 7, "confidence": 0.75, "second": 1, "reason": None}
    frame = pd.read_parquet(tmp_path / "out.parquet")
    assert list(frame.columns) == list(reading.COLUMNS) and frame["digit"].isna().tolist() == [False, True]


def test_no_answers_are_a_file_without_rows(tmp_path: Path):
    assert list(reading.saved([], tmp_path / "none.parquet")) == []
    assert len(pd.read_parquet(tmp_path / "none.parquet")) == 0


def test_a_run_that_is_cut_off_leaves_no_file(tmp_path: Path):
    def cut_off():
        yield ANSWERS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(reading.saved(cut_off(), tmp_path / "out.csv"))
    assert not list(tmp_path.iterdir())


def test_another_kind_of_file_is_refused_before_anything_is_read(tmp_path: Path):
    with pytest.raises(BadInput, match=r"out.xlsx: answers are written as \.csv, \.jsonl, \.parquet"):
        reading.saved(iter(ANSWERS), tmp_path / "out.xlsx")


def test_a_name_of_any_bytes_can_be_printed(onnx: Path):
    [answer] = reading.read(["caf\udce9.png"], onnx)
    assert answer.file == "caf\ufffd.png" and answer.reason == "there is no such file"


def test_every_digit_of_a_picture_has_an_answer_and_its_box(folder: Path, onnx: Path, tmp_path: Path):
    both = np.concatenate([draw(4), draw(1)], axis=1)
    Image.fromarray(both).save(tmp_path / "41.png")
    pictures = [str(tmp_path / "41.png"), str(folder / "blank.png")]
    first, second, blank = reading.saved(reading.read(pictures, onnx, every=True), tmp_path / "a.csv", every=True)
    assert first.box and second.box and first.box[0] < 200 < second.box[0] and blank.box is None
    assert "no digit" in str(blank.reason)
    frame = pd.read_csv(tmp_path / "a.csv")
    assert list(frame.columns) == reading.columns(every=True) and frame["left"].tolist()[:2] == [
        first.box[0],
        second.box[0],
    ]
