"""Where does the time of a run go, stage by stage, and what does it cost to run it again?

    python -m benchmarks.pipeline --dataset digits
    MNIST_DIR=... python -m benchmarks.pipeline --dataset mnist

Works in a temporary clone of this checkout. Prints what each stage takes as a process of its own (seconds, processor
time, what of the seconds are imports, and of which packages most; peak memory), what the pipeline adds to
``model.fit``, `digits run` with nothing changed, and `digits predict` as a whole process, beside the bars for two
cores.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import yaml

from benchmarks.table import show
from pipeline.base import places, processes
from pipeline.base.errors import one_line

ROOT = Path(__file__).resolve().parents[1]
DVC = [sys.executable, "-m", "dvc"]
PREDICTIONS = 5
# What a run leaves behind.
MADE: tuple[str, ...] = ("data/raw", "data/features", "data/processed", "models", "reports", "mlflow.db", "mlartifacts")
MADE += (".cache", "dvc.lock", ".dvc/cache")
IMPORTED = re.compile(r"import time: +(\d+) \| +\d+ \| +(\S+)")  # as `python -X importtime` says it, in microseconds


def clone(folder: Path) -> None:
    """The checkout as git sees it, changes included, in a repository of its own."""
    command = ["git", "ls-files", "-coz", "--exclude-standard"]  # z: names as they are, without quotes
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(lambda name: (ROOT / name).is_file(), listed.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)


class Took(NamedTuple):
    """What a command took."""

    seconds: float
    cpu: float
    """processor seconds of it and its children"""
    peak_mb: float
    """of it or its largest child"""
    imports: Mapping[str, float]
    """seconds by package, where `python -X importtime` told them"""


def timed(folder: Path, *command: str) -> Took:
    """Run a command that must succeed."""
    report = "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); " + (
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr); sys.exit(code)"
    )
    environment = processes.environment(PYTHONPATH=str(folder))
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", report, *command], cwd=folder, env=environment, capture_output=True, text=True
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    cpu, peak = done.stderr.split()[-2:]
    imports: defaultdict[str, float] = defaultdict(float)
    for microseconds, module in IMPORTED.findall(done.stderr):
        imports[module.partition(".")[0]] += int(microseconds) / 1e6
    return Took(seconds, float(cpu), int(peak) / 1024, imports)


def row(stage: str, took: Took) -> list[str]:
    most = sorted(took.imports.items(), key=lambda item: -item[1])[:3]
    named = ", ".join(f"{package} {seconds:.1f}" for package, seconds in most)
    figures = [took.seconds, took.cpu, sum(took.imports.values())]
    return [stage, *(f"{figure:.1f}" for figure in figures), named, f"{took.peak_mb:,.0f}"]


def drawn(path: Path) -> Path:
    """A picture of a seven on paper."""
    page = np.full((400, 300, 3), 240, np.uint8)
    cv2.polylines(page, [np.array([(70, 80), (220, 80), (130, 320)])], False, (90, 40, 20), 18, cv2.LINE_AA)
    cv2.imwrite(str(path), page)
    return path


def measure(folder: Path, dataset: str) -> None:
    text = (folder / "params.yaml").read_text().split("\n")
    at = next(i for i, line in enumerate(text) if line.startswith("dataset:"))
    (folder / "params.yaml").write_text("\n".join([*text[:at], f"dataset: {dataset}", *text[at + 1 :]]))
    stages = list(yaml.safe_load((folder / "dvc.yaml").read_text())["stages"])
    rows = {stage: timed(folder, sys.executable, "-X", "importtime", "-m", f"pipeline.{stage}") for stage in stages}
    show(["stage", "seconds", "CPU", "imports", "most of them", "peak MB"], *(row(*one) for one in rows.items()))

    for left in MADE:
        subprocess.run(["rm", "-rf", left], cwd=folder, check=True)
    bare = timed(folder, *DVC, "repro")
    bare_fit = json.loads((folder / places.TIMING).read_text())["train_seconds"]
    again = timed(folder, *DVC, "repro")
    promote = timed(folder, sys.executable, "-m", "cli", "promote")
    for left in MADE:
        subprocess.run(["rm", "-rf", left], cwd=folder, check=True)
    whole = timed(folder, sys.executable, "-m", "cli", "run")
    fit = json.loads((folder / places.TIMING).read_text())["train_seconds"]
    nothing = [timed(folder, sys.executable, "-m", "cli", "run").seconds for _ in range(2)]
    picture = drawn(folder / "seven.png")
    predict = [timed(folder, sys.executable, "-m", "cli", "predict", str(picture)).seconds for _ in range(PREDICTIONS)]
    accuracy = json.loads((folder / "reports/metrics.json").read_text())["accuracy"]
    heaviest = max((took.peak_mb, stage) for stage, took in rows.items() if stage != "train")
    print()
    show(
        ["what", "measured", "bar"],
        ["test accuracy", f"{accuracy:.2%}", "99.00%" if dataset == "digits" else "99.40%"],
        ["dvc repro from nothing, a process a stage", f"{bare.seconds:.1f} s", ""],
        ["  beyond model.fit", f"{bare.seconds - bare_fit:.1f} s", ""],
        ["digits promote", f"{promote.seconds:.1f} s", ""],
        ["digits run from nothing, with the gate", f"{whole.seconds:.1f} s", ""],
        ["  beyond model.fit", f"{whole.seconds - fit:.1f} s", "10 s"],
        ["  CPU of it all, that of dvc repro", f"{whole.cpu:.1f} s, {bare.cpu:.1f} s", ""],
        ["digits run, nothing changed, first", f"{nothing[0]:.1f} s", ""],
        ["  and from then on", f"{nothing[1]:.1f} s", "4 s"],
        ["dvc repro, nothing changed", f"{again.seconds:.1f} s", "3 s"],
        ["digits predict, first", f"{predict[0]:.2f} s", "0.8 s"],
        [f"digits predict, median of {PREDICTIONS}", f"{statistics.median(predict):.2f} s", "2 s"],
        [f"peak memory but train's ({heaviest[1]})", f"{heaviest[0]:,.0f} MB", "1,024 MB"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--dataset", choices=["digits", "mnist"], default="digits")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start\n")
    with tempfile.TemporaryDirectory() as folder:
        clone(Path(folder))
        measure(Path(folder), arguments.dataset)


if __name__ == "__main__":
    with one_line():
        main()
