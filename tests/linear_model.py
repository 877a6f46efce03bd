"""A small model file with the contract of pipeline/learning/inference.py: softmax(images / 255 · weights + bias)."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipeline.base.form import DIGITS, Form
from pipeline.learning import inference


def write(
    path: Path,
    weights: np.ndarray,
    bias: np.ndarray,
    images: str = "images",
    certain_from: float | None = None,
    form: Form = DIGITS,
) -> None:
    """``weights`` (pixels, classes) and ``bias`` (classes,); ``images`` is the input's name. With ``certain_from``
    there is a certainty, which is 0.5 where the likeliest digit's probability is that."""
    nodes = [
        helper.make_node("Cast", [images], ["grey"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["grey", "scale"], ["ink"]),
        helper.make_node("Flatten", ["ink"], ["rows"]),
        helper.make_node("Gemm", ["rows", "weights", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    constants = {"scale": np.array(1 / 255), "weights": weights, "bias": bias}
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(form.classes)])]
    if certain_from is not None:
        nodes += [
            helper.make_node("ReduceMax", ["probabilities"], ["likeliest"], axes=[1], keepdims=0),
            helper.make_node("Add", ["likeliest", "shift"], ["certainty"]),
        ]
        constants["shift"] = np.array(0.5 - certain_from)
        outputs.append(helper.make_tensor_value_info("certainty", TensorProto.FLOAT, ["N"]))
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info(images, TensorProto.UINT8, ["N", *form.shape])],
        outputs,
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if form != DIGITS:
        helper.set_model_props(model, {inference.FORM: json.dumps(form.as_json())})
    onnx.save(model, path)
