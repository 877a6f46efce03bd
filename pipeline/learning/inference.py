"""What does an ONNX model answer? Images in, class probabilities out; no TensorFlow.

The contract with every model file: one input ``images`` uint8 (N, 28, 28), one output ``probabilities``
float32 (N, 10). Rescaling is inside the model.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.base.errors import BadInput
from pipeline.digits.image import CLASSES, SIDE

if TYPE_CHECKING:
    import onnxruntime

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
    found = [(tensor.name, tensor.type, tensor.shape[1:]) for tensor in (*model.get_inputs(), *model.get_outputs())]
    if found != [("images", "tensor(uint8)", [SIDE, SIDE]), ("probabilities", "tensor(float)", [CLASSES])]:
        raise BadInput(f"{path} does not take uint8 `images` (N, 28, 28) to float `probabilities` (N, 10): {found}")
    return model


def run(model: onnxruntime.InferenceSession, images: np.ndarray) -> np.ndarray:
    """Probabilities float32 (N, 10) of images uint8 (N, 28, 28); memory-mapped images are read a chunk at a time."""
    from tqdm import tqdm

    if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE):
        raise BadInput(f"a model takes uint8 images (N, {SIDE}, {SIDE}), not {images.dtype} {images.shape}")
    answers = np.empty((len(images), CLASSES), np.float32)
    quick = len(images) <= 8 * CHUNK  # then there is nothing to watch
    for start in tqdm(range(0, len(images), CHUNK), "inference", disable=True if quick else None, leave=False):
        chunk = np.ascontiguousarray(images[start : start + CHUNK])
        answers[start : start + CHUNK] = model.run(["probabilities"], {"images": chunk})[0]
    return answers


def probabilities(path: Path | str, images: np.ndarray) -> np.ndarray:
    """What the model in file ``path`` answers: :func:`open_model`, then :func:`run`."""
    return run(open_model(path), images)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
