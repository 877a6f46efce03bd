"""How fast is the service, beside other servers on the same model and machine, and beside bare ONNX Runtime?

    python -m benchmarks.serving                 a quarter of an hour, the first time with the peers' environments
    python -m benchmarks.serving --peer mlflow   beside that one alone
    python -m benchmarks.serving --minutes 10    and the long run under load

In a workspace of its own, with the champion of the embedded data set. All servers run at once, on all cores but the
last, and are asked in turns by clients on the last core; so is ONNX Runtime by itself. Each figure is the median of the
rounds, with the least and the most. A peer that gives no pictures a reading is sent images; each is sent what it takes
at the least cost. Load goes to 127.0.0.1 alone.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from benchmarks.pipeline import clone
from benchmarks.serving import load, servers
from benchmarks.serving.servers import Server
from benchmarks.table import show
from pipeline.base import params as params_file
from pipeline.base import places, processes
from pipeline.base.errors import BadInput, one_line
from pipeline.data import splits
from pipeline.digits import features
from pipeline.monitoring import live
from pipeline.monitoring.live import Seen
from pipeline.registry import artifacts, versions

ROUNDS = 5
CLIENTS = 16
REQUESTS = 300  # of one client, a round
SECONDS = 2.0  # of each other measurement, a round
BATCH = 256
STEADY, OVERLOAD = 0.7, 3.0  # times what 16 clients are answered, in the open loops
CONNECTIONS = 512  # of the open loops: more than a server has waiting that answers within half a second
IN_TIME = 0.5  # seconds, for requests of one image
LOAD = 0.8  # of the peak rate, in the long run
PROMOTIONS = 4


class Row(NamedTuple):
    """A figure of each server."""

    key: str
    what: str
    unit: str
    bar: str = ""


ROWS = (
    Row("cpu_us", "CPU time a request, one image", "µs", "≤ 250, 0.4 × mlflow's"),
    Row("busy_cpu_us", f"  with {CLIENTS} clients", "µs"),
    Row("picture_cpu_us", "CPU time a request, a PNG of 28×28", "µs", "≤ 600"),
    Row("p50_ms", "one client, p50", "ms", "≤ 0.6"),
    Row("p99_ms", "one client, p99", "ms", "≤ 1.5"),
    Row("rate", f"{CLIENTS} clients, one image each", "/s", "5 × mlflow's"),
    Row("batch_rate", f"batches of {BATCH}, images", "/s"),
    Row("batch_share", "  of bare ONNX Runtime", "%", "≥ 92"),
    Row("steady_p99_ms", f"open loop at {STEADY:.0%} of that rate, p99", "ms", "≤ 5"),
    Row("kept", f"open loop at {OVERLOAD:g} ×: answered within {IN_TIME:g} s, of that rate", "%", "≥ 90"),
    Row("refused_ms", "  refused, p99 of the time it took", "ms", "at once"),
    Row("late", "  answered later, or never", "%", "0"),
    Row("start_s", "start to ready", "s"),
    Row("memory_mb", "memory of the process that answers, at its highest", "MB"),
    Row("all_mb", "memory of all its processes", "MB"),
)


def asked(server: Server, images: np.ndarray, bare_rate: float) -> dict[str, float]:
    """A round's figures of a server."""
    port, one = server.port, server.request(images[:1])
    found: dict[str, float] = {}
    begun = server.cpu_seconds()
    lone = load.closed(port, one, 1, requests=REQUESTS)
    found |= {"cpu_us": 1e6 * (server.cpu_seconds() - begun) / (REQUESTS + load.WARMING)}
    found |= {"p50_ms": lone.ms(0.5), "p99_ms": lone.ms(0.99)}
    begun = server.cpu_seconds()
    crowd = load.closed(port, one, CLIENTS, seconds=SECONDS)
    found |= {"busy_cpu_us": 1e6 * (server.cpu_seconds() - begun) / (len(crowd.times) + load.WARMING)}
    found |= {"rate": crowd.rate}
    if server.name == "digits serve":
        picture = server.posted(cv2.imencode(".png", 255 - images[0])[1].tobytes(), "image/png")
        begun = server.cpu_seconds()
        load.closed(port, picture, 1, requests=REQUESTS)
        found |= {"picture_cpu_us": 1e6 * (server.cpu_seconds() - begun) / (REQUESTS + load.WARMING)}
    batches = load.closed(port, server.request(images), 2, seconds=SECONDS)
    found |= {"batch_rate": batches.rate * BATCH, "batch_share": 100 * batches.rate * BATCH / bare_rate}
    steady = load.opened(port, one, STEADY * crowd.rate, SECONDS, CONNECTIONS)
    found |= {"steady_p99_ms": steady.ms(0.99)}
    flood = load.opened(port, one, OVERLOAD * crowd.rate, SECONDS, CONNECTIONS)
    in_time, asked_for = flood.within(IN_TIME), len(flood.times) + len(flood.refusals) + flood.errors
    found |= {"kept": 100 * in_time / SECONDS / crowd.rate}
    found |= {"late": 100 * (len(flood.times) - in_time + flood.errors) / asked_for}
    if len(flood.refusals):
        found |= {"refused_ms": 1e3 * float(np.quantile(flood.refusals, 0.99))}
    if lone.errors or crowd.errors or batches.errors:
        raise BadInput(f"{server.name} did not answer {lone.errors + crowd.errors + batches.errors} requests")
    return found


def bare(path: Path, images: np.ndarray, cores: set[int]) -> dict[str, float]:
    """Images a second of ONNX Runtime itself on the same batches, and what one image costs it."""
    command = [sys.executable, "-m", "benchmarks.serving.bare", str(path), str(len(cores)), str(SECONDS)]
    with pinned(cores):
        done = subprocess.run(command, input=servers.npy(images), capture_output=True)
    if done.returncode:
        raise BadInput(f"ONNX Runtime by itself failed: {done.stderr.decode()[-400:]}")
    return dict(json.loads(done.stdout))


class pinned:  # noqa: N801 — a context manager
    """This process and what it starts, on those cores."""

    def __init__(self, cores: set[int]) -> None:
        self.cores = cores

    def __enter__(self) -> None:
        self.before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self.cores)

    def __exit__(self, *_: object) -> None:
        os.sched_setaffinity(0, self.before)


def compare(workspace: Path, name: str, images: np.ndarray, wanted: list[str], rounds: int) -> dict[str, Any]:
    """By server: the figures of each round."""
    *first, last = sorted(os.sched_getaffinity(0))
    cores = set(first or [last])
    found: dict[str, Any] = {"ONNX Runtime": []}
    with ExitStack() as stack:
        with pinned(cores):
            running = [stack.enter_context(servers.ours(workspace))]
            for server in servers.peers(workspace, name, wanted):
                stack.callback(server.stop)
                running.append(server)
        for _ in range(rounds):
            found["ONNX Runtime"].append(bare(workspace / "models/model.onnx", images, cores))
            for server in running:
                with pinned({last}):
                    of_round = asked(server, images, found["ONNX Runtime"][-1]["batch_rate"])
                found.setdefault(server.name, []).append(of_round)
        for server in running:
            for of_round in found[server.name]:
                of_round |= {"start_s": server.start_seconds, "all_mb": server.memory_of_all_mb()}
                of_round |= {"memory_mb": server.memory_mb("VmHWM")}
    return found


def median(rounds: list[dict[str, float]], key: str) -> float:
    return statistics.median(of_round[key] for of_round in rounds)


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
    request = server.request(images[:1])
    load.closed(server.port, request, CLIENTS, seconds=20.0, rate=rate)  # its queues and caches fill
    before, found = server.memory_mb(), {"ok": 0, "errors": 0, "p99": 0.0}
    for number in range(PROMOTIONS + 1):
        part = load.closed(server.port, request, CLIENTS, seconds=60 * minutes / (PROMOTIONS + 1), rate=rate)
        found = {
            "ok": found["ok"] + len(part.times),
            "errors": found["errors"] + part.errors + len(part.refusals),
            "p99": max(found["p99"], part.ms(0.99) / 1e3),
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


def table(found: dict[str, Any]) -> list[list[str]]:
    """A row a figure, a column a server: the median of its rounds, (the least to the most)."""

    def cell(rounds: list[dict[str, float]], key: str) -> str:
        values = [of_round[key] for of_round in rounds if key in of_round]
        if not values:
            return "–"
        least, most = min(values), max(values)
        spread = f" ({least:,.4g} to {most:,.4g})" if most > least else ""
        return f"{statistics.median(values):,.4g}{spread}"

    rows = [["what", *found, "bar"]]
    for row in ROWS:
        cells = [cell(rounds, row.key) for rounds in found.values()]
        rows.append([f"{row.what}, {row.unit}", *cells, row.bar])
    return rows


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
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--peer", action="append", default=[], help=f"mlflow, {', '.join(servers.REQUIREMENTS)} (all)")
    parser.add_argument("--workspace", type=Path, help="a workspace with a champion (else one is made)")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        workspace = arguments.workspace or prepared(Path(temporary))
        name = versions.model_name(params_file.load(workspace / "params.yaml").named)
        images = splits.load(workspace / places.PROCESSED / "test").images
        images = images[np.arange(BATCH) % len(images)]
        with servers.ours(workspace):  # so that the champion is remembered, as on every start but the very first
            time.sleep(5)
        found = compare(workspace, name, images, arguments.peer, arguments.rounds)
        kept = stores(images)
        endured = None
        if arguments.minutes:
            rate = LOAD * median(found["digits serve"], "rate")
            with servers.ours(workspace) as server:
                endured = endure(server, workspace, name, images, rate, arguments.minutes)
    if arguments.json:
        print(json.dumps({**found, "endured": endured}, indent=2))
        return
    show(*table(found))
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
