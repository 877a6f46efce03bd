"""What does a person find in the MLflow run behind a version? Params, curves, results, data sets, the report.

Curves are named as MLflow's autologging names them, a step an epoch. What the finished model measured has the name of
the split that it was measured on, as ``test_accuracy``, and none of a curve's: MLflow's page sorts charts by name, and
puts names with a slash above all others, where bars would hide the curves.
"""

import json
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Run

from pipeline.base import files, places
from pipeline.base.form import Form
from pipeline.base.params import Params
from pipeline.data import splits
from pipeline.registry import artifacts, versions

CURVES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
MEASURED_ON = {"train_accuracy": "train", "train_seconds": "train", "kept_val_accuracy": "val"}  # the rest on test
CONTEXTS = {"train": "training", "val": "validation", "test": "testing", "recent": "testing"}
REGISTERS_ON = "registers_on"  # a run's tag: the machine whose process it is
BATCH = 1000  # metrics of a request, by MLflow's limit
DIGEST = 36  # characters, by MLflow's limit


@contextmanager
def run(
    client: MlflowClient, params: Params, tags: Mapping[str, str], note: str, begun: str | None = None
) -> Iterator[Run]:
    """A run to register in, named for what it is, or the one of the id ``begun`` taken over. One that a fault ends
    leaves no files, and is not left running; neither is one of this machine that was killed."""
    import mlflow

    mlflow.set_tracking_uri(places.tracking_uri())
    within = experiment(client, params)
    here = {REGISTERS_ON: socket.gethostname()}
    cut_off = f"attributes.status = 'RUNNING' and tags.{REGISTERS_ON} = '{here[REGISTERS_ON]}'"
    for found in client.search_runs([within], cut_off):  # whose process is dead: one registers at a time
        client.set_terminated(found.info.run_id, "KILLED")
    named, tags = run_name(params), {**tags, **here}
    with mlflow.start_run(begun, experiment_id=within, run_name=named, tags=tags, description=note) as started:
        try:
            yield started
        except BaseException:
            artifacts.discard(client, started)  # first, as on a full disk there is no room to write down how it ended
            raise


def experiment(client: MlflowClient, params: Params) -> str:
    """The id of the experiment of the trainings on that data set."""
    dataset = params.named
    note = (
        f"Trainings on `{dataset}` that entered the registry, a run each. To compare them choose `test_accuracy` and "
        f"`val_loss` in the chart view; the model `{versions.model_name(dataset)}` says which one is in use."
    )
    return versions.experiment(client, versions.model_name(dataset), note)


def run_name(params: Params) -> str:
    return f"{params.train.recipe} · {params.named} · seed {params.train.seed}"


def note(params: Params, metrics: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """What the run is and what there is to read in it, as Markdown."""
    return f"""Recipe `{params.train.recipe}` on `{manifest["dataset"]}` ({manifest["source"]}), seed \
{params.train.seed}: **{metrics["accuracy"]:.2%}** of the test images are right (95 % interval \
{metrics["accuracy_low"]:.2%} to {metrics["accuracy_high"]:.2%}).

- **Metrics** {", ".join(f"`{name}`" for name in CURVES)} are curves, a step an epoch; `test_…`, `train_accuracy` \
and `kept_val_accuracy` are what the finished model measured
- **Artifacts** `reports/index.html` is the report, `reports/evaluation` has its pictures and tables, `lineage` what \
the model was made from
- **Data sets** carry the SHA-256 of their images and labels, and how many there are of each class
- Whether it was promoted, and why: the tag `verdict` of its registered version, or `digits why VERSION`
"""


def flat(params: Params) -> dict[str, Any]:
    """The params in use by dotted names, and how many weights the network has."""
    found = pd.json_normalize(params.in_use()).iloc[0]
    weights = files.read_json(places.TRAINING)["weights"]
    return {str(key): value for key, value in found.items()} | {"weights": weights}


def log_params(params: Params) -> None:
    """In the active run."""
    import mlflow

    mlflow.log_params(flat(params))


def log_reports() -> None:
    """In the active run: the report with its pictures and tables, and the records of what made the model."""
    import mlflow

    for path in filter(Path.exists, places.RECORDED):
        mlflow.log_artifact(str(path), artifact_path=places.RUN_LINEAGE)
    for path in (places.REPORT_PAGE, places.CURVES, places.VALIDATION, places.DRIFT):
        mlflow.log_artifact(str(path), artifact_path=places.RUN_REPORTS)
    mlflow.log_artifacts(str(places.EVALUATION), f"{places.RUN_REPORTS}/{places.EVALUATION.name}")


def log_curves(client: MlflowClient, run_id: str, metrics: Iterable[Metric]) -> None:
    """What each epoch of the training measured, but for what the run shows already."""
    there = logged(client, run_id)
    missing = [metric for metric in metrics if (metric.key, metric.step) not in there]
    for start in range(0, len(missing), BATCH):
        client.log_batch(run_id, missing[start : start + BATCH])


def logged(client: MlflowClient, run_id: str) -> dict[tuple[str, int], float]:
    """The points of the curves that a run shows, by name and epoch."""
    names = [name for name in client.get_run(run_id).data.metrics if name.rpartition("/")[2] in CURVES]
    points = [point for name in names for point in client.get_metric_history(run_id, name)]
    return {(point.key, point.step): point.value for point in points}


def curves(history: pd.DataFrame, members: int) -> list[Metric]:
    """The curves of the history so far, their step the epoch, their time now: of several members each one's own, as
    ``member-1/loss``, and the means of those epochs that all have been through."""
    at = int(1000 * time.time())
    of_epoch = history.groupby("epoch")[list(CURVES)]
    tables = {"": of_epoch.mean()[of_epoch.size() == members]}
    if members > 1:
        tables |= {f"member-{number}/": rows.set_index("epoch") for number, rows in history.groupby("member")}
    return [
        Metric(f"{prefix}{name}", value, at, epoch)
        for prefix, table in tables.items()
        for name in CURVES
        for epoch, value in zip(table.index.tolist(), table[name].tolist(), strict=True)
    ]


def log_results(
    client: MlflowClient, run: Run, model_id: str, measured: Mapping[str, float], datasets: Mapping[str, Dataset]
) -> None:
    """What the finished model measured, with the run and with the model, each on its data set."""
    metrics = []
    for name, value in measured.items():
        of = datasets.get(MEASURED_ON.get(name, "test"))
        on = {"dataset_name": of.name, "dataset_digest": of.digest} if of else {}
        metrics.append(Metric(name, value, run.info.start_time, 0, model_id, run_id=run.info.run_id, **on))
    client.log_batch(run.info.run_id, metrics)


def results(metrics: Mapping[str, Any], seconds: float | None) -> dict[str, float]:
    """What reports/metrics.json says, named for MLflow; ``seconds`` is what the training took, where that is known."""
    elsewhere = {"train_accuracy", "val_accuracy", "n_test", "n_recent"}  # by name below, or with the data sets
    found = {f"test_{name}": value for name, value in metrics.items() if name not in elsewhere}
    found |= {"train_accuracy": metrics["train_accuracy"], "kept_val_accuracy": metrics["val_accuracy"]}
    found |= {"train_seconds": seconds}
    return {name: float(value) for name, value in found.items() if isinstance(value, (int, float))}


def training_tags(training: Mapping[str, Any]) -> dict[str, str]:
    """How the training went, as reports/training.json says, without what the params say."""
    found = {name: training[name] for name in ("epochs", "kept_epoch", "overfits_from", "precision")}
    return {name: str(value) for name, value in found.items() if value is not None}


def log_datasets(
    client: MlflowClient, run: Run, params: Params, manifest: Mapping[str, Any], of: Form
) -> dict[str, Dataset]:
    """The splits that the model was fitted and measured on, as the run's inputs, by the name of the split."""
    found = {
        part: dataset
        for part in CONTEXTS
        if (dataset := _dataset(f"{params.named}-{part}", part, manifest["source"], of)) is not None
    }
    inputs = [DatasetInput(one, [InputTag("mlflow.data.context", CONTEXTS[part])]) for part, one in found.items()]
    client.log_inputs(run.info.run_id, inputs)
    return found


def _dataset(name: str, part: str, source: str, of: Form) -> Dataset | None:
    """The split in MLflow's terms; None if it is empty. Its digest is of what its SHA-256 in the profile say."""
    from mlflow.data.schema import TensorDatasetSchema
    from mlflow.types import Schema, TensorSpec

    place = places.PROCESSED / part
    split = splits.load(place)
    if not len(split.labels):
        return None
    digests = {f"{what}_sha256": digest for what, digest in splits.digests(place).items()}
    counts = np.bincount(split.labels, minlength=len(of.classes)).tolist()
    schema = TensorDatasetSchema(
        Schema([TensorSpec(np.dtype("uint8"), (-1, *of.shape), "images")]),
        Schema([TensorSpec(split.labels.dtype, (-1,), "labels")]),
    )
    profile = {"num_rows": len(split.labels), **digests, "of_each_class": dict(zip(of.classes, counts, strict=True))}
    return Dataset(
        name=name,
        digest=files.sha256_text("".join(digests.values()))[:DIGEST],
        source_type="local",
        source=json.dumps({"uri": str(place), "from": source}),
        schema=json.dumps(schema.to_dict()),
        profile=json.dumps(profile, ensure_ascii=False),
    )
