"""Pictures made of images: which are shown, where, and how."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.base.form import Form
from pipeline.learning import evaluation
from pipeline.reporting import figures, mosaics


def test_pairs_of_digits_are_ranked_by_their_mistakes_in_both_directions(answers):
    images, _, _ = answers
    table = pd.DataFrame({"index": range(6), "true": [4, 9, 4, 1, 7, 1], "predicted": [9, 4, 9, 7, 1, 2]})
    axes = mosaics.confused_pairs(images, table).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["4 and 9", "1 and 7", "1 and 2"]
    assert [bar.get_width() for bar in axes.patches] == [2, 1, 1, 1, 1, 0]


def test_a_cell_shows_the_most_confident_image_of_its_outcome():
    """Each image is a flat grey of its own, so that the picture tells which one was chosen."""
    greys = np.array([40, 80, 120, 160, 200], np.uint8)
    images = np.broadcast_to(greys[:, None, None], (5, 28, 28))
    labels = np.array([3, 3, 4, 4, 4], np.uint8)
    probabilities = np.full((5, 10), 0.01)
    for row, (digit, confidence) in enumerate([(3, 0.8), (3, 0.9), (9, 0.6), (9, 0.7), (4, 0.5)]):
        probabilities[row, digit] = confidence
    axes = mosaics.confusion_images(images, labels, probabilities).axes[0]
    mosaic = np.asarray(axes.get_images()[0].get_array())

    def ink(row: int, column: int) -> float:
        """What share of full ink the middle of a cell has, read off the darkest colour."""
        middle = (np.array([row, column]) + 0.5) * (28 + 2 * mosaics.RIM)
        return mosaic[int(middle[0]), int(middle[1])].min()

    order = [ink(3, 3), ink(4, 9), ink(4, 4)]  # 80, 160 and 200 of 255: the more ink, the darker
    assert order == sorted(order, reverse=True) and len(set(order)) == 3
    assert ink(3, 3) == pytest.approx((1 - 80 / 255) * 223 / 255 + 0.1 * 80 / 255)
    assert (mosaic[: (28 + 2 * mosaics.RIM)] == 1).all()  # nothing was a 0: the row is blank
    texts = [(text.get_text(), *np.floor_divide(text.get_position(), (28 + 2 * mosaics.RIM))) for text in axes.texts]
    assert texts == [("2", 3, 3), ("1", 4, 4), ("2", 9, 4)]


def test_a_gallery_has_a_caption_an_image_and_stops_at_its_count(answers):
    images, labels, probabilities = answers
    table = evaluation.mistakes(labels, probabilities)
    axes = mosaics.mistakes(images, table, 7).axes[0]
    first = table.iloc[0]
    assert len(axes.texts) == 7
    assert axes.texts[0].get_text().startswith(f"{first['true']:.0f} → {first['predicted']:.0f}\n")
    assert axes.get_title(loc="left").startswith(f"The 7 most confident of {len(table)} mistakes")


@pytest.mark.parametrize(("shown", "found", "title"), [(5, 1, "The only mistake:"), (5, 2, "All 2 mistakes, "),
                                                       (2, 5, "The 2 most confident of 5 mistakes:")])  # fmt: skip
def test_a_gallery_counts_as_people_do(answers, shown: int, found: int, title: str):
    images, labels, probabilities = answers
    table = evaluation.mistakes(labels, probabilities)[:found]
    assert mosaics.mistakes(images, table, shown).axes[0].get_title(loc="left").startswith(title)


def test_the_columns_of_a_sheet_begin_at_the_same_height():
    names = ["a", "b", "c", "d", "e"]
    examples = {name: np.full((3, 28, 28), 200, np.uint8) for name in names}
    figure = mosaics.robustness(examples, pd.DataFrame({"corruption": names, "accuracy": 0.5}))
    left, right = (axes.get_images()[0].get_array() for axes in figure.axes)
    assert left.shape == right.shape == (3 * 28, 3 * 28)
    assert (right[2 * 28 :] == 255).all() and (right[: 2 * 28] == 55).all()


def test_pictures_in_colour_are_shown_in_their_colours(tmp_path: Path):
    red = np.zeros((10, 16, 16, 3), np.uint8)
    red[..., 0] = 255
    labels, probabilities = np.arange(10) % 2, np.tile(np.float32([0.9, 0.1]), (10, 1))
    form = Form("plain", (16, 16, 3), ("a", "b"))
    table = evaluation.mistakes(labels, probabilities)
    both = pd.DataFrame({"corruption": ["noise", "blur"], "accuracy": [0.5, 0.6]})
    for figure in (
        mosaics.confusion_images(red, labels, probabilities, form),
        mosaics.mistakes(red, table, 5, inked=False),
        mosaics.robustness({"noise": red[:3], "blur": red[:3]}, both, inked=False),
    ):
        figures.save(figure, tmp_path / "red.png")
        shown = np.asarray(Image.open(tmp_path / "red.png").convert("RGB")).astype(int)
        assert ((shown[..., 0] > 220) & (shown[..., 1:].max(axis=2) < 40)).mean() > 0.02
