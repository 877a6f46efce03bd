"""Does a run that is killed again and again end with what an undisturbed one ends with?

    MNIST_DIR=… python -m benchmarks.scale_kills                     ten kills over 300,000 images
    MNIST_DIR=… python -m benchmarks.scale_kills --kills 50 --millions 2

In turns ingest, describe, validate, preprocess and train are made anew, and at a random moment a process chosen at
random of all that take part is killed: the starter, DVC, the stage, a Dask worker. The whole is then run to its end,
and the digests of all that the stages leave are held against those of the undisturbed run.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil

from benchmarks import scale
from benchmarks.own_images import workspace
from pipeline.base import files, places, processes
from pipeline.base.errors import one_line
from pipeline.data import splits

STAGES = ("ingest", "describe", "validate", "preprocess", "train")
SEED = 15
REPRO = "import sys; from pipeline import run; run.repro(*sys.argv[1:])"


def start(place: Path, *options: str) -> "subprocess.Popen[str]":
    """`dvc repro` as `digits run` starts it."""
    environment = processes.environment(PYTHONPATH=str(place))
    command = [sys.executable, "-c", REPRO, *options]
    return subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def whole(place: Path, *options: str) -> None:
    """The same to its end, which must be a good one."""
    process = start(place, *options)
    said, _ = process.communicate()
    if process.returncode:
        sys.exit(f"dvc repro {' '.join(options)} ended with {process.returncode}\n{said}")


def digests(place: Path) -> dict[str, str]:
    """Of all that the stages leave, but for model.keras, which has a date in it."""
    found: dict[str, str] = {}
    for folder, names in ((places.RAW, ("train", "test")), (places.PROCESSED, ("train", "val", "test"))):
        for name in names:
            splits.check(place / folder / name)
            found |= {f"{folder}/{name} {key}": value for key, value in splits.digests(place / folder / name).items()}
    for path in (*sorted((place / places.FEATURES).iterdir()), *(place / one for one in LEFT)):
        found[str(path.relative_to(place))] = files.sha256_file(path)
    return found


LEFT = (places.VALIDATION, places.ONNX, places.WEIGHTS_DIGEST, places.HISTORY, places.TRAINING)


def kill_one(process: "subprocess.Popen[str]", rng: np.random.Generator) -> str:
    """Kill one of the process and its descendants, and wait for the end of what it takes along; which one it was."""
    try:
        of = [starter := psutil.Process(process.pid), *starter.children(recursive=True)]
        victim = of[rng.integers(len(of))]
        what = _what(victim.cmdline())
        victim.kill()
    except psutil.NoSuchProcess:
        return "nothing: it had ended"
    process.communicate()
    _, left = psutil.wait_procs(of, timeout=300)
    if left:
        sys.exit(f"{what} was killed, and these run on: {left}")
    return what


def _what(command: list[str]) -> str:
    line = " ".join(command)
    kinds = {"multiprocessing": "Dask worker", "processes.py": "supervisor", "dvc_repro.py": "DVC", REPRO: "starter"}
    return next((kind for mark, kind in kinds.items() if mark in line), "stage")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--millions", type=float, default=0.3)
    arguments = parser.parse_args()
    rng, count = np.random.default_rng(SEED), round(1e6 * arguments.millions)
    with tempfile.TemporaryDirectory() as data, workspace(**scale.settings(Path(data), 1)) as place:
        scale.make(Path(data), count)
        seconds = {}
        for stage in STAGES:
            began = time.perf_counter()
            whole(place, "--single-item", stage)
            seconds[stage] = time.perf_counter() - began
            print(f"{stage}: {seconds[stage]:.0f} s", file=sys.stderr, flush=True)
        undisturbed, killed = digests(place), Counter[str]()
        for number in range(arguments.kills):
            stage = STAGES[number % len(STAGES)]
            process = start(place, "--single-item", "--force", "--no-run-cache", stage)
            time.sleep(rng.uniform(0, seconds[stage]))  # the moment is what is random here
            what = kill_one(process, rng)
            whole(place, "train")
            differing = {name for name, digest in digests(place).items() if undisturbed.get(name) != digest}
            if differing or len(digests(place)) != len(undisturbed):
                sys.exit(f"kill {number + 1}, of {what} in {stage}: {differing} differ")
            killed[f"{stage}, {what}"] += 1
            print(f"kill {number + 1}: {stage}, {what}: the same", file=sys.stderr, flush=True)
    print(f"{arguments.kills} kills over {count:,} images: every digest is that of the undisturbed run")
    for name, times in sorted(killed.items()):
        print(f"{times:>3} {name}")


if __name__ == "__main__":
    with one_line():
        main()
