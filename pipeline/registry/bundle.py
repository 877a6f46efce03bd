"""What does somebody need who runs a version without this project? A folder with its models, card and sample code."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from pipeline.base import files, form, places
from pipeline.base.errors import BadInput
from pipeline.data import splits
from pipeline.learning import inference
from pipeline.registry import artifacts, promotion

SAMPLES = Path(__file__).parent / "samples"  # predict.py and predict.mjs, which stand alone
LITERT_TOLERANCE = 1e-4  # of a probability: its kernels add up in another order than ONNX Runtime's
SAMPLE = 500  # images of train by which the scales of the int8 model are set
JUDGED = 10_000  # images of val, at most, on which it is compared with the ONNX model
INT8_LOSS = 0.01  # of accuracy on val: an int8 model that loses more is not handed out
EXAMPLES = 8  # images with the model's answers, by which whoever ports it sees that they did it right
ONNX, LITERT, INT8, CARD, FORM, EXAMPLE = (
    "model.onnx",
    "model.tflite",
    "model-int8.tflite",
    "MODEL_CARD.md",
    "form.json",
    "example.json",
)
SUMS = "SHA256SUMS"


class Quantised(NamedTuple):
    """How well the int8 model answers the workspace's val split."""

    images: int
    accuracy: float
    float_accuracy: float
    """the ONNX model's"""

    @property
    def handed_out(self) -> bool:
        return self.accuracy >= self.float_accuracy - INT8_LOSS

    def __str__(self) -> str:
        told = f"right on {self.accuracy:.2%} of {self.images} val images, the ONNX model on {self.float_accuracy:.2%}"
        return f"the int8 model is {told}{'' if self.handed_out else ', and therefore left out'}"


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
    int8: Quantised | None
    """None where the workspace has no images of the model's form to set its scales by"""

    def as_json(self) -> dict[str, Any]:
        return self._asdict() | {"int8": self.int8 and self.int8._asdict()}


def export(client: MlflowClient, version: ModelVersion, folder: Path) -> Bundle:
    """Write the folder, which appears whole or not at all.

    :class:`BadInput` if it is there already, the version's files are not those that were registered, or a model no
    longer answers the pinned images as the version did when it was registered.
    """
    for path in (folder, os.path.realpath(folder)):  # as new/.. is the folder it stands in
        with _refused(folder), suppress(FileNotFoundError):
            os.lstat(path)
            raise BadInput(f"{folder} is there already: name a folder that is not")
    proof = promotion.prove(client, version)
    with _beside(folder) as part:
        difference = _write(client, version, part)
        int8 = _quantised(client, version, part)
        digests = {path.name: files.sha256_file(path) for path in sorted(part.iterdir())}
        files.write_text(part / SUMS, "".join(f"{digest}  {name}\n" for name, digest in digests.items()))
        digests[SUMS] = files.sha256_file(part / SUMS)
    facts = (version.name, str(version.version), str(folder), digests)
    return Bundle(*facts, proof.images, proof.largest_difference, difference, int8)


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside ``folder``, which takes its name at the end; on an error it is removed, and with it
    the folders above that were made for it. :class:`BadInput` where none can be made, or another export is at work.

    Its name is the same each time, by which the next export finds what a killed one left; and short, as the disk may
    take no longer one than ``folder``'s.
    """
    part = folder.with_name(f".export.{files.sha256_text(folder.name)[:8]}")
    missing = [above for above in folder.parents if not above.exists()]
    try:
        with _alone(folder, part.with_name(f"{part.name}.lock")):
            try:
                with _refused(folder):
                    shutil.rmtree(part, ignore_errors=True)
                    part.mkdir()
                yield part
                with _refused(folder):
                    part.rename(folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    finally:
        for above in missing:
            with suppress(OSError):  # it holds the folder
                above.rmdir()


@contextmanager
def _alone(folder: Path, lock: Path) -> Iterator[None]:
    """Of several exports to ``folder`` at once only the first goes on: they would write into one another's files."""
    with _refused(folder):
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(lock).acquire(timeout=0)
    with held:
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)  # while it is held: who opened it meanwhile sees that it has no name any more


@contextmanager
def _refused(folder: Path) -> Iterator[None]:
    try:
        yield
    except Timeout:
        raise BadInput(f"another export to {folder} is at work: wait for it to end, or name another folder") from None
    except OSError as error:
        raise BadInput(f"{folder} cannot be made ({error.strerror}): name another folder") from None


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


def _quantised(client: MlflowClient, version: ModelVersion, part: Path) -> Quantised | None:
    """Put the int8 model into the folder, unless it loses more than INT8_LOSS."""
    from pipeline.learning import litert

    model = inference.open_model(part / ONNX)
    if not (places.PROCESSED / "train").exists() or form.load() != inference.form(model):
        return None
    train, val = (splits.load(places.PROCESSED / name) for name in ("train", "val"))
    keras_file = artifacts.file(client, version, places.VERSION_KERAS)
    litert.quantise(keras_file, part / INT8, np.asarray(train.spread(SAMPLE).images))
    images, labels = map(np.asarray, val.spread(JUDGED))
    of_float = float((inference.answers(model, images).probabilities.argmax(axis=1) == labels).mean())
    try:
        of_int8 = float((litert.answers(part / INT8, images).probabilities.argmax(axis=1) == labels).mean())
    except RuntimeError:  # LiteRT's, of a model that stops on one of the images
        of_int8 = 0.0
    found = Quantised(len(labels), of_int8, of_float)
    if not found.handed_out:
        (part / INT8).unlink()
    return found
