"""Fixtures of the service's tests."""

from collections.abc import Iterator

import numpy as np
import pytest
from running import Service, served
from workspace import Workspace


@pytest.fixture(scope="session")
def service(demo: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service on the demo's champion, shared by the tests that leave it as it is."""
    with served(demo.copy(tmp_path_factory.mktemp("serving") / "workspace")) as running:
        yield running


@pytest.fixture(scope="session")
def digits(demo: Workspace) -> tuple[np.ndarray, np.ndarray]:
    """The test split: images and labels."""
    folder = demo.folder / "data/processed/test"
    return np.load(folder / "images.npy"), np.load(folder / "labels.npy")
