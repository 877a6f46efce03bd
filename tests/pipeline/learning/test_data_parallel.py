"""Do several processes fit what one fits, alike each time, and go on when one of them dies?"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from bars import bars
from dask_processes import started
from ports import free_port
from waiting import until
from workspace import ROOT

from pipeline.base import form, places
from pipeline.data import splits
from pipeline.learning.backend import keras

NETWORK = {"name": "conv-blocks", "blocks": 1, "filters": 4, "batch_norm": False, "dropout": 0.0}
RECIPE = {"network": NETWORK, "val_share": 0.1, "epochs": 3, "batch_size": 32, "optimizer": "sgd", "learning_rate": 0.1}
RECIPE |= {"schedule": "constant"}

pytestmark = pytest.mark.system


class Box:
    """A folder in which the stage `train` can run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, split in {"train": bars(160, 0), "val": bars(100, 1)}.items():
            splits.save(folder / places.PROCESSED / name, split)
        form.save(form.DIGITS, folder / places.PROCESSED)

    def train(self, workers: int, scheduler: str = "", **changes: object) -> "subprocess.Popen[str]":
        document = yaml.safe_load((ROOT / "params.yaml").read_text())
        document["recipes"]["fast"] = RECIPE | changes
        document["train"] |= {"recipe": "fast", "workers": workers}
        (self.folder / "params.yaml").write_text(yaml.safe_dump(document))
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_SCHEDULER_ADDRESS": scheduler}
        command = [sys.executable, "-m", "pipeline.train"]
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def trained(self, workers: int, scheduler: str = "", **changes: object) -> str:
        """The weights' digest."""
        process = self.train(workers, scheduler, **changes)
        out, err = process.communicate()
        assert process.returncode == 0, out + err
        return (self.folder / places.WEIGHTS_DIGEST).read_text()

    def weights(self) -> list[np.ndarray]:
        return keras.models.load_model(self.folder / places.KERAS, compile=False).get_weights()


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_two_processes_fit_what_one_fits(box: Box):
    box.trained(1)
    alone, history = box.weights(), (box.folder / places.HISTORY).read_text()
    box.trained(2)
    for one, other in zip(alone, box.weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-4)  # sums in another order
    together = (box.folder / places.HISTORY).read_text()
    losses = [[float(line.split(",")[2]) for line in text.splitlines()[1:]] for text in (history, together)]
    np.testing.assert_allclose(*losses, rtol=1e-2)
    assert not (box.folder / places.CHECKPOINTS).exists()


def children(process: "subprocess.Popen[str]") -> list[int]:
    """The processes that fit, without those that watch over them."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            environment, command = (path / "environ").read_bytes(), (path / "cmdline").read_bytes()
        except OSError:
            continue
        if b"TF_CONFIG" in environment and b"pipeline.train" in command and b"processes.py" not in command:
            found.append(int(path.name))
    return sorted(found)


SETTINGS = {"network": NETWORK | {"batch_norm": True, "dropout": 0.3}, "optimizer": "adam", "learning_rate": 0.004}


def killed_in_between(box: Box, scheduler: str = "", chosen: int = -1) -> tuple[str, str]:
    """What a training says of which a process is killed after the first epoch, and its weights' digest."""
    process = box.train(2, scheduler, **SETTINGS)
    checkpoint = box.folder / places.CHECKPOINTS / "member-1.npz"

    def kill() -> None:
        until(checkpoint.is_file, "the first epoch is finished")
        os.kill(children(process)[chosen], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    out, err = process.communicate()
    killer.join()
    assert process.returncode == 0, out + err
    return out, (box.folder / places.WEIGHTS_DIGEST).read_text()


def test_one_that_dies_is_started_again_and_the_weights_are_those_of_an_undisturbed_run(box: Box):
    undisturbed = box.trained(2, **SETTINGS)
    (box.folder / places.WEIGHTS_DIGEST).unlink()
    said, digest = killed_in_between(box)
    assert re.search("train: process [01] of 2 ended with 137: all go on from the last finished epoch", said)
    assert digest == undisturbed


@pytest.fixture
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one with two workers, in a folder of their own."""
    address = f"tcp://127.0.0.1:{free_port()}"
    with started(tmp_path_factory.mktemp("elsewhere")) as start:
        start("scheduler", "--port", address.rsplit(":", 1)[1])
        start("worker", address, "--nthreads", "1", "--nworkers", "2")
        yield address


def test_on_dask_s_workers_the_weights_are_those_of_two_processes_here_whoever_dies(box: Box, scheduler: str):
    here = box.trained(2, **SETTINGS)
    (box.folder / places.WEIGHTS_DIGEST).unlink()
    process = box.train(2, scheduler, **SETTINGS)
    said, err = process.communicate()
    assert process.returncode == 0, said + err
    assert (box.folder / places.WEIGHTS_DIGEST).read_text() == here
    assert [line.split()[2] for line in said.splitlines() if line.startswith("train: epoch")] == ["1/3", "2/3", "3/3"]
    assert said.splitlines()[-1].startswith("train: fast, ")
    (box.folder / places.WEIGHTS_DIGEST).unlink()
    said, digest = killed_in_between(box, scheduler, chosen=0)
    assert re.search("train: process [01] of 2 ended with [0-9]+: all go on from the last finished epoch", said)
    assert digest == here


def test_what_is_wrong_there_is_said_once_and_nothing_is_left_running(box: Box, scheduler: str):
    process = box.train(2, scheduler, optimizer="nonsense")
    out, err = process.communicate()
    assert process.returncode == 2 and out == ""
    assert err.startswith("error: params.yaml: Keras knows no optimizer 'nonsense'") and err.count("\n") == 1
    process = box.train(3, scheduler)
    assert "train.workers is 3, but the Dask cluster has 2 workers: start more, or lower it" in process.communicate()[1]
    process = box.train(2, scheduler, epochs=1000)
    until((box.folder / places.CHECKPOINTS / "member-1.npz").is_file, "the first epoch is finished")
    running = children(process)
    assert len(running) == 2
    process.send_signal(signal.SIGKILL)
    process.communicate()
    until(lambda: not set(running) & set(children(process)), "they end with it")


def test_what_is_wrong_is_said_once(box: Box):
    process = box.train(2, optimizer="nonsense")
    out, err = process.communicate()
    assert process.returncode == 2 and out == ""
    assert err.startswith("error: params.yaml: Keras knows no optimizer 'nonsense'") and err.count("\n") == 1


def test_nothing_is_left_running_when_it_is_stopped(box: Box):
    process = box.train(2, epochs=1000)
    until((box.folder / places.CHECKPOINTS / "member-1.npz").is_file, "the first epoch is finished")
    running = children(process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    until(lambda: not set(running) & set(children(process)), "they end with it")
