"""How does a fitted network leave TensorFlow? As a Keras file, as ONNX, and as the digest of its weights."""

import hashlib
import json
import re
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np

from pipeline.base import files
from pipeline.base.form import DIGITS, Form
from pipeline.learning import inference, networks, onnx_order
from pipeline.learning.backend import keras

ONNX_TOLERANCE = 1e-5


def save_keras(model: keras.Model, path: Path) -> None:
    """Write a ``.keras`` file whose bytes are the same for the same model made in the same way.

    Keras' own has dates, memory addresses as ids of shared objects, and takes another way into the zip when little
    memory is free.
    """
    rewrites = {"metadata.json": _without_date, "config.json": _with_small_ids}
    with files.atomic(path) as part, tempfile.TemporaryDirectory(dir=part.parent) as folder:
        model.save(folder, zipped=False)
        with zipfile.ZipFile(part, "w") as archive:
            for file in sorted(file for file in Path(folder).rglob("*") if file.is_file()):
                name = file.relative_to(folder).as_posix()
                entry = zipfile.ZipInfo(name)  # dated 1980
                archive.writestr(entry, rewrites.get(name, bytes)(file.read_bytes()))


def _without_date(metadata: bytes) -> bytes:
    """Keras' metadata.json less the date, which loading does not read."""
    kept = {name: value for name, value in json.loads(metadata).items() if name != "date_saved"}
    return json.dumps(kept).encode()


def _with_small_ids(config: bytes) -> bytes:
    """Keras' config.json, where objects that layers share are told by their place instead of their memory address."""
    places: dict[str, int] = {}

    def renumbered(found: re.Match[str]) -> str:
        return f'"shared_object_id": {places.setdefault(found[1], len(places))}'

    return re.sub(r'"shared_object_id": (\d+)', renumbered, config.decode()).encode()


def weights_digest(model: keras.Model) -> str:
    """SHA-256 over the weights in the model's order, whatever the rest of a saved file holds."""
    digest = hashlib.sha256()
    for value in model.get_weights():
        digest.update(files.sha256_array(np.atleast_1d(value)).encode())
    return digest.hexdigest()


def export_onnx(model: keras.Model, path: Path, probe: np.ndarray, form: Form = DIGITS) -> float:
    """Write the model as ONNX and prove it: the largest difference of an answer on ``probe``, uint8 (N, *shape).

    Its input and outputs are those of :mod:`pipeline.learning.inference`, and the form of its images stands in
    it. RuntimeError above ONNX_TOLERANCE.
    """
    import onnx

    expected = model.predict(probe, batch_size=networks.AT_ONCE, verbose=0)
    with files.atomic(path) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of NumPy, about Keras' exporter
        model.export(str(part), format="onnx", verbose=False)
        graph = onnx.load(part)
        _name_outputs(graph.graph, sorted(expected))  # the order of TensorFlow's own dictionaries
        graph = onnx_order.canonical(graph)
        onnx.helper.set_model_props(graph, {inference.FORM: json.dumps(form.as_json(), ensure_ascii=False)})
        onnx.checker.check_model(graph)
        onnx.save(graph, part)
        answers = inference.answers(inference.open_model(part), probe)._asdict()
        difference = max(np.abs(answers[name] - answer).max() for name, answer in expected.items())
        if not difference <= ONNX_TOLERANCE:
            raise RuntimeError(f"the ONNX model's answers differ from Keras' by {difference:.2g}")
    return float(difference)


def _name_outputs(graph, names: list[str]) -> None:  # type: ignore[no-untyped-def]  # an onnx.GraphProto
    """Name the outputs, which the exporter left in this order, and the batch of each value N."""
    new = dict(zip([output.name for output in graph.output], names, strict=True))
    for node in graph.node:
        node.output[:] = [new.get(value, value) for value in node.output]
        node.input[:] = [new.get(value, value) for value in node.input]
    for output in graph.output:
        output.name = new[output.name]
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
