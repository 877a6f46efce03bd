"""The network, fitted. Leaves the model as Keras and ONNX, its weights digest and its curves."""

import shutil
import sys

import numpy as np
import pandas as pd

from pipeline.base import cluster, files, form, places
from pipeline.base import params as params_file
from pipeline.base.errors import BadInput, one_line
from pipeline.base.params import Augment, Params
from pipeline.data import kinds, splits
from pipeline.learning import (
    data_parallel,
    export,
    fit_identity,
    fitting,
    networks,
    on_dask,
    shuffling,
    training_processes,
)
from pipeline.reporting import figures


def facts(params: Params, weights: int, history: pd.DataFrame) -> dict:
    """What reports/training.json says; of several members, means, and the first that overfits."""
    kept, by_member = history[history["kept"]], history.groupby("member")
    return {
        "recipe": params.train.recipe,
        "seed": params.train.seed,
        "network": params.recipe.network.name,
        "members": params.recipe.members,
        "precision": params.recipe.precision if networks.has_fast_bfloat16() else "float32",
        "augmented": params.recipe.augment != Augment(),
        "weights": weights,
        "epochs": int(by_member["epoch"].max().max()),
        "kept_epoch": int(kept["epoch"].max()),
        "overfits_from": fitting.first_overfit(history),
        "val_loss": round(float(kept["val_loss"].mean()), 6),
        "val_accuracy": round(float(kept["val_accuracy"].mean()), 6),
    }


def save(history: pd.DataFrame) -> None:
    """Leave reports/history.csv: after each epoch, for who watches it grow (DVC's extension of VS Code), and at the
    end. Seconds are left out: what a stage leaves depends on what it reads alone."""
    with files.atomic(places.HISTORY) as part:
        history.drop(columns="seconds").to_csv(part, index=False)


def main() -> None:
    params = params_file.load()
    if params.train.workers > 1 and data_parallel.place().alone:
        command = ["-m", "pipeline.train"]
        if scheduler := cluster.scheduler():
            on_dask.run(scheduler, command, params.train.workers)
        else:
            training_processes.run([sys.executable, *command], params.train.workers)
        return
    train, val = (shuffling.brought(splits.load(places.PROCESSED / name)) for name in ("train", "val"))
    of = form.load()
    if ignored := kinds.training(of.kind).ignored(params.recipe.augment, of):
        told = f"{', '.join(ignored)} of recipe {params.train.recipe}"
        print(f"warning: train: {told}: not for these images, done without (see params.yaml: augment)", file=sys.stderr)
    data, seed = fit_identity.data_digest(train, val), params.train.seed
    watched = save if data_parallel.place().first else None
    model, history = fitting.fit_all(train, val, params.recipe, seed, places.CHECKPOINTS, of, data, watched)
    if not np.isfinite(history[["loss", "val_loss"]].to_numpy()).all():
        raise BadInput(f"params.yaml: training diverged: lower the learning_rate of recipe {params.train.recipe}")
    if not data_parallel.place().first:
        return
    export.save_keras(model, places.KERAS)
    difference = export.export_onnx(model, places.ONNX, val.images[:1000], of)
    digest, seconds = export.weights_digest(model), round(float(history["seconds"].sum()), 1)
    found = facts(params, model.count_params(), history) | {"fitted": fit_identity.digest(params.recipe, data, of)}
    files.write_text(places.WEIGHTS_DIGEST, digest + "\n")
    save(history)
    files.write_json(places.TRAINING, found)
    figures.save(figures.curves(history, found["overfits_from"]), places.CURVES)
    files.write_json(places.TIMING, {"weights_sha256": digest, "train_seconds": seconds})
    shutil.rmtree(places.CHECKPOINTS)
    overfits = f"; overfits from epoch {found['overfits_from']}" if found["overfits_from"] else ""
    print(
        f"train: {found['recipe']}, {found['weights']:,} weights, {found['epochs']} epochs in {seconds:.0f} s; epoch "
        f"{found['kept_epoch']}'s is kept, val accuracy {found['val_accuracy']:.2%}{overfits}; ONNX equals Keras to "
        f"{difference:.1g}; weights {digest[:12]}"
    )


if __name__ == "__main__":
    with one_line():
        main()
