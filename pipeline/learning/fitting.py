"""How is the network fitted?

The same params and data give the same weights on one machine: every draw is keyed by (seed, epoch, step) and none by
what ran before. An interrupted run therefore goes on from the checkpoint of its last finished epoch and ends with
the very weights of an uninterrupted one.
"""

import hashlib
import inspect
import json
import math
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from pipeline.base import files
from pipeline.base.errors import BadInput
from pipeline.base.form import DIGITS, Form, images_in
from pipeline.base.params import Recipe
from pipeline.data import kinds
from pipeline.data.splits import Split
from pipeline.learning import blocks, networks, together
from pipeline.learning.backend import keras, tensorflow

REFUSED, MIN_SCORES = 0.003, 99  # share of images that may be taken for none, and how many tell 1 %
VALIDATED = 8_000_000  # bytes of images at once
SOME = 80_000_000  # bytes of images: of val, to validate on and to calibrate by, of train, to draw non-digits from
OVERFIT_RISE = 0.02  # of the lowest validation loss: a rise of less is not worth a word


# What a draw is for comes first in its key, so that no two share a stream; a kind's own changes have 1, 4 and 5.
ORDER, DRAWS = 2, 3
MEMBERS_APART = 1000  # between the seeds of members, so that runs with neighbouring seeds share none
AHEAD = 8  # batches
STEPS_PER_EXECUTION = 20  # Keras' own work between two steps costs as much as a third of a small network's step


class AugmentedBatches:
    """Batches of augmented images.

    Every batch is full: the last passes over the end into the next permutation. A small data set is passed over as
    often as ``min_steps_per_epoch`` asks. What is of no class comes on top.
    """

    def __init__(self, split: Split, recipe: Recipe, seed: int, form: Form = DIGITS) -> None:
        self.split, self.recipe, self.form, self.seed = split, recipe, form, seed
        self.place = together.place()
        self.steps = max(math.ceil(len(split.labels) / recipe.batch_size), recipe.min_steps_per_epoch)
        changes = kinds.training(form.kind).Changes
        self.reader = blocks.Reader(split.images, by_runs=not recipe.balanced)
        self.fault: Exception | None = None
        self.changed = changes(_some(split).images, recipe.augment, form, recipe.batch_size, seed)
        self.start(epoch=0)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """images uint8 (N, *shape) and their :func:`targets`; of several processes, this one's part of both"""
        chosen = self.order[step * self.recipe.batch_size : (step + 1) * self.recipe.batch_size]
        rng = np.random.default_rng([DRAWS, self.seed, self.epoch, step])
        images, labels = self.changed(self.reader.take(chosen), self.split.labels[chosen], rng)
        ours = slice(self.place.number, together.even(len(images)), self.place.of)
        return images[ours], targets(labels[ours], self.recipe, self.form)

    def ahead(self) -> tensorflow.data.Dataset:
        """An epoch's, made on a thread ahead of the training step.

        Without tf.data's tuning, which Keras' own datasets have: the end of an epoch waits for the tuner, which looks
        10 ms after its begin, then 20, 40 and so on, 5 to 20 s between two looks where an epoch takes as long.
        """
        shapes = [tensorflow.TensorSpec(array.shape, array.dtype) for array in self[0]]
        made = tensorflow.data.Dataset.from_generator(self._each, output_signature=tuple(shapes))
        options = tensorflow.data.Options()
        options.autotune.enabled = False
        ahead = made.apply(tensorflow.data.experimental.assert_cardinality(len(self))).prefetch(AHEAD)
        return ahead.with_options(options)

    def _each(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        try:
            for step in range(len(self)):
                yield self[step]
        except Exception as error:  # of which TensorFlow, on whose thread it is, passes on the words alone
            self.fault = error
            raise

    @contextmanager
    def own_faults(self) -> Iterator[None]:
        """What went wrong as a batch was made is raised as what it was."""
        try:
            yield
        except tensorflow.errors.OpError:
            if self.fault:
                raise self.fault from None
            raise

    def start(self, epoch: int) -> None:
        """Shuffle for this epoch."""
        self.epoch = epoch
        rng = np.random.default_rng([ORDER, self.seed, epoch])
        count = len(self.split.labels)
        if self.recipe.balanced:
            of_class = np.bincount(self.split.labels)[self.split.labels]
            chances = 1 / of_class / (1 / of_class).sum()
            self.order = rng.choice(count, self.steps * self.recipe.batch_size, p=chances)
            return
        passes = math.ceil(self.steps * self.recipe.batch_size / count)
        self.order = np.concatenate([blocks.shuffled(self.split.images, rng) for _ in range(passes)])


def targets(labels: np.ndarray, recipe: Recipe, form: Form) -> np.ndarray:
    """What the loss compares with: the labels (N,), or float32 (N, classes + 1) where they are to be smoothed."""
    return np.eye(len(form.classes) + 1, dtype=np.float32)[labels] if recipe.label_smoothing else np.asarray(labels)


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


OPTIMIZERS = {
    kind.__name__.lower(): kind
    for kind in vars(keras.optimizers).values()
    if isinstance(kind, type)
    and issubclass(kind, keras.optimizers.Optimizer)
    and "learning_rate" in inspect.signature(kind).parameters
}


def compiled(recipe: Recipe, steps_per_epoch: int, form: Form = DIGITS) -> keras.Model:
    """The recipe's network with its optimizer, rate and penalties, ready to be fitted."""
    if recipe.optimizer not in OPTIMIZERS:
        known = ", ".join(OPTIMIZERS)
        raise BadInput(f"params.yaml: Keras knows no optimizer {recipe.optimizer!r}: choose one of {known}")
    model = networks.for_training(networks.build(recipe.network, form, recipe.precision))
    alone = together.place().alone
    one_device = alone and not tensorflow.distribute.has_strategy()
    if not alone:
        model = together.Together(model.inputs, model.outputs)
    if recipe.l1 or recipe.l2:
        for layer in filter(lambda layer: hasattr(layer, "kernel"), model.layers):
            layer.kernel.regularizer = keras.regularizers.L1L2(recipe.l1, recipe.l2)
    if recipe.label_smoothing:
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        OPTIMIZERS[recipe.optimizer](_learning_rate(recipe, steps_per_epoch), weight_decay=recipe.weight_decay),
        loss,
        metrics=["accuracy"],
        steps_per_execution=min(STEPS_PER_EXECUTION, steps_per_epoch) if one_device else 1,
    )
    model.optimizer.build(model.trainable_variables)  # so that a checkpoint finds the moments in place
    return model


def _learning_rate(recipe: Recipe, steps_per_epoch: int) -> float | keras.optimizers.schedules.CosineDecay:
    """Constant, or warmed up over the first epoch and then led to zero along a cosine."""
    if recipe.schedule == "constant":
        return recipe.learning_rate
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        warmup_target=recipe.learning_rate,
        warmup_steps=steps_per_epoch,
        decay_steps=max((recipe.epochs - 1) * steps_per_epoch, 1),
    )


Told = Callable[[pd.DataFrame], None]  # is given the rows so far after each epoch


def fit(
    train: Split,
    val: Split,
    recipe: Recipe,
    seed: int,
    checkpoint_at: Path | None = None,
    form: Form = DIGITS,
    data: str = "",
    told: Told | None = None,
) -> tuple[keras.Model, pd.DataFrame]:
    """One network of the recipe, and a row an epoch with the one whose weights it has marked as kept.

    ``checkpoint_at`` is a file; a run of the same recipe, seed and data that was cut off goes on from it; ``data``
    is their digest, if it is known. Without ``recipe.patience`` all epochs are run.
    """
    if not together.place().alone:
        together.strategy()
    keras.utils.set_random_seed(seed)
    tensorflow.config.experimental.enable_op_determinism()
    cv2.setNumThreads(1)  # a 28×28 warp is too small to share out, and the cores are the training step's
    batches = AugmentedBatches(train, recipe, seed, form)
    with together.shared():
        model = compiled(recipe, len(batches), form)
    stopping, history = EarlyStopping(recipe.patience or recipe.epochs), History()
    finished, saving = 0, []
    if checkpoint_at:
        key = f"{digest(recipe, data or data_digest(train, val), form)}-{seed}"
        checkpoint = Checkpoint(checkpoint_at, key, stopping, history)
        finished, saving = checkpoint.restore(model), [checkpoint] if together.place().first else []
    if finished:
        print(f"train: goes on after epoch {finished} of an interrupted run")
    if stopping.restored and stopping.restored[0]["stopped_epoch"]:
        finished = recipe.epochs  # it was cut off between stopping early and writing its files
    with batches.own_faults():
        model.fit(
            batches.ahead(),
            epochs=recipe.epochs,
            initial_epoch=finished,
            validation_data=(np.asarray(val.images), targets(val.labels, recipe, form)),
            validation_batch_size=together.even(min(1000, images_in(VALIDATED, form.shape), len(val.labels))),
            verbose=0,
            shuffle=False,  # the batches are shuffled themselves; Keras would draw their order from a global generator
            callbacks=[
                keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.start(epoch)),
                *([] if together.place().alone else [together.Agreed()]),
                stopping,
                history,
                *saving,
                *(
                    [keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: told(pd.DataFrame(history.rows)))]
                    if told
                    else []
                ),
                Progress(recipe.epochs, finished, len(batches)),
            ],
        )
    weights = model.get_weights()  # float32, whatever the arithmetic was
    model = networks.build(recipe.network, form)
    model.set_weights(weights)
    if recipe.label_smoothing:
        cool(model, val)
    model = networks.answering(model)
    rows = pd.DataFrame(history.rows)
    return model, rows.assign(kept=rows["epoch"] == (stopping.best_epoch + 1 if stopping.stopped_early else len(rows)))


def _some(split: Split) -> Split:
    """All of it, or as many as SOME holds."""
    return split.spread(images_in(SOME, split.images.shape[1:]))


def on_one_thread() -> None:
    """Make TensorFlow compute on one thread in this process, which must not have used it yet."""
    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)


def cool(model: keras.Model, val: Split) -> None:
    """Scale the last layer so that the model is as sure as it is right on ``val``.

    Label smoothing leaves a model less sure than it is right. Temperature scaling (Guo, Pleiss, Sun and Weinberger
    2017, "On Calibration of Modern Neural Networks", section 4.2): all logits are divided by the one number that gives
    the lowest loss on held-out images, which changes no answer.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logits = model.predict(val.images, batch_size=1000, verbose=0)[:, :-1]
    rows = np.arange(len(val.labels))

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(logits / np.exp(log_temperature), axis=1)[rows, val.labels].mean())

    temperature = float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))
    layer = model.get_layer("logits")
    layer.set_weights([weight / temperature for weight in layer.get_weights()])


def fit_all(
    train: Split,
    val: Split,
    recipe: Recipe,
    seed: int,
    checkpoints: Path | None = None,
    form: Form = DIGITS,
    data: str = "",
    told: Told | None = None,
) -> tuple[keras.Model, pd.DataFrame]:
    """The recipe's model whole: its members fitted one after another, each with a seed of its own, and averaged.

    The history has a column ``member``. ``checkpoints`` is a folder; ``data`` is
    :func:`data_digest`, if it is known.
    """
    if checkpoints:
        data = data or data_digest(train, val)
    val = _some(val)
    members: list[keras.Model] = []
    histories: list[pd.DataFrame] = []

    def so_far(rows: pd.DataFrame) -> None:
        if told:
            done = [one.drop(columns="kept") for one in histories]
            told(pd.concat([*done, rows.assign(member=len(done) + 1)], ignore_index=True))

    for number in range(1, recipe.members + 1):
        if recipe.members > 1:
            print(f"train: member {number} of {recipe.members}")
        checkpoint_at = checkpoints / f"member-{number}.npz" if checkpoints else None
        seed_of = seed + MEMBERS_APART * (number - 1)
        model, history = fit(train, val, recipe, seed_of, checkpoint_at, form, data, so_far)
        members.append(model)
        histories.append(history.assign(member=number))
    model = networks.averaged(members) if recipe.members > 1 else members[0]
    if recipe.shift_averaged:
        model = networks.shift_averaged(model)
    return networks.deciding(model, threshold(model, val)), pd.concat(histories, ignore_index=True)


def threshold(model: keras.Model, val: Split) -> float:
    """The score (:func:`pipeline.learning.networks.deciding`) that all but REFUSED of the images are expected to reach.

    By split conformal prediction (Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World", section
    4.2; Angelopoulos and Bates 2023, "Conformal Prediction: A Gentle Introduction", section 1): a new digit of the
    same kind as the n of ``val`` falls below the k-th smallest of their scores with a probability of k / (n + 1) at
    most. k is 1 where val is too small for REFUSED to be told, and there is no threshold if that is more than 1 %.
    """
    probabilities, some = model.predict(val.images, batch_size=1000, verbose=0)
    scores = np.sort(some * probabilities.max(axis=1))
    if len(scores) < MIN_SCORES:
        return 0.0
    return float(scores[max(1, int(REFUSED * (len(scores) + 1))) - 1])


def overfits_from(history: pd.DataFrame) -> int | None:
    """The epoch from which validation loss rises while train loss falls; None if there is none.

    It is the one after the lowest validation loss, if the later epochs lie above that by more than validation loss
    moves from one epoch to the next anyway (the median of its steps), the last one by OVERFIT_RISE at least, and
    train loss is lower at the end than it was there.
    """
    val, fitted = history["val_loss"].to_numpy(), history["loss"].to_numpy()
    best = int(val.argmin())
    later = val[best + 1 :]
    if not len(later) or later[-1] < (1 + OVERFIT_RISE) * val[best] or fitted[-1] >= fitted[best]:
        return None
    noise = np.median(np.abs(np.diff(val)))
    return int(history["epoch"].iloc[best + 1]) if later.mean() - val[best] > noise else None


def first_overfit(history: pd.DataFrame) -> int | None:
    """:func:`overfits_from` of the member for which that is first."""
    found = [overfits_from(rows) for _, rows in history.groupby("member")]
    return min((epoch for epoch in found if epoch), default=None)


def _variables(model: keras.Model) -> list:
    """Weights, dropout's random state, and Adam's moments and step count."""
    return [*model.variables, *model.optimizer.variables]


def _values(variables: list) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


# The modules that decide what a fit gives, as folders and files of pipeline/; a test holds them against the imports.
CODE = (
    "base",
    "data/kinds.py",
    "data/splits.py",
    "digits/augmentation.py",
    "digits/hands.py",
    "digits/image.py",
    "digits/non_digits.py",
    "digits/training.py",
    "learning/backend.py",
    "learning/blocks.py",
    "learning/fitting.py",
    "learning/networks.py",
    "learning/together.py",
    "plain/training.py",
)


def code() -> str:
    """The digest of the CODE."""
    top = Path(__file__).parents[1]
    paths = [path for part in CODE for path in ([top / part] if part.endswith(".py") else (top / part).glob("*.py"))]
    digests = {path.relative_to(top).as_posix(): files.sha256_file(path) for path in paths}
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def data_digest(train: Split, val: Split) -> str:
    """Of the images and labels that a fit sees."""
    arrays = [files.sha256_array(array) for split in (train, val) for array in split]
    return hashlib.sha256("".join(arrays).encode()).hexdigest()


def digest(recipe: Recipe, data: str, form: Form = DIGITS) -> str:
    """What a fit comes from but for its seed: the recipe's settings, the data's form and digest, the code and the
    libraries."""
    facts = [recipe.model_dump(), form.as_json(), data, code(), keras.version(), tensorflow.version.VERSION]
    facts += [] if together.place().alone else [together.place().of]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
