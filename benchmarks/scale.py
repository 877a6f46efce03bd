"""What does an image cost, and how much memory does it take, as the data set grows to ten million?

    MNIST_DIR=… python -m benchmarks.scale                     one million and ten: an hour, and 60 GB of disk
    MNIST_DIR=… python -m benchmarks.scale --millions 0.5 2    other sizes
    … --stages ingest describe                                 and no others
    … --workers 1 2 4                                          describe and preprocess once more by so many processes
    … --stages --repro                                         `dvc repro` before training: whole, again, 1 % more
    … --keep FOLDER                                            leave the data set there, and take it if it is

The images are MNIST's own, turned, moved, zoomed and redrawn by a seed, a tenth of them test, but no more than 100,000.
Some of train stand there twice, and some are test images changed by a grey level here and there. Each stage runs as DVC
would run it, in a temporary clone of this checkout. Beside them: pandas on the whole of a table, which the counts of
validate are held against, and bare ONNX Runtime on the test split. Where others use the machine too, seconds of a
processor say more than those of the clock. `benchmarks.scale_plan` reads what --json prints.
"""

import argparse
import contextlib
import functools
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd

from benchmarks.own_images import Cost, cost, workspace
from benchmarks.table import show
from pipeline.base import files, places
from pipeline.base import params as params_file
from pipeline.base.errors import one_line
from pipeline.base.params import Augment
from pipeline.data import splits
from pipeline.data.datasets import catalogue, decoders
from pipeline.digits.augmentation import Augmentation

BANDS = Augment(shift=2.0, rotate=10.0, zoom=0.1, stroke=0.1)
PIECE = 50_000  # images made at once
MOST_OF_TEST = 100_000
TWICE, NEAR = 100, 100  # images in a million that are planted
MORE = 1_000_000  # the number of the piece that is appended: no other has it
STAGES = ("ingest", "describe", "validate", "preprocess", "drift", "train", "evaluate")
BY_SHARDS = {"describe": places.FEATURES, "preprocess": places.PROCESSED}  # and what each leaves
BARS = {"ingest": 200_000, "describe and validate": 50_000, "preprocess": 200_000, "drift": 100_000}  # images a second
MEMORY_MB, GROWTH = 2000, 1.2  # the bars


class Planted(NamedTuple):
    """What was put into train."""

    twice: int
    near: int


def in_test(count: int) -> int:
    """How many of so many images are test."""
    return min(count // 10, MOST_OF_TEST)


# --- The data set ---------------------------------------------------------------------------------------------------


def make(folder: Path, count: int) -> Planted:
    """IDX files of so many images."""
    of_test = in_test(count)
    planted = Planted(int(TWICE * count / 1e6), int(NEAR * count / 1e6))
    facts = folder / "planted.json"
    if facts.is_file():
        return Planted(**files.read_json(facts))
    folder.mkdir(parents=True, exist_ok=True)
    train, test, train_labels, test_labels = decoders.IDX_FILES[0], decoders.IDX_FILES[2], *decoders.IDX_FILES[1::2]
    _write(folder / test, folder / test_labels, "test", of_test)
    _write(folder / train, folder / train_labels, "train", count - of_test)
    _plant(folder / train, folder / train_labels, folder / test, folder / test_labels, planted)
    files.write_json(facts, planted._asdict())
    return planted


def _write(images: Path, labels: Path, split: str, count: int) -> None:
    starts = range(0, count, PIECE)
    sizes = [min(PIECE, count - start) for start in starts]
    one_thread = ProcessPoolExecutor(initializer=cv2.setNumThreads, initargs=(1,))  # the images are small
    with images.open("wb") as to_images, labels.open("wb") as to_labels, one_thread as pool:
        to_images.write(b"\0\0\x08\3" + np.array([count, 28, 28], ">u4").tobytes())
        to_labels.write(b"\0\0\x08\1" + np.array([count], ">u4").tobytes())
        for drawn, of in pool.map(_drawn, repeat(split), range(len(sizes)), sizes):
            to_images.write(drawn.tobytes())
            to_labels.write(of.tobytes())


def _drawn(split: str, number: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of MNIST's split, changed, and their labels."""
    source = getattr(_mnist(), split)
    rng = np.random.default_rng([len(split), number])
    chosen = rng.integers(0, len(source.labels), count)
    return Augmentation(BANDS, rng)(source.images[chosen], rng), source.labels[chosen]


@functools.cache
def _mnist() -> decoders.Loaded:
    return catalogue.load(params_file.load().model_copy(update={"dataset": "mnist"}))


def _plant(train: Path, train_labels: Path, test: Path, test_labels: Path, planted: Planted) -> None:
    """Put copies of images of train, and near copies of images of test, over the last images of train."""
    images, labels = _mapped(train, 3), _mapped(train_labels, 1)
    others, of_others = _mapped(test, 3), _mapped(test_labels, 1)
    rng = np.random.default_rng(5)
    last = len(labels) - planted.twice
    for place, at in enumerate(rng.choice(last - planted.near, planted.twice, replace=False)):
        images[last + place], labels[last + place] = images[at], labels[at]
    for place, at in enumerate(rng.choice(len(of_others), planted.near, replace=False)):
        noise = rng.integers(-2, 3, (28, 28))
        changed = np.where(others[at] > 0, np.clip(others[at].astype(int) + noise, 1, 255), 0)
        images[last - planted.near + place], labels[last - planted.near + place] = changed, of_others[at]


def _mapped(path: Path, ndim: int) -> np.memmap:
    header = np.fromfile(path, ">u4", 1 + ndim)
    return np.memmap(path, np.uint8, "r+", 4 + 4 * ndim, tuple(header[1:].tolist()))


# --- The stages -----------------------------------------------------------------------------------------------------


def settings(folder: Path, epochs: int) -> dict[str, Any]:
    """What params.yaml says for a run on the data set in ``folder``."""
    of_data = {"dataset": "idx", "ingest.local_dir": str(folder), "ingest.max_images": 100_000_000}
    of_recipe = {"epochs": epochs, "schedule": "constant", "learning_rate": 0.001}
    named = {f"recipes.fast.{name}": value for name, value in of_recipe.items()}
    return of_data | {"ingest.max_mb": 100_000.0, "train.recipe": "fast"} | named


def measure(folder: Path, count: int, asked: argparse.Namespace) -> dict[str, Cost]:
    """What each stage costs on the data set in ``folder``; it says what they found."""
    planted = make(folder, count)
    found: dict[str, Cost] = {}
    with workspace(**settings(folder, epochs=1)) as place:
        stages: list[str] = asked.stages
        for stage in stages:
            found[stage] = cost(place, f"pipeline.{stage}")
            print(f"{count:,} {stage}: {found[stage]}", file=sys.stderr, flush=True)
        if "preprocess" in stages:
            _say_found(place, planted)
        for number in asked.workers:
            for stage in BY_SHARDS:
                found[f"{stage}, workers: {number}"] = one = _by(place, stage, number)
                print(f"{count:,} {stage} by {number}: {one}", file=sys.stderr, flush=True)
        if "evaluate" in stages:
            found["bare ONNX Runtime"] = _bare(place)
        if asked.repro:
            found |= _repro(place, folder, count)
    return found


def _repro(place: Path, folder: Path, count: int) -> dict[str, Cost]:
    """`dvc repro` of all before training: whole, with nothing changed, and with 1 % more images in train."""
    command = ("dvc", "repro", "preprocess", "drift")
    found = {"repro": cost(place, *command), "repro, nothing changed": cost(place, *command)}
    with _appended(folder, count // 100):
        return found | {"repro, 1 % more": cost(place, *command)}


@contextlib.contextmanager
def _appended(folder: Path, more: int) -> Iterator[None]:
    """Train has so many images more in the block."""
    drawn = _drawn("train", MORE, more)
    kept = []
    for name, array in zip(decoders.IDX_FILES[:2], drawn, strict=True):
        path = folder / name
        with path.open("r+b") as file:
            header, size = file.read(8), path.stat().st_size
            kept.append((path, header, size))
            file.seek(4)
            file.write((int.from_bytes(header[4:]) + more).to_bytes(4))
            file.seek(size)
            file.write(array.tobytes())
    try:
        yield
    finally:
        for path, header, size in kept:
            with path.open("r+b") as file:
                file.write(header)
                file.truncate(size)


def _by(place: Path, stage: str, workers: int) -> Cost:
    """The stage from nothing, on a local cluster of so many processes, however many cores there are."""
    shutil.rmtree(place / BY_SHARDS[stage], ignore_errors=True)
    code = (
        "from pipeline.base import cluster\n"
        f"from pipeline import {stage}\n"
        "if __name__ == '__main__':\n"
        f"    cluster.FEW, cluster.cores = 0, lambda: {workers}\n"
        f"    {stage}.main()\n"
    )
    (place / "by_workers.py").write_text(code)
    return cost(place, "by_workers")


def _say_found(place: Path, planted: Planted) -> None:
    """How much of what was planted was found, beside what pandas counts."""
    counted = files.read_json(place / places.VALIDATION)["duplicates"]
    began = time.perf_counter()
    columns = ["hash", "label", "minimum", "maximum", "mean", "ink_share", "border_ink"]
    table = pd.read_parquet(place / places.FEATURES, columns=columns)
    whole = int(table["hash"].duplicated().sum())
    table.describe()
    seconds = time.perf_counter() - began
    there = sum(len(splits.load(place / places.PROCESSED / name).labels) for name in ("train", "val"))
    raw = len(splits.load(place / places.RAW / "train").labels)
    for line in (
        f"exact duplicates found in train: {counted['train']:,}, planted {planted.twice:,}",
        f"near copies of test dropped from train: {raw - there:,}, planted {planted.near:,}",
        f"pandas straight on all rows: {whole:,} duplicates in all, {seconds:.1f} s",
    ):
        print(line, file=sys.stderr)


def _bare(place: Path) -> Cost:
    """ONNX Runtime alone on the test split, in a process of its own."""
    code = (
        "import numpy as np, onnxruntime\n"
        "from pipeline.data import splits\n"
        f"images = splits.load({str(place / places.PROCESSED / 'test')!r}).images\n"
        f"model = onnxruntime.InferenceSession({str(place / places.ONNX)!r})\n"
        "for start in range(0, len(images), 1024): model.run(None, {'images': images[start:start + 1024]})"
    )
    (place / "bare.py").write_text(code)
    return cost(place, "bare")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 10])
    parser.add_argument("--stages", nargs="*", default=list(STAGES), choices=STAGES)
    parser.add_argument("--workers", type=int, nargs="+", default=[])
    parser.add_argument("--repro", action="store_true")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    spent: dict[int, dict[str, Cost]] = {}
    for millions in arguments.millions:
        count = round(1e6 * millions)
        with tempfile.TemporaryDirectory() as temporary:
            folder = (arguments.keep or Path(temporary)) / str(count)
            spent[count] = measure(folder.absolute(), count, arguments)
    if arguments.json:
        print(json.dumps({count: {stage: one._asdict() for stage, one in of.items()} for count, of in spent.items()}))
        return
    first = min(spent)
    rows = []
    for count, of in spent.items():
        pair = [of[stage] for stage in ("describe", "validate") if stage in of]
        joint = {"describe and validate": Cost(*map(sum, zip(*pair, strict=True)))} if len(pair) == 2 else {}
        for stage, one in (of | joint).items():
            images = in_test(count) if stage in ("evaluate", "bare ONNX Runtime") else count
            growth = one.worked / count / (spent[first][stage].worked / first) if stage in spent[first] else None
            bar = f"≥ {BARS[stage]:,}" if stage in BARS else ""
            memory = "" if stage in joint else f"{one.megabytes:,.0f}"
            told = f"{growth:.2f} ×" if growth and count != first else ""
            clock = (f"{one.seconds:.1f}", f"{one.worked:.1f}", f"{images / one.seconds:,.0f}")
            rows.append((f"{count:,}", stage, *clock, bar, memory, told))
    bars = (f"MB (bar {MEMORY_MB:,})", f"growth (bar {GROWTH} ×)")
    show(("images", "stage", "seconds", "of a processor", "images/s", "bar", *bars), *rows)


if __name__ == "__main__":
    with one_line():
        main()
