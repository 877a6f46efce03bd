"""What is told to Prefect, and that nobody's work depends on somebody hearing it."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from examples import window
from filelock import FileLock
from ports import free_port
from prefect.settings import PREFECT_API_URL, temporary_settings
from workspace import ROOT

from flows import events, password
from pipeline.base import files, places, processes
from pipeline.data.batches import Filed

BATCH = Filed(event="accepted", batch="20260101-abc", at="2026-01-01T00:00:00+00:00", by="ann", source="new.npz")


class Hub(BaseHTTPRequestHandler):
    """Prefect's server as far as events go: it keeps what it is sent and answers with the server's ``status``."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append((self.path, json.loads(body)))  # type: ignore[attr-defined]
        self.server.authorization = self.headers.get("Authorization", "")  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:  # the client asks for a CSRF token first; this server wants none
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Any]:
    server: Any = HTTPServer(("127.0.0.1", 0), Hub)
    server.taken, server.status = [], 204
    server.url = f"http://127.0.0.1:{server.server_port}/api"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIGITS_HOME", str(tmp_path))
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
        monkeypatch.setenv(name, "")  # telling sets it; monkeypatch brings the old value back
    return tmp_path


@pytest.fixture
def schedule(home: Path, hub: Any) -> Iterator[FileLock]:
    """What a `make schedule` in this checkout holds and leaves for others to find it by."""
    password.kept(home)
    files.write_text(home / places.PREFECT_ADDRESS, f"{hub.url}\n")
    with FileLock(home / places.PREFECT_LOCK) as lock:
        yield lock


def told_by_another_process() -> bool:
    code = f"from flows import events; from pipeline.data.batches import Filed; print(events.accepted({BATCH!r}))"
    environment = processes.environment(PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip() == "True"


def test_without_a_server_nothing_is_told():
    assert events.accepted(BATCH) is False
    assert os.environ["PREFECT_API_URL"] == ""


def test_a_process_that_knows_only_the_folder_tells_the_server_of_its_make_schedule(
    home: Path, hub: Any, schedule: FileLock
):
    """As `digits add-batch` does."""
    assert told_by_another_process()
    ((path, [event]),) = hub.taken
    assert path == "/api/events" and event["event"] == "digits.batch.accepted"
    assert event["resource"] == {"prefect.resource.id": "digits.batch.20260101-abc"}
    assert event["payload"] == {"batch": "20260101-abc", "by": "ann"}
    assert base64.b64decode(hub.authorization.removeprefix("Basic ")).decode() == password.known(home)


def test_another_program_on_the_port_of_one_that_was_killed_is_told_nothing(hub: Any, schedule: FileLock):
    """Its address stays behind, and whoever listens there now would read the password."""
    schedule.release()
    assert events.find_server() is False and events.accepted(BATCH) is False
    assert hub.taken == []


def test_a_server_of_the_environment_is_not_told_this_checkout_s_password(
    hub: Any, schedule: FileLock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PREFECT_API_URL", hub.url)
    assert told_by_another_process()
    assert hub.authorization == ""


@pytest.fixture
def server_at() -> Iterator[Any]:
    """Has this process, which has imported Prefect long ago, tell the server at that address."""
    with ExitStack() as stack:

        def at(url: str) -> None:
            os.environ["PREFECT_API_URL"] = url
            stack.enter_context(temporary_settings({PREFECT_API_URL: url}))

        yield at


def test_drift_is_told_with_the_version_and_its_share(hub: Any, server_at: Any):
    server_at(hub.url)
    assert events.drift(window(True, version="3")) is True
    ((_, [event]),) = hub.taken
    assert event["event"] == "digits.drift"
    assert event["resource"] == {"prefect.resource.id": "digits.model.digits-cnn"}
    assert event["payload"] == {"version": "3", "share": 0.5}


def test_a_server_that_does_not_answer_is_no_fault_of_who_tells(server_at: Any):
    server_at(f"http://127.0.0.1:{free_port()}/api")
    assert events.accepted(BATCH) is False


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_server_that_refuses_is_told_from_one_that_takes_it(hub: Any, server_at: Any, status: int):
    server_at(hub.url)
    hub.status = status
    assert events.accepted(BATCH) is False
    assert len(hub.taken) == 1
    hub.status = 204
    assert events.accepted(BATCH) is True
