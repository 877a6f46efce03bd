"""The servers that are compared: how each is started, what a request to it is, and what it costs.

Each peer has an environment of its own, made under .cache/peers with the versions named here; a peer whose environment
cannot be made is left out.
"""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil

from pipeline.base import places, processes
from pipeline.base.errors import BadInput

START_SECONDS = 180.0
INSTALL_SECONDS = 600.0
PROGRAMS = Path(__file__).parent / "peers"
REQUIREMENTS = {
    "bare_fastapi": ("fastapi==0.150.0", "uvicorn[standard]==0.54.0", "onnxruntime==1.31.1", "numpy==2.4.6"),
    "litserve": ("litserve==0.2.19", "onnxruntime==1.31.1"),
    "bentoml": ("bentoml==1.4.40", "onnxruntime==1.31.1"),
}


def npy(images: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, images)
    return file.getvalue()


class Server:
    """A running server: its process, its address, and how a request to it looks."""

    def __init__(self, name: str, command: list[str], ready: str, predict: str, body: str, folder: Path) -> None:
        """``command`` has PORT in it where that belongs; ``body`` says what images are sent in: npy, or the name that
        they have in JSON."""
        self.name, self.ready, self.predict, self.body = name, ready, predict, body
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        uri = f"sqlite:///{folder.resolve()}/mlflow.db"
        model = str(folder.resolve() / "models/model.onnx")
        environment = processes.environment(
            PYTHONPATH=str(folder.resolve()), MLFLOW_TRACKING_URI=uri, MODEL=model, BENTOML_DO_NOT_TRACK="true"
        )
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 — as long as the server
        begun = time.perf_counter()
        self.process = subprocess.Popen(
            [part.replace("PORT", str(self.port)) for part in command],
            cwd=folder,
            env=environment,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        self._wait()
        self.start_seconds = time.perf_counter() - begun

    def _wait(self) -> None:
        ends = time.monotonic() + START_SECONDS
        while time.monotonic() < ends and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{self.ready}", timeout=1):
                    return
            except OSError:
                time.sleep(0.02)
        self.log.seek(0)
        said = self.log.read()[-400:]
        self.stop()
        raise BadInput(f"{self.name} did not start: {said}")

    def request(self, images: np.ndarray) -> bytes:
        """A request for these, uint8 (N, 28, 28), in the form that the server takes at the least cost."""
        if self.body == "npy":
            return self.posted(npy(images), "application/x-npy")
        outer, _, inner = self.body.partition(".")
        content = {outer: {inner: images.tolist()} if inner else images.tolist()}
        return self.posted(json.dumps(content).encode(), "application/json")

    def posted(self, body: bytes, kind: str) -> bytes:
        lines = (
            f"POST {self.predict} HTTP/1.1",
            "Host: 127.0.0.1",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
        )
        return "\r\n".join([*lines, "", ""]).encode() + body

    def cpu_seconds(self) -> float:
        """Of all its processes so far, with those that have ended: what no client can spoil."""
        total = 0.0
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:4])
        return total

    def memory_mb(self, key: str = "VmRSS") -> float:
        """Of the process that answers, which the command may have started in its turn."""
        for process in self.processes():
            if any(open_.laddr.port == self.port for open_ in process.net_connections() if open_.status == "LISTEN"):
                status = Path(f"/proc/{process.pid}/status").read_text()
                return int(re.search(rf"{key}:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]
        raise BadInput(f"{self.name} has stopped")

    def memory_of_all_mb(self) -> float:
        """Of all its processes now, what they share counted once: ours has one that watches the registry and those that
        decode pictures."""
        return sum(process.memory_full_info().pss for process in self.processes()) / 2**20

    def processes(self) -> list[psutil.Process]:
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@contextmanager
def ours(folder: Path) -> Iterator[Server]:
    server = Server(
        "digits serve", [sys.executable, "-m", "cli", "serve", "--port", "PORT"], "/ready", "/predict", "npy", folder
    )
    try:
        yield server
    finally:
        server.stop()


def peers(folder: Path, name: str, wanted: list[str]) -> Iterator[Server]:
    """Start the others, those that can be; who is left out is told."""
    for peer, start in {"mlflow": _mlflow, **dict.fromkeys(REQUIREMENTS, _program)}.items():
        if wanted and peer not in wanted:
            continue
        try:
            yield start(peer, folder, name)
        except (BadInput, OSError, subprocess.SubprocessError) as error:
            print(f"{peer} is left out: {' '.join(str(error).split())[:300]}", file=sys.stderr)


def _mlflow(_: str, folder: Path, name: str) -> Server:
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{name}@champion"]
    command += ["--env-manager", "local", "--port", "PORT"]
    return Server("mlflow models serve", command, "/ping", "/invocations", "inputs.images", folder)


def _program(peer: str, folder: Path, _: str) -> Server:
    python, model = environment(peer), str(folder.resolve() / "models/model.onnx")
    if peer == "bare_fastapi":
        command = [str(python), str(PROGRAMS / "bare_fastapi.py"), model, "PORT"]
        return Server("FastAPI + ONNX Runtime", command, "/ready", "/predict", "npy", folder)
    if peer == "litserve":
        return Server(
            "LitServe", [str(python), str(PROGRAMS / "lit.py"), model, "PORT"], "/health", "/predict", "images", folder
        )
    command = [str(python), "-m", "bentoml", "serve", "bento:Digits", "--working-dir", str(PROGRAMS), "--port", "PORT"]
    return Server("BentoML", [*command, "--host", "127.0.0.1"], "/readyz", "/predict", "images", folder)


def environment(peer: str) -> Path:
    """The Python of a peer's environment, which is made if it is not there."""
    place = places.checkout() / ".cache/peers" / peer
    mark, wanted = place / "made-with.txt", "\n".join(REQUIREMENTS[peer])
    python = place / "bin/python"
    if not mark.is_file() or mark.read_text() != wanted:
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--quiet", "--clear", str(place)], check=True, timeout=INSTALL_SECONDS)
        install = [*uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
        subprocess.run([*install, *REQUIREMENTS[peer]], check=True, timeout=INSTALL_SECONDS)
        mark.write_text(wanted)
    return python
