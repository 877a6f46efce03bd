import numpy as np
import pytest

from pipeline import models
from pipeline.backend import keras
from pipeline.errors import BadInput


@pytest.mark.parametrize("name", models.NETWORKS)
def test_every_network_takes_uint8_images_and_gives_ten_probabilities(name: str):
    model = models.build(name, dropout=0.2)
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    probabilities = model.predict(images, verbose=0)
    assert model.input.dtype == "uint8" and model.name == name
    assert probabilities.shape == (3, 10) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_the_six_layer_net_is_what_its_name_says():
    layers = models.build("six-layer-bn", dropout=0.2).layers
    kinds = [type(layer).__name__ for layer in layers if not isinstance(layer, keras.layers.ReLU)]
    convolution = ["Conv2D", "BatchNormalization"]
    block = [*convolution, *convolution, "MaxPooling2D"]
    dense = ["Flatten", "Dense", "BatchNormalization", "Dropout", "Dense"]
    assert kinds == ["InputLayer", "Reshape", "Rescaling", *block, *block, *dense]
    assert {layer.kernel_size for layer in layers if isinstance(layer, keras.layers.Conv2D)} == {(3, 3)}
    assert next(layer.rate for layer in layers if isinstance(layer, keras.layers.Dropout)) == 0.2


def test_an_unknown_network_is_one_line():
    with pytest.raises(BadInput, match=r"train.network is 'lenet': choose one of small, six-layer-bn"):
        models.build("lenet", dropout=0.2)
