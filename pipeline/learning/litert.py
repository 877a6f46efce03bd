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


def quantise(keras_file: Path, path: Path, sample: np.ndarray) -> None:
    """Write the model of a ``.keras`` file as ``.tflite`` that computes in int8, for one image at a time.

    Weights and what passes between layers are integers (Jacob et al. 2018, "Quantization and Training of Neural
    Networks for Efficient Integer-Arithmetic-Only Inference"), on the scales that the images of ``sample``, uint8
    (N, *shape), ask for. Its input and its ``probabilities`` are those of :func:`convert`'s file. It gives no
    certainty: 256 steps, on scales that clear images set, cannot tell what is refused from what is not.
    """
    model = keras.models.load_model(keras_file, compile=False, safe_mode=True)
    # of one image: all shapes are then known, and none has to be computed on the board
    one = keras.Input(batch_shape=(1, *model.input.shape[1:]), dtype="uint8", name="images")
    answered = model(one)
    probabilities = answered["probabilities"] if isinstance(answered, dict) else answered
    with _quietly(), files.atomic(path) as part:
        converter = tensorflow.lite.TFLiteConverter.from_keras_model(keras.Model(one, {"probabilities": probabilities}))
        converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ({"images": image[None]} for image in sample)
        part.write_bytes(converter.convert())


def answers(path: Path, images: np.ndarray) -> Answers:
    """What a ``.tflite`` file answers to images uint8 (N, *shape); one without a certainty is sure of everything."""
    with _quietly():
        interpreter = tensorflow.lite.Interpreter(str(path))
        run = interpreter.get_signature_runner()
        any_number = interpreter.get_input_details()[0]["shape_signature"][0] == -1
        parts = [images] if any_number else np.split(images, len(images))
        answered = [list(run(images=np.ascontiguousarray(part)).values()) for part in parts]
    found = [np.concatenate(values) for values in zip(*answered, strict=True)]
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
