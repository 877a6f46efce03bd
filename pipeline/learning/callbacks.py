"""What is done between the epochs of a fit? It may stop early, is written down and kept, and tells how far it is."""

import json
import sys
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.base import files
from pipeline.learning.backend import keras


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Keras' early stopping that can take up where an interrupted run left off.

    A run that was stopped ends on its best epoch's weights; one that ran to the end keeps its last, where the rate is
    lowest: the best of a noisy validation curve is often an early, luckier epoch.
    """

    STATE = ("best", "wait", "best_epoch", "stopped_epoch")

    def __init__(self, patience: int) -> None:
        super().__init__(monitor="val_loss", mode="min", patience=patience, restore_best_weights=True)
        self.restored: tuple[dict, list[np.ndarray]] | None = None

    def state(self) -> dict:
        return {name: getattr(self, name) for name in self.STATE}

    def on_train_begin(self, logs: dict | None = None) -> None:
        super().on_train_begin(logs)
        if self.restored:
            state, self.best_weights = self.restored
            for name in self.STATE:
                setattr(self, name, state[name])

    @property
    def stopped_early(self) -> bool:
        return 0 < self.stopped_epoch < self.params["epochs"] - 1

    def on_train_end(self, logs: dict | None = None) -> None:
        if self.stopped_early:
            super().on_train_end(logs)


class History(keras.callbacks.Callback):
    """A row an epoch, with the seconds it took; it survives an interruption through the checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict] = []

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        figures_of_epoch = {
            name: float((logs or {})[name]) for name in ("accuracy", "loss", "val_accuracy", "val_loss")
        }
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        seconds = round(time.perf_counter() - self.began, 2)
        self.rows.append({"epoch": epoch + 1, **figures_of_epoch, "learning_rate": rate, "seconds": seconds})


class Checkpoint(keras.callbacks.Callback):
    """After each epoch, all that the rest of the run depends on, in one atomic file.

    Keras' BackupAndRestore leaves out the dropout layers' random state and early stopping's best weights, without
    which a resumed run ends elsewhere than an uninterrupted one.
    """

    def __init__(self, path: Path, key: str, stopping: EarlyStopping, history: History) -> None:
        super().__init__()
        self.path, self.key, self.stopping, self.history = path, key, stopping, history

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        facts = {"key": self.key, "epoch": epoch + 1, "stopping": self.stopping.state(), "history": self.history.rows}
        arrays = {f"variable{i}": value for i, value in enumerate(_values(_variables(self.model)))}
        arrays |= {f"best{i}": value for i, value in enumerate(self.stopping.best_weights)}
        with files.atomic(self.path) as part:
            np.savez(part, allow_pickle=False, facts=np.array(json.dumps(facts)), **arrays)

    def restore(self, model: keras.Model) -> int:
        """Bring everything back to the end of the last finished epoch; returns how many are finished.

        A checkpoint of other params, data, code or library versions, or an unreadable one, counts as none.
        """
        try:
            with np.load(self.path, allow_pickle=False) as saved:
                facts = json.loads(str(saved["facts"]))
                if facts["key"] != self.key:
                    return 0
                variables = [saved[f"variable{i}"] for i in range(len(_variables(model)))]
                best = [saved[f"best{i}"] for i in range(len(model.weights))]
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
            return 0
        for variable, value in zip(_variables(model), variables, strict=True):
            variable.assign(value)
        self.stopping.restored = (facts["stopping"], best)
        self.history.rows = facts["history"]
        return int(facts["epoch"])


class Progress(keras.callbacks.Callback):
    """One bar over the whole run with the time left, and a line for each finished epoch."""

    def __init__(self, epochs: int, finished: int, steps: int) -> None:
        super().__init__()
        self.epochs, self.steps = epochs, steps
        form = "{desc} {percentage:3.0f}% |{bar}| {elapsed} gone, {remaining} left{postfix}"
        self.bar = tqdm(total=epochs * steps, initial=finished * steps, disable=None, leave=False, bar_format=form)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.before = epoch * self.steps
        self.bar.set_description(f"train: epoch {epoch + 1}/{self.epochs}")

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.bar.update(self.before + batch + 1 - self.bar.n)  # Keras calls it once for several steps

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = logs or {}
        tqdm.write(
            f"train: epoch {epoch + 1:>2}/{self.epochs}  loss {logs['loss']:.4f}  accuracy {logs['accuracy']:.2%}  "
            f"val loss {logs['val_loss']:.4f}  val accuracy {logs['val_accuracy']:.2%}",
            file=sys.stdout,
        )

    def on_train_end(self, logs: dict | None = None) -> None:
        self.bar.close()


def _variables(model: keras.Model) -> list:
    """Weights, dropout's random state, and Adam's moments and step count."""
    return [*model.variables, *model.optimizer.variables]


def _values(variables: list) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in variables]
