"""Which of the labels that the champion doubts are wrong indeed? A batch's own digits are asked too."""

from collections.abc import Callable

import cv2
import numpy as np
import pandas as pd

from pipeline.base.stored import Images
from pipeline.data.splits import Split

CLEAR = 0.8  # of its usual confidence in a class: what a champion must reach for its doubt to be a clear one
VOUCHED = 0.05  # of likeness: by so much may known images contradict a label that the batch's own speak for
READ = 0.75  # of a class's undoubted images: where known ones read fewer rightly, the hand is another one
LOOKED = 2000  # undoubted images, for that
NEIGHBOURS = 3  # of a class, whose mean likeness says how near the class is
AT_ONCE = 256  # images that are held beside a class in one product of matrices: bounds its memory
SIDE = 32  # pixels: larger images are looked at in this size
RIM = 2  # pixels around what is looked at
BLUR = 1.0  # pixels: strokes that lie a little apart are alike

Answer = Callable[[Images], np.ndarray]
"""images uint8 (N, *shape) → probabilities float32 (N, classes)"""


def confirmed(whole: Split, known: Split, answer: Answer) -> pd.DataFrame:
    """The labels that the champion doubts and a second opinion too: index, label, suggested, and ``clear``, whether the
    champion is sure. ``known`` are images that it learnt from, or others of that kind.

    A champion may be sure and wrong about a hand that it never saw, and then it is wrong of all of that hand's sixes.
    So each doubted image is held beside the undoubted ones of its own batch: does it look like those of its label, or
    like those of the answer? Where the batch has too few of either, beside the known images. These have the last word
    where they clearly contradict the label, and read what the batch has of the answer's class rightly: who hands in a
    batch chooses what is in it, and a few digits with a trigger and their right label are what all others with that
    trigger look like.
    """
    said = answer(whole.images)
    suggested, index = said.argmax(axis=1), np.flatnonzero(said.argmax(axis=1) != whole.labels)
    sure = said.max(axis=1) >= CLEAR * _usual_confidence(whole, said, known, answer(known.images))[suggested]
    doubted = pd.DataFrame({"index": index, "label": whole.labels[index], "suggested": suggested[index]})
    doubted["clear"] = sure[index]
    undoubted = np.delete(np.arange(len(said)), index)
    asked = _outlines(whole.images[index])
    classes = said.shape[1]
    near = _likeness(asked, _outlines(whole.images[undoubted]), whole.labels[undoubted], classes)
    of_known = _outlines(known.images)
    near_known = _likeness(asked, of_known, known.labels, classes)
    rows, own, other = np.arange(len(index)), whole.labels[index], suggested[index]
    thin = np.isnan(near[rows, own]) | np.isnan(near[rows, other])
    near[thin] = near_known[thin]
    some = undoubted[:: len(undoubted) // LOOKED + 1]
    known_hand = _known_hand(
        _likeness(_outlines(whole.images[some]), of_known, known.labels, classes), whole.labels[some]
    )
    contradicted = known_hand[other] & (near_known[rows, other] - near_known[rows, own] > VOUCHED)
    against = ~(near[rows, own] >= near[rows, other]) | contradicted
    return doubted[against].reset_index(drop=True)


def _known_hand(near_known: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of which classes these images, float32 (N, classes) by their likeness to known ones, are read rightly by it: bool
    (classes,); also of those without any."""
    classes = near_known.shape[1]
    right = np.nan_to_num(near_known, nan=-1.0).argmax(axis=1) == labels
    return np.bincount(labels[right], minlength=classes) >= READ * np.bincount(labels, minlength=classes)


def _usual_confidence(whole: Split, said: np.ndarray, known: Split, said_of_known: np.ndarray) -> np.ndarray:
    """The mean probability of each class over the images that are labelled so: confident learning's thresholds
    (:mod:`pipeline.data.suspected_labels`), of known images too, or a batch of wrong labels would set them itself."""
    labels, probabilities = np.concatenate([whole.labels, known.labels]), np.concatenate([said, said_of_known])
    own = probabilities[np.arange(len(labels)), labels]
    classes = probabilities.shape[1]
    return np.bincount(labels, own, classes) / np.maximum(np.bincount(labels, minlength=classes), 1)


def _outlines(images: Images) -> np.ndarray:
    """Blurred images as vectors of length 1: float32 (N, values)."""
    rows = [cv2.GaussianBlur(_inner(image).astype(np.float32), (0, 0), BLUR).ravel() for image in np.asarray(images)]
    vectors = np.array(rows, np.float32).reshape(len(rows), len(rows[0]) if rows else 1)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _inner(image: np.ndarray) -> np.ndarray:
    """The image without its rim, and no larger than is needed to tell whom it is like."""
    height, width = image.shape[:2]
    if (larger := max(height, width) / SIDE) > 1:
        size = (max(round(width / larger), 2 * RIM + 1), max(round(height / larger), 2 * RIM + 1))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return image[RIM:-RIM, RIM:-RIM]


def _likeness(asked: np.ndarray, others: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """The mean cosine of each with its nearest NEIGHBOURS of each class: float32 (N, classes); NaN where there are
    fewer."""
    near = np.full((len(asked), classes), np.nan, np.float32)
    for label in range(classes):
        of_class = others[labels == label]
        for start in range(0, len(asked) if len(of_class) >= NEIGHBOURS else 0, AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            cosines = of_class @ asked[rows].T
            near[rows, label] = np.partition(cosines, -NEIGHBOURS, axis=0)[-NEIGHBOURS:].mean(axis=0)
    return near
