"""Which networks are there? A function each; every one takes uint8 (N, *shape) and gives logits float32 (N, classes +
1), of the classes and of what is none. :func:`answering` and :func:`deciding` make a model's answers of them. The
comments' shapes are those of 28×28 digits.

Preprocessing of pixels is each network's own first layer, so that training, evaluation, the registry and serving
cannot disagree about it. Only stock Keras layers and operations, so that a saved model loads in Keras' safe mode
anywhere. A function's arguments are the form of the images, and the settings that a recipe of params.yaml gives beside
the network's name; docs/recipes.md says which write-up each comes from and what it reached here.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.base import files
from pipeline.base.errors import BadInput, brief
from pipeline.base.form import DIGITS, Form
from pipeline.base.params import Network
from pipeline.learning.backend import keras, tensorflow

layers = keras.layers

# Keras' own default, 0.99, needs hundreds of steps before the running statistics are of use: with few steps an epoch
# the validation figures of the first epochs are then at chance.
BATCH_NORM_MOMENTUM = 0.9

LEAST = 1e-6  # of a probability, so that its logit can be computed

AT_ONCE = 200  # images to ask a Keras model about: one that is shift-averaged makes five of each
SHIFTS = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))  # rows, columns: where a shift-averaged model looks


def strided(form: Form, filters: int, dropout: float) -> keras.Model:
    """A 5×5 convolution with stride 2, 3×3 of twice the filters, pooling, two 3×3 of four times; batch norm after each.

    Of digits its pixels are the 24×24 in the middle: the framing leaves next to nothing outside, and a quarter of the
    work is saved. Batch norm comes after pooling, where it costs a quarter.
    """
    images, x = _middle(form)
    x = _normed(x, filters, 5, strides=2)  # (N, 12, 12, f)
    x = _normed(x, 2 * filters, 3, pool=True)  # (N, 6, 6, 2f)
    x = _normed(x, 4 * filters, 3)  # (N, 6, 6, 4f)
    x = _normed(x, 4 * filters, 3, padding="valid")  # (N, 4, 4, 4f)
    x = layers.Dropout(dropout)(layers.Flatten()(x))
    return keras.Model(images, _logits(x, form))


def short(form: Form, filters: int, dropout: float) -> keras.Model:
    """:func:`strided` without its third convolution, the 3×3 of four times the filters that keeps the size."""
    images, x = _middle(form)
    x = _normed(x, filters, 5, strides=2)  # (N, 12, 12, f)
    x = _normed(x, 2 * filters, 3, pool=True)  # (N, 6, 6, 2f)
    x = _normed(x, 4 * filters, 3, padding="valid")  # (N, 4, 4, 4f)
    x = layers.Dropout(dropout)(layers.Flatten()(x))
    return keras.Model(images, _logits(x, form))


def separable(form: Form, filters: int) -> keras.Model:
    """A 5×5 convolution with stride 2 of half the filters, three depthwise separable 3×3, the second of them around a
    shortcut, the others with pooling, and a depthwise 3×3 in place of a mean; batch norm after each. With 32 filters
    4,907 weights.

    A separable convolution has an eighth of the weights of a whole one (Howard et al. 2017, "MobileNets: Efficient
    Convolutional Neural Networks for Mobile Vision Applications", section 3.1). A mean over the last places would
    forget where on the image something is (Chen, Liu, Gao and Han 2018, "MobileFaceNets", section 3.1).
    """
    images, x = _middle(form)
    x = _normed(x, filters // 2, 5, strides=2)  # (N, 12, 12, f / 2)
    x = _separable(x, filters, pool=True)  # (N, 6, 6, f)
    x = layers.Add()([x, _separable(x, filters)])
    x = _separable(x, filters, pool=True)  # (N, 3, 3, f)
    x = layers.DepthwiseConv2D(3, use_bias=False)(x)  # (N, 1, 1, f)
    x = layers.ReLU()(layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x))
    return keras.Model(images, _logits(layers.Flatten()(x), form))


def six_conv(form: Form, filters: int, dropout: float) -> keras.Model:
    """Three pairs of 3×3 convolutions of f, 2f and 4f, pooling after the first two, then each filter's mean; batch
    norm after each."""
    images, x = _ink(form)
    for width in (filters, 2 * filters):
        x = _normed(x, width, 3)
        x = _normed(x, width, 3, pool=True)  # (N, 14, 14, f), then (N, 7, 7, 2f)
    x = _normed(x, 4 * filters, 3)
    x = _normed(x, 4 * filters, 3, padding="valid")  # (N, 5, 5, 4f)
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(images, _logits(x, form))


def six_layer_bn(form: Form, dropout: float) -> keras.Model:
    """Four 3×3 convolutions, pooling after the second and the fourth, a dense layer, ten outputs; batch norm on all.

    A write-up of 99.5 % with augmentation, Adam, batch 1024 and 20 epochs. It leaves the numbers of filters open:
    32, 32, 64, 64 and a dense layer of 128 are ours.
    """
    images, x = _pixels(form)
    for filters in (32, 64):
        x = _normed(x, filters, 3)
        x = _normed(x, filters, 3)
        x = layers.MaxPooling2D()(x)  # (N, 14, 14, 32), then (N, 7, 7, 64)
    x = layers.Flatten()(x)
    x = layers.Dense(128, use_bias=False)(x)
    x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
    x = layers.Dropout(dropout)(layers.ReLU()(x))
    return keras.Model(images, _logits(x, form))


def two_conv(form: Form, dropout_features: float, dropout: float) -> keras.Model:
    """Two valid 3×3 convolutions of 32 and 64, one pooling, dropout, flatten to 9,216, dropout, ten outputs.

    A write-up of 98.86 % on test against 99.75 % on train, whose validation loss rises after epoch 10.
    """
    images, x = _pixels(form)
    x = layers.Conv2D(32, 3, activation="relu")(x)  # (N, 26, 26, 32)
    x = layers.Conv2D(64, 3, activation="relu")(x)  # (N, 24, 24, 64)
    x = layers.Dropout(dropout_features)(layers.MaxPooling2D()(x))  # (N, 12, 12, 64)
    x = layers.Dropout(dropout)(layers.Flatten()(x))
    return keras.Model(images, _logits(x, form))


def three_conv_64(form: Form) -> keras.Model:
    """Three valid 3×3 convolutions of 64, pooling after each, dense layers of 64 and 32.

    Its pixels are not divided by 255 but L2-normalised along axis 1 (each column of an image to length 1), as its
    write-up does before it reads a digit drawn in Paint.
    """
    images, x = _pixels(form)
    x = layers.UnitNormalization(axis=1)(x)
    for _ in range(3):
        x = layers.Conv2D(64, 3, activation="relu")(x)
        x = layers.MaxPooling2D()(x)  # (N, 13, 13, 64), (N, 5, 5, 64), (N, 1, 1, 64)
    x = layers.Flatten()(x)
    for units in (64, 32):
        x = layers.Dense(units, activation="relu")(x)
    return keras.Model(images, _logits(x, form))


def conv_pairs(form: Form, dropout_features: float, dropout: float) -> keras.Model:
    """Two 5×5 convolutions of 32 and two 3×3 of 64, each pair pooled and dropped out, a dense layer of 256.

    The form that is usual in write-ups on Kaggle's 42,000 images, with 4,200 of them held out (99 %).
    """
    images, x = _pixels(form)
    for filters, size in ((32, 5), (64, 3)):
        for _ in range(2):
            x = layers.Conv2D(filters, size, padding="same", activation="relu")(x)
        x = layers.Dropout(dropout_features)(layers.MaxPooling2D()(x))  # (N, 14, 14, 32), then (N, 7, 7, 64)
    x = layers.Dense(256, activation="relu")(layers.Flatten()(x))
    return keras.Model(images, _logits(layers.Dropout(dropout)(x), form))


def conv_blocks(form: Form, blocks: int, filters: int, batch_norm: bool, dropout: float) -> keras.Model:
    """1 to 4 blocks of a 3×3 convolution, batch norm if asked for, pooling and dropout; each with twice the filters.

    Three blocks with early stopping are a write-up's 98 % (Adam before RMSprop and SGD); the others are for studies.
    """
    if not 1 <= blocks <= 4:
        raise BadInput(f"params.yaml: conv-blocks has 1 to 4 blocks, not {blocks}: a fifth would have no pixels left")
    images, x = _pixels(form)
    for block in range(blocks):
        x = layers.Conv2D(filters * 2**block, 3, padding="same", use_bias=not batch_norm)(x)
        if batch_norm:
            x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
        x = layers.Dropout(dropout)(layers.MaxPooling2D()(layers.ReLU()(x)))
    return keras.Model(images, _logits(layers.Flatten()(x), form))


def residual(form: Form, filters: int, blocks: int, dropout: float) -> keras.Model:
    """A residual network for small pictures in colour: a 3×3 convolution, then three stages of so many blocks of two,
    each stage of twice the filters and half the side (He, Zhang, Ren and Sun 2016, "Deep Residual Learning for Image
    Recognition", section 4.2, with a projection where the width changes).

    A larger picture than 40 pixels is halved, one of more than 80 twice, before anything costs much.
    """
    images, x = _ink(form)
    halvings = sum(min(form.shape[:2]) > side for side in (40, 80))
    x = _normed(x, filters, 3, strides=2 if halvings else 1)
    if halvings == 2:
        x = layers.MaxPooling2D()(x)
    for stage in range(3):
        for block in range(blocks):
            strides = 2 if stage and not block else 1
            y = _normed(x, filters * 2**stage, 3, strides=strides)
            y = layers.Conv2D(filters * 2**stage, 3, padding="same", use_bias=False)(y)
            y = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(y)
            if x.shape[1:] != y.shape[1:]:
                x = layers.Conv2D(filters * 2**stage, 1, strides=strides, use_bias=False)(x)
            x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(images, _logits(x, form))


def mobilenet_v3(form: Form, dropout: float, weights: str, sha256: str) -> keras.Model:
    """Keras' MobileNetV3Small (Howard et al. 2019, "Searching for MobileNetV3"), from random weights, or from the file
    ``weights`` of those without its top, whose digest says that it is the same wherever this is fitted; for pictures of
    64 pixels and more."""
    if weights and (found := files.sha256_file(weights)) != sha256:
        raise ValueError(f"{weights} has the sha256 {found}, and params.yaml says {sha256 or 'none'}")
    images = keras.Input(form.shape, dtype="uint8", name="images")
    x = layers.Reshape((*form.shape[:2], -1))(images)
    x = x if form.shape[2:] else layers.Concatenate()([x, x, x])
    base = keras.applications.MobileNetV3Small(
        input_shape=(*form.shape[:2], 3), include_top=False, weights=weights or None, pooling="avg"
    )
    return keras.Model(images, _logits(layers.Dropout(dropout)(base(x)), form))


NETWORKS: dict[str, Callable[..., keras.Model]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        *(strided, short, separable, six_conv, six_layer_bn),
        *(two_conv, three_conv_64, conv_pairs, conv_blocks),
        *(residual, mobilenet_v3),
    )
}


def has_fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 matrices in hardware (AMX), without which it is no faster."""
    cpu = Path("/proc/cpuinfo")
    return cpu.is_file() and "amx_bf16" in cpu.read_text(encoding="utf-8").split()


def build(network: Network, form: Form = DIGITS, precision: str = "float32") -> keras.Model:
    """The network, untrained; its weights are float32, its arithmetic is ``precision``, if the processor has that.

    :class:`BadInput` if there is none of that name, or it has no such settings.
    """
    if network.name not in NETWORKS:
        raise BadInput(f"params.yaml: there is no network {network.name!r}: choose one of {', '.join(NETWORKS)}")
    function = NETWORKS[network.name]
    known, given = list(inspect.signature(function).parameters)[1:], set(network.settings)
    if set(known) != given:
        needed = ", ".join(known) or "none"
        wrong = ", ".join(sorted(set(known) ^ given))
        raise BadInput(f"params.yaml: network {network.name} takes the settings {needed}; missing or unknown: {wrong}")
    try:
        fast = precision == "bfloat16" and has_fast_bfloat16()
        keras.config.set_dtype_policy("mixed_bfloat16" if fast else "float32")
        model = function(form, **network.settings)
    except (OSError, TypeError, ValueError) as error:  # Keras' own words for a number or a file that it cannot use
        raise BadInput(f"params.yaml: network {network.name} on {form.pixels}: {brief(error)}") from None
    finally:
        keras.config.set_dtype_policy("float32")
    model.name = network.name
    return model


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer, computed in training by TensorFlow's fused kernel: the same numbers, and the whole step of a
    network of convolutions takes half to two thirds of the time on a CPU."""

    def call(
        self, inputs: tensorflow.Tensor, training: bool | None = None, mask: tensorflow.Tensor | None = None
    ) -> tensorflow.Tensor:
        if not training or len(inputs.shape) != 4:
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = tensorflow.compat.v1.nn.fused_batch_norm(
            tensorflow.convert_to_tensor(inputs), self.gamma.value, self.beta.value, epsilon=self.epsilon
        )
        values = tensorflow.cast(tensorflow.reduce_prod(tensorflow.shape(inputs)[:3]), variance.dtype)
        variance *= (values - 1) / values  # the kernel gives an unbiased estimate, Keras keeps the batch's own variance
        for kept, seen in ((self.moving_mean, mean), (self.moving_variance, variance)):
            kept.assign(kept * self.momentum + seen * (1 - self.momentum))
        return outputs


def for_training(model: keras.Model) -> keras.Model:
    """The same network with faster layers of the same weights, which a saved model is not to need."""

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        kind = FusedBatchNormalization if type(layer) is layers.BatchNormalization else type(layer)
        return kind.from_config(layer.get_config())

    faster = keras.models.clone_model(model, clone_function=clone)
    faster.set_weights(model.get_weights())
    return faster


def answering(network: keras.Model) -> keras.Model:
    """What a network's logits say: probabilities float32 (N, classes), and float32 (N,) that it is of one of them."""
    logits = network.output
    none = logits.shape[1] - 1
    probabilities = layers.Softmax()(logits[:, :none])
    some = 1 - layers.Softmax()(logits)[:, none]
    return keras.Model(network.input, [probabilities, some], name=network.name)


def averaged(members: Sequence[keras.Model]) -> keras.Model:
    """One model that answers with the mean of its members' answers, which are those of :func:`answering`."""
    images = _input_of(members[0])
    for number, member in enumerate(members):
        member.name = f"member-{number + 1}"
    return keras.Model(images, _mean([member(images) for member in members]), name=f"{len(members)}-averaged")


def shift_averaged(model: keras.Model) -> keras.Model:
    """One model that answers with the mean of ``model``'s answers over the image moved by a pixel each way.

    All places are one batch: five times as many images cost an exported graph less than five copies of the model, by a
    fifth where it is asked about a single image.
    """
    images = _input_of(model)
    shape = images.shape[1:]
    around = ((0, 0), (1, 1), (1, 1), (0, 0))
    padded = keras.ops.pad(layers.Reshape((*shape[:2], -1))(images), around, mode="reflect")  # paper may be grey
    crops = [((1 + rows, 1 - rows), (1 + columns, 1 - columns)) for rows, columns in SHIFTS]
    moved = layers.Concatenate(axis=0)([layers.Cropping2D(crop)(padded) for crop in crops])
    answers = [
        keras.ops.mean(keras.ops.reshape(answer, (len(SHIFTS), -1, *answer.shape[1:])), axis=0)
        for answer in model(layers.Reshape(shape)(moved))
    ]
    return keras.Model(images, answers, name=f"{model.name}-shift-averaged")


def _input_of(model: keras.Model) -> keras.KerasTensor:
    return keras.Input(model.input.shape[1:], dtype="uint8", name="images")


def _mean(answers: Sequence[Sequence[keras.KerasTensor]]) -> list[keras.KerasTensor]:
    return [layers.Average()(list(same)) for same in zip(*answers, strict=True)]


def deciding(model: keras.Model, threshold: float) -> keras.Model:
    """The model as it is registered: ``probabilities`` float32 (N, classes), and ``certainty`` float32 (N,).

    An answer's score is the probability that the image is of one of the classes times that of the likeliest. Certainty
    is the score on a scale on which the ``threshold`` is 0.5: an answer of less is not to be believed.
    """
    probabilities, some = model.output
    score = keras.ops.clip(some * keras.ops.max(probabilities, axis=1), LEAST, 1 - LEAST)
    limit = min(max(threshold, LEAST), 1 - 2 * LEAST)  # below the highest score there is, or rounding would refuse it
    above = keras.ops.log(score / (1 - score)) - math.log(limit / (1 - limit))
    outputs = {
        "probabilities": layers.Identity(name="probabilities")(probabilities),
        "certainty": layers.Activation("sigmoid", name="certainty")(above),
    }
    return keras.Model(model.input, outputs, name=model.name)


def _pixels(form: Form) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The input, uint8 (N, *shape), and its pixels in [0, 1], float32 (N, height, width, 1 or 3)."""
    images = keras.Input(form.shape, dtype="uint8", name="images")
    channels = 3 if form.shape[2:] else 1
    # Rescaled first: over a last axis of 1, ONNX Runtime multiplies by a number a value at a time, for 10 µs an image.
    return images, layers.Reshape((*form.shape[:2], channels))(layers.Rescaling(1 / 255)(images))


def _ink(form: Form) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The input, and its pixels from the image's own paper (0) to its own ink (1), float32 (N, height, width, 1 or 3).

    So that faint ink, grey paper or little contrast make no difference; in colour, all three go by the same levels.
    """
    images, x = _pixels(form)
    over = (1, 2, 3) if form.shape[2:] else (1, 2)
    paper, ink = (keras.ops.min(x, over, keepdims=True), keras.ops.max(x, over, keepdims=True))
    return images, (x - paper) / keras.ops.maximum(ink - paper, 1 / 255)


def _middle(form: Form) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """As :func:`_ink`, of digits the 24×24 in the middle: the framing leaves next to nothing outside."""
    images, x = _ink(form)
    return images, layers.Cropping2D(2)(x) if form.shape == DIGITS.shape else x


def _normed(
    x: keras.KerasTensor, filters: int, size: int, strides: int = 1, padding: str = "same", pool: bool = False
) -> keras.KerasTensor:
    """Convolution, pooling if asked for, batch norm, ReLU."""
    x = layers.Conv2D(filters, size, strides=strides, padding=padding, use_bias=False)(x)
    if pool:
        x = layers.MaxPooling2D()(x)
    x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
    return layers.ReLU()(x)


def _separable(x: keras.KerasTensor, filters: int, pool: bool = False) -> keras.KerasTensor:
    """A depthwise 3×3 convolution, then as :func:`_normed` a 1×1."""
    return _normed(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x), filters, 1, pool=pool)


def _logits(x: keras.KerasTensor, form: Form) -> keras.KerasTensor:
    return layers.Dense(len(form.classes) + 1, name="logits", dtype="float32")(x)
