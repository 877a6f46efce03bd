from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from small_mnist import PARAMS

from pipeline.base.form import Form
from pipeline.data import suspected_labels
from pipeline.data.splits import Split
from pipeline.digits import features
from pipeline.learning import evaluation
from pipeline.plain import features as plain_features
from pipeline.reporting import figures, mosaics


def history(epochs: int = 5) -> pd.DataFrame:
    epoch = np.arange(1, epochs + 1)
    loss = 0.4 / epoch
    columns = {"loss": loss, "val_loss": 0.05 + 0.01 * (epoch - 3) ** 2}
    return pd.DataFrame(
        {
            "member": 1,
            "epoch": epoch,
            **columns,
            "accuracy": 1 - loss / 4,
            "val_accuracy": 1 - loss / 5,
            "kept": epoch == min(3, epochs),
        }
    )


@pytest.fixture(scope="module")
def draw(answers) -> dict[str, Callable[[], Figure]]:
    images, labels, probabilities = answers
    predicted = probabilities.argmax(axis=1)
    table = evaluation.calibration(labels, probabilities, 15)
    slices = evaluation.slices(features.describe(images), predicted == labels)
    return {
        "curves": lambda: figures.curves(history()),
        "confusion_matrix": lambda: figures.confusion_matrix(evaluation.confusion(labels, predicted)),
        "confusion_images": lambda: mosaics.confusion_images(images, labels, probabilities),
        "mistakes": lambda: mosaics.mistakes(images, evaluation.mistakes(labels, probabilities), 12),
        "confused_pairs": lambda: mosaics.confused_pairs(images, evaluation.mistakes(labels, probabilities)),
        "suspected_labels": lambda: mosaics.suspected_labels(images, suspected_labels.find(labels, probabilities), 12),
        "per_class": lambda: figures.per_class(evaluation.per_class(labels, predicted)),
        "reliability": lambda: figures.reliability(table, evaluation.calibration_error(table)),
        "slices": lambda: figures.slices(slices, (predicted == labels).mean()),
    }


NAMES = (
    "curves",
    "confusion_matrix",
    "confusion_images",
    "mistakes",
    "confused_pairs",
    "suspected_labels",
    "per_class",
    "reliability",
    "slices",
)


def pixels(figure: Figure, path: Path) -> np.ndarray:
    figures.save(figure, path)
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_shows_something_and_its_bytes_repeat(name: str, draw, tmp_path: Path):
    shown = pixels(draw[name](), tmp_path / "first.png")
    figures.save(draw[name](), tmp_path / "second.png")
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
    assert (shown[[0, -1]] == 255).all() and (shown[:, [0, -1]] == 255).all()  # nothing is cut off
    assert 0.005 < (shown < 200).any(axis=2).mean() < 0.9
    assert min(shown.shape[:2]) > 150


def test_a_saved_picture_tells_nothing_of_the_machine(tmp_path: Path):
    figures.save(figures.curves(history()), tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.info == {}


def test_the_epoch_that_was_kept_is_marked():
    labels = [text.get_text() for text in figures.curves(history()).legends[0].get_texts()]
    assert labels == ["train", "validation", "kept: epoch 3"]


def test_overfitting_is_in_the_legend_and_an_ensemble_has_one_legend():
    overfitting = [text.get_text() for text in figures.curves(history(), 4).legends[0].get_texts()]
    assert overfitting == ["overfits from epoch 4", "train", "validation", "kept: epoch 3"]
    both = figures.curves(pd.concat([history(), history().assign(member=2)]))
    assert len(both.legends[0].get_texts()) == 3 and len(both.axes[0].lines) == 6


def test_a_perfect_model_has_pictures_too(tmp_path: Path):
    labels = np.tile(np.arange(10, dtype=np.uint8), 20)
    images, probabilities = np.full((200, 28, 28), 100, np.uint8), np.eye(10, dtype=np.float32)[labels]
    table = evaluation.calibration(labels, probabilities, 15)
    found = [
        figures.confusion_matrix(evaluation.confusion(labels, labels)),
        mosaics.confusion_images(images, labels, probabilities),
        mosaics.mistakes(images, evaluation.mistakes(labels, probabilities), 30),
        mosaics.suspected_labels(images, suspected_labels.find(labels, probabilities), 30),
        figures.per_class(evaluation.per_class(labels, labels)),
        figures.reliability(table, evaluation.calibration_error(table)),
        figures.slices(evaluation.slices(features.describe(images), np.ones(200, bool)), 1.0),
    ]
    for number, figure in enumerate(found):
        assert (pixels(figure, tmp_path / f"{number}.png") < 200).any()
    assert found[2].axes[0].texts[0].get_text() == "No mistakes"


def test_one_epoch_is_enough_for_curves(tmp_path: Path):
    assert (pixels(figures.curves(history(1)), tmp_path / "curves.png") < 200).any()


def loss_ticks(figure: Figure) -> list[float]:
    axes = figure.axes[0]
    low, high = axes.get_ylim()
    return [tick for tick in axes.get_yticks() if low <= tick <= high]


@pytest.mark.parametrize("losses", [(1.3, 0.56), (3.5, 0.7), (2.1, 1.6), (2.3, 0.001), (0.51, 0.5)])
def test_an_axis_of_losses_names_several(losses: tuple[float, float]):
    loss = np.geomspace(*losses, 7)
    table = history(7).assign(loss=loss, val_loss=loss)
    figure = figures.curves(table)
    figure.draw_without_rendering()
    assert 3 <= len(loss_ticks(figure)) <= 12


def test_the_only_epoch_is_named_as_one():
    axes = figures.curves(history(1)).axes[0]
    assert list(axes.get_xticks()) == [1]


@pytest.mark.parametrize("classes", [26, 62])
def test_a_matrix_of_many_classes_is_large_enough_to_be_read(classes: int):
    form, rng = Form("plain", (16, 16), tuple(f"{number:02}" for number in range(classes))), np.random.default_rng(0)
    figure = figures.confusion_matrix(rng.integers(0, 2000, (classes, classes)), form)
    (axes,) = figure.axes
    rows = len(axes.get_yticklabels())
    assert rows == min(classes, figures.MATRIX) and ("hardest of 62" in axes.get_title(loc="left")) is (classes == 62)
    figure.draw_without_rendering()
    across = 1000 / (figure.get_figwidth() * figure.dpi)  # a page shows it a thousand pixels wide
    boxes = [text.get_window_extent() for text in axes.texts]
    cell = axes.get_window_extent().width / rows
    assert all(box.width < cell for box in boxes) and np.median([box.height for box in boxes]) * across > 6
    names = axes.get_yticklabels()
    assert all(label.get_window_extent().height * across > 9 for label in names)


STRANGE = ("$^{", "$_", "$$$$$$$$$$$$$$$$$$$$", r"\\", "<b>bold</b>", "NA", "100%", "w" * 30, "a/b", "Straße", "名")
MANY = tuple(f"a name that is as long as names of classes may be, {number}" for number in range(70))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(16, 16), (24, 16, 3)], ids=["grey", "colour"])
@pytest.mark.parametrize("names", [STRANGE, MANY], ids=["strange", "many"])
def test_classes_of_any_names_and_pictures_of_any_shape_are_drawn(
    names: tuple[str, ...], shape: tuple[int, ...], tmp_path: Path
):
    form, rng = Form("plain", shape, names), np.random.default_rng(0)
    labels = np.arange(300) % len(names)
    images = rng.integers(0, 256, (300, *shape), dtype=np.uint8)
    logits = rng.normal(size=(300, len(names))) + 2 * np.eye(len(names))[labels]
    probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    found = evaluation.tables(
        Split(images, labels.astype(np.uint8)),
        pd.DataFrame(rng.normal(size=(300, 10)), columns=list(plain_features.FEATURES)),
        probabilities,
        lambda images: probabilities[: len(images)],
        PARAMS.evaluate,
        form,
    )
    matrix = evaluation.confusion(labels, probabilities.argmax(axis=1), len(names))
    drawn = [
        figures.confusion_matrix(matrix, form),
        mosaics.confusion_images(images, labels, probabilities, form),
        mosaics.mistakes(images, found["mistakes"], 12, inked=False),
        mosaics.confused_pairs(images, found["mistakes"], inked=False),
        mosaics.suspected_labels(images, found["suspected_labels"], 12, inked=False),
        figures.per_class(found["per_class"]),
    ]
    for number, figure in enumerate(drawn):
        shown = pixels(figure, tmp_path / f"{number}.png")
        assert (shown < 200).any() and max(shown.shape) < 6000
        assert (shown[[0, -1]] == 255).all() and (shown[:, [0, -1]] == 255).all(), f"{number} is cut off"


def test_the_trials_of_a_study_are_told_apart_however_wide_an_interval_is():
    summary = pd.DataFrame(
        {"setting": ["a", "b"], "val_accuracy": [0.5, 0.52], "low": [-1.6, 0.5], "high": [2.6, 0.54]}
    )
    each = pd.DataFrame({"setting": ["a", "a", "b", "b"], "val_accuracy": [0.49, 0.51, 0.51, 0.53]})
    figure = figures.study(summary, each, [("a", [1.0, 0.5]), ("b", [1.0, 0.4])])
    low, high = figure.axes[0].get_xlim()
    assert 0.4 < low < 0.49 and 0.53 < high < 0.6


def test_trials_that_are_all_right_have_an_axis():
    summary = pd.DataFrame({"setting": ["a"], "val_accuracy": [1.0], "low": [1.0], "high": [1.0]})
    each = pd.DataFrame({"setting": ["a", "a"], "val_accuracy": [1.0, 1.0]})
    low, high = figures.study(summary, each, [("a", [1.0, 0.5])]).axes[0].get_xlim()
    assert 0.99 < low < 1 <= high
