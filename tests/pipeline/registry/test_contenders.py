"""Is what stands against each other read as it is?"""

from pathlib import Path

import linear_model
import numpy as np
import pytest
from mlflow.entities.model_registry import ModelVersion, ModelVersionTag

from pipeline.base.form import Form
from pipeline.data import held_out
from pipeline.data.splits import Split
from pipeline.registry import artifacts, contenders


def test_more_classes_than_a_byte_counts_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    form = Form(classes=tuple(f"c{n}" for n in range(300)))
    rows = np.zeros((28, 28, 300))
    rows[np.arange(20), :, 280 + np.arange(20)] = 1.0
    linear_model.write(tmp_path / "many.onnx", rows.reshape(784, 300), np.zeros(300), form=form)
    monkeypatch.setattr(artifacts, "onnx_file", lambda client, version: tmp_path / "many.onnx")
    drawn = np.zeros((20, 28, 28), np.uint8)
    drawn[np.arange(20), np.arange(20)] = 255
    test = Split(drawn, np.arange(280, 300, dtype=np.uint16))
    recent = Split(test.images[:0], test.labels[:0])
    unseen = contenders.Unseen(test, recent, held_out.of(test, recent))
    version = ModelVersion("many", "1", 0, tags=[ModelVersionTag("onnx_sha256", "0")])
    for _ in ("asked", "remembered"):
        answered = contenders._answers(None, version, unseen)  # type: ignore[arg-type]
        np.testing.assert_array_equal(answered, unseen.held.labels)
