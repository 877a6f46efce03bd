"""How is one network fitted by several processes, each on its part of every batch?

Synchronous data parallel: each process draws the same batches, computes the gradients of every n-th image of each, and
TensorFlow's collectives add them up before the optimizer's step, so that all have the same weights after it. Keras'
`fit` does not work within MultiWorkerMirroredStrategy (keras #20585); so the model is built outside it, and its step
alone is run in it. TF_CONFIG says which of the processes this one is
(https://www.tensorflow.org/guide/distributed_training#setting_up_the_tf_config_environment_variable).
"""

import functools
import json
import os
from typing import Any, NamedTuple

from pipeline.learning.backend import keras, tensorflow

CONFIG = "TF_CONFIG"


class Place(NamedTuple):
    """Of this process among those that fit together."""

    number: int
    of: int

    @property
    def first(self) -> bool:
        """It alone writes."""
        return self.number == 0

    @property
    def alone(self) -> bool:
        return self.of == 1


def place() -> Place:
    config = json.loads(os.environ.get(CONFIG) or "{}")
    return Place(config["task"]["index"], len(config["cluster"]["worker"])) if config else Place(0, 1)


@functools.cache
def strategy() -> Any:
    """Waits for the other processes. TensorFlow wants it before anything else."""
    return tensorflow.distribute.MultiWorkerMirroredStrategy()


def summed(values: list[Any]) -> list[Any]:
    """The sums of the tensors over all processes. Within the strategy's ``run``."""
    with tensorflow.device("/device:CPU:0"):  # a tensor without a device cannot be sent
        here = [tensorflow.identity(value) for value in values]
    every: list[Any] = tensorflow.distribute.get_replica_context().all_reduce(tensorflow.distribute.ReduceOp.SUM, here)
    return every


class Together(keras.Model):
    """A model whose step is taken by all processes."""

    def train_step(self, data: Any) -> dict[str, Any]:
        images, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
        # Of batch normalisation: each process has seen its own part.
        moving = [variable for variable in self.non_trainable_variables if variable.dtype.startswith("float")]

        def local(images: Any, targets: Any) -> Any:
            with tensorflow.GradientTape() as tape:
                answers = self(images, training=True)
                loss = self.compute_loss(images, targets, answers)  # Keras divides it by the number of processes
            gradients = tape.gradient(loss, self.trainable_weights)
            return answers, loss, summed([*gradients, *(variable.value for variable in moving)])

        answers, loss, sums = strategy().run(local, args=(images, targets))
        gradients, means = sums[: len(self.trainable_weights)], sums[len(self.trainable_weights) :]
        for variable, total in zip(moving, means, strict=True):
            variable.assign(total / place().of)
        self.optimizer.apply(gradients, self.trainable_weights)
        self._loss_tracker.update_state(loss * place().of)
        metrics: dict[str, Any] = self.compute_metrics(images, targets, answers)
        return metrics


class Agreed(keras.callbacks.Callback):
    """The numbers of an epoch, the same in all processes: their means. It comes before the callbacks that read them."""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = logs if logs is not None else {}
        names = sorted(logs)
        values = [tensorflow.constant(logs[name], tensorflow.float32) for name in names]
        every = tensorflow.function(lambda: strategy().run(lambda: summed(values)))()
        logs.update({name: float(total) / place().of for name, total in zip(names, every, strict=True)})
