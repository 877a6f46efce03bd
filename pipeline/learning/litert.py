"""How does a Keras file become a LiteRT model, and what does that answer? For phones and small boards."""

import contextlib
import io
import warnings
from pathlib import Path

import numpy as np

from pipeline.base import files
from pipeline.learning import networks  # noqa: F401  # its layers are registered with Keras
from pipeline.learning.backend import keras, native_stderr_held_back, tensorflow
from pipeline.learning.inference import Answers


def convert(keras_file: Path, path: Path) -> None:
    """Write the model of a ``.keras`` file as ``.tflite``, with its names of inputs and outputs, for batches of any
    size."""
    model = keras.models.load_model(keras_file, compile=False, safe_mode=True)
    with _quietly(), files.atomic(path) as part:
        part.write_bytes(tensorflow.lite.TFLiteConverter.from_keras_model(model).convert())


def answers(path: Path, images: np.ndarray) -> Answers:
    """What a ``.tflite`` file answers to images uint8 (N, *shape); one without a certainty is sure of everything."""
    with _quietly():
        run = tensorflow.lite.Interpreter(str(path)).get_signature_runner()
        found = run(images=np.ascontiguousarray(images)).values()
    (probabilities,) = [values for values in found if values.ndim == 2]
    certainty = [values for values in found if values.ndim == 1]
    return Answers(probabilities, certainty[0] if certainty else np.ones(len(images), np.float32))


@contextlib.contextmanager
def _quietly():  # type: ignore[no-untyped-def]
    """Without Keras' word of where it saved what, TensorFlow's that LiteRT has a package of its own now, and LiteRT's
    of its delegate."""
    with native_stderr_held_back(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
