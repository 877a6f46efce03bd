"""Fixtures that the registry's tests share."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.registry import versions


@pytest.fixture
def client(empty_registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """A registry with nothing in it, in a folder of its own, which is the one that the test works in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_registry, tmp_path)
    return versions.connect()
