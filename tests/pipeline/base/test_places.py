from pathlib import Path

import pytest

from pipeline.base import places


def test_a_relative_database_is_the_workspace_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///its.db")
    assert places.tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/its.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://digits@host/mlflow")
    assert places.tracking_uri(tmp_path) == "postgresql://digits@host/mlflow"


def test_what_workspaces_share_lies_beside_the_registry_s_file_or_in_the_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("DIGITS_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////elsewhere/its.db")
    assert places.home() == Path("/elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://digits@host/mlflow")
    assert places.home() == tmp_path
