"""Do several devices of a machine, here two on its processor, fit what one fits, and has each process its own?"""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from workspace import ROOT

from pipeline.base.errors import BadInput
from pipeline.learning import data_parallel, training_processes
from pipeline.learning.backend import tensorflow

# In a process of its own: devices are divided before TensorFlow is used.
CODE = """
import json, sys
import numpy as np
from bars import bars
from pipeline.base.params import Network, Recipe
from pipeline.learning import data_parallel, export, fitting
from pipeline.learning.backend import keras, tensorflow
devices, dropout, batch_size = json.loads(sys.argv[1])
cpu = tensorflow.config.list_physical_devices("CPU")[0]
halves = [tensorflow.config.LogicalDeviceConfiguration()] * 2
tensorflow.config.set_logical_device_configuration(cpu, halves)
data_parallel.devices = lambda: [f"CPU:{number}" for number in range(devices)]
network = Network(name="conv-blocks", blocks=1, filters=4, batch_norm=bool(dropout), dropout=dropout)
recipe = Recipe(network=network, val_share=0.1, epochs=3, batch_size=batch_size, optimizer="adam", learning_rate=0.01)
model, history = fitting.fit(bars(160, 0), bars(101, 1), recipe, 7)
np.savez(sys.argv[2], *model.get_weights())
print(json.dumps([export.weights_digest(model), history[["loss", "val_loss"]].values.tolist()]))
"""


def fitted(to: Path, devices: int, dropout: float = 0.0, batch_size: int = 32) -> tuple[str, Any, Any]:
    """The weights' digest, the losses and the weights of a fit on so many devices."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, "-c", CODE, json.dumps([devices, dropout, batch_size]), str(to / "weights.npz")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    digest, losses = json.loads(done.stdout.splitlines()[-1])
    with np.load(to / "weights.npz") as weights:
        return digest, losses, [weights[name] for name in weights.files]


@pytest.mark.system
def test_two_devices_fit_what_one_fits(tmp_path: Path):
    _, losses, weights = fitted(tmp_path, 1)
    _, shared_losses, shared_weights = fitted(tmp_path, 2)
    np.testing.assert_allclose(shared_losses, losses, rtol=1e-3)
    for one, other in zip(weights, shared_weights, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-3)  # sums in another order


@pytest.mark.system
def test_a_batch_that_cannot_be_shared_evenly_is_one_image_less(tmp_path: Path):
    _, losses, _ = fitted(tmp_path, 2, batch_size=33)
    assert len(losses) == 3 and np.isfinite(losses).all()


@pytest.mark.slow
def test_two_devices_fit_the_same_each_time(tmp_path: Path):
    assert fitted(tmp_path, 2, dropout=0.3)[0] == fitted(tmp_path, 2, dropout=0.3)[0]


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Two of them, as TensorFlow would list them, and which of them a process was left to see."""
    seen: list[Any] = []
    found = [SimpleNamespace(name=f"/physical_device:GPU:{number}") for number in range(2)]
    monkeypatch.setattr(tensorflow.config, "list_physical_devices", lambda kind: found if kind == "GPU" else [])
    monkeypatch.setattr(tensorflow.config, "set_visible_devices", lambda one, kind: seen.append((one.name, kind)))
    monkeypatch.setattr(tensorflow.distribute, "MultiWorkerMirroredStrategy", lambda: "strategy")
    monkeypatch.setattr(data_parallel, "strategy", data_parallel.strategy.__wrapped__)  # it is asked once a process
    return seen


ADDRESSES = ["a:1", "b:1", "a:2", "b:2"]


@pytest.mark.parametrize(("number", "gpu"), [(0, 0), (1, 0), (2, 1), (3, 1)])
def test_each_process_of_a_machine_has_a_gpu_of_its_own(
    gpus: list[Any], monkeypatch: pytest.MonkeyPatch, number: int, gpu: int
):
    monkeypatch.setenv(data_parallel.CONFIG, training_processes.config(ADDRESSES, number))
    data_parallel.strategy()
    assert gpus == [(f"/physical_device:GPU:{gpu}", "GPU")]


def test_more_processes_than_gpus_is_a_line(gpus: list[Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(data_parallel.CONFIG, training_processes.config([*ADDRESSES, "a:3"], 4))
    with pytest.raises(BadInput, match=r"train.workers asks for more processes than there are GPUs on this machine, 2"):
        data_parallel.strategy()
    assert gpus == []


def test_without_a_gpu_nothing_is_chosen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tensorflow.distribute, "MultiWorkerMirroredStrategy", lambda: "strategy")
    monkeypatch.setattr(tensorflow.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setattr(tensorflow.config, "set_visible_devices", lambda *_: pytest.fail("there is none"))
    assert data_parallel.strategy.__wrapped__() == "strategy"
