"""What is told to Prefect, and that nobody's work depends on somebody hearing it."""

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
from prefect.settings import PREFECT_API_URL, temporary_settings
from schedule_box import free_port
from workspace import ROOT

from flows import events
from pipeline.base import files, places, processes
from pipeline.data.batches import Filed

BATCH = Filed(event="accepted", batch="20260101-abc", at="2026-01-01T00:00:00+00:00", by="ann", source="new.npz")


class Hub(BaseHTTPRequestHandler):
    """Prefect's server as far as events go: it keeps what it is sent and answers with the server's ``status``."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append((self.path, json.loads(body)))  # type: ignore[attr-defined]
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
    monkeypatch.setenv("PREFECT_API_URL", "")  # telling sets it; monkeypatch brings the old value back
    return tmp_path


def test_the_server_is_the_environment_s_or_else_that_of_a_make_schedule_here(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    assert events.api_url() is None
    files.write_text(home / places.PREFECT_ADDRESS, "http://127.0.0.1:4200/api\n")
    assert events.api_url() == "http://127.0.0.1:4200/api"
    monkeypatch.setenv("PREFECT_API_URL", "http://team:4200/api")
    assert events.api_url() == "http://team:4200/api"


def test_without_a_server_nothing_is_told():
    assert events.accepted(BATCH) is False
    assert os.environ["PREFECT_API_URL"] == ""


def test_a_process_that_knows_only_the_folder_tells_the_server_of_its_make_schedule(home: Path, hub: Any):
    """As `digits add-batch` does."""
    files.write_text(home / places.PREFECT_ADDRESS, f"{hub.url}\n")
    code = f"from flows import events; from pipeline.data.batches import Filed; print(events.accepted({BATCH!r}))"
    environment = processes.environment(PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True", done.stderr
    ((path, [event]),) = hub.taken
    assert path == "/api/events" and event["event"] == "digits.batch.accepted"
    assert event["resource"] == {"prefect.resource.id": "digits.batch.20260101-abc"}
    assert event["payload"] == {"batch": "20260101-abc", "by": "ann"}


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
