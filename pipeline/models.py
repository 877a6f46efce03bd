"""Which networks are there? A function each; every one takes uint8 (N, 28, 28) and gives softmax float32 (N, 10).

Rescaling to [0, 1] is each network's own first layer, so that training, evaluation, the registry and serving cannot
disagree about it. Only stock Keras layers, so that a saved model loads in Keras' safe mode anywhere.
"""

from collections.abc import Callable

from pipeline.backend import keras
from pipeline.errors import BadInput
from pipeline.splits import CLASSES, SIDE

layers = keras.layers

# Keras' own default, 0.99, needs hundreds of steps before the running statistics are of use: with few steps an epoch
# the validation figures of the first epochs are then at chance.
BATCH_NORM_MOMENTUM = 0.9


def small(dropout: float) -> keras.Model:
    """55 k weights: a 5×5 convolution with stride 2, 3×3 of 32, pooling, 3×3 of 64; batch norm after each.

    The first layer looks at every pixel once and at a quarter of the places, which is what makes it fast.
    """
    images, x = _pixels()
    x = _convolution(x, 16, 5, strides=2)  # (N, 14, 14, 16)
    x = _convolution(x, 32, 3)  # (N, 14, 14, 32)
    x = layers.MaxPooling2D()(x)  # (N, 7, 7, 32)
    x = _convolution(x, 64, 3)  # (N, 7, 7, 64)
    x = layers.Flatten()(x)
    x = layers.Dropout(dropout)(x)
    return keras.Model(images, _probabilities(x), name="small")


def six_layer_bn(dropout: float) -> keras.Model:
    """Four 3×3 convolutions, pooling after the second and the fourth, a dense layer, ten outputs; batch norm on all."""
    images, x = _pixels()
    for filters in (32, 64):
        x = _convolution(x, filters, 3)
        x = _convolution(x, filters, 3)
        x = layers.MaxPooling2D()(x)  # (N, 14, 14, 32), then (N, 7, 7, 64)
    x = layers.Flatten()(x)
    x = layers.Dense(128, use_bias=False)(x)
    x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
    x = layers.ReLU()(x)
    x = layers.Dropout(dropout)(x)
    return keras.Model(images, _probabilities(x), name="six-layer-bn")


NETWORKS: dict[str, Callable[[float], keras.Model]] = {"small": small, "six-layer-bn": six_layer_bn}


def build(network: str, dropout: float) -> keras.Model:
    """The named network, untrained; :class:`BadInput` if there is none of that name."""
    if network not in NETWORKS:
        raise BadInput(f"params.yaml: train.network is {network!r}: choose one of {', '.join(NETWORKS)}")
    return NETWORKS[network](dropout)


def _pixels() -> tuple[keras.KerasTensor, keras.KerasTensor]:
    images = keras.Input((SIDE, SIDE), dtype="uint8", name="images")
    return images, layers.Rescaling(1 / 255)(layers.Reshape((SIDE, SIDE, 1))(images))


def _convolution(x: keras.KerasTensor, filters: int, size: int, strides: int = 1) -> keras.KerasTensor:
    x = layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
    return layers.ReLU()(x)


def _probabilities(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Dense(CLASSES, activation="softmax", name="probabilities", dtype="float32")(x)
