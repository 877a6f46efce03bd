"""One fit of a study, in a process of its own.

Keras draws its layers' seeds from Python's and NumPy's global generators, which belong to a whole process: beside
another thread that draws from them, as Dask's own do, no result would repeat. A process of one thread for TensorFlow,
on the other hand, gives the same numbers wherever it runs on the same kind of machine.
"""

import contextlib
import io
import json
import os
import sys
import threading
import time
from typing import Any, NamedTuple

import numpy as np

from pipeline.base import processes
from pipeline.base.form import DIGITS, Form
from pipeline.base.params import Recipe
from pipeline.data import splits
from pipeline.data.splits import Split

CURVES = ("loss", "accuracy", "val_loss", "val_accuracy")


class Trial(NamedTuple):
    settings: dict[str, Any]
    """the cell of the study's grid: ``{"network.blocks": 2}``"""
    recipe: Recipe
    train_images: int | None
    """None: all"""
    seed: int
    form: Form = DIGITS
    """of the images"""

    @property
    def label(self) -> str:
        if not self.settings:
            return "as it is"
        return ", ".join(f"{key.removeprefix('network.')} {value}" for key, value in self.settings.items())


def run(trial: Trial, train: Split, val: Split) -> dict[str, Any]:
    """Fit in a new process: the curves, a list each with a number an epoch, and the numbers of the whole.

    Called on a Dask worker. RuntimeError with the last line of what the process said if it fails.
    """
    facts: dict[str, Any] = {"recipe": trial.recipe.model_dump(), "form": trial.form.as_json()}
    facts |= {"train_images": trial.train_images, "seed": trial.seed}
    sent = io.BytesIO()
    np.savez(
        sent, allow_pickle=False, facts=np.array(json.dumps(facts)), **_named("train", train), **_named("val", val)
    )
    try:
        said = processes.call([sys.executable, "-m", "pipeline.studies.trial"], stdin=sent.getvalue())
    except processes.Failed as error:
        raise RuntimeError(f"{trial.label}, seed {trial.seed}: {error}") from None
    result: dict[str, Any] = json.loads(said)
    return result


def lowest(train: Split, count: int | None) -> Split:
    """So many images, in memory, those of the lowest hashes: the same ones in every trial, and a smaller trial's are
    among a larger one's."""
    chosen = np.sort(np.argsort(splits.content_hashes(train.images), kind="stable")[:count])
    return Split(np.asarray(train.images[chosen]), train.labels[chosen])


def fit(
    recipe: Recipe, train_images: int | None, seed: int, train: Split, val: Split, form: Form = DIGITS
) -> dict[str, Any]:
    """What :func:`run` answers with, in this process, which must not have used TensorFlow yet."""
    from pipeline.learning import fitting, networks

    fitting.on_one_thread()
    model, history = fitting.fit_all(lowest(train, train_images), val, recipe, seed, form=form)
    answered = model.predict(val.images, batch_size=networks.AT_ONCE, verbose=0)["probabilities"].argmax(axis=1)
    curves = history.groupby("epoch")[list(CURVES)].mean()  # over the members, where there are several
    return {
        **{name: curves[name].tolist() for name in CURVES},
        "kept_val_accuracy": float((answered == val.labels).mean()),
        "best_val_loss": float(curves["val_loss"].min()),
        "epochs": len(curves),
        "overfits_from": fitting.first_overfit(history),
        "seconds": float(history["seconds"].sum()),
        "weights": model.count_params(),
    }


def _named(name: str, split: Split) -> dict[str, np.ndarray]:
    return {f"{name}_{field}": array for field, array in split._asdict().items()}


def _end_with(parent: int) -> None:
    """End this process once its parent is gone: a killed worker must not leave a fit behind."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def main() -> None:
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    with np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False) as sent:
        facts = json.loads(str(sent["facts"]))
        train, val = (Split(sent[f"{name}_images"], sent[f"{name}_labels"]) for name in ("train", "val"))
    recipe, form = Recipe.model_validate(facts.pop("recipe")), Form.from_json(facts.pop("form"))
    with contextlib.redirect_stdout(io.StringIO()):  # the epochs' lines; what is printed is the answer
        result = fit(recipe, **facts, train=train, val=val, form=form)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
