"""What MLflow and its database raise: away for now (75), refused (2), the disk's, or a defect."""

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.base import errors, places
from pipeline.base.errors import BadInput, TemporaryFault
from pipeline.registry import mlflow_errors, versions


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")


class Away(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(503)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def unavailable() -> Iterator[str]:
    """A server whose registry is away."""
    server = HTTPServer(("127.0.0.1", 0), Away)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def raised(client: MlflowClient) -> Exception:
    with pytest.raises(MlflowException) as caught:
        client.get_registered_model("digits-cnn")
    return caught.value


def test_a_server_that_is_not_there_or_not_ready_is_temporary(unavailable: str):
    for address in ("http://127.0.0.1:9", unavailable):
        fault = mlflow_errors.of(raised(MlflowClient(address)))
        assert type(fault) is TemporaryFault and "does not answer" in str(fault) and "\n" not in str(fault)


def test_a_database_that_another_one_holds_is_temporary(
    empty_registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copy(empty_registry, tmp_path)
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorname = "SQLITE_BUSY"
    with monkeypatch.context() as patch, pytest.raises(MlflowException) as caught:
        patch.setattr(client._get_registry_client().store, "get_registered_model", fail_with(error))
        client.get_registered_model("digits-cnn")
    assert type(mlflow_errors.of(caught.value)) is TemporaryFault


def fail_with(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise MlflowException("as it wraps it") from error

    return fail


def test_what_is_refused_is_for_a_person_to_mend(empty_registry: Path, tmp_path: Path):
    shutil.copy(empty_registry, tmp_path)
    fault = mlflow_errors.of(raised(MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")))
    assert type(fault) is BadInput and str(fault).startswith("the registry (MLFLOW_TRACKING_URI) cannot do that: ")


def test_a_full_disk_below_the_registry_is_the_disk_s(capsys: pytest.CaptureFixture[str]):
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorname = "SQLITE_FULL"
    with pytest.raises(SystemExit) as end, errors.one_line(), mlflow_errors.explained():
        fail_with(full)()
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: the disk is full: free some space and run the same command again\n"


def test_another_error_is_left_alone():
    assert mlflow_errors.of(ValueError("x")) is None
    with pytest.raises(ZeroDivisionError), mlflow_errors.explained():
        raise ZeroDivisionError


def test_a_lock_that_is_not_let_go_is_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(versions, "LOCK_SECONDS", 0.05)
    with versions.locked():
        assert (tmp_path / ".cache").stat().st_mode & 0o077 == 0
        holder = FileLock(tmp_path / places.REGISTRY_LOCK)
        with pytest.raises(TemporaryFault, match="is held by another promotion or registration"), versions.locked():
            holder.acquire()
