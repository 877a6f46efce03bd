"""A data set of 70 images in MNIST's form, and the ways in which tests read it."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workspace import ROOT

from pipeline.base import params as params_file
from pipeline.base.errors import BadInput
from pipeline.base.params import Params
from pipeline.data.datasets import catalogue, decoders, mnist
from pipeline.data.datasets.decoders import Loaded

PARAMS = params_file.load(ROOT / "params.yaml")
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = decoders.IDX_FILES


def params(dataset: str, **ingest: Any) -> Params:
    ingest = {"timeout_seconds": 0.2, "attempts": 2, **ingest}
    return PARAMS.model_copy(update={"dataset": dataset, "ingest": PARAMS.ingest.model_copy(update=ingest)})


def load(dataset: str, local_dir: Path | str = "data/incoming", **ingest: Any) -> Loaded:
    return catalogue.load(params(dataset, local_dir=str(local_dir), **ingest))


def some_images(count: int, seed: int = 0) -> np.ndarray:
    """Random pictures with MNIST's empty rim."""
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 4:24, 4:24] = np.random.default_rng(seed).integers(0, 256, (count, 20, 20))
    return images


def some_labels(count: int) -> np.ndarray:
    return (np.arange(count) % 10).astype(np.uint8)


ARRAYS = dict(
    zip(decoders.IDX_FILES, (some_images(50), some_labels(50), some_images(20, 1), some_labels(20)), strict=True)
)
CONTENTS = {name: decoders.encode_idx(array) for name, array in ARRAYS.items()}


def write_mnist(folder: Path, contents: dict[str, bytes] = CONTENTS) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
    arrays: dict[str, Any] = {key: ARRAYS[name] for name, key in mnist.IN_NPZ.items()}
    np.savez(folder / "mnist.npz", **arrays)
    return folder


def refusal(dataset: str, local_dir: Path | str = "data/incoming", **ingest: Any) -> str:
    """The one line with which the data set is refused."""
    with pytest.raises(BadInput) as caught:
        load(dataset, local_dir, **ingest)
    message = str(caught.value)
    assert message and "\n" not in message
    return message
