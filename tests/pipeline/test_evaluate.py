"""Does the stage leave its numbers, tables and pictures, the same for the same input, and refuse a broken model?"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import linear_model
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import recall_score
from workspace import ROOT

from pipeline import evaluate
from pipeline.base import files, places
from pipeline.base.errors import BadInput
from pipeline.base.stored import Joined, Key
from pipeline.data import descriptions, held_out, splits
from pipeline.digits.non_digits import NonDigits
from pipeline.learning import inference

PARAMS = ROOT / "params.yaml"


@pytest.fixture(scope="module")
def digits() -> splits.Split:
    """Scikit-learn's 1,797 digits, each pixel 3×3, on paper."""
    images, labels = load_digits(return_X_y=True)
    large = np.kron(images.reshape(-1, 8, 8), np.ones((1, 3, 3))) * 255 / 16
    return splits.Split(np.pad(large, ((0, 0), (2, 2), (2, 2))).astype(np.uint8), labels.astype(np.uint8))


@pytest.fixture
def workspace(digits: splits.Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace after train: the splits, and as model the nearest class mean."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(PARAMS, tmp_path)
    parts = {"train": slice(0, 1200), "val": slice(1200, 1400), "test": slice(1400, None), "recent": slice(0, 0)}
    for name, part in parts.items():
        splits.save(places.PROCESSED / name, splits.Split(digits.images[part], digits.labels[part]))
    descriptions.save("test", descriptions.describe(splits.load(places.PROCESSED / "test")))
    ink = digits.images[:1200].reshape(1200, 784) / 255
    means = np.stack([ink[digits.labels[:1200] == digit].mean(axis=0) for digit in range(10)])
    linear_model.write(places.ONNX, means.T, -(means**2).sum(axis=1) / 2)
    return tmp_path


def test_the_stage_leaves_its_numbers_tables_and_pictures(workspace: Path, digits: splits.Split, capsys):
    evaluate.main()
    held = held_out.of(splits.load(places.PROCESSED / "test"), splits.load(places.PROCESSED / "recent"))
    (look,) = held_out.noted()  # for the gate to count
    assert look[:3] == ("digits", held.digest, files.sha256_file(places.ONNX))
    np.testing.assert_array_equal(look.images, held.short)
    metrics = json.loads(places.METRICS.read_text())
    predictions = np.load(places.EVALUATION / "predictions.npy")
    assert predictions.shape == (397, 10) and predictions.dtype == np.float32
    labels = digits.labels[1400:]
    right = predictions.argmax(axis=1) == labels
    assert metrics["accuracy"] == pytest.approx(right.mean(), abs=1e-6) and metrics["accuracy"] > 0.8
    assert metrics["errors"] == (~right).sum() and metrics["n_test"] == 397
    assert metrics["accuracy_low"] < metrics["accuracy"] < metrics["accuracy_high"]
    assert metrics["gap"] == pytest.approx(metrics["train_accuracy"] - metrics["accuracy"], abs=2e-6)
    pairs = pd.read_csv(places.EVALUATION / "confusion.csv")
    assert list(pairs.columns) == ["actual", "predicted"] and (pairs["actual"] == labels).all()
    assert metrics["min_recall"] == pytest.approx(
        recall_score(labels, pairs["predicted"], average=None).min(), abs=1e-6
    )
    names = {path.name for path in places.EVALUATION.iterdir()}
    tables = ("per_class", "confusion", "confused_pairs", "mistakes", "suspected_labels", "calibration", "slices")
    tables += ("robustness", "refusal")
    pictures = (
        "confusion_matrix",
        "confusion_images",
        "confused_pairs",
        "mistakes",
        "per_class",
        "reliability",
        "slices",
        "robustness",
        "refusal",
    )
    expected = {f"{name}.csv" for name in tables} | {f"{name}.png" for name in (*pictures, "suspected_labels")}
    assert names == expected | {"predictions.npy"}
    assert f"{metrics['errors']} errors in 397 images" in capsys.readouterr().out


def test_the_stage_leaves_the_same_bytes_twice(workspace: Path):
    def digests() -> dict[str, str]:
        evaluate.main()
        return {path.name: files.sha256_file(path) for path in (*places.EVALUATION.iterdir(), places.METRICS)}

    assert digests() == digests()


def test_the_same_comes_of_a_test_split_of_several_shards(
    workspace: Path, digits: splits.Split, monkeypatch: pytest.MonkeyPatch
):
    def left() -> dict[str, str]:
        evaluate.main()
        return {path.name: files.sha256_file(path) for path in (*places.EVALUATION.iterdir(), places.METRICS)}

    whole = left()
    monkeypatch.setattr(splits, "SHARD_IMAGES", 100)
    for name, part in {"train": slice(0, 1200), "test": slice(1400, None)}.items():
        splits.save(places.PROCESSED / name, splits.Split(digits.images[part], digits.labels[part]))
    assert len(splits.shards(places.PROCESSED / "test") or []) == 4
    assert left() == whole
    assert len({look.held_out for look in held_out.noted()}) == 1  # the gate takes them for the same images


def test_non_digits_are_drawn_from_no_more_of_test_than_memory_is_to_hold(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(evaluate, "ASKED", 50 * 784)
    drawn_from = []

    def drawn(images: np.ndarray, rng: np.random.Generator, count: int) -> NonDigits:
        drawn_from.append(len(images))
        return NonDigits(images, rng, count)

    monkeypatch.setattr(evaluate, "NonDigits", drawn)
    evaluate.main()
    assert drawn_from == [50]


def test_no_more_images_are_read_at_once_than_memory_is_to_hold(
    workspace: Path, digits: splits.Split, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(splits, "SHARD_IMAGES", 100)
    for name, part in {"train": slice(0, 1200), "test": slice(1400, None)}.items():
        splits.save(places.PROCESSED / name, splits.Split(digits.images[part], digits.labels[part]))
    monkeypatch.setattr(splits, "CHUNK", 50)
    monkeypatch.setattr(inference, "CHUNK", 50)
    monkeypatch.setattr(evaluate, "ASKED", 50 * 784)
    (workspace / "params.yaml").write_text(PARAMS.read_text().replace("corrupted: 1000", "corrupted: 50"))
    read: list[int] = []
    whole = Joined.__getitem__

    def counted(images: Joined, key: Key) -> np.ndarray:
        found = whole(images, key)
        read.append(len(found) if found.ndim == 3 else 1)
        return found

    monkeypatch.setattr(Joined, "__getitem__", counted)
    evaluate.main()
    assert sum(read) > 2 * 397 and max(read) <= 100  # 100 cells of the picture of confusions


def test_a_model_that_answers_nan_is_refused_and_nothing_is_left(workspace: Path):
    linear_model.write(places.ONNX, np.zeros((784, 10)), np.full(10, np.nan))
    with pytest.raises(BadInput, match=r"the model answers NaN to 1200 of 1200 train images"):
        evaluate.main()
    assert not places.METRICS.exists() and not places.EVALUATION.exists()


def test_a_missing_model_is_refused(workspace: Path):
    places.ONNX.unlink()
    with pytest.raises(BadInput, match=r"there is no models/model.onnx: run `dvc repro`"):
        evaluate.main()


def test_evaluating_needs_no_tensorflow(workspace: Path):
    script = "import sys; from pipeline import evaluate; evaluate.main(); print('tensorflow' in sys.modules)"
    root = str(PARAMS.parent)
    run = subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": root}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "False"
