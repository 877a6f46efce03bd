"""How does a trained model enter the registry? An MLflow run with all that made it, and a version @challenger.

Registering the same weights again finds the version that is there: a restored or repeated stage adds nothing.
"""

import json
import os
import platform
import subprocess
import tempfile
from importlib.metadata import version as installed
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from pipeline.base import files
from pipeline.base import params as params_file
from pipeline.base.errors import one_line
from pipeline.base.params import Params
from pipeline.data import checks, splits
from pipeline.learning import evaluation, inference
from pipeline.monitoring import monitor
from pipeline.registry import versions

REGISTRATION = Path("reports/registration.json")
MODELS = Path("models")
REPORTS = Path("reports")
RECORDED = ("params.yaml", "dvc.lock", "dvc.yaml", "data/raw/manifest.json")  # artifacts that lead back to the run
_RECORDED_ANYWAY = (":(exclude)params.yaml", ":(exclude)dvc.lock")
PINNED_IMAGES = 256
REFERENCE_IMAGES = 10_000  # of val, evenly spread: what the monitor compares with
REQUIREMENTS = ("mlflow", "numpy", "onnx", "onnxruntime")  # what answering takes; TensorFlow is not among it


def data_digests(lock: Path = Path("dvc.lock")) -> dict[str, str]:
    """DVC's MD5 of each output of the stages before train, from dvc.lock: ``{"dvc.data/raw/train": …}``."""
    if not lock.is_file():
        return {}
    stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"]
    outs = [out for stage in ("ingest", "preprocess") for out in stages.get(stage, {}).get("outs", [])]
    return {f"dvc.{out['path']}": out["md5"] for out in outs}


def git_commit() -> dict[str, str]:
    """The commit and whether the checkout's code differs from it; empty where there is no git or no commit.

    params.yaml and dvc.lock do not count: they are recorded as they were.
    """
    try:
        ask = {"capture_output": True, "text": True, "check": True}
        commit = subprocess.run(["git", "rev-parse", "HEAD"], **ask).stdout.strip()  # type: ignore[call-overload]
        changed = subprocess.run(["git", "status", "--porcelain", "-uno", "--", ".", *_RECORDED_ANYWAY], **ask).stdout  # type: ignore[call-overload]
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"git_commit": commit, "git_clean": str(not changed.strip()).lower()}


def machine() -> str:
    """The type of machine, of which the weights' last bits depend: processor and number of cores."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.is_file() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{platform.machine()}, {named[0] if named else platform.processor()}, {os.cpu_count()} cores"


def model_card(params: Params, metrics: dict, manifest: dict) -> str:
    """What a person should know before using the model, as Markdown."""
    counts = manifest["counts"]
    return f"""# {versions.model_name(params.dataset)}

Reads one handwritten digit: uint8 (N, {splits.SIDE}, {splits.SIDE}), 0 = paper and 255 = ink, in MNIST's framing
(20×20 box, centred by mass), to ten probabilities.

- **Network** `{params.recipe.network.name}` by the recipe `{params.train.recipe}`, seed {params.train.seed}; rescaling
  is inside the model
- **Data** `{manifest["dataset"]}` ({manifest["source"]}): {counts["train"]:,} train, {counts["test"]:,} test images
- **Test accuracy** {metrics["accuracy"]:.2%} (95 % interval {metrics["accuracy_low"]:.2%} to
  {metrics["accuracy_high"]:.2%}), lowest recall of a class {metrics["min_recall"]:.2%}
- **Calibration error** {metrics["ece"]:.4f}; accuracy on train is {metrics["gap"]:.2%} higher than on test
- **Limits** one digit an image; anything else (letters, several digits, blank paper) still gets a digit. Not for
  decisions about people.
"""


def register(client: MlflowClient, params: Params) -> ModelVersion:
    """Register the workspace's model unless these weights are registered already; it becomes the challenger,
    or stays champion."""
    name = versions.model_name(params.dataset)
    digest = (MODELS / "weights.sha256").read_text().strip()
    with versions.locked():
        versions.create(client, name)
        version = versions.with_weights(client, name, digest) or _new_version(client, name, digest, params)
        champion = versions.aliased(client, name, versions.CHAMPION)
        if champion is None or champion.version != version.version:
            client.set_registered_model_alias(name, versions.CHALLENGER, version.version)
    return version


def _new_version(client: MlflowClient, name: str, digest: str, params: Params) -> ModelVersion:
    import mlflow

    metrics, manifest = files.read_json(evaluation.METRICS), files.read_json("data/raw/manifest.json")
    training = files.read_json(REPORTS / "training.json")
    lineage = {"dataset": params.dataset, "recipe": params.train.recipe, **git_commit(), **data_digests()}
    mlflow.set_tracking_uri(versions.tracking_uri())
    with mlflow.start_run(experiment_id=versions.experiment(client, name), tags=lineage) as run:
        flat = pd.json_normalize(params.in_use()).iloc[0]
        mlflow.log_params({str(key): value for key, value in flat.items()})
        mlflow.log_metrics({k: v for k, v in (metrics | training).items() if isinstance(v, (int, float))})
        for path in filter(Path.exists, map(Path, RECORDED)):
            mlflow.log_artifact(str(path), artifact_path="lineage")
        for path in (REPORTS / "evaluation", REPORTS / "curves.png", checks.REPORT, REPORTS / "drift.json"):
            (mlflow.log_artifacts if path.is_dir() else mlflow.log_artifact)(str(path), f"reports/{path.stem}")
        card = model_card(params, metrics, manifest)
        model_uri = _log_model(card)
        tags = {
            **lineage,
            "machine": machine(),
            "weights_sha256": digest,
            "onnx_sha256": files.sha256_file(MODELS / "model.onnx"),
            "metrics": json.dumps(metrics),
        }
        return client.create_model_version(name, model_uri, run.info.run_id, tags=tags, description=card)


def _log_model(card: str) -> str:
    """Log the ONNX model, with Keras' file, the card and the pinned batch beside it; returns the model's URI."""
    import mlflow.onnx
    import onnx
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    images = np.ascontiguousarray(splits.load(splits.PROCESSED / "test").images[:PINNED_IMAGES])
    shape = (-1, splits.SIDE, splits.SIDE)
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype("uint8"), shape, "images")]),
        Schema([TensorSpec(np.dtype("float32"), (-1, splits.CLASSES), "probabilities")]),
    )
    with tempfile.TemporaryDirectory() as folder:
        pinned, readme, reference = (Path(folder) / n for n in ("pinned.npz", "MODEL_CARD.md", "reference.parquet"))
        _reference(splits.load(splits.PROCESSED / "val").images).to_parquet(reference)
        np.savez(pinned, images=images, probabilities=inference.probabilities(MODELS / "model.onnx", images))
        readme.write_text(card, encoding="utf-8")
        return mlflow.onnx.log_model(
            onnx.load(MODELS / "model.onnx"),
            name="model",
            signature=signature,
            input_example=images[:2],
            pip_requirements=[f"{package}=={installed(package)}" for package in REQUIREMENTS],
            onnx_execution_providers=["CPUExecutionProvider"],
            extra_files=[str(MODELS / "model.keras"), str(pinned), str(readme), str(reference)],
            metadata={package: installed(package) for package in ("keras", "tensorflow")},
            save_as_external_data=False,
        ).model_uri


def _reference(images: np.ndarray) -> pd.DataFrame:
    """What the model makes of the val split's images: what those it will see are compared with."""
    some = images[:: max(len(images) // REFERENCE_IMAGES, 1)]
    return monitor.rows(some, inference.probabilities(MODELS / "model.onnx", some))


def main() -> None:
    params = params_file.load()
    client = versions.connect()
    version = register(client, params)
    files.write_json(
        REGISTRATION,
        {
            "model": version.name,
            "version": str(version.version),
            "run_id": version.run_id,
            "weights_sha256": version.tags["weights_sha256"],
            "card": version.description,
        },
    )
    print(f"register: {version.name} version {version.version} holds weights {version.tags['weights_sha256'][:12]}")


if __name__ == "__main__":
    with one_line():
        main()
