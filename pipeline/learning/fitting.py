"""How is the network fitted?

The same params and data give the same weights on one machine: every draw is keyed by (seed, epoch, step) and none by
what ran before. An interrupted run therefore goes on from the checkpoint of its last finished epoch and ends with
the very weights of an uninterrupted one.
"""

import inspect
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from pipeline.base.errors import BadInput
from pipeline.base.form import DIGITS, Form, images_in
from pipeline.base.params import Recipe
from pipeline.data.splits import Split
from pipeline.learning import augmented, callbacks, data_parallel, fit_identity, networks
from pipeline.learning.backend import keras, tensorflow

REFUSED, MIN_SCORES = 0.003, 99  # share of images that may be taken for none, and how many tell 1 %
VALIDATED = 8_000_000  # bytes of images at once
MEMBERS_APART = 1000  # between the seeds of members, so that runs with neighbouring seeds share none
STEPS_PER_EXECUTION = 20  # Keras' own work between two steps costs as much as a third of a small network's step
OVERFIT_RISE = 0.02  # of the lowest validation loss: a rise of less is not worth a word

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
    alone = data_parallel.place().alone
    one_device = alone and not tensorflow.distribute.has_strategy()
    if not alone:
        model = data_parallel.DataParallel(model.inputs, model.outputs)
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


AfterEpoch = Callable[[pd.DataFrame], None]  # is given the rows so far after each epoch


def fit(
    train: Split,
    val: Split,
    recipe: Recipe,
    seed: int,
    checkpoint_at: Path | None = None,
    form: Form = DIGITS,
    data: str = "",
    after_epoch: AfterEpoch | None = None,
) -> tuple[keras.Model, pd.DataFrame]:
    """One network of the recipe, and a row an epoch with the one whose weights it has marked as kept.

    ``checkpoint_at`` is a file; a run of the same recipe, seed and data that was cut off goes on from it; ``data``
    is their digest, if it is known. Without ``recipe.patience`` all epochs are run.
    """
    if not data_parallel.place().alone:
        data_parallel.strategy()
    keras.utils.set_random_seed(seed)
    tensorflow.config.experimental.enable_op_determinism()
    cv2.setNumThreads(1)  # a 28×28 warp is too small to share out, and the cores are the training step's
    batches = augmented.AugmentedBatches(train, recipe, seed, form)
    with data_parallel.shared():
        model = compiled(recipe, len(batches), form)
    stopping, history = callbacks.EarlyStopping(recipe.patience or recipe.epochs), callbacks.History()
    finished, saving = 0, []
    if checkpoint_at:
        key = f"{fit_identity.digest(recipe, data or fit_identity.data_digest(train, val), form)}-{seed}"
        checkpoint = callbacks.Checkpoint(checkpoint_at, key, stopping, history)
        finished, saving = checkpoint.restore(model), [checkpoint] if data_parallel.place().first else []
    if finished:
        print(f"train: goes on after epoch {finished} of an interrupted run")
    if stopping.restored and stopping.restored[0]["stopped_epoch"]:
        finished = recipe.epochs  # it was cut off between stopping early and writing its files
    agreeing = [] if data_parallel.place().alone else [data_parallel.Agreed()]
    telling = (
        [keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: after_epoch(pd.DataFrame(history.rows)))]
        if after_epoch
        else []
    )
    with batches.own_faults():
        model.fit(
            batches.ahead(),
            epochs=recipe.epochs,
            initial_epoch=finished,
            validation_data=(np.asarray(val.images), augmented.targets(val.labels, recipe, form)),
            validation_batch_size=data_parallel.even(min(1000, images_in(VALIDATED, form.shape), len(val.labels))),
            verbose=0,
            shuffle=False,  # the batches are shuffled themselves; Keras would draw their order from a global generator
            callbacks=[
                keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.start(epoch)),
                *agreeing,
                stopping,
                history,
                *saving,
                *telling,
                callbacks.Progress(recipe.epochs, finished, len(batches)),
            ],
        )
    rows = pd.DataFrame(history.rows)
    kept = stopping.best_epoch + 1 if stopping.stopped_early else len(rows)
    return _to_answer(model, recipe, val, form), rows.assign(kept=rows["epoch"] == kept)


def _to_answer(fitted: keras.Model, recipe: Recipe, val: Split, form: Form) -> keras.Model:
    """The fitted network as it is to answer: of stock layers that compute in float32, as sure as it is right."""
    model = networks.build(recipe.network, form)
    model.set_weights(fitted.get_weights())  # float32, whatever the arithmetic was
    if recipe.label_smoothing:
        cool(model, val)
    return networks.answering(model)


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

    logits = model.predict(val.images, batch_size=networks.AT_ONCE, verbose=0)[:, :-1]
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
    after_epoch: AfterEpoch | None = None,
) -> tuple[keras.Model, pd.DataFrame]:
    """The recipe's model whole: its members fitted one after another, each with a seed of its own, and averaged.

    The history has a column ``member``. ``checkpoints`` is a folder; ``data`` is
    :func:`pipeline.learning.fit_identity.data_digest`, if it is known.
    """
    if checkpoints:
        data = data or fit_identity.data_digest(train, val)
    val = augmented.some(val)
    members: list[keras.Model] = []
    histories: list[pd.DataFrame] = []

    def so_far(rows: pd.DataFrame) -> None:
        if after_epoch:
            done = [one.drop(columns="kept") for one in histories]
            after_epoch(pd.concat([*done, rows.assign(member=len(done) + 1)], ignore_index=True))

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
    probabilities, some = model.predict(val.images, batch_size=networks.AT_ONCE, verbose=0)
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
