"""How does a trained model enter the registry? An MLflow run with all that made it, and a version @challenger.

Registering the same model again, its graph, weights and training data, finds the version that is there: a restored or
repeated stage adds nothing.
"""

import json
import tempfile
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.models.model import ModelInfo

from pipeline.base import files, form, places
from pipeline.base.form import Form
from pipeline.base.params import Params
from pipeline.base.stored import Images
from pipeline.data import comparison, descriptions, splits
from pipeline.learning import inference
from pipeline.registry import forms, lineage, live_training, tracking, versions

PINNED_IMAGES = 256
REFERENCE_IMAGES = 10_000  # of val, evenly spread: what the monitor compares with
STORING_SECONDS = 600.0  # for another registration to store its files
REQUIREMENTS = ("mlflow", "numpy", "onnx", "onnxruntime")  # what answering takes; TensorFlow is not among it


def register(client: MlflowClient, params: Params) -> ModelVersion:
    """Register the workspace's model unless it is registered already; it becomes the challenger, or stays champion.
    :class:`BadInput` if the champion's images are others."""
    name, same = versions.model_name(params.named), identity()
    with versions.alone(places.REGISTRATION_LOCK, STORING_SECONDS):  # not the registry's lock: files are stored
        versions.create(client, name)
        forms.check_workspace(client, name)
        version = versions.identical(client, name, same) or _new_version(client, name, same, params)
    with versions.locked():
        champion = versions.aliased(client, name, versions.CHAMPION)
        if champion is None or champion.version != version.version:
            client.set_registered_model_alias(name, versions.CHALLENGER, version.version)
    return version


def identity() -> dict[str, str]:
    """What the workspace's model is: the digests of its weights, its graph with them, and the data it was fitted on."""
    trained_on = files.read_json(places.MANIFEST).get("digests", {}).get("train", {})
    return {
        "weights_sha256": places.WEIGHTS_DIGEST.read_text().strip(),
        "onnx_sha256": files.sha256_file(places.ONNX),
        "train_sha256": files.sha256_text(json.dumps(trained_on, sort_keys=True)),
    }


def _new_version(client: MlflowClient, name: str, same: dict[str, str], params: Params) -> ModelVersion:
    metrics, manifest, of = files.read_json(places.METRICS), files.read_json(places.MANIFEST), form.load()
    training = files.read_json(places.TRAINING)
    origin = {
        "dataset": params.named,
        "recipe": params.train.recipe,
        **lineage.git_commit(),
        **lineage.data_digests(),
    }
    note = tracking.note(params, metrics, manifest)
    curves = tracking.curves(pd.read_csv(places.HISTORY), params.recipe.members)
    begun = live_training.to_take_over(client, curves)
    with tracking.run(client, params, origin | tracking.training_tags(training), note, begun) as run:
        tracking.log_params(params)
        tracking.log_curves(client, run.info.run_id, curves)
        tracking.log_reports()
        datasets = tracking.log_datasets(client, run, params, manifest, of)
        card = model_card(params, metrics, manifest, of)
        model, digests = _log_model(card, of, tracking.flat(params))
        measured = tracking.results(metrics, _train_seconds(same["weights_sha256"]))
        tracking.log_results(client, run, model.model_id, measured, datasets)
        tags = {
            **origin,
            "machine": lineage.machine(),
            "fitted": training["fitted"],
            **same,
            "files_sha256": json.dumps(digests),
            "metrics": json.dumps(metrics),
        }
        with versions.locked():
            return client.create_model_version(name, model.model_uri, run.info.run_id, tags=tags, description=card)


def _train_seconds(digest: str) -> float | None:
    """How long these weights took to train, if they were trained here and not restored by DVC."""
    timing = files.read_json(places.TIMING) if places.TIMING.is_file() else {}
    return timing["train_seconds"] if timing.get("weights_sha256") == digest else None


def _log_model(card: str, of: Form, params: dict[str, Any]) -> tuple[ModelInfo, dict[str, str]]:
    """Log the ONNX model, with Keras' file, the card, the pinned batch and the reference beside it; returns what MLflow
    says of it, and the SHA-256 of each file beside it."""
    import mlflow.onnx
    import onnx
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    images = np.ascontiguousarray(splits.load(places.PROCESSED / "test").images[:PINNED_IMAGES])
    shape = (-1, *of.shape)
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype("uint8"), shape, "images")]),
        Schema(
            [
                TensorSpec(np.dtype("float32"), (-1, len(of.classes)), "probabilities"),
                TensorSpec(np.dtype("float32"), (-1,), "certainty"),
            ]
        ),
    )
    with tempfile.TemporaryDirectory() as folder:
        pinned, readme, reference = (
            Path(folder) / Path(name).name
            for name in (places.VERSION_PINNED, places.VERSION_CARD, places.VERSION_REFERENCE)
        )
        descriptions.write(reference, _reference(splits.load(places.PROCESSED / "val").images), of.kind)
        np.savez(pinned, images=images, probabilities=inference.probabilities(places.ONNX, images))
        readme.write_text(card, encoding="utf-8")
        beside = [places.KERAS, pinned, readme, reference]
        logged = mlflow.onnx.log_model(
            onnx.load(places.ONNX),
            name="model",
            params=params,
            signature=signature,
            input_example=images[:2],
            pip_requirements=[f"{package}=={installed(package)}" for package in REQUIREMENTS],
            onnx_execution_providers=["CPUExecutionProvider"],
            extra_files=[str(path) for path in beside],
            metadata={package: installed(package) for package in ("keras", "tensorflow")},
            save_as_external_data=False,
        )
        return logged, {f"extra_files/{path.name}": files.sha256_file(path) for path in beside}


def _reference(images: Images) -> pd.DataFrame:
    """What the model makes of the val split's images: what those it will see are compared with."""
    some = images[:: max(len(images) // REFERENCE_IMAGES, 1)]
    features = descriptions.of_images(some, "train")
    return comparison.answered(features, inference.probabilities(places.ONNX, some))


def model_card(params: Params, metrics: dict, manifest: dict, of: Form) -> str:
    """What a person should know before using the model, as Markdown."""
    counts = manifest["counts"]
    return f"""# {versions.model_name(params.named)}

{_reads(of)}

- **Classes** {"; ".join(of.classes) if any("," in name for name in of.classes) else ", ".join(of.classes)}
- **Network** `{params.recipe.network.name}` by the recipe `{params.train.recipe}`, seed {params.train.seed}; \
rescaling is inside the model
- **Data** `{manifest["dataset"]}` ({manifest["source"]}): {counts["train"]:,} train, {counts["test"]:,} test images
- **Test accuracy** {metrics["accuracy"]:.2%} (95 % interval {metrics["accuracy_low"]:.2%} to \
{metrics["accuracy_high"]:.2%}), lowest recall of a class {metrics["min_recall"]:.2%}
- **Calibration error** {metrics["ece"]:.4f}; on train accuracy is {100 * metrics["gap"]:+.2f} points from that on test
- {_refuses(metrics, of)}
- **Limits** one {"digit" if of.of_digits else "thing"} an image. Not for decisions about people.
"""


def _reads(of: Form) -> str:
    shape = ", ".join(map(str, of.shape))
    if of.inked:
        what = "digit" if of.of_digits else "sign"
        reads = f"""Reads one handwritten {what}: uint8 (N, {shape}), 0 = paper and 255 = ink, in \
MNIST's framing (20×20 box, centred by mass)"""
    else:
        reads = f"Says what is on a picture: uint8 (N, {shape}), scaled to fit with its aspect kept"
    count, none = ("ten", "no digit") if of.of_digits else (len(of.classes), "none of the classes")
    return f"""{reads}, to {count} probabilities and a certainty, below {inference.CERTAIN} \
where it is {none}, or not clear which."""


def _refuses(metrics: dict, of: Form) -> str:
    right = f"""{metrics["believed_accuracy"]:.2%} of the others are right"""
    if not of.of_digits:
        return f"""**Not sure** it is of {metrics["refused"]:.2%} of the test images; {right}"""
    return f"""**What is no digit** is said to be none: {metrics["non_digits_refused"]:.1%} of drawn letters, signs, \
scribbles and the like, and of the test digits {metrics["refused"]:.2%}; {right}"""
