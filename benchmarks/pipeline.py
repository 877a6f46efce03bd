"""Where does the time of a run go, stage by stage, and what does it cost to run it again?

    python -m benchmarks.pipeline --dataset digits
    MNIST_DIR=... python -m benchmarks.pipeline --dataset mnist

Works in a temporary clone of this checkout. Prints seconds and peak memory a stage, what the pipeline adds to
``model.fit``, `dvc repro` with nothing changed, and `digits predict` as a whole process, beside the bars for two cores.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import yaml

from benchmarks.table import show
from pipeline.base import places, processes

ROOT = Path(__file__).resolve().parents[1]
DVC = [sys.executable, "-m", "dvc"]
PREDICTIONS = 5


def clone(folder: Path) -> None:
    """The checkout as git sees it, changes included, in a repository of its own."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    for name in filter(lambda name: (ROOT / name).is_file(), listed.stdout.splitlines()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)


def timed(folder: Path, *command: str) -> tuple[float, float]:
    """Seconds and peak memory in MB (of the command or its largest child) of a command that must succeed."""
    report = "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); " + (
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(code)"
    )
    environment = processes.environment(PYTHONPATH=str(folder))
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", report, *command], cwd=folder, env=environment, capture_output=True, text=True
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return seconds, int(done.stderr.split()[-1]) / 1024


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
    rows = {stage: timed(folder, sys.executable, "-m", f"pipeline.{stage}") for stage in stages}
    show(["stage", "seconds", "peak MB"], *([s, f"{t:.1f}", f"{mb:,.0f}"] for s, (t, mb) in rows.items()))

    for left in ("data/raw", "data/processed", "models", "reports", "mlflow.db", "mlartifacts"):
        subprocess.run(["rm", "-rf", left], cwd=folder, check=True)
    whole, _ = timed(folder, *DVC, "repro")
    fit = json.loads((folder / places.TIMING).read_text())["train_seconds"]
    again, _ = timed(folder, *DVC, "repro")
    promote, _ = timed(folder, sys.executable, "-m", "cli", "promote")
    picture = drawn(folder / "seven.png")
    predict = [timed(folder, sys.executable, "-m", "cli", "predict", str(picture))[0] for _ in range(PREDICTIONS)]
    accuracy = json.loads((folder / "reports/metrics.json").read_text())["accuracy"]
    heaviest = max((mb, stage) for stage, (_, mb) in rows.items() if stage != "train")
    print()
    show(
        ["what", "measured", "bar"],
        ["test accuracy", f"{accuracy:.2%}", "99.00%" if dataset == "digits" else "99.40%"],
        ["dvc repro from nothing", f"{whole:.1f} s", ""],
        ["  of which model.fit", f"{fit:.1f} s", ""],
        ["  the pipeline's own part", f"{whole - fit:.1f} s", "45 s"],
        ["digits promote", f"{promote:.1f} s", ""],
        ["dvc repro, nothing changed", f"{again:.1f} s", "3 s"],
        ["digits predict, first", f"{predict[0]:.2f} s", ""],
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
    main()
