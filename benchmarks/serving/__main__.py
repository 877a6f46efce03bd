"""How fast is the service, beside MLflow's own server on the same model and machine, and beside bare ONNX Runtime?

    python -m benchmarks.serving                some minutes
    python -m benchmarks.serving --minutes 10   and the long run under load

In a workspace of its own, with the champion of the embedded data set. Prints start, latency and throughput of both
servers with their ratios, memory, and what the store of seen images costs in SQLite and in Parquet. The clients run on
the same cores as the servers. Load goes to 127.0.0.1 alone.
"""

import argparse
import asyncio
import io
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.pipeline import clone
from benchmarks.table import show
from pipeline.base import params as params_file
from pipeline.base import places, processes
from pipeline.base.errors import BadInput, one_line
from pipeline.data import splits
from pipeline.digits import features
from pipeline.learning import inference
from pipeline.monitoring import live
from pipeline.monitoring.live import Seen
from pipeline.registry import artifacts, versions

CLIENTS = 16
SINGLE_REQUESTS = 1000
SECONDS = 8.0  # of each throughput measurement
BATCH = 256
LOAD = 0.8  # of the peak rate, in the long run
PROMOTIONS = 4
START_SECONDS = 120.0


class Server:
    """A running server: its process, its address, and how a request to it looks."""

    def __init__(self, name: str, command: list[str], ready: str, predict: str, workspace: Path) -> None:
        self.name, self.ready, self.predict = name, ready, predict
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        uri = f"sqlite:///{workspace.resolve()}/mlflow.db"
        environment = processes.environment(PYTHONPATH=str(workspace.resolve()), MLFLOW_TRACKING_URI=uri)
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 — as long as the server
        begun = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command, "--port", str(self.port)],
            cwd=workspace,
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
        raise BadInput(f"{self.name} did not start: {self.log.read()[-400:]}")

    def request(self, body: bytes, kind: str = "application/json") -> bytes:
        lines = (
            f"POST {self.predict} HTTP/1.1",
            "Host: 127.0.0.1",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
        )
        return "\r\n".join([*lines, "", ""]).encode() + body

    def memory_mb(self, key: str = "VmRSS") -> float:
        """Of the process that answers, which the command may have started in its turn."""
        for process in self._processes():
            if any(open_.laddr.port == self.port for open_ in process.net_connections() if open_.status == "LISTEN"):
                status = Path(f"/proc/{process.pid}/status").read_text()
                return int(re.search(rf"{key}:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]
        raise BadInput(f"{self.name} has stopped")

    def memory_of_all_mb(self) -> float:
        """Of all its processes now, what they share counted once: ours has one that watches the registry and those that
        decode pictures, the peer one that waits."""
        return sum(process.memory_full_info().pss for process in self._processes()) / 2**20

    def _processes(self) -> list[psutil.Process]:
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@contextmanager
def ours(workspace: Path) -> Iterator[Server]:
    server = Server("digits serve", ["cli", "serve"], "/ready", "/predict", workspace)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def peer(workspace: Path, name: str) -> Iterator[Server]:
    command = ["mlflow", "models", "serve", "-m", f"models:/{name}@champion", "--env-manager", "local"]
    server = Server("mlflow models serve", command, "/ping", "/invocations", workspace)
    try:
        yield server
    finally:
        server.stop()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[int, bytes]:
    """One request on an open connection: the status and the answer's body."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    if length is None:
        raise BadInput("an answer came without its length")
    return int(head.split(b" ", 2)[1]), await reader.readexactly(int(length[1]))


async def single(server: Server, request: bytes, count: int) -> list[float]:
    """Seconds of each of ``count`` requests, one after the other."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**24)
    seconds = []
    for number in range(count + 20):
        begun = time.perf_counter()
        status, body = await ask(reader, writer, request)
        if status != 200:
            raise BadInput(f"{server.name} answered {status}: {body[:200]!r}")
        if number >= 20:  # the first ones warm it up
            seconds.append(time.perf_counter() - begun)
    writer.close()
    return seconds


async def many(server: Server, request: bytes, seconds: float, clients: int, rate: float = 0.0) -> dict[str, Any]:
    """Requests by several clients at once for some seconds, as fast as they can or at ``rate`` a second in all."""
    ends = time.perf_counter() + seconds
    counts = {"ok": 0, "errors": 0}
    times: list[float] = []

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**24)
        due = time.perf_counter() + number / max(rate, 1)
        while (now := time.perf_counter()) < ends:
            if rate:
                await asyncio.sleep(max(due - now, 0))
                due += clients / rate
            begun = time.perf_counter()
            status, _ = await ask(reader, writer, request)
            times.append(time.perf_counter() - begun)
            counts["ok" if status == 200 else "errors"] += 1
        writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    return {
        **counts,
        "per_second": counts["ok"] / (time.perf_counter() - begun),
        "p99": float(np.quantile(times, 0.99)),
    }


def npy(images: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, images)
    return file.getvalue()


def measure(server: Server, images: np.ndarray, key: str) -> dict[str, float]:
    """Latency and throughput; ``key`` wraps the images in JSON."""
    one = json.dumps({"images": images[0].tolist()} if key == "images" else {"inputs": {"images": images[:1].tolist()}})
    batch = (
        server.request(npy(images), "application/x-npy")
        if key == "images"
        else server.request(json.dumps({"inputs": {"images": images.tolist()}}).encode())
    )
    lone = asyncio.run(single(server, server.request(one.encode()), SINGLE_REQUESTS))
    crowd = asyncio.run(many(server, server.request(one.encode()), SECONDS, CLIENTS))
    batches = asyncio.run(many(server, batch, SECONDS, 2))
    if crowd["errors"] or batches["errors"]:
        raise BadInput(f"{server.name} refused requests: {crowd}, {batches}")
    return {
        "start_s": server.start_seconds,
        "p50_ms": 1e3 * statistics.median(lone),
        "p99_ms": 1e3 * float(np.quantile(lone, 0.99)),
        "single_images_s": crowd["per_second"],
        "batch_images_s": batches["per_second"] * BATCH,
        "memory_mb": server.memory_mb("VmHWM"),
        "all_mb": server.memory_of_all_mb(),
    }


def bare(path: Path, images: np.ndarray) -> float:
    """Images a second of ONNX Runtime itself on the same batches."""
    model = inference.open_model(path)
    inference.run(model, images)
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < SECONDS / 2:
        inference.run(model, images)
        count += 1
    return count * len(images) / (time.perf_counter() - begun)


def endure(
    server: Server, workspace: Path, name: str, images: np.ndarray, rate: float, minutes: float
) -> dict[str, Any]:
    """Minutes at a steady rate with promotions in between: errors, and memory at the start and at the end."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{workspace.resolve()}/mlflow.db"
    client = versions.connect()
    first = versions.champion(client, name)
    place = workspace / "second"
    shutil.copytree(artifacts.download(client, first), place, dirs_exist_ok=True)
    tags = {**first.tags, "weights_sha256": "of the long run"}
    second = client.create_model_version(name, str(place.resolve()), first.run_id, tags=tags)
    request = server.request(json.dumps({"images": images[0].tolist()}).encode())
    asyncio.run(many(server, request, 20.0, CLIENTS, rate))  # its queues and caches fill
    before, found = server.memory_mb(), {"ok": 0, "errors": 0, "p99": 0.0}
    for number in range(PROMOTIONS + 1):
        part = asyncio.run(many(server, request, 60 * minutes / (PROMOTIONS + 1), CLIENTS, rate))
        found = {
            "ok": found["ok"] + part["ok"],
            "errors": found["errors"] + part["errors"],
            "p99": max(found["p99"], part["p99"]),
        }
        if number < PROMOTIONS:
            client.set_registered_model_alias(name, versions.CHAMPION, (second if number % 2 == 0 else first).version)
    return {
        **found,
        "minutes": minutes,
        "rate": rate,
        "memory_before_mb": before,
        "memory_after_mb": server.memory_mb(),
    }


def stores(images: np.ndarray, writes: int = 100) -> list[list[str]]:
    """What it costs to keep rows in SQLite, and in a Parquet file a write: rows of text."""
    import pandas as pd

    described = features.measure(images)
    ids = [f"x-{number}" for number in range(len(images))]
    seen = Seen(ids, "2026-01-01T00:00:00+00:00", "m", "1", images, np.zeros(len(images), int), np.ones(len(images)))
    rows = [["store", "rows a second", "bytes a row", "ms to read the last 1,000"]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "live.db"
        begun = time.perf_counter()
        for _ in range(writes):
            with live.store(path) as connection:
                live.write(connection, [seen], described, keep_images=False)
        seconds = time.perf_counter() - begun
        begun = time.perf_counter()
        with live.store(path) as connection:
            live.window(connection, "m", "1", 0, 1000)
        read = time.perf_counter() - begun
        count = writes * len(images)
        rows.append(["SQLite", f"{count / seconds:,.0f}", f"{path.stat().st_size / count:.0f}", f"{1e3 * read:.1f}"])
        begun = time.perf_counter()
        for number in range(writes):
            frame = pd.DataFrame(described, columns=list(features.FEATURES)).assign(
                id=ids, at=seen.at, model="m", version="1"
            )
            frame.assign(answer=seen.answers, confidence=seen.confidences).to_parquet(
                Path(folder) / f"{number:06d}.parquet"
            )
        seconds = time.perf_counter() - begun
        files = sorted(Path(folder).glob("*.parquet"))
        begun = time.perf_counter()
        pd.concat([pd.read_parquet(file) for file in files[-(1000 // len(images) + 1) :]])
        read = time.perf_counter() - begun
        size = sum(file.stat().st_size for file in files) / count
        rows.append(["Parquet, a file a write", f"{count / seconds:,.0f}", f"{size:.0f}", f"{1e3 * read:.1f}"])
    return rows


def table(own: dict[str, float], other: dict[str, float], runtime: float) -> list[list[str]]:
    def row(what: str, key: str, unit: str, bar: str, higher: bool = False) -> list[str]:
        ratio = own[key] / other[key] if higher else other[key] / own[key]
        return [what, f"{own[key]:,.1f} {unit}", f"{other[key]:,.1f} {unit}", f"{ratio:.1f}×", bar]

    share = own["batch_images_s"] / runtime
    return [
        ["what", "digits serve", "mlflow models serve", "better by", "bar"],
        row("start to ready", "start_s", "s", "≤ 2.5 s"),
        row("one image, p50", "p50_ms", "ms", "≤ 3 ms, 5×"),
        row("one image, p99", "p99_ms", "ms", "≤ 10 ms"),
        row(f"{CLIENTS} clients, one image each", "single_images_s", "images/s", "5×", higher=True),
        row(f"batches of {BATCH}", "batch_images_s", "images/s", "5×", higher=True),
        [
            "  of bare ONNX Runtime",
            f"{share:.0%}",
            f"{other['batch_images_s'] / runtime:.0%}",
            f"of {runtime:,.0f}",
            "≥ 60 %",
        ],
        row("memory of the process that answers, at its highest", "memory_mb", "MB", "≤ 300 MB"),
        row("memory of all its processes", "all_mb", "MB", ""),
    ]


def prepared(folder: Path) -> Path:
    """A workspace with the embedded data set's champion."""
    clone(folder)
    environment = processes.environment(PYTHONPATH=str(folder))
    environment.pop("MLFLOW_TRACKING_URI", None)
    subprocess.run(
        [sys.executable, "-m", "cli", "run", "--dataset", "digits"],
        cwd=folder,
        env=environment,
        check=True,
        stdout=sys.stderr,
    )
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=0.0, help="of the long run under load (0: none)")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        workspace = prepared(Path(temporary))
        name = versions.model_name(params_file.load(workspace / "params.yaml").named)
        images = splits.load(workspace / places.PROCESSED / "test").images
        images = images[np.arange(BATCH) % len(images)]
        with ours(workspace):  # so that the champion is remembered, as on every start but the very first
            time.sleep(5)
        with ours(workspace) as server:
            own = measure(server, images, "images")
        with peer(workspace, name) as server:
            other = measure(server, images, "inputs")
        runtime = bare(workspace / "models/model.onnx", images)
        kept = stores(images)
        endured = None
        if arguments.minutes:
            with ours(workspace) as server:
                endured = endure(server, workspace, name, images, LOAD * own["single_images_s"], arguments.minutes)
    if arguments.json:
        print(
            json.dumps(
                {
                    "digits serve": own,
                    "mlflow models serve": other,
                    "onnxruntime_images_s": runtime,
                    "endured": endured,
                },
                indent=2,
            )
        )
        return
    show(*table(own, other, runtime))
    print()
    show(*kept)
    if endured:
        print(
            f"\n{endured['minutes']:g} minutes at {endured['rate']:,.0f} requests/s with {PROMOTIONS} promotions: "
            f"{endured['ok']:,} answers, {endured['errors']} errors, slowest p99 {1e3 * endured['p99']:.1f} ms, memory "
            f"{endured['memory_before_mb']:.0f} MB before, {endured['memory_after_mb']:.0f} MB after"
        )


if __name__ == "__main__":
    with one_line():
        main()
