import numpy as np
import pytest

from pipeline import preprocess
from pipeline.base.errors import BadInput


def test_val_must_have_the_classes_of_train():
    labels = (np.arange(1000) % 10).astype(np.uint8)
    assert preprocess.check_alike(labels, labels, 0.01).startswith("0.000, allowed ")
    with pytest.raises(BadInput, match=r"class 3's share differs by 0\.\d+ between train .*: add images"):
        preprocess.check_alike(labels, np.full(100, 3, np.uint8), 0.06)


def test_what_chance_allows_is_said_beside_the_difference():
    """So that 0.174 is not read as beyond a limit of 0.1 that does not hold for so few."""
    train, val = (np.arange(1000) % 10).astype(np.uint8), (np.arange(34) % 10).astype(np.uint8)
    assert preprocess.check_alike(train, val, 0.1) == "0.018, allowed 0.154, as much as chance does in 34 images"
    assert preprocess.check_alike(train, train, 0.1) == "0.000, allowed 0.1"
