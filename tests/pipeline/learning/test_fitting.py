from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from bars import bars
from workspace import ROOT

from pipeline.base import params as params_file
from pipeline.base.errors import BadInput
from pipeline.base.form import Form
from pipeline.base.params import Augment, Network, Recipe
from pipeline.data.splits import Split
from pipeline.learning import export, fit_identity, fitting
from pipeline.learning.augmented import AugmentedBatches
from pipeline.learning.backend import keras

SHIPPED = params_file.load(ROOT / "params.yaml").recipes
# Batch norm and dropout, which have a state of their own; of few layers, as it is the layers that a fit's graphs take
# their seconds for.
SMALL = Network.model_validate({"name": "conv-blocks", "blocks": 1, "filters": 4, "batch_norm": True, "dropout": 0.3})
RECIPE = Recipe(
    network=SMALL,
    val_share=0.1,
    epochs=3,
    min_steps_per_epoch=4,
    batch_size=32,
    optimizer="adam",
    learning_rate=0.004,
    schedule="cosine",
    patience=3,
    augment=Augment(shift=2, rotate=10, zoom=0.1, shear=0.1, elastic=0.5, stroke=0.2),
)
CHECKPOINT = Path("checkpoint.npz")


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


TRAIN, VAL = bars(100, seed=0), bars(40, seed=1)


def fit(recipe: Recipe = RECIPE, seed: int = 3) -> tuple[keras.Model, pd.DataFrame]:
    return fitting.fit(TRAIN, VAL, recipe, seed, CHECKPOINT)


def digest(recipe: Recipe = RECIPE, seed: int = 3) -> str:
    return export.weights_digest(fitting.fit(TRAIN, VAL, recipe, seed)[0])


class Fitted(NamedTuple):
    model: keras.Model
    digest: str
    history: pd.DataFrame
    checkpoint: bytes
    size: float


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    """RECIPE fitted once from the beginning to the end: a fit takes three seconds, most of them to build its graphs."""
    checkpoint = tmp_path_factory.mktemp("uninterrupted") / CHECKPOINT
    model, history = fitting.fit(TRAIN, VAL, RECIPE, 3, checkpoint)
    return Fitted(model, export.weights_digest(model), history, checkpoint.read_bytes(), size(model))


def size(model: keras.Model) -> float:
    """The sum of the weights that a penalty is on."""
    return sum(float(np.abs(layer.kernel).sum()) for layer in model.layers if hasattr(layer, "kernel"))


def test_the_same_recipe_seed_and_data_give_the_same_weights_and_another_seed_others(uninterrupted: Fitted):
    assert digest() == uninterrupted.digest
    assert digest(seed=4) != uninterrupted.digest


class CutOff(Exception):
    """Stands for a crash."""


def interrupt_after(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise in the middle of the epoch after ``epochs`` finished ones, as a crash would."""
    whole = AugmentedBatches.__getitem__

    def crash(batches: AugmentedBatches, step: int) -> tuple[np.ndarray, np.ndarray]:
        if batches.epoch == epochs and step == 2:
            raise CutOff
        return whole(batches, step)

    with monkeypatch.context() as patch:
        patch.setattr(AugmentedBatches, "__getitem__", crash)
        with pytest.raises(CutOff):  # and no error of TensorFlow's, whose threads it happens on
            fit()


def test_an_interrupted_run_goes_on_and_ends_with_the_same_weights(
    uninterrupted: Fitted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    interrupt_after(1, monkeypatch)
    capsys.readouterr()
    resumed, resumed_history = fit()
    assert "goes on after epoch 1" in capsys.readouterr().out
    assert export.weights_digest(resumed) == uninterrupted.digest
    measured = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"]
    np.testing.assert_array_equal(resumed_history[measured], uninterrupted.history[measured])


def test_a_run_cut_off_after_its_last_epoch_only_writes_its_files(
    uninterrupted: Fitted, capsys: pytest.CaptureFixture[str]
):
    CHECKPOINT.write_bytes(uninterrupted.checkpoint)
    again, history = fit()
    assert "loss" not in capsys.readouterr().out and len(history) == RECIPE.epochs
    assert export.weights_digest(again) == uninterrupted.digest


def test_a_checkpoint_of_another_run_or_a_broken_one_counts_as_none(
    uninterrupted: Fitted, capsys: pytest.CaptureFixture[str]
):
    CHECKPOINT.write_bytes(uninterrupted.checkpoint)
    fit(seed=4)
    CHECKPOINT.write_bytes(CHECKPOINT.read_bytes()[:1000])
    fit(seed=4)
    assert "goes on" not in capsys.readouterr().out


def loss_of(model: keras.Model) -> float:
    probabilities, digit = model.predict(VAL.images, verbose=0)
    return float(-np.log(digit * probabilities[np.arange(len(VAL.labels)), VAL.labels]).mean())


def test_a_whole_run_keeps_its_last_epoch(uninterrupted: Fitted):
    history = uninterrupted.history
    assert history["kept"].tolist() == [False, False, True]
    assert loss_of(uninterrupted.model) == pytest.approx(history["val_loss"].iloc[-1], rel=1e-3)


def test_training_stops_early_and_ends_on_the_best_epoch():
    recipe = RECIPE.model_copy(update={"epochs": 30, "patience": 1, "learning_rate": 0.05})
    model, history = fit(recipe)
    assert len(history) < 30 and history["val_loss"].idxmin() == history["kept"].idxmax()
    assert loss_of(model) == pytest.approx(history["val_loss"].min(), rel=1e-3)
    again, _ = fit(recipe)  # as if it was cut off before it wrote its files
    assert export.weights_digest(again) == export.weights_digest(model)


def test_a_fit_of_pictures_in_colour_and_three_classes(workspace: Path):
    rng, labels = np.random.default_rng(0), np.arange(90, dtype=np.uint8) % 3
    images = rng.integers(0, 60, (90, 12, 10, 3), dtype=np.uint8)
    images[np.arange(90), :, :, labels] += 150
    form, split = Form("plain", (12, 10, 3), ("red", "green", "blue")), Split(images, labels)
    augment = Augment(shift=1, rotate=5, zoom=0.05, flip=True, paper=0.2)
    recipe = RECIPE.model_copy(update={"augment": augment, "label_smoothing": 0.1, "balanced": True, "epochs": 6})
    model, history = fitting.fit_all(split, split, recipe, 3, form=form)
    answered = model.predict(images, verbose=0)
    assert answered["probabilities"].shape == (90, 3) and len(history) == 6
    assert (answered["probabilities"].argmax(axis=1) == labels).mean() > 0.9


class Scored:
    """Answers with these scores, as :func:`pipeline.learning.networks.answering` does."""

    def __init__(self, scores: np.ndarray) -> None:
        self.scores = scores

    def predict(self, images: np.ndarray, **_: object) -> tuple[np.ndarray, np.ndarray]:
        return np.eye(10, dtype=np.float32)[np.zeros(len(images), int)], self.scores


@pytest.mark.parametrize(("count", "refused"), [(98, 0), (99, 1), (169, 1), (399, 1), (999, 3), (6000, 18)])
def test_so_many_of_the_digits_that_were_held_out_are_at_the_threshold_or_below(count: int, refused: int):
    val = Split(np.zeros((count, 28, 28), np.uint8), np.zeros(count, np.uint8))
    scores = np.random.default_rng(count).permutation(np.linspace(0.01, 1, count))
    threshold = fitting.threshold(Scored(scores), val)  # type: ignore[arg-type]
    assert (scores <= threshold).sum() == refused


def test_cooling_makes_a_smoothed_model_as_sure_as_it_is_right_and_changes_no_answer():
    model, _ = fitting.fit(TRAIN, VAL, RECIPE.model_copy(update={"label_smoothing": 0.5, "epochs": 8}), 3)
    answered, _ = model.predict(VAL.images, verbose=0)
    layer = model.get_layer("logits")
    layer.set_weights([weight / 4 for weight in layer.get_weights()])  # less sure, with the same answers
    before = -np.log(model.predict(VAL.images, verbose=0)[0][np.arange(40), VAL.labels]).mean()
    fitting.cool(keras.Model(model.input, layer.output), VAL)
    after, _ = model.predict(VAL.images, verbose=0)
    assert -np.log(after[np.arange(40), VAL.labels]).mean() < before
    np.testing.assert_array_equal(after.argmax(axis=1), answered.argmax(axis=1))
    np.testing.assert_allclose(after, answered, atol=0.01)  # which fit had cooled already


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_decay_that_is_not_asked_for_is_none(optimizer: str):
    decays = [
        fitting.compiled(RECIPE.model_copy(update={"optimizer": optimizer, "weight_decay": asked}), 1).optimizer
        for asked in (0.0, 0.1)
    ]
    assert [decay.weight_decay for decay in decays] == [0.0, 0.1]


def test_an_unknown_optimizer_is_one_line():
    with pytest.raises(BadInput, match=r"Keras knows no optimizer 'adm': choose one of .*adam.*sgd"):
        fit(RECIPE.model_copy(update={"optimizer": "adm"}))


def test_members_are_averaged_in_one_model_with_seeds_of_their_own(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    recipe = RECIPE.model_copy(update={"members": 2, "epochs": 1})
    hashed, of_data = [], fit_identity.data_digest
    monkeypatch.setattr(fit_identity, "data_digest", lambda *splits: hashed.append(1) or of_data(*splits))
    model, history = fitting.fit_all(TRAIN, VAL, recipe, 3, workspace / "checkpoints")
    assert len(hashed) == 1  # all members fit the same data
    alone = [
        fitting.fit(TRAIN, VAL, recipe, seed)[0].predict(VAL.images, verbose=0)[0]
        for seed in (3, 3 + fitting.MEMBERS_APART)
    ]
    assert history["member"].tolist() == [1, 2]
    answered = model.predict(VAL.images, verbose=0)
    np.testing.assert_allclose(answered["probabilities"], np.mean(alone, axis=0), atol=1e-6)
    assert export.export_onnx(model, workspace / "model.onnx", VAL.images) <= export.ONNX_TOLERANCE
    again, _ = fitting.fit_all(TRAIN, VAL, recipe, 3, workspace / "checkpoints")  # cut off before it wrote its files
    assert export.weights_digest(again) == export.weights_digest(model)


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_a_penalty_makes_the_weights_smaller(penalty: str, uninterrupted: Fitted):
    model, _ = fitting.fit(TRAIN, VAL, RECIPE.model_copy(update={penalty: 0.1}), 3)
    assert size(model) < 0.9 * uninterrupted.size


def losses(fitted: list[float], val: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"epoch": range(1, len(val) + 1), "loss": fitted, "val_loss": val})


@pytest.mark.parametrize(
    ("fitted", "val", "epoch"),
    [
        ([5, 4, 3, 2, 1], [0.50, 0.40, 0.39, 0.45, 0.60], 4),  # falls, then rises clearly
        ([5, 4, 3, 2, 1], [0.50, 0.40, 0.39, 0.38, 0.37], None),  # still falling
        ([5, 4, 3, 2, 1], [0.50, 0.40, 0.390, 0.391, 0.392], None),  # flat: a rise of less than two hundredths
        ([5, 4, 3, 3, 3], [0.50, 0.40, 0.39, 0.45, 0.60], None),  # train loss does not fall: something else is wrong
        ([5, 4, 3, 2, 1], [0.90, 0.30, 0.70, 0.20, 0.40], None),  # noise: it jumps by as much all the time
        ([1], [1], None),
    ],
)
def test_overfitting_begins_where_validation_loss_rises_while_train_loss_falls(
    fitted: list[float], val: list[float], epoch: int | None
):
    assert fitting.overfits_from(losses(fitted, val)) == epoch


def test_a_network_that_learns_noise_by_heart_is_seen_to_overfit():
    rng = np.random.default_rng(0)
    noise = Split(rng.integers(0, 256, (60, 28, 28), dtype=np.uint8), rng.integers(0, 10, 60).astype(np.uint8))
    recipe = RECIPE.model_copy(update={"epochs": 12, "augment": Augment(), "schedule": "constant", "patience": None})
    _, history = fitting.fit(noise, VAL, recipe, 3)
    assert (fitting.overfits_from(history) or 99) < 8
