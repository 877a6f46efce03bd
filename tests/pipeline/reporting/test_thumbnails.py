import base64

import cv2
import numpy as np
import pytest

from pipeline.base.form import Form
from pipeline.reporting import thumbnails


def decoded(text: str) -> np.ndarray:
    found = cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_UNCHANGED)
    assert found is not None
    return found


def test_ink_is_dark_on_white_paper_in_large_pixels():
    image = np.zeros((28, 28), np.uint8)
    image[0, 0] = 255
    shown = decoded(thumbnails.png(image))
    assert shown.shape == (112, 112)
    assert (shown[:4, :4] == 0).all() and (shown[4:] == 255).all()


@pytest.mark.parametrize("side", [16, 400])
def test_a_picture_in_colour_keeps_its_colours_and_is_no_larger_than_others(side: int):
    image = np.zeros((side, side // 2, 3), np.uint8)
    image[..., 0] = 200  # red
    shown = decoded(thumbnails.png(image, Form("plain", image.shape, ("a", "b"))))
    assert shown.shape == (112, 56, 3) and (shown == [0, 0, 200]).all()
