"""What does a recipe reach on MNIST over many seeds, and in what share of the time of Keras' own example?

    MNIST_DIR=... python -m benchmarks.seeds sprint             ten seeds, what is missing of them
    MNIST_DIR=... python -m benchmarks.seeds tiny --seeds 3 --peers 1 --int8

Fits alone, with none of the stages that :mod:`benchmarks.recipes` runs around each, on the split of its workspace.
After each of the first seeds the peer runs two epochs, the second of which, times fifteen, is its time: what a busy
machine does to one, it does to the other. What was measured stands in .cache/seeds/RECIPE.jsonl, with the digest of
what it comes from, and is not measured again.
"""

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import recipes
from benchmarks.pipeline import DVC, clone
from benchmarks.table import show
from pipeline.base import files, params, places, processes
from pipeline.base.errors import one_line
from pipeline.data import splits
from pipeline.data.datasets import catalogue
from pipeline.data.splits import Split
from pipeline.learning import export, fit_identity, fitting, litert, networks, shuffling
from pipeline.learning.backend import keras
from pipeline.registry import bundle

ROOT = Path(__file__).resolve().parents[1]
FOUND = ROOT / ".cache/seeds"
FIRST = 7


def measured(name: str, seed: int, parts: dict[str, Split], int8: bool) -> dict[str, float]:
    """One fit of the recipe, and its accuracy on test; seconds and those of the processors are of all of the fit, its
    graphs, calibration and threshold included; ``epochs_cpu_seconds`` is the last epoch's, times their number."""
    recipe = params.load().recipes[name]
    wall, processor = time.perf_counter(), time.process_time()
    ends = [processor]
    model, history = fitting.fit_all(
        parts["train"], parts["val"], recipe, seed, after_epoch=lambda _: ends.append(time.process_time())
    )
    row = {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - processor,
        "epochs_cpu_seconds": recipe.epochs * (ends[-1] - ends[-2]),
    }
    images, labels = map(np.asarray, parts["test"])
    answered = model.predict(images, batch_size=networks.AT_ONCE, verbose=0)
    row |= {
        "weights": model.count_params(),
        "val_accuracy": float(history["val_accuracy"].iloc[-1]),
        "accuracy": float((answered["probabilities"].argmax(axis=1) == labels).mean()),
    }
    return row | (in_int8(model, parts) if int8 else {})


def in_int8(model: keras.Model, parts: dict[str, Split]) -> dict[str, float]:
    """How the int8 model that `digits export` makes of it does on test."""
    images, labels = map(np.asarray, parts["test"])
    with tempfile.TemporaryDirectory() as folder:
        keras_file, quantised = Path(folder) / "model.keras", Path(folder) / bundle.INT8
        export.save_keras(model, keras_file)
        litert.quantise(keras_file, quantised, np.asarray(parts["train"].spread(bundle.SAMPLE).images))
        answers = litert.answers(quantised, images)
        return {
            "int8_accuracy": float((answers.probabilities.argmax(axis=1) == labels).mean()),
            "int8_bytes": quantised.stat().st_size,
        }


def prepared(name: str) -> dict[str, Split]:
    """The splits of the workspace, which becomes this process's folder."""
    recipes.WORKSPACE.mkdir(parents=True, exist_ok=True)
    clone(recipes.WORKSPACE)
    os.chdir(recipes.WORKSPACE)
    params.choose(Path("params.yaml"), dataset="mnist", recipe=name)
    environment = processes.environment(PYTHONPATH=str(Path.cwd()))
    subprocess.run([*DVC, "repro", "preprocess"], env=environment, check=True)
    return {part: shuffling.brought(splits.load(places.PROCESSED / part)) for part in ("train", "val", "test")}


def rows_of(name: str, seeds: int, int8: bool, peers: int) -> list[dict]:
    """A row a seed: those there are, then those that are missing."""
    parts = prepared(name)
    loaded = catalogue.load(params.load())
    key = fit_identity.digest(params.load().recipes[name], fit_identity.data_digest(parts["train"], parts["val"]))
    path = FOUND / f"{name}.jsonl"
    rows = [row for row in files.read_json_lines(path) if row["from"] == key]
    for seed in range(FIRST, FIRST + seeds):
        if any(row["seed"] == seed for row in rows):
            continue
        found = measured(name, seed, parts, int8)
        if seed < FIRST + peers:
            peer = recipes.keras_example(loaded, seed, epochs=2)
            found |= {
                "share": found["seconds"] / (recipes.PEER_EPOCHS * peer["epoch_seconds"]),
                "cpu_share": found["cpu_seconds"] / (recipes.PEER_EPOCHS * peer["epoch_cpu_seconds"]),
                "epochs_cpu_share": found["epochs_cpu_seconds"] / (recipes.PEER_EPOCHS * peer["epoch_cpu_seconds"]),
            }
        row = {"from": key, "seed": seed, **found}
        rows.append(row)
        files.append_json_line(path, row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("recipe", choices=list(params.load(ROOT / "params.yaml").recipes))
    parser.add_argument("--seeds", type=int, default=10, help=f"so many, from {FIRST}")
    parser.add_argument("--int8", action="store_true", help="judge each model in int8 too")
    parser.add_argument("--peers", type=int, default=3, help="beside so many of them the peer runs")
    arguments = parser.parse_args()
    rows = rows_of(arguments.recipe, arguments.seeds, arguments.int8, arguments.peers)
    figures = {
        name: [row[name] for row in rows if name in row]
        for name in (
            "accuracy",
            "int8_accuracy",
            "val_accuracy",
            "seconds",
            "cpu_seconds",
            "epochs_cpu_seconds",
            "share",
            "cpu_share",
            "epochs_cpu_share",
        )
    }
    show(
        [arguments.recipe, "seeds", "mean", "standard deviation", "lowest", "highest"],
        *(
            [
                name,
                str(len(found)),
                f"{np.mean(found):.4g}",
                f"{np.std(found, ddof=1):.4g}" if len(found) > 1 else "–",
                f"{min(found):.4g}",
                f"{max(found):.4g}",
            ]
            for name, found in figures.items()
            if found
        ),
    )


if __name__ == "__main__":
    with one_line():
        main()
