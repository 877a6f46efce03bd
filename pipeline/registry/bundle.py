"""What does somebody need who runs a version without this project? A folder with its models, card and sample code."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from pipeline.base import files, places
from pipeline.base.errors import BadInput
from pipeline.learning import inference
from pipeline.registry import artifacts, promotion

SAMPLES = Path(__file__).parent / "samples"  # predict.py and predict.mjs, which stand alone
LITERT_TOLERANCE = 1e-4  # of a probability: its kernels add up in another order than ONNX Runtime's
EXAMPLES = 8  # images with the model's answers, by which whoever ports it sees that they did it right
ONNX, LITERT, CARD, FORM, EXAMPLE = "model.onnx", "model.tflite", "MODEL_CARD.md", "form.json", "example.json"
SUMS = "SHA256SUMS"


class Bundle(NamedTuple):
    """A folder that was written."""

    model: str
    version: str
    folder: str
    files: dict[str, str]
    """the SHA-256 of each, by its name"""
    images: int
    """the pinned ones, on which both models were compared with the version's recorded answers"""
    onnx_difference: float
    """the largest of a probability"""
    litert_difference: float

    def as_json(self) -> dict[str, Any]:
        return self._asdict()


def export(client: MlflowClient, version: ModelVersion, folder: Path) -> Bundle:
    """Write the folder, which appears whole or not at all.

    :class:`BadInput` if it is there already, the version's files are not those that were registered, or a model no
    longer answers the pinned images as the version did when it was registered.
    """
    if folder.exists() or folder.is_symlink():
        raise BadInput(f"{folder} is there already: name a folder that is not")
    proof = promotion.prove(client, version)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
        part = Path(beside) / folder.name
        part.mkdir()
        difference = _write(client, version, part)
        digests = {path.name: files.sha256_file(path) for path in sorted(part.iterdir())}
        files.write_text(part / SUMS, "".join(f"{digest}  {name}\n" for name, digest in digests.items()))
        digests[SUMS] = files.sha256_file(part / SUMS)
        part.rename(folder)
    facts = (version.name, str(version.version), str(folder), digests)
    return Bundle(*facts, proof.images, proof.largest_difference, difference)


def _write(client: MlflowClient, version: ModelVersion, part: Path) -> float:
    """Fill the folder; returns by how much the LiteRT model's answers differ from the ONNX model's."""
    from pipeline.learning import litert

    registered = {name: artifacts.file(client, version, name) for name in (places.VERSION_ONNX, places.VERSION_CARD)}
    shutil.copyfile(registered[places.VERSION_ONNX], part / ONNX)
    shutil.copyfile(registered[places.VERSION_CARD], part / CARD)
    litert.convert(artifacts.file(client, version, places.VERSION_KERAS), part / LITERT)
    with np.load(artifacts.file(client, version, places.VERSION_PINNED), allow_pickle=False) as pinned:
        images = pinned["images"]
    model = inference.open_model(part / ONNX)
    expected, answered = inference.answers(model, images), litert.answers(part / LITERT, images)
    pairs = zip(expected, answered, strict=True)
    difference = max(float(np.abs(one - other).max()) for one, other in pairs)
    if not difference <= LITERT_TOLERANCE:
        raise BadInput(
            f"{version.name} version {version.version}: its LiteRT model's answers differ from its ONNX model's by "
            f"{difference:.2g}: nothing was written"
        )
    files.write_json(part / FORM, inference.form(model).as_json())
    example = {"images": images[:EXAMPLES].tolist()}
    example |= {name: values[:EXAMPLES].tolist() for name, values in expected._asdict().items()}
    files.write_text(part / EXAMPLE, json.dumps(example) + "\n")
    for sample in sorted(SAMPLES.iterdir()):
        shutil.copyfile(sample, part / sample.name)
    return difference
