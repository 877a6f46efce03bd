"""What does Prefect add to a bare `dvc repro`, and what does a scheduled retraining cost that finds nothing to do?

    python -m benchmarks.orchestration

Both run the embedded data set from nothing, in clones of their own: `dvc repro` and then `digits promote` as two
commands, and the retrain deployment on a server and worker that are running (their start is not counted; the time from
a run's creation to its end is). Then a batch is handed in while the service answers: from its acceptance until another
champion does. Prints seconds and the difference, beside the bars for two cores.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

import httpx
import numpy as np

from benchmarks.pipeline import DVC, clone, timed
from benchmarks.table import show
from flows.schedule import Box
from pipeline.base import files, places, processes
from pipeline.base.errors import BadInput, one_line

REFUSED_SECONDS = 600.0  # after which the batch's model was refused


def committed(folder: Path) -> Path:
    """A clone of this checkout in ``folder``, with a commit for the retraining's worktree to stand on."""
    folder.mkdir()
    clone(folder)
    author = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost"]
    for command in (["add", "-A"], [*author, "commit", "-qm", "a clone"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server_of(box: Box) -> httpx.Client:
    """The API of the box's server, with its password and a token against forged requests."""
    name, password = box.environment["PREFECT_API_AUTH_STRING"].split(":")
    server = httpx.Client(base_url=box.environment["PREFECT_API_URL"], auth=(name, password), timeout=30)
    token = server.get("/csrf-token", params={"client": "benchmark"}).raise_for_status().json()["token"]
    server.headers.update({"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "benchmark"})
    return server


def run(server: httpx.Client) -> tuple[float, str]:
    """Start the retrain deployment; seconds from its creation to its end, and what it ended as."""
    deployment = server.get("/deployments/name/retrain/retrain").json()["id"]
    began = time.perf_counter()
    while (answer := server.post(f"/deployments/{deployment}/create_flow_run", json={})).status_code == 503:
        time.sleep(0.2)  # the server's SQLite is busy
    made = answer.raise_for_status().json()
    while True:
        state = server.get(f"/flow_runs/{made['id']}").json()["state"]
        if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            return time.perf_counter() - began, f"{state['name']}: {state['message']}"
        time.sleep(0.1)


def answered(box: Box) -> tuple[float, float]:
    """Hand in a batch; seconds from its acceptance until the service answers with another version, and those of its
    `model.fit`."""
    top, port = box.top, free_port()
    place = top / places.RETRAIN
    images, labels = (np.load(place / places.RAW / f"test/{name}.npy") for name in ("images", "labels"))
    np.savez(top / "new.npz", images=np.roll(images[:200], 1, axis=2), labels=labels[:200])
    prefects = {name: value for name, value in box.environment.items() if name.startswith("PREFECT_API_")}
    environment = processes.environment(PYTHONPATH=str(top), **prefects)  # whom add-batch tells
    with subprocess.Popen(
        [sys.executable, "-m", "cli", "serve", "--port", str(port)],
        cwd=top,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as service:
        try:
            before = _version(port)
            done = [sys.executable, "-m", "cli", "add-batch", "new.npz"]
            subprocess.run(done, cwd=top, env=environment, check=True, stdout=sys.stderr)
            began = time.perf_counter()
            while _version(port) == before:
                if (seconds := time.perf_counter() - began) > REFUSED_SECONDS:
                    raise BadInput(f"no other champion answered for {seconds:.0f} s: see the gate's word on it")
                time.sleep(0.1)
            seconds = time.perf_counter() - began
        finally:
            service.terminate()
    return seconds, float(files.read_json(place / places.TIMING)["train_seconds"])


def _version(port: int) -> str:
    """Which version answers, once one does."""
    while True:
        with suppress(httpx.HTTPError):
            told = httpx.get(f"http://127.0.0.1:{port}/ready")
            if told.is_success:
                return str(told.json()["version"])
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bare = committed(Path(folder) / "bare")
        repro = timed(bare, *DVC, "repro").seconds + timed(bare, sys.executable, "-m", "cli", "promote").seconds
        nothing = timed(bare, *DVC, "repro").seconds
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        os.environ["PREFECT_WORKER_QUERY_SECONDS"] = "1"  # Prefect's own 10 would be what is measured
        box = Box(committed(Path(folder) / "box"), free_port())
        try:
            box.start()
            with closing(server_of(box)) as server:
                first, first_end = run(server)
                again, _ = run(server)
                later, later_end = run(server)
            whole, fit = answered(box)
        finally:
            box.stopping.set()
            box.stop()
    if arguments.json:
        facts = {"bare": repro, "flow": first, "added": first - repro, "bare_unchanged": nothing}
        facts |= {"first_unchanged": again, "unchanged": later, "answered": whole, "fit": fit}
        print(json.dumps({**facts, "ended": [first_end, later_end]}, indent=2))
        return
    show(
        ["what", "seconds", "bar"],
        ["dvc repro, digits promote", f"{repro:.1f}", ""],
        [f"retrain ({first_end})", f"{first:.1f}", ""],
        ["  what Prefect and the workspace add", f"{first - repro:+.1f}", "4"],
        ["dvc repro, nothing changed", f"{nothing:.1f}", ""],
        [f"retrain ({later_end}), first", f"{again:.1f}", ""],
        ["  and from then on", f"{later:.1f}", "4"],
        [
            f"a batch accepted to the next champion's answer, {fit:.1f} of it model.fit",
            f"{whole:.1f}",
            f"{1.2 * fit + 15:.1f}",
        ],
    )


if __name__ == "__main__":
    with one_line():
        main()
