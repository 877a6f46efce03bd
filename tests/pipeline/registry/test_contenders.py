"""Is what stands against each other read as it is?"""

from pathlib import Path

import linear_model
import numpy as np
import pytest
from mlflow.entities.model_registry import ModelVersion, ModelVersionTag

from pipeline.base.form import Form
from pipeline.data import held_out, splits
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


def test_the_gate_reads_a_test_split_of_several_shards_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    linear_model.write(tmp_path / "some.onnx", rng.normal(size=(784, 10)), np.zeros(10))
    monkeypatch.setattr(artifacts, "onnx_file", lambda client, version: tmp_path / "some.onnx")
    images, labels = rng.integers(0, 256, (60, 28, 28), np.uint8), (np.arange(60) % 10).astype(np.uint8)
    recent = Split(images[40:], labels[40:])  # ten of them stand in test too
    read = []
    for size in (splits.SHARD_IMAGES, 8):
        monkeypatch.setattr(splits, "SHARD_IMAGES", size)
        for name, split in {"test": Split(images[:50], labels[:50]), "recent": recent}.items():
            splits.save(tmp_path / f"{size}" / name, split)
        parts = [splits.load(tmp_path / f"{size}" / name) for name in ("test", "recent")]
        unseen = contenders.Unseen(*parts, held_out.of(*parts))
        version = ModelVersion("some", "1", 0, tags=[ModelVersionTag("onnx_sha256", str(size))])
        read.append((unseen.held.digest, contenders._answers(None, version, unseen)))  # type: ignore[arg-type]
    assert read[0][0] == read[1][0] and len(read[0][1]) == 60
    np.testing.assert_array_equal(read[0][1], read[1][1])
