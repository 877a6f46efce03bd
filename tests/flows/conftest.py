"""Fixtures of the flows' tests."""

import shutil
from pathlib import Path

import pytest
from checkout import Checkout
from workspace import ROOT

from pipeline.base import params as params_file


@pytest.fixture
def checkout(tmp_path: Path, empty_registry: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """The process works in it, as a worker of Prefect's does; there is no champion yet."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copy(empty_registry, tmp_path)
    params_file.choose(tmp_path / "params.yaml", dataset="digits", recipe=None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIGITS_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # flows set it; monkeypatch brings the old value back
    return Checkout(tmp_path)
