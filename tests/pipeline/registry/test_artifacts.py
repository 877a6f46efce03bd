"""What a version's run recorded, as it lies in a store that others may write to."""

import os
import tempfile
from pathlib import Path

import pytest
import registered
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from registered import NAME

from pipeline.base import places
from pipeline.base.errors import BadInput
from pipeline.registry import artifacts, versions

MOST = 1_000  # bytes


@pytest.fixture
def version(client: MlflowClient, tmp_path: Path) -> ModelVersion:
    return versions.version(client, NAME, registered.version(client, tmp_path / "model"))


def page(client: MlflowClient, version: ModelVersion) -> Path:
    return artifacts.recorded(client, version, places.RUN_PAGE, MOST)


def test_a_record_on_this_disk_is_the_store_s_own_and_no_copy_is_left(
    client: MlflowClient, version: ModelVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    assert page(client, version).read_text() == registered.PAGE
    assert page(client, version).is_relative_to(tmp_path / places.ARTIFACTS)
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("put", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/etc/passwd"), lambda path: None])
def test_what_is_no_file_of_the_run_is_no_record(client: MlflowClient, version: ModelVersion, put):
    path = page(client, version)
    path.unlink()
    put(path)
    with pytest.raises(artifacts.NotRecorded):
        page(client, version)


def test_a_folder_that_leads_out_of_the_run_is_no_record(client: MlflowClient, version: ModelVersion, tmp_path: Path):
    folder = page(client, version).parent
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput):
        page(client, version)


def test_a_record_that_is_too_large_is_refused(client: MlflowClient, version: ModelVersion):
    page(client, version).write_bytes(b" " * (MOST + 1))
    with pytest.raises(BadInput, match="has more than 1,000 bytes"):
        page(client, version)
