"""`digits label`: one key a picture, kept at once; then the batch."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

import cli
from pipeline.base.form import DIGITS
from pipeline.monitoring import labelling

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    labelling.write(tmp_path / "asked", IMAGES, DIGITS)
    return tmp_path / "asked"


def label(folder: Path, *options: str, keys: str = "") -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.StringIO(keys))
        try:
            cli.main(["label", str(folder), *options])
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


def test_each_key_is_kept_and_one_that_stopped_goes_on_where_it_was(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert label(folder, "--by", "ann", keys="7x3\x7f4\r") == 0  # x is no key of a digit
    assert labelling.of(folder, "ann") == {0: "7", 1: "4"}
    capsys.readouterr()
    assert label(folder, "--by", "ann", keys=" ") == 0
    out, asked = capsys.readouterr()
    assert "1 of 1\n" in asked and "space: none of them" in asked
    assert out == f"3 labelled, 0 left; `digits label {folder} --batch` when all who label have done so\n"
    assert labelling.of(folder, "ann") == {0: "7", 1: "4", 2: labelling.SKIPPED}
    assert label(folder, "--batch") == 0
    assert "2 images have a label" in capsys.readouterr().out and (folder / "batch.npz").is_file()


def test_a_folder_of_other_things_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert label(tmp_path) == 2
    assert "holds no images to label" in capsys.readouterr().err


def test_json_is_all_that_goes_to_stdout(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert label(folder, "--by", "ann", "--json", keys="7x\b8 ") == 0  # the first is said again
    assert json.loads(capsys.readouterr().out) == {"person": "ann", "labelled": 2, "left": 1}
    assert labelling.of(folder, "ann") == {0: "8", 1: labelling.SKIPPED}


def test_a_batch_is_not_made_while_labels_are_taken_in(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert label(folder, "--batch", "--from", "export.json") == 2
    assert capsys.readouterr().err.startswith("error: give either --batch or --from: ")
