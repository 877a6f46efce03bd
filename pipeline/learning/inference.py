"""What does an ONNX model answer? Images in, class probabilities out; no TensorFlow.

The contract with every model file: an input ``images`` uint8 (N, 28, 28), an output ``probabilities`` float32 (N, 10)
and an output ``certainty`` float32 (N,), below CERTAIN where the answer is not to be believed, since the image shows no
digit or could be one or another. Models that were made before there was a certainty are sure of everything. Rescaling
is inside the model.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.base.errors import BadInput
from pipeline.digits.image import CLASSES, SIDE

if TYPE_CHECKING:
    import onnxruntime

CERTAIN = 0.5
CLEAR = 0.8  # probability of a digit from which it is not another digit that is in question
CHUNK = 1024  # images at once: bounds the memory of the activations, and more is not faster


def open_model(path: Path | str, threads: int = 0, spinning: bool = True) -> onnxruntime.InferenceSession:
    """Open a model file once, to be run often; :class:`BadInput` if it is missing, broken or of another shape.

    It computes on so many ``threads`` (0: a core each). ``spinning`` lets them wait busily for the next batch: faster
    if nothing else is to be done meanwhile.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    if not Path(path).is_file():
        raise BadInput(f"there is no {path}: run `dvc repro`")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    try:
        model = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (state.InvalidProtobuf, state.InvalidGraph, state.Fail, state.NoModel, state.NotImplemented) as error:
        raise BadInput(f"{path} is not a model that ONNX Runtime can run ({_line(error)}): run `dvc repro`") from None
    found = {tensor.name: (tensor.type, tensor.shape[1:]) for tensor in (*model.get_inputs(), *model.get_outputs())}
    known = {"images": ("tensor(uint8)", [SIDE, SIDE]), "probabilities": ("tensor(float)", [CLASSES])}
    if found not in (known, known | {"certainty": ("tensor(float)", [])}):
        raise BadInput(f"{path} does not take uint8 `images` (N, 28, 28) to float `probabilities` (N, 10): {found}")
    return model


class Answers(NamedTuple):
    """What a model says of N images."""

    probabilities: np.ndarray
    """float32 (N, 10)"""
    certainty: np.ndarray
    """float32 (N,)"""


def answers(model: onnxruntime.InferenceSession, images: np.ndarray) -> Answers:
    """What the model says of images uint8 (N, 28, 28); memory-mapped ones are read a chunk at a time."""
    from tqdm import tqdm

    if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE):
        raise BadInput(f"a model takes uint8 images (N, {SIDE}, {SIDE}), not {images.dtype} {images.shape}")
    found = Answers(np.empty((len(images), CLASSES), np.float32), np.ones(len(images), np.float32))
    names = [output.name for output in model.get_outputs()]
    quick = len(images) <= 8 * CHUNK  # then there is nothing to watch
    for start in tqdm(range(0, len(images), CHUNK), "inference", disable=True if quick else None, leave=False):
        chunk = np.ascontiguousarray(images[start : start + CHUNK])
        for name, part in zip(names, model.run(names, {"images": chunk}), strict=True):
            getattr(found, name)[start : start + CHUNK] = part
    return found


def doubt(probabilities: np.ndarray, certainty: float) -> str | None:
    """Why an answer, probabilities (10,), is not to be believed; None if it is."""
    if certainty >= CERTAIN:
        return None
    second, first = (int(digit) for digit in probabilities.argsort()[-2:])
    if probabilities[first] < CLEAR:
        return f"it could be a {first} or a {second}"
    return "it looks like no digit"


def run(model: onnxruntime.InferenceSession, images: np.ndarray) -> np.ndarray:
    """The probabilities alone of :func:`answers`."""
    return answers(model, images).probabilities


def probabilities(path: Path | str, images: np.ndarray) -> np.ndarray:
    """What the model in file ``path`` answers: :func:`open_model`, then :func:`run`."""
    return run(open_model(path), images)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
