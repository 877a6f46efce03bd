"""Does a notebook or script get an answer a picture, however it asks?"""

import subprocess
import sys
from pathlib import Path

import linear_model
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from workspace import ROOT

import digits


@pytest.fixture
def model(tmp_path: Path) -> digits.Model:
    """That reads a 1 wherever it is asked."""
    linear_model.write(tmp_path / "m.onnx", np.zeros((784, 10)), 9.0 * np.eye(10)[1], certain_from=0.0)
    return digits.Model("m", "1", tmp_path / "m.onnx")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    drawn = np.full((40, 40), 255, np.uint8)
    drawn[8:32, 18:22] = 0
    Image.fromarray(drawn).save(tmp_path / "one.png")
    return tmp_path / "one.png"


def test_a_path_or_several_or_a_folder_are_rows(model: digits.Model, picture: Path):
    for asked in (picture, str(picture), [picture], [str(picture.parent)], picture.parent):
        found = model.predict(asked)
        assert found["file"].tolist() == [str(picture)] and found["digit"].tolist() == [1]


def test_a_frame_keeps_its_rows_columns_and_index(model: digits.Model, picture: Path):
    asked = pd.DataFrame({"path": [picture, "gone.png", picture], "digit": [7, 8, 9]}, index=["a", "a", "b"])
    found = model.predict(asked)
    assert found.index.tolist() == ["a", "a", "b"] and found["digit"].tolist() == [7, 8, 9]
    assert found["digit_predicted"].tolist()[::2] == [1, 1]
    assert found["reason"].notna().tolist() == [False, True, False]


def test_nothing_asked_is_no_row(model: digits.Model):
    for nothing in ([], pd.DataFrame({"path": []}), np.empty((0, 28, 28), np.uint8)):
        found = model.predict(nothing)
        assert len(found) == 0 and {"digit", "confidence", "second", "reason"} <= {*found.columns}


SCRIPT = """
import sys
from pathlib import Path
import digits
print("begun")
print(len(digits.Model("m", "1", Path(sys.argv[1])).predict([sys.argv[2]] * 100)))
"""


def test_a_script_without_a_guard_runs_once(model: digits.Model, picture: Path, tmp_path: Path):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py", str(model.onnx), str(picture)]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "begun\n100\n"), done.stderr
