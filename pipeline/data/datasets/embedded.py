"""Which data set needs no download? scikit-learn's digits, drawn as MNIST's are."""

from importlib import resources

import cv2
import numpy as np

from pipeline.data.datasets import bounds, decoders
from pipeline.data.datasets.decoders import Loaded, Source
from pipeline.digits import framing


def load_digits(source: Source) -> Loaded:
    """The 1,797 real digits inside scikit-learn (UCI Optical Recognition of Handwritten Digits), in MNIST's framing."""
    from sklearn import datasets

    digits = datasets.load_digits()
    images = np.stack([framing.to_mnist(enlarge(image)) for image in digits.images])
    train, test = decoders.with_test(
        decoders.check(images, digits.target, "scikit-learn"), None, source.ingest.test_share, "scikit-learn"
    )
    packed = resources.files("sklearn.datasets.data").joinpath("digits.csv.gz").read_bytes()
    return Loaded(
        "digits",
        "scikit-learn",
        train,
        test,
        decoders.digests({"digits.csv": bounds.gunzip(packed, "digits.csv.gz", bounds.of(source.ingest).bytes)}),
    )


def enlarge(counts: np.ndarray) -> np.ndarray:
    """Ink counts (8, 8) from 0 to 16 → ink uint8 (80, 80) from 0 to 255, with the smooth, sharp edge of a pen's stroke.

    A count is how much of its cell a stroke covers, so the interpolated share is steepened about its middle: the mean
    grey level then is MNIST's (35 and 34) and holes stay open. A rim of paper lets strokes at the edge end round.
    """
    share = cv2.resize(np.pad(counts, 1).astype(np.float32) / 16, (80, 80), interpolation=cv2.INTER_LANCZOS4)
    return (np.clip((share - 0.3) / 0.5, 0, 1) * 255).astype(np.uint8)
