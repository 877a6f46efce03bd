"""Does a fitted network leave TensorFlow as it is, and as the same bytes from any process?"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from workspace import ROOT

from pipeline.base import files
from pipeline.base import params as params_file
from pipeline.base.params import Network
from pipeline.learning import export, fitting, inference, networks
from pipeline.learning.backend import keras

SHIPPED = params_file.load(ROOT / "params.yaml").recipes
SMALL = Network.model_validate({"name": "short", "filters": 8, "dropout": 0.3})
IMAGES = np.random.default_rng(0).integers(0, 256, (70, 28, 28), dtype=np.uint8)


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def opened(folder: Path) -> onnxruntime.InferenceSession:
    return inference.open_model(folder / "model.onnx")


# A recipe for each network that is shipped: what they are fitted with does not matter to their export.
NETWORKS = {f"{recipe.network} {recipe.shift_averaged}": name for name, recipe in SHIPPED.items()}.values()


@pytest.mark.parametrize("recipe", NETWORKS)
def test_onnx_answers_as_keras_does_for_every_shipped_recipe(recipe: str, workspace: Path):
    keras.utils.set_random_seed(0)
    as_exported = SHIPPED[recipe].model_copy(update={"precision": "float32"})  # as fit gives its model back
    model = fitting.compiled(as_exported, steps_per_epoch=10)
    images = IMAGES
    model = networks.answering(model)
    if SHIPPED[recipe].shift_averaged:
        model = networks.shift_averaged(model)
    model = networks.deciding(model, 0.2)
    assert export.export_onnx(model, workspace / "model.onnx", images) <= export.ONNX_TOLERANCE
    answered, expected = inference.answers(opened(workspace), images), model.predict(images, verbose=0)
    for name, answer in answered._asdict().items():
        np.testing.assert_allclose(answer, expected[name], atol=1e-5)
    nobody = inference.answers(opened(workspace), images[:0])  # as the service asks where nothing could be read
    assert nobody.probabilities.shape == (0, 10) and nobody.certainty.shape == (0,)
    graph = onnx.load(workspace / "model.onnx").graph
    sizes = {i.name: i.type.tensor_type.shape.dim[0].dim_param for i in (*graph.input, *graph.output)}
    assert sizes == {"images": "N", "probabilities": "N", "certainty": "N"}


def test_an_export_that_differs_is_refused_and_leaves_no_file(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(export, "ONNX_TOLERANCE", -1.0)
    with pytest.raises(RuntimeError, match="differ from Keras'"):
        export.export_onnx(
            networks.deciding(networks.answering(networks.build(SMALL)), 0.2), workspace / "model.onnx", IMAGES
        )
    assert not list(workspace.glob("*.onnx"))


def leave(folder: Path) -> None:
    """The two files of one small model, its layers named as if it was the first."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    network = Network.model_validate(
        {"name": "conv-blocks", "blocks": 1, "filters": 4, "batch_norm": True, "dropout": 0.3}
    )
    model = networks.deciding(networks.shift_averaged(networks.answering(networks.build(network))), 0.2)
    export.save_keras(model, folder / "model.keras")
    export.export_onnx(model, folder / "model.onnx", IMAGES)


def test_the_files_of_one_model_are_the_same_bytes_from_every_process(workspace: Path):
    for process in ("1", "2"):
        (workspace / process).mkdir()
    leave(workspace / "1")
    code = "import sys, pathlib, test_export; test_export.leave(pathlib.Path(sys.argv[1]))"
    search = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]
    environment = {"PYTHONPATH": os.pathsep.join(search), "PYTHONHASHSEED": "2"}
    subprocess.run([sys.executable, "-c", code, "2"], env=environment, check=True, capture_output=True)
    for name in ("model.keras", "model.onnx"):
        assert files.sha256_file(workspace / "1" / name) == files.sha256_file(workspace / "2" / name), name
    loaded = keras.models.load_model(workspace / "1/model.keras", compile=False, safe_mode=True)
    answered = inference.answers(opened(workspace / "1"), IMAGES)._asdict()
    for name, expected in loaded.predict(IMAGES, verbose=0).items():
        np.testing.assert_allclose(answered[name], expected, atol=1e-5)
