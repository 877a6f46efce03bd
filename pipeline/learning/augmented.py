"""Which batches does a network learn from? Augmented images, drawn by (seed, epoch, step) and nothing else."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from pipeline.base.form import DIGITS, Form, images_in
from pipeline.base.params import Recipe
from pipeline.data import kinds
from pipeline.data.splits import Split
from pipeline.learning import data_parallel, shuffling
from pipeline.learning.backend import tensorflow

# What a draw is for comes first in its key, so that no two share a stream; a kind's own changes have 1, 4 and 5.
ORDER, DRAWS = 2, 3
AHEAD = 8  # batches
SOME = 80_000_000  # bytes of images: of val, to validate on and to calibrate by, of train, to draw non-digits from


class AugmentedBatches:
    """Batches of augmented images.

    Every batch is full: the last passes over the end into the next permutation. A small data set is passed over as
    often as ``min_steps_per_epoch`` asks. What is of no class comes on top.
    """

    def __init__(self, split: Split, recipe: Recipe, seed: int, form: Form = DIGITS) -> None:
        self.split, self.recipe, self.form, self.seed = split, recipe, form, seed
        self.place = data_parallel.place()
        self.steps = max(math.ceil(len(split.labels) / recipe.batch_size), recipe.min_steps_per_epoch)
        changes = kinds.training(form.kind).Changes
        self.reader = shuffling.Reader(split.images, by_runs=not recipe.balanced)
        self.fault: Exception | None = None
        self.changed = changes(some(split).images, recipe.augment, form, recipe.batch_size, seed)
        self.start(epoch=0)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """images uint8 (N, *shape) and their :func:`targets`; of several processes, this one's part of both"""
        chosen = self.order[step * self.recipe.batch_size : (step + 1) * self.recipe.batch_size]
        rng = np.random.default_rng([DRAWS, self.seed, self.epoch, step])
        images, labels = self.changed(self.reader.take(chosen), self.split.labels[chosen], rng)
        ours = slice(self.place.number, data_parallel.even(len(images)), self.place.of)
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
        self.order = np.concatenate([shuffling.shuffled(self.split.images, rng) for _ in range(passes)])


def targets(labels: np.ndarray, recipe: Recipe, form: Form) -> np.ndarray:
    """What the loss compares with: the labels (N,), or float32 (N, classes + 1) where they are to be smoothed."""
    return np.eye(len(form.classes) + 1, dtype=np.float32)[labels] if recipe.label_smoothing else np.asarray(labels)


def some(split: Split) -> Split:
    """All of it, or as many as SOME holds."""
    return split.spread(images_in(SOME, split.images.shape[1:]))
