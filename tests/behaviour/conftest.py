"""A model trained on the embedded data set with the shipped params, and the test images it gets right."""

import pytest
from answers import Answers
from workspace import Workspace

from pipeline.data import splits


@pytest.fixture(scope="session")
def answers(demo: Workspace) -> Answers:
    return Answers(demo.folder / "models/model.onnx", splits.load(demo.folder / "data/processed/test"))
