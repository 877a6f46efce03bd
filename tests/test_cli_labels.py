"""`digits label` as a person uses it: a key a picture."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import cli_labels
from pipeline.base.errors import BadInput
from pipeline.base.form import DIGITS
from pipeline.monitoring import labelling


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    labelling.write(tmp_path / "asked", np.zeros((3, 28, 28), np.uint8), DIGITS)
    return tmp_path / "asked"


def test_each_label_is_kept_and_what_came_of_it_alone_goes_to_stdout(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "stdin", io.StringIO("7x\b8 "))  # x is no class; the first is said again; a space: none
    cli_labels.label(folder, by="ann", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"person": "ann", "labelled": 2, "left": 1}
    assert labelling.of(folder, "ann") == {0: "8", 1: labelling.SKIPPED}
    monkeypatch.setattr(sys, "stdin", io.StringIO("1"))  # the one that is left
    cli_labels.label(folder, by="ann")
    out, asked = capsys.readouterr()
    assert out == f"3 labelled, 0 left; `digits label {folder} --batch` when all who label have done so\n"
    assert "space: none of them" in asked and "1 of 1" in asked


def test_a_batch_is_not_made_while_labels_are_taken_in(folder: Path):
    with pytest.raises(BadInput, match=r"^give either --batch or --from: "):
        cli_labels.label(folder, batch=True, export=folder / "export.json")
