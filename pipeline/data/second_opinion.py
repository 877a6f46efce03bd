"""Which of the labels that the champion doubts are wrong indeed? A batch's own digits are asked too."""

import cv2
import numpy as np
import pandas as pd

from pipeline.data import suspected_labels
from pipeline.data.splits import Split
from pipeline.digits.image import CLASSES

CLEAR = 0.8  # of a class's threshold: what a champion must reach for its doubt to be a clear one
NEIGHBOURS = 3  # of a class, whose mean likeness says how near the class is
MIDDLE, SIDE_OF_MIDDLE = slice(2, 26), 24  # rows and columns that hold the digit
BLUR = 1.0  # pixels: strokes that lie a little apart are alike


def confirmed(whole: Split, probabilities: np.ndarray, known: Split) -> pd.DataFrame:
    """The labels that the champion doubts and a second opinion too: the columns of
    :func:`pipeline.data.suspected_labels.find`, and ``clear``, whether the champion is sure.

    A champion may be sure and wrong about a hand that it never saw, and then it is wrong of all of that hand's sixes.
    So each doubted image is held beside the undoubted ones of its own batch: does it look like those of its label, or
    like those of the answer? Where the batch has too few of either, beside the ``known`` images.
    """
    doubted = suspected_labels.find(whole.labels, probabilities, clear=0.0)
    sure = suspected_labels.find(whole.labels, probabilities, clear=CLEAR)["index"]
    undoubted = np.ones(len(whole.labels), bool)
    undoubted[doubted["index"]] = False
    asked = _outlines(whole.images[doubted["index"]])
    near = _likeness(asked, _outlines(whole.images[undoubted]), whole.labels[undoubted])
    near_known = _likeness(asked, _outlines(known.images), known.labels)
    rows, own, other = np.arange(len(doubted)), doubted["label"].to_numpy(), doubted["suggested"].to_numpy()
    thin = np.isnan(near[rows, own]) | np.isnan(near[rows, other])
    near[thin] = near_known[thin]
    against = ~(near[rows, own] >= near[rows, other])
    return doubted.assign(clear=doubted["index"].isin(sure))[against].reset_index(drop=True)


def _outlines(images: np.ndarray) -> np.ndarray:
    """Blurred digits as vectors of length 1: float32 (N, 576)."""
    rows = [cv2.GaussianBlur(image[MIDDLE, MIDDLE].astype(np.float32), (0, 0), BLUR).ravel() for image in images]
    vectors = np.array(rows, np.float32).reshape(len(rows), SIDE_OF_MIDDLE**2)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _likeness(asked: np.ndarray, others: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean cosine of each with its nearest NEIGHBOURS of each class: float32 (N, 10); NaN where there are fewer."""
    near = np.full((len(asked), CLASSES), np.nan, np.float32)
    for digit in range(CLASSES):
        of_class = others[labels == digit]
        if len(of_class) >= NEIGHBOURS:
            for row, vector in enumerate(asked):
                near[row, digit] = np.partition(of_class @ vector, -NEIGHBOURS)[-NEIGHBOURS:].mean()
    return near
