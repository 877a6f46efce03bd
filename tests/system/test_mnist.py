"""The same on MNIST with the shipped params: minutes, so it is left to `make test-all`, and needs MNIST_DIR."""

import json
import os
import shutil
from collections.abc import Callable

import pytest
from workspace import ROOT, Workspace


@pytest.mark.slow
@pytest.mark.skipif("MNIST_DIR" not in os.environ, reason="MNIST_DIR names no folder with MNIST's files")
def test_mnist_from_a_local_folder_to_a_champion(new_workspace: Callable[[], Workspace]):
    workspace = new_workspace()
    shutil.copy(ROOT / "params.yaml", workspace.folder)
    workspace.edit(local_dir=os.environ["MNIST_DIR"])
    workspace.digits("run", "--dataset", "mnist")
    champion = json.loads(workspace.digits("champion", "--json").stdout)
    assert champion["model"] == "mnist-cnn" and champion["metrics"]["accuracy"] >= 0.993  # 0.9939 to 0.9956 of ten
    validation = json.loads((workspace.folder / "reports/validation.json").read_text())
    assert validation["success"] and validation["counts"] == {"train": 60_000, "test": 10_000}
    assert json.loads((workspace.folder / "reports/drift.json").read_text())["verdict"] == "alike"
