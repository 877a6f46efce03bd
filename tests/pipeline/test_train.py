from pathlib import Path

import numpy as np
import onnx
import pytest

from pipeline import inference, models, train
from pipeline.backend import keras
from pipeline.params import Augment, Train
from pipeline.splits import Split

PARAMS = Train(
    network="small",
    seed=3,
    epochs=3,
    min_steps_per_epoch=4,
    batch_size=32,
    learning_rate=0.004,
    dropout=0.3,
    patience=3,
    augment=Augment(shift=2, rotate=10, zoom=0.1),
)


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bars(count: int, seed: int) -> Split:
    """Noisy images whose class is where their bar stands: learnable in a few steps."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count).astype(np.uint8)
    images = rng.integers(0, 60, (count, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[4:24, 2 * label + 4 : 2 * label + 6] = 255
    return Split(images, labels)


TRAIN, VAL = bars(100, seed=0), bars(40, seed=1)


def digest(params: Train = PARAMS, key: str = "key") -> str:
    model, _ = train.fit(TRAIN, VAL, params, key)
    train.CHECKPOINT.unlink()
    return train.weights_digest(model)


def test_the_same_params_and_data_give_the_same_weights_and_another_seed_others():
    first = digest()
    assert digest() == first
    assert digest(PARAMS.model_copy(update={"seed": 4})) != first


class CutOff(Exception):
    """Stands for a crash."""


def interrupt_after(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise in the middle of the epoch after ``epochs`` finished ones, as a crash would."""
    whole = train.AugmentedBatches.__getitem__

    def crash(batches: train.AugmentedBatches, step: int) -> tuple[np.ndarray, np.ndarray]:
        if batches.epoch == epochs and step == 2:
            raise CutOff
        return whole(batches, step)

    with monkeypatch.context() as patch:
        patch.setattr(train.AugmentedBatches, "__getitem__", crash)
        with pytest.raises(Exception, match=r"CutOff"):
            train.fit(TRAIN, VAL, PARAMS, "key")


@pytest.mark.parametrize("epochs", [1, 2])
def test_an_interrupted_run_goes_on_and_ends_with_the_same_weights(
    epochs: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    uninterrupted, history = train.fit(TRAIN, VAL, PARAMS, "key")
    train.CHECKPOINT.unlink()
    interrupt_after(epochs, monkeypatch)
    capsys.readouterr()
    resumed, resumed_history = train.fit(TRAIN, VAL, PARAMS, "key")
    assert f"goes on after epoch {epochs}" in capsys.readouterr().out
    assert train.weights_digest(resumed) == train.weights_digest(uninterrupted)
    measured = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"]
    np.testing.assert_array_equal(resumed_history[measured], history[measured])


def test_a_run_cut_off_after_its_last_epoch_only_writes_its_files(capsys: pytest.CaptureFixture[str]):
    whole, _ = train.fit(TRAIN, VAL, PARAMS, "key")
    capsys.readouterr()
    again, history = train.fit(TRAIN, VAL, PARAMS, "key")
    assert "loss" not in capsys.readouterr().out and len(history) == PARAMS.epochs
    assert train.weights_digest(again) == train.weights_digest(whole)


def test_a_checkpoint_of_another_run_or_a_broken_one_counts_as_none(capsys: pytest.CaptureFixture[str]):
    train.fit(TRAIN, VAL, PARAMS, "other params")
    train.fit(TRAIN, VAL, PARAMS, "key")
    train.CHECKPOINT.write_bytes(train.CHECKPOINT.read_bytes()[:1000])
    train.fit(TRAIN, VAL, PARAMS, "key")
    assert "goes on" not in capsys.readouterr().out


def loss_of(model: keras.Model) -> float:
    right = model.predict(VAL.images, verbose=0)[np.arange(len(VAL.labels)), VAL.labels]
    return float(-np.log(right).mean())


def test_a_whole_run_keeps_its_last_epoch():
    model, history = train.fit(TRAIN, VAL, PARAMS, "key")
    assert history["kept"].tolist() == [False, False, True]
    assert loss_of(model) == pytest.approx(history["val_loss"].iloc[-1], rel=1e-3)


def test_training_stops_early_and_ends_on_the_best_epoch():
    params = PARAMS.model_copy(update={"epochs": 30, "patience": 1, "learning_rate": 0.05})
    model, history = train.fit(TRAIN, VAL, params, "key")
    assert len(history) < 30 and history["val_loss"].idxmin() == history["kept"].idxmax()
    assert loss_of(model) == pytest.approx(history["val_loss"].min(), rel=1e-3)
    again, _ = train.fit(TRAIN, VAL, params, "key")  # as if it was cut off before it wrote its files
    assert train.weights_digest(again) == train.weights_digest(model)


def test_batches_pass_over_every_image_equally_often_and_the_small_set_several_times():
    batches = train.AugmentedBatches(TRAIN, PARAMS)
    assert len(batches) == 4 and batches[3][0].shape == (32, 28, 28)
    counts = np.bincount(batches.order[: 4 * 32], minlength=100)
    assert counts.min() >= 1 and counts.max() <= 2


@pytest.mark.parametrize("network", models.NETWORKS)
def test_onnx_answers_as_keras_does(network: str, workspace: Path):
    keras.utils.set_random_seed(0)
    model = models.build(network, dropout=0.2)
    images = bars(70, seed=5).images
    assert train.export_onnx(model, workspace / "model.onnx", images) <= train.ONNX_TOLERANCE
    np.testing.assert_allclose(
        inference.probabilities(workspace / "model.onnx", images), model.predict(images, verbose=0), atol=1e-5
    )
    graph = onnx.load(workspace / "model.onnx").graph
    assert [(i.name, i.type.tensor_type.shape.dim[0].dim_param) for i in (*graph.input, *graph.output)] == [
        ("images", "N"),
        ("probabilities", "N"),
    ]


def test_an_export_that_differs_is_refused_and_leaves_no_file(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(train, "ONNX_TOLERANCE", -1.0)
    with pytest.raises(RuntimeError, match="differ from Keras'"):
        train.export_onnx(models.build("small", 0.2), workspace / "model.onnx", VAL.images)
    assert not list(workspace.glob("*.onnx"))
