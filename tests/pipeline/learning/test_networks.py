from pathlib import Path

import numpy as np
import pytest
from workspace import ROOT

from pipeline.base import files
from pipeline.base import params as params_file
from pipeline.base.errors import BadInput
from pipeline.base.form import Form
from pipeline.base.params import Network
from pipeline.learning import export, inference, networks
from pipeline.learning.backend import keras, tensorflow

SHIPPED = params_file.load(ROOT / "params.yaml").recipes
BLOCKS = {"name": "conv-blocks", "blocks": 1, "filters": 8, "batch_norm": True, "dropout": 0.2}


NETWORKS = {recipe.network.name: recipe.network for recipe in SHIPPED.values()}


def test_every_network_has_a_recipe():
    assert set(NETWORKS) == set(networks.NETWORKS) - {"mobilenet-v3"}  # for larger pictures than any that is shipped


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_takes_uint8_images_and_gives_ten_probabilities(name: str):
    model = networks.build(NETWORKS[name])
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    logits = model.predict(images, verbose=0)
    probabilities, digit = networks.answering(model).predict(images, verbose=0)
    assert model.input.dtype == "uint8" and model.name == name
    assert probabilities.shape == (3, 10) and probabilities.dtype == np.float32
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(digit, 1 - shares[:, 10] / shares.sum(axis=1), rtol=1e-4)
    np.testing.assert_allclose(probabilities, shares[:, :10] / shares[:, :10].sum(axis=1, keepdims=True), rtol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(40, 32), (32, 40, 3)], ids=["grey", "colour"])
def test_every_network_takes_other_shapes_and_classes(name: str, shape: tuple[int, ...]):
    form = Form("plain", shape, ("a", "b", "c"))
    model = networks.shift_averaged(networks.answering(networks.build(NETWORKS[name], form)))
    images = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
    probabilities, some = model.predict(images, verbose=0)
    assert probabilities.shape == (2, 3) and some.shape == (2,)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_the_tiny_recipe_has_at_most_5000_weights():
    assert networks.build(SHIPPED["tiny"].network).count_params() <= 5000


def test_the_separable_network_weighs_each_place_of_each_filter_in_the_end():
    layers = networks.build(SHIPPED["tiny"].network).layers
    depthwise = [layer for layer in layers if isinstance(layer, keras.layers.DepthwiseConv2D)]
    assert [layer.output.shape for layer in depthwise] == [
        (None, 12, 12, 16),
        *[(None, 6, 6, 32)] * 2,
        (None, 1, 1, 32),
    ]


def residual(side: int, blocks: int = 1, filters: int = 8) -> keras.Model:
    network = Network.model_validate({"name": "residual", "filters": filters, "blocks": blocks, "dropout": 0.1})
    return networks.build(network, Form("plain", (side, side, 3), ("a", "b")))


@pytest.mark.parametrize(("side", "last"), [(8, 2), (32, 8), (40, 10), (41, 6), (64, 8), (80, 10), (96, 6), (512, 32)])
def test_the_residual_network_halves_what_is_large(side: int, last: int):
    pooled = next(la for la in residual(side).layers if isinstance(la, keras.layers.GlobalAveragePooling2D))
    assert pooled.input.shape == (None, last, last, 32)


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_the_residual_network_has_three_stages_of_so_many_blocks_of_two(blocks: int):
    layers = residual(32, blocks).layers
    convolutions = [layer for layer in layers if isinstance(layer, keras.layers.Conv2D)]
    assert sum(isinstance(layer, keras.layers.Add) for layer in layers) == 3 * blocks
    assert [la.filters for la in convolutions if la.kernel_size == (3, 3)] == [8] * (1 + 2 * blocks) + [
        *[16] * 2 * blocks,
        *[32] * 2 * blocks,
    ]
    assert [la.filters for la in convolutions if la.kernel_size == (1, 1)] == [16, 32]


def test_a_picture_s_own_levels_make_no_difference_to_the_residual_network():
    model = residual(16)
    images = np.random.default_rng(0).integers(0, 100, (2, 16, 16, 3), dtype=np.uint8)
    np.testing.assert_allclose(model.predict(images, verbose=0), model.predict(2 * images + 40, verbose=0), atol=1e-4)


def mobilenet(weights: str, shape: tuple[int, ...] = (64, 64, 3), sha256: str | None = None) -> keras.Model:
    """``sha256`` is the file's own unless it is given."""
    if sha256 is None:
        sha256 = files.sha256_file(weights) if weights and Path(weights).is_file() else ""
    settings = {"name": "mobilenet-v3", "dropout": 0.1, "weights": weights, "sha256": sha256}
    network = Network.model_validate(settings)
    return networks.build(network, Form("plain", shape, ("a", "b", "c")))


@pytest.mark.parametrize("shape", [(64, 64, 3), (64, 48)])
def test_mobilenet_is_built_from_random_weights(shape: tuple[int, ...]):
    images = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
    assert mobilenet("", shape).predict(images, verbose=0).shape == (2, 4)


def test_mobilenet_begins_with_the_weights_of_a_file(tmp_path: Path):
    base = keras.applications.MobileNetV3Small(
        input_shape=(64, 64, 3), include_top=False, weights=None, pooling="avg", name="MobileNetV3Small"
    )
    base.save_weights(tmp_path / "base.weights.h5")
    ours = mobilenet(str(tmp_path / "base.weights.h5"))
    kept = next(layer for layer in ours.layers if isinstance(layer, keras.Model))
    for own, given in zip(kept.get_weights(), base.get_weights(), strict=True):
        np.testing.assert_array_equal(own, given)


def test_weights_that_are_not_those_of_params_yaml_are_not_begun_with(tmp_path: Path):
    path = tmp_path / "base.weights.h5"
    path.write_bytes(b"others")
    for said, word in (("", "none"), ("ab12", "ab12")):
        with pytest.raises(BadInput, match=f"has the sha256 {files.sha256_file(path)}, and params.yaml says {word}"):
            mobilenet(str(path), sha256=said)


@pytest.mark.parametrize("content", [None, b"", b"no weights"])
def test_weights_that_cannot_be_read_are_one_line(tmp_path: Path, content: bytes | None):
    path = tmp_path / "base.weights.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput, match=r"^params.yaml: network mobilenet-v3 on 64×64 in colour: ") as error:
        mobilenet(str(path))
    assert "\n" not in str(error.value)


def test_too_small_a_picture_for_mobilenet_is_one_line():
    with pytest.raises(BadInput, match=r"^params.yaml: network mobilenet-v3 on 16×16 in colour: .*32"):
        mobilenet("", (16, 16, 3))


def test_the_six_layer_net_is_what_its_name_says():
    layers = networks.build(NETWORKS["six-layer-bn"]).layers
    kinds = [type(layer).__name__ for layer in layers if not isinstance(layer, keras.layers.ReLU)]
    convolution = ["Conv2D", "BatchNormalization"]
    block = [*convolution, *convolution, "MaxPooling2D"]
    dense = ["Flatten", "Dense", "BatchNormalization", "Dropout", "Dense"]
    assert kinds == ["InputLayer", "Rescaling", "Reshape", *block, *block, *dense]
    assert {layer.kernel_size for layer in layers if isinstance(layer, keras.layers.Conv2D)} == {(3, 3)}
    assert next(layer.rate for layer in layers if isinstance(layer, keras.layers.Dropout)) == 0.2


@pytest.mark.parametrize(
    ("network", "line"),
    [
        ({"name": "lenet"}, r"there is no network 'lenet': choose one of strided, .*six-layer-bn"),
        ({"name": "short"}, r"network short takes the settings filters, dropout; missing or unknown: dropout, filters"),
        ({"name": "short", "filters": 8, "dropout": 0.2, "depth": 3}, r"network short takes .*unknown: depth"),
        ({"name": "short", "filters": 8, "dropout": 1.5}, r"network short on 28×28: .*rate"),
        ({"name": "short", "filters": 8, "dropout": "much"}, r"network short on 28×28: "),
        ({**BLOCKS, "blocks": 5}, r"conv-blocks has 1 to 4 blocks, not 5"),
    ],
)
def test_a_network_that_cannot_be_built_is_one_line(network: dict, line: str):
    with pytest.raises(BadInput, match=line) as error:
        networks.build(Network.model_validate(network))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("blocks", [1, 2, 3, 4])
def test_conv_blocks_has_as_many_as_asked_for_each_with_twice_the_filters(blocks: int):
    layers = networks.build(Network.model_validate({**BLOCKS, "blocks": blocks})).layers
    filters = [layer.filters for layer in layers if isinstance(layer, keras.layers.Conv2D)]
    assert filters == [8, 16, 32, 64][:blocks]
    assert sum(isinstance(layer, keras.layers.BatchNormalization) for layer in layers) == blocks


def test_two_conv_flattens_to_9216():
    flat = next(la for la in networks.build(NETWORKS["two-conv"]).layers if isinstance(la, keras.layers.Flatten))
    assert flat.output.shape == (None, 9216)


def test_three_conv_64_reads_columns_of_length_one():
    layers = networks.build(NETWORKS["three-conv-64"]).layers
    at = next(i for i, layer in enumerate(layers) if isinstance(layer, keras.layers.UnitNormalization))
    seen = keras.Model(layers[0].output, layers[at].output)
    images = np.random.default_rng(0).integers(1, 256, (2, 28, 28), dtype=np.uint8)
    columns = np.linalg.norm(images, axis=1, keepdims=True)
    np.testing.assert_allclose(seen.predict(images, verbose=0)[..., 0], images / columns, rtol=1e-4)


@pytest.mark.parametrize("shape", [(16, 7, 7, 8), (16, 8)])
def test_batch_norm_for_training_gives_the_numbers_of_keras_own(shape: tuple[int, ...]):
    rng = np.random.default_rng(0)
    values = tensorflow.constant(rng.normal(3, 2, shape).astype(np.float32))
    found = []
    for kind in (keras.layers.BatchNormalization, networks.FusedBatchNormalization):
        layer = kind(momentum=0.9)
        layer.build(shape)
        layer.set_weights([np.linspace(0.5, 2, shape[-1]) * (1 + number) for number in range(4)])
        with tensorflow.GradientTape() as tape:
            tape.watch(values)
            outputs = layer(values, training=True)
            loss = tensorflow.reduce_sum(outputs**3)
        wanted = [values, *(weight.value for weight in layer.trainable_weights)]
        found.append([outputs, *tape.gradient(loss, wanted), *layer.get_weights(), layer(values, training=False)])
    for own, fused in zip(*found, strict=True):
        np.testing.assert_allclose(fused, own, rtol=1e-4, atol=1e-3)


def test_the_network_for_training_has_the_same_weights_and_answers():
    stock = networks.build(NETWORKS["short"])
    faster = networks.for_training(stock)
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    assert sum(isinstance(layer, networks.FusedBatchNormalization) for layer in faster.layers) == 3
    np.testing.assert_allclose(faster.predict(images, verbose=0), stock.predict(images, verbose=0), atol=1e-6)


@pytest.mark.parametrize("recipe", ["fast", "default", "accurate", "ensemble", "tiny", "sprint"])
def test_faint_ink_and_grey_paper_make_no_difference(recipe: str):
    model = networks.shift_averaged(networks.answering(networks.build(SHIPPED[recipe].network)))
    images = np.random.default_rng(0).integers(0, 128, (3, 28, 28), dtype=np.uint8)
    images[:, 0, 0], images[:, 9, 9] = 0, 127
    expected = model.predict(2 * images, verbose=0)
    for same in (images, images + 100):
        for answer, wanted in zip(model.predict(same, verbose=0), expected, strict=True):
            np.testing.assert_allclose(answer, wanted, atol=1e-5)


@pytest.mark.parametrize("value", [0, 200])
def test_an_image_of_one_grey_has_probabilities_too(value: int):
    answered = networks.build(NETWORKS["short"]).predict(np.full((1, 28, 28), value, np.uint8), verbose=0)
    assert np.isfinite(answered).all()


def test_a_shift_averaged_model_answers_with_the_mean_over_the_moved_images():
    model = networks.answering(networks.build(NETWORKS["short"]))
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="reflect")
    moved = [padded[:, 1 + r : 29 + r, 1 + c : 29 + c] for r, c in networks.SHIFTS]
    seen = [model.predict(each, verbose=0) for each in moved]
    answered = networks.shift_averaged(model).predict(images, verbose=0)
    for place, answer in enumerate(answered):
        np.testing.assert_allclose(answer, np.mean([one[place] for one in seen], axis=0), atol=1e-6)


def test_certainty_is_a_half_at_the_threshold_and_falls_with_either_doubt():
    network = networks.build(NETWORKS["short"])
    images = np.random.default_rng(0).integers(0, 256, (50, 28, 28), dtype=np.uint8)
    probabilities, digit = networks.answering(network).predict(images, verbose=0)
    scores = digit * probabilities.max(axis=1)
    model = networks.deciding(networks.answering(network), float(np.median(scores)))
    answered = model.predict(images, verbose=0)
    np.testing.assert_allclose(answered["probabilities"], probabilities, atol=1e-6)
    assert ((answered["certainty"] >= 0.5) == (scores >= np.median(scores))).all()
    np.testing.assert_array_equal(np.argsort(answered["certainty"]), np.argsort(scores))


def test_a_network_that_is_as_sure_as_float32_can_be_is_believed(tmp_path: Path):
    """Where classes are told apart without a doubt, all scores are 1, the threshold with them."""
    images = keras.Input((4, 4), dtype="uint8", name="images")
    certain = keras.ops.one_hot(keras.ops.cast(images[:, 0, 0], "int32"), 3)
    sure = keras.Model(images, [certain, keras.ops.ones_like(certain[:, 0])], name="sure")
    model = networks.deciding(sure, 1.0)
    shown = np.repeat(np.arange(3, dtype=np.uint8), 16).reshape(3, 4, 4)
    export.export_onnx(model, tmp_path / "model.onnx", shown, Form("plain", (4, 4), ("a", "b", "c")))
    assert (model.predict(shown, verbose=0)["certainty"] > 0.5).all()
    session = inference.open_model(tmp_path / "model.onnx")
    assert (inference.answers(session, shown).certainty > 0.5).all()
