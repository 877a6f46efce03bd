"""Pictures as people make them, read by a model of 1,300 training images: what framing loses shows here too."""

from io import BytesIO

import numpy as np
import photos
import pytest
from answers import Answers

from pipeline.digits import framing


@pytest.mark.parametrize("kind", photos.KINDS)
def test_pictures_of_every_kind_are_read(answers: Answers, kind: str):
    pictures = photos.pictures(kind, 20, seed=11)
    images = np.stack([framing.frame(BytesIO(content), kind) for _, content in pictures])
    right = answers(images).argmax(axis=1) == [digit for digit, _ in pictures]
    assert right.mean() >= 0.85
