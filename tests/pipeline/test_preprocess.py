import numpy as np
import pytest

from pipeline import preprocess
from pipeline.base.errors import BadInput


def test_val_must_have_the_classes_of_train():
    labels = (np.arange(1000) % 10).astype(np.uint8)
    assert preprocess.check_alike(labels, labels, 0.01) == 0
    with pytest.raises(BadInput, match=r"class 3's share differs by 0\.\d+ between train .*: add images"):
        preprocess.check_alike(labels, np.full(100, 3, np.uint8), 0.06)
