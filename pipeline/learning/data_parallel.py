"""How is one network fitted by several processes, each on its part of every batch?

Synchronous data parallel: each process draws the same batches, computes the gradients of every n-th image of each, and
TensorFlow's collectives add them up before the optimizer's step, so that all have the same weights after it. Keras'
`fit` does not work within MultiWorkerMirroredStrategy (keras #20585); so the model is built outside it, and its step
alone is run in it. TF_CONFIG says which of the processes this one is
(https://www.tensorflow.org/guide/distributed_training#setting_up_the_tf_config_environment_variable).

One process that is alone on a machine with several GPUs shares each batch among them by MirroredStrategy, with which
`fit` does work; of several processes on a machine each has a GPU of its own.
"""

import functools
import json
import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from pipeline.base.errors import BadInput
from pipeline.learning.backend import keras, tensorflow

CONFIG = "TF_CONFIG"


class Place(NamedTuple):
    """Of this process among those that fit together."""

    number: int
    of: int
    here: int = 0
    """the number among those on the same machine"""

    @property
    def first(self) -> bool:
        """It alone writes."""
        return self.number == 0

    @property
    def alone(self) -> bool:
        return self.of == 1


def place() -> Place:
    config = json.loads(os.environ.get(CONFIG) or "{}")
    if not config:
        return Place(0, 1)
    number, hosts = config["task"]["index"], [one.rsplit(":", 1)[0] for one in config["cluster"]["worker"]]
    return Place(number, len(hosts), hosts[:number].count(hosts[number]))


@functools.cache
def strategy() -> Any:
    """Waits for the other processes. TensorFlow wants it before anything else.

    :class:`BadInput` if there are fewer GPUs than processes on this machine, but some.
    """
    if gpus := tensorflow.config.list_physical_devices("GPU"):
        if place().here >= len(gpus):
            raise BadInput(
                f"params.yaml: train.workers asks for more processes than there are GPUs on this machine, {len(gpus)}: "
                "lower it"
            )
        tensorflow.config.set_visible_devices(gpus[place().here], "GPU")
    return tensorflow.distribute.MultiWorkerMirroredStrategy()


def devices() -> list[str]:
    """The GPUs of this machine."""
    return [gpu.name for gpu in tensorflow.config.list_logical_devices("GPU")]


def shared() -> AbstractContextManager[Any]:
    """A model that is built and compiled in the block is fitted on all GPUs of this machine, if there are several and
    this process is alone."""
    return tensorflow.distribute.MirroredStrategy(devices()).scope() if _sharing() > 1 else nullcontext()


def even(count: int) -> int:
    """As many of the images of a batch as its devices can share evenly: of the first, Keras takes the parts' mean."""
    return count - count % _sharing() or count


def _sharing() -> int:
    """How many devices share a batch of this process."""
    return max(len(devices()), 1) if place().alone else 1


def summed(values: list[Any]) -> list[Any]:
    """The sums of the tensors over all processes. Within the strategy's ``run``."""
    with tensorflow.device("/device:CPU:0"):  # a tensor without a device cannot be sent
        here = [tensorflow.identity(value) for value in values]
    every: list[Any] = tensorflow.distribute.get_replica_context().all_reduce(tensorflow.distribute.ReduceOp.SUM, here)
    return every


class DataParallel(keras.Model):
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
