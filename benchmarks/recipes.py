"""What does each recipe reach on MNIST, in how many seconds, beside Keras' own MNIST example on the same machine?

    MNIST_DIR=... python -m benchmarks.recipes                         what is missing of all recipes; hours
    MNIST_DIR=... python -m benchmarks.recipes --recipes fast default  those alone
    python -m benchmarks.recipes --recipes --docs                      the tables and the plot, from the runs there are

Each recipe goes through all stages (`dvc repro`) in a workspace of its own, once a seed; a run that is in the
workspace's MLflow is not made again, so this can be stopped and called again. A recipe whose first run trains for
more than 15 minutes is left at one seed. The peer is https://keras.io/examples/vision/mnist_convnet/ with its own
settings. ``--docs`` writes the tables into docs/recipes.md and the plot beside them.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities import Run

from benchmarks.pipeline import DVC, clone
from benchmarks.table import show
from pipeline.base import files, params, processes
from pipeline.base.errors import one_line
from pipeline.data.datasets import catalogue
from pipeline.data.datasets.decoders import Loaded
from pipeline.digits.image import CLASSES, SIDE
from pipeline.learning import inference
from pipeline.registry import artifacts, versions
from pipeline.reporting import figures

ROOT = Path(__file__).resolve().parents[1]
WORKSPACE = Path(".cache/recipes")
DOCS = ROOT / "docs/recipes.md"
PLOT = ROOT / "docs/pictures/recipes.png"
PEER, PEER_EPOCHS = "keras-example", 15
SEEDS = (7, 8, 9)
LONG = 15 * 60  # seconds of training from which one seed has to do
TIMED_RUNS = 300
PUBLISHED = {
    PEER: "about 99.1 %",
    "six-layer-bn": "99.5 %",
    "two-conv": "98.86 %",
    "three-conv-64": "none given",
    "kaggle": "99 % (of 4,200)",
    "three-conv-early-stopping": "98 %",
}
PUBLISHED_CLASSES = (100.00, 99.64, 99.80, 99.81, 99.38, 99.21, 99.26, 99.22, 99.28, 99.30)  # six-layer-bn's


def run_recipe(folder: Path, recipe: str, seed: int) -> None:
    """All stages in the workspace, with that recipe and seed."""
    path = folder / "params.yaml"
    params.choose(path, dataset="kaggle" if recipe == "kaggle" else "mnist", recipe=recipe)
    files.write_text(path, re.sub(r"(?m)^(  seed: )\d+", rf"\g<1>{seed}", path.read_text(), count=1))
    environment = processes.environment(PYTHONPATH=str(folder.resolve()))
    subprocess.run([*DVC, "repro"], cwd=folder, env=environment, check=True)


def run_peer(client: MlflowClient, seed: int) -> None:
    """Keras' example on MNIST, as a run of the same store."""
    loaded = catalogue.load(params.load(ROOT / "params.yaml").model_copy(update={"dataset": "mnist"}))
    run = client.create_run(versions.experiment(client, PEER), tags={"recipe": PEER})
    for name, value in keras_example(loaded, seed).items():
        client.log_metric(run.info.run_id, name, value)
    client.log_param(run.info.run_id, "train.seed", seed)
    client.set_terminated(run.info.run_id)


def keras_example(loaded: Loaded, seed: int, epochs: int = PEER_EPOCHS) -> dict[str, float]:
    """What Keras' example as it stands reaches on a data set in grey, timed as our own fits are (all of
    ``model.fit``); beside it the seconds of its last epoch, and those that processors worked for that."""
    from pipeline.learning.backend import keras

    classes = len(loaded.form.classes)
    (images, labels), (test_images, test_labels) = (
        (
            np.asarray(split.images)[..., None].astype(np.float32) / 255,
            keras.utils.to_categorical(split.labels, classes),
        )
        for split in (loaded.train, loaded.test)
    )
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((*loaded.form.shape, 1)),
            layers.Conv2D(32, 3, activation="relu"),  # (N, 26, 26, 32)
            layers.MaxPooling2D(),  # (N, 13, 13, 32)
            layers.Conv2D(64, 3, activation="relu"),  # (N, 11, 11, 64)
            layers.MaxPooling2D(),  # (N, 5, 5, 64)
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(classes, activation="softmax"),
        ]
    )
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    clocks = [(time.perf_counter(), time.process_time())]
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: clocks.append((time.perf_counter(), time.process_time()))
    )
    model.fit(images, labels, batch_size=128, epochs=epochs, validation_split=0.1, verbose=2, callbacks=[watch])
    epoch_seconds, epoch_cpu_seconds = np.subtract(clocks[-1], clocks[-2])
    return {
        "accuracy": model.evaluate(test_images, test_labels, verbose=0)[1],
        "train_seconds": clocks[-1][0] - clocks[0][0],
        "epoch_seconds": float(epoch_seconds),
        "epoch_cpu_seconds": float(epoch_cpu_seconds),
        "weights": model.count_params(),
        "epochs": epochs,
    }


def runs(client: MlflowClient) -> dict[tuple[str, int], Run]:
    """The finished runs of the store by recipe and seed, of the settings that params.yaml has now; of several the
    newest."""
    experiments = [e.experiment_id for e in client.search_experiments()]
    found = client.search_runs(experiments, "attributes.status = 'FINISHED'", order_by=["attributes.start_time ASC"])
    recipes = params.load().recipes
    return {
        (run.data.tags["recipe"], int(run.data.params["train.seed"])): run
        for run in found
        if "recipe" in run.data.tags and _is_of(run, recipes.get(run.data.tags["recipe"]))
    }


def _is_of(run: Run, recipe: params.Recipe | None) -> bool:
    """Whether all that the run says of its recipe is so; a setting that came later had its default."""
    settings = pd.json_normalize({"recipe": recipe.model_dump() if recipe else {}}).iloc[0]
    told = {key: value for key, value in run.data.params.items() if key.startswith("recipe.")}
    return all(str(settings.get(key)) == value for key, value in told.items())


def measured(run: Run) -> dict[str, float]:
    """What a run says that is compared here; runs of an earlier release, and the peer's, have it all under these
    names. One whose model came out of DVC's cache was not timed."""
    metrics, tags = dict(run.data.metrics), run.data.tags
    if "test_accuracy" not in metrics:
        return metrics
    told = {name: float(tags[name]) for name in ("epochs", "overfits_from") if name in tags}
    return metrics | told | {"accuracy": metrics["test_accuracy"], "weights": float(run.data.params["weights"])}


def run_missing(client: MlflowClient, recipes: list[str]) -> None:
    for seed in SEEDS:
        for recipe in recipes:
            there = runs(client)
            first = there.get((recipe, SEEDS[0]))
            long = first is not None and measured(first).get("train_seconds", 0.0) > LONG
            if (recipe, seed) in there or long:
                continue
            print(f"\n=== {recipe}, seed {seed}", flush=True)
            run_peer(client, seed) if recipe == PEER else run_recipe(Path(), recipe, seed)


def milliseconds_an_image(client: MlflowClient, run: Run) -> float | None:
    """The median of one image through ONNX Runtime, for a run that registered a model."""
    for name in ("mnist-cnn", "kaggle-cnn"):
        for version in client.search_model_versions(f"name = '{name}' and run_id = '{run.info.run_id}'"):
            model = inference.open_model(artifacts.onnx_file(client, version))
            image, durations = np.zeros((1, SIDE, SIDE), np.uint8), []
            for _ in range(TIMED_RUNS):
                began = time.perf_counter()
                inference.run(model, image)
                durations.append(time.perf_counter() - began)
            return 1000 * statistics.median(durations)
    return None


def summary(client: MlflowClient) -> pd.DataFrame:
    """A row a recipe: accuracies, the fastest of its runs (a machine is only ever too busy), the means of the rest."""
    by_recipe: dict[str, list[Run]] = {}
    for (recipe, _), run in sorted(runs(client).items()):
        by_recipe.setdefault(recipe, []).append(run)
    rows: list[dict] = []
    for recipe, found in by_recipe.items():
        metrics = pd.DataFrame(map(measured, found))
        seconds = metrics.get("train_seconds", pd.Series(dtype=float)).min()
        means = {**metrics[["weights", "epochs"]].mean(), "train_seconds": seconds}
        overfits = metrics.get("overfits_from", pd.Series(dtype=float)).dropna()
        rows.append(
            {"recipe": recipe, "accuracies": metrics["accuracy"].tolist(), **means}
            | {
                "overfits_from": overfits.median() if len(overfits) else None,
                "ms": milliseconds_an_image(client, found[0]),
            }
        )
    return pd.DataFrame(rows)


def cells(row: pd.Series) -> list[str]:
    """A row of :func:`summary` as text."""
    accuracies = [100 * accuracy for accuracy in row["accuracies"]]
    spread = f" ± {statistics.stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
    return [
        row["recipe"],
        PUBLISHED.get(row["recipe"], "ours"),
        f"{statistics.mean(accuracies):.2f}{spread} %",
        str(len(accuracies)),
        f"{row['epochs']:.0f}",
        f"{row['weights']:,.0f}",
        "–" if pd.isna(row["train_seconds"]) else f"{row['train_seconds']:,.0f}",
        "–" if pd.isna(row["ms"]) else f"{row['ms']:.2f}",
        f"{row['overfits_from']:.0f}" if row["overfits_from"] == row["overfits_from"] and row["overfits_from"] else "–",
    ]


HEADING = [
    "recipe",
    "published",
    "test accuracy",
    "seeds",
    "epochs",
    "weights",
    "train s",
    "ms an image",
    "overfits from",
]


def per_class(client: MlflowClient) -> list[list[str]]:
    """The six-layer network's recall a class beside what was published, as rows of text."""
    run = runs(client).get(("six-layer-bn", SEEDS[0]))
    if run is None:
        return [["digit", *map(str, range(CLASSES))], ["published", *(f"{share:.2f}" for share in PUBLISHED_CLASSES)]]
    table = pd.read_csv(client.download_artifacts(run.info.run_id, "reports/evaluation/per_class.csv"))
    return [
        ["digit", *map(str, range(CLASSES))],
        ["published", *(f"{share:.2f}" for share in PUBLISHED_CLASSES)],
        ["here", *(f"{100 * share:.2f}" for share in table["recall"])],
    ]


def markdown(rows: list[list[str]]) -> str:
    heading, *rest = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([heading, "|" + " --- |" * len(rows[0]), *rest])


def accuracy_by_seconds(table: pd.DataFrame) -> Figure:
    """Errors against training time, both on log scales: a dot a seed, a labelled one at a recipe's mean.

    ``table`` is :func:`summary`; recipes that were not timed are left out.
    """
    figure, (axes,) = figures.canvas(9, 5.6)
    for row in table.dropna(subset=["train_seconds"]).to_dict("records"):
        errors = 100 * (1 - np.array(row["accuracies"]))
        axes.plot(np.full(len(errors), row["train_seconds"]), errors, "o", color=figures.BLUE, alpha=0.35, markersize=5)
        axes.plot(row["train_seconds"], errors.mean(), "o", color=figures.ORANGE, markersize=9)
        place: dict[str, Any] = {"xytext": (9, 4), "textcoords": "offset points"}
        axes.annotate(row["recipe"], (row["train_seconds"], errors.mean()), **place, fontsize=11, color=figures.INK)
    axes.set(xscale="log", yscale="log", xlabel="seconds of training", ylabel="test errors")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _place: f"{value:g}")
        axis.set_minor_formatter(lambda value, _place: "")
    axes.set_yticks([0.15, 0.2, 0.3, 0.5, 0.7, 1, 1.5], [f"{e} %" for e in (0.15, 0.2, 0.3, 0.5, 0.7, 1, 1.5)])
    axes.grid(color=figures.GRID)
    axes.set_xmargin(0.15)
    axes.set_title("Test errors against training time (orange: mean of a recipe's seeds)", loc="left", fontsize=12)
    return figure


def write_docs(client: MlflowClient, found: pd.DataFrame) -> None:
    """Put the tables between their marks in docs/recipes.md and draw the plot."""
    text = DOCS.read_text(encoding="utf-8")
    tables = {"recipes": [HEADING, *map(cells, (row for _, row in found.iterrows()))], "classes": per_class(client)}
    for mark, rows in tables.items():
        body = f"<!-- {mark} -->\n{markdown(rows)}\n<!-- end -->"
        text = re.sub(rf"<!-- {mark} -->.*?<!-- end -->", body.replace("\\", ""), text, count=1, flags=re.DOTALL)
    files.write_text(DOCS, text)
    figures.save(accuracy_by_seconds(found), PLOT)


def main() -> None:
    known = [PEER, *params.load(ROOT / "params.yaml").recipes]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--recipes", nargs="*", choices=known, default=known, metavar="RECIPE", help="make only these runs"
    )
    parser.add_argument("--docs", action="store_true", help="write the tables and the plot into docs/")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    arguments = parser.parse_args()
    WORKSPACE.mkdir(parents=True, exist_ok=True)
    clone(WORKSPACE)
    os.chdir(WORKSPACE)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    client = versions.connect()
    run_missing(client, arguments.recipes)
    found = summary(client)
    if arguments.docs:
        write_docs(client, found)
    if arguments.json:
        print(json.dumps(found.to_dict("records"), indent=2))
    else:
        show(HEADING, *(cells(row) for _, row in found.iterrows()))


if __name__ == "__main__":
    with one_line():
        main()
