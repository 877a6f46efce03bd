import subprocess
import sys
from pathlib import Path

import linear_model
import numpy as np
import pytest
from scipy.special import softmax
from workspace import ROOT

from pipeline.base.errors import BadInput
from pipeline.learning import inference


@pytest.fixture
def model(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    weights, bias = rng.normal(0, 0.1, (784, 10)), rng.normal(0, 1, 10)
    linear_model.write(tmp_path / "model.onnx", weights, bias)
    return tmp_path / "model.onnx", weights, bias


@pytest.mark.parametrize("n", [0, 1, inference.CHUNK, inference.CHUNK + 1])
def test_the_answers_do_not_depend_on_the_chunks(model, n: int):
    path, weights, bias = model
    images = np.random.default_rng(n).integers(0, 256, (n, 28, 28), dtype=np.uint8)
    answers = inference.probabilities(path, images)
    assert answers.shape == (n, 10) and answers.dtype == np.float32
    expected = softmax(images.reshape(n, 784) / 255 @ weights + bias, axis=1)
    np.testing.assert_allclose(answers, expected, atol=1e-5)


def test_a_memory_mapped_array_that_is_not_contiguous_is_read_right(model, tmp_path: Path):
    images = np.random.default_rng(1).integers(0, 256, (50, 28, 28), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")[::2]
    opened = inference.open_model(model[0])
    np.testing.assert_array_equal(inference.run(opened, mapped), inference.run(opened, images[::2].copy()))


@pytest.mark.parametrize(
    "images", [np.zeros((2, 28, 28), np.float32), np.zeros((2, 28, 27), np.uint8), np.zeros((28, 28), np.uint8)]
)
def test_images_of_another_kind_are_refused(model, images: np.ndarray):
    with pytest.raises(BadInput, match="the model takes uint8 images"):
        inference.run(inference.open_model(model[0]), images)


def test_a_missing_a_broken_and_a_foreign_model_are_refused(model, tmp_path: Path):
    with pytest.raises(BadInput, match="there is no"):
        inference.open_model(tmp_path / "none.onnx")
    (tmp_path / "broken.onnx").write_bytes(model[0].read_bytes()[:-1000])
    with pytest.raises(BadInput, match="is not a model that ONNX Runtime can run"):
        inference.open_model(tmp_path / "broken.onnx")
    linear_model.write(tmp_path / "foreign.onnx", model[1], model[2], images="pixels")
    with pytest.raises(BadInput, match="does not take uint8 `images`") as refusal:
        inference.open_model(tmp_path / "foreign.onnx")
    assert "\n" not in str(refusal.value)


def test_a_model_is_run_without_reporting_home(model, tmp_path: Path):
    """ONNX Runtime keeps a device id and a queue of events in the home folder where its telemetry is on."""
    home = tmp_path / "home"
    home.mkdir()
    code = f"from pipeline.learning import inference; inference.open_model({str(model[0])!r})"
    subprocess.run([sys.executable, "-c", code], env={"HOME": str(home), "PYTHONPATH": str(ROOT)}, check=True)
    assert not [path for path in home.rglob("*") if path.is_file()]
