"""`digits serve` as a process of its own, in a workspace with a champion."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from waiting import WAIT, until
from workspace import Workspace


@contextmanager
def served(workspace: Workspace) -> Iterator["Service"]:
    """A service that is ready; in the end it must stop well and have met no defect."""
    running = Service(workspace)
    running.ready()
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.log, running.log.partition("Traceback")[2][:5000]


class Service:
    """The process, its log, and a client."""

    def __init__(self, workspace: Workspace, *arguments: str, **environment: str) -> None:
        self.workspace = workspace
        self.log_file = workspace.folder / f"serve-{time.monotonic_ns()}.log"
        with self.log_file.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli", "serve", "--port", "0", *arguments],
                cwd=workspace.folder,
                env={**workspace.environment(), **environment},
                stdout=log,
                stderr=log,
            )
        until(lambda: "is open" in self.log or self.process.poll() is not None, "the start")
        opened = re.search(r"(http://\S+:\d+) is open", self.log)
        assert opened, self.log
        self.url = opened[1]
        self.client = httpx.Client(base_url=self.url, timeout=WAIT)

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def ready(self) -> str:
        """The version that answers."""
        until(lambda: self.client.get("/ready").is_success, "an answer")
        return str(self.client.get("/ready").json()["version"])

    def predict(self, images: np.ndarray, **query: str) -> dict[str, Any]:
        answer = self.client.post("/predict", json={"images": images.tolist()}, params=query)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def peak_mb(self) -> float:
        """Its memory at its highest so far."""
        status = (Path("/proc") / str(self.process.pid) / "status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def exchange(self, request: bytes, source: str = "127.0.0.1") -> bytes:
        """All that is answered to these very bytes until the connection is closed: a client of HTTP would tidy them
        up."""
        with socket.create_connection(("127.0.0.1", self.port), WAIT, (source, 0)) as connection:
            answered = b""
            with suppress(ConnectionError):  # it may close while more is sent
                connection.sendall(request)
            with suppress(ConnectionError):
                while part := connection.recv(65536):
                    answered += part
        return answered

    def family(self) -> list[psutil.Process]:
        """The process and all that it has started."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def memory_mb(self) -> float:
        """Of the service and its readers now, what they share counted once; the registry's watcher is left out."""
        total = 0
        for process in self.family():
            with suppress(psutil.NoSuchProcess):  # readers come and go
                total += process.memory_full_info().pss if "serve" in process.cmdline() else 0
        return total / 1e6

    def stop(self, by: signal.Signals = signal.SIGINT) -> int:
        self.client.close()
        self.process.send_signal(by)
        return self.process.wait(WAIT)


def problem(answer: httpx.Response, status: int) -> str:
    """The detail of a problem that is as RFC 9457 wants it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    content = json.loads(answer.text)
    assert content["status"] == status and content["title"]
    assert content["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text and len(content["detail"].splitlines()) == 1
    return str(content["detail"])
