"""How is a single image shown on a page? As a small PNG within it."""

import base64

import cv2
import numpy as np

from pipeline.base.form import DIGITS, Form

SIDE = 112  # pixels, of the longer side


def png(image: np.ndarray, form: Form = DIGITS) -> str:
    """An image uint8 (*shape) as a PNG in base64: ink on white paper, others as they are; small ones enlarged."""
    shown = 255 - image if form.inked else image[..., ::-1] if form.shape[2:] else image  # OpenCV has BGR
    scale = SIDE / max(image.shape[:2])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    large = cv2.resize(np.ascontiguousarray(shown), None, fx=scale, fy=scale, interpolation=way)
    return base64.b64encode(cv2.imencode(".png", large)[1].tobytes()).decode()
