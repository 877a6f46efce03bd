"""What does an ONNX model answer? Images in, class probabilities out; no TensorFlow.

The contract with every model file: an input ``images`` uint8 (N, *shape), an output ``probabilities`` float32 (N,
classes) and an output ``certainty`` float32 (N,), below CERTAIN where the answer is not to be believed, since the image
shows nothing of the kind or could be one or another. Models that were made before there was a certainty are sure of
everything. The form of the images stands in the file; models that do not say are of digits. Rescaling is inside the
model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.base.errors import BadInput, brief
from pipeline.base.form import DIGITS, Form, images_in
from pipeline.base.stored import Images

if TYPE_CHECKING:
    import onnxruntime

CERTAIN = 0.5
CLEAR = 0.8  # probability of a class from which it is not another one that is in question
FORM = "form"  # in a model file's metadata
CHUNK = 256  # images at once: bounds the memory of the activations, and more is not faster
ROOM = 8_000_000  # bytes of images at once, so that it does with large ones


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
        raise BadInput(f"{path} is not a model that ONNX Runtime can run ({brief(error)}): run `dvc repro`") from None
    found = {tensor.name: (tensor.type, tensor.shape[1:]) for tensor in (*model.get_inputs(), *model.get_outputs())}
    of = form(model)
    known = {"images": ("tensor(uint8)", [*of.shape]), "probabilities": ("tensor(float)", [len(of.classes)])}
    if found not in (known, known | {"certainty": ("tensor(float)", [])}):
        shape, classes = ", ".join(map(str, of.shape)), len(of.classes)
        raise BadInput(
            f"{path} does not take uint8 `images` (N, {shape}) to float `probabilities` (N, {classes}): {found}"
        )
    return model


def form(model: onnxruntime.InferenceSession) -> Form:
    """What its images are."""
    told = model.get_modelmeta().custom_metadata_map.get(FORM)
    return Form.from_json(json.loads(told)) if told else DIGITS


def form_of(path: Path | str) -> Form:
    """What the images of the model in file ``path`` are."""
    return form(open_model(path, threads=1))


class Answers(NamedTuple):
    """What a model says of N images."""

    probabilities: np.ndarray
    """float32 (N, classes)"""
    certainty: np.ndarray
    """float32 (N,)"""


def answers(model: onnxruntime.InferenceSession, images: Images) -> Answers:
    """What the model says of images uint8 (N, *shape); memory-mapped ones are read a chunk at a time."""
    from tqdm import tqdm

    outputs = {output.name: output.shape for output in model.get_outputs()}
    shape, classes = model.get_inputs()[0].shape[1:], outputs["probabilities"][1]
    if images.dtype != np.uint8 or [*images.shape[1:]] != shape:
        needed = ", ".join(map(str, shape))
        raise BadInput(f"the model takes uint8 images (N, {needed}), not {images.dtype} {images.shape}")
    names = list(outputs)
    at_once = min(CHUNK, images_in(ROOM, shape))
    if len(images) <= at_once:  # as most requests to the service: nothing is to be put together
        said = dict(zip(names, model.run(names, {"images": np.ascontiguousarray(images)}), strict=True))
        return Answers(said["probabilities"], said.get("certainty", np.ones(len(images), np.float32)))
    found = Answers(np.empty((len(images), classes), np.float32), np.ones(len(images), np.float32))
    quick = len(images) <= 8 * CHUNK  # then there is nothing to watch
    for start in tqdm(range(0, len(images), at_once), "inference", disable=True if quick else None, leave=False):
        chunk = np.ascontiguousarray(images[start : start + at_once])
        for name, part in zip(names, model.run(names, {"images": chunk}), strict=True):
            getattr(found, name)[start : start + at_once] = part
    return found


def doubt(probabilities: np.ndarray, certainty: float, of: Form = DIGITS) -> str | None:
    """Why an answer, probabilities (classes,), is not to be believed; None if it is."""
    if certainty >= CERTAIN:
        return None
    second, first = (int(label) for label in probabilities.argsort()[-2:])
    if probabilities[first] < CLEAR:
        return f"it could be {of.a(first)} or {of.a(second)}"
    return "it looks like no digit" if of.of_digits else "it looks like none of the classes"


def run(model: onnxruntime.InferenceSession, images: Images) -> np.ndarray:
    """The probabilities alone of :func:`answers`."""
    return answers(model, images).probabilities


def probabilities(path: Path | str, images: Images) -> np.ndarray:
    """What the model in file ``path`` answers: :func:`open_model`, then :func:`run`."""
    return run(open_model(path), images)
