"""A model trained on the embedded data set with the shipped params, and the test images it gets right."""

import pytest
from answers import Answers
from workspace import ROOT

from pipeline import datasets, preprocess, train
from pipeline import params as params_file


@pytest.fixture(scope="session")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    folder = tmp_path_factory.mktemp("behaviour")
    params = params_file.load(ROOT / "params.yaml")
    loaded = datasets.load(params.model_copy(update={"dataset": "digits"}))
    fitted, val, _ = preprocess.separate(loaded.train, loaded.test.images, params.recipe.val_share)
    model, _ = train.fit_all(fitted, val, params.recipe, params.train.seed, folder / "checkpoints")
    train.export_onnx(model, folder / "model.onnx", val.images)
    return Answers(folder / "model.onnx", loaded.test)
