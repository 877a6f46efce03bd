"""How fast are pictures of one's own read, and how well are letters in colour learnt, each as a whole run?

    python -m benchmarks.own_images                       all of it: ten minutes or so
    python -m benchmarks.own_images --only ingest         `python -m pipeline.ingest` of a folder of JPEGs
    python -m benchmarks.own_images --only letters        `digits run --recipe colour` on two sets of letters
    python -m benchmarks.own_images --idx FOLDER          IDX files in grey, as Fashion-MNIST's or EMNIST's, by the
                                                          recipe `default`, beside Keras' own MNIST example

Everything runs in temporary clones of this checkout. The pictures are drawn here: letters over grain and patches, 300
pixels a side, which become 64×64 in colour. The letters are those of `dataset: letters`, 26 at 32×32, and an npz file
of 62 letters, digits and signs at 64×64 that are told apart by their shape alone: an o is an O of another size, a / a
slanted I, and sizes and slants are drawn at random.
The bars are for two quiet cores: where others work too, seconds of a processor say more than those of the clock.
"""

import argparse
import json
import os
import resource
import string
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from ruamel.yaml import YAML

from benchmarks.pipeline import clone, timed
from benchmarks.recipes import keras_example
from benchmarks.table import show
from pipeline.base import files, places
from pipeline.base import params as params_file
from pipeline.base.errors import one_line
from pipeline.base.form import Form
from pipeline.data.datasets import catalogue, letters

SIDE, DRAWN_SIDE = 300, 75  # pixels: of a picture, and of the letter that is enlarged on it
DRAWN = 20  # letters of each class that the pictures are made of
TEXTURES = 8
IMAGE = 64  # pixels, what a picture becomes
CLASSES = (*string.ascii_uppercase, *"abdefghijmnqrt", *"23456789", *'#$%&*+=?@!~^:"')  # no two of one shape
EACH = 250  # images of a class
PLAIN: dict[str, Any] = {"images.kind": "plain", "images.height": IMAGE, "images.width": IMAGE, "images.channels": 3}
PICTURES_A_SECOND, INGEST_MB, ACCURACY, RUN_SECONDS = 800, 1024, 0.98, 240  # the bars


class Row(NamedTuple):
    what: str
    number: float
    measured: str
    bar: str = ""


# --- Workspaces -----------------------------------------------------------------------------------------------------


@contextmanager
def workspace(**settings: Any) -> Iterator[Path]:
    """A clone of the checkout, with the settings in its params.yaml: their keys have dots."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clone(folder)
        yaml = YAML()
        document = yaml.load(folder / places.PARAMS)
        for key, value in settings.items():
            *sections, last = key.split(".")
            section = document
            for one in sections:
                section = section[one]
            section[last] = value
        yaml.dump(document, folder / places.PARAMS)
        yield folder


class Cost(NamedTuple):
    seconds: float
    worked: float
    """seconds of a processor"""
    megabytes: float
    """at the highest, of the largest process"""


def cost(folder: Path, *command: str) -> Cost:
    """Of a command of this project in a workspace."""
    before = _processor_seconds()
    took = timed(folder, sys.executable, "-m", *command)
    return Cost(took.seconds, _processor_seconds() - before, took.peak_mb)


def _processor_seconds() -> float:
    """Of the processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(folder: Path, dataset: str, recipe: str) -> tuple[Cost, float]:
    """What a whole `digits run` costs, and the test accuracy."""
    spent = cost(folder, "cli", "run", "--dataset", dataset, "--recipe", recipe)
    return spent, files.read_json(folder / places.METRICS)["accuracy"]


# --- Pictures -------------------------------------------------------------------------------------------------------


def textures() -> np.ndarray:
    """Grain of several sizes, as the ground of a photo has it: float32 (TEXTURES, SIDE, SIDE, 3), about 0."""
    made = []
    for seed in range(TEXTURES):
        rng = np.random.default_rng([1, seed])
        octaves = [rng.normal(0, 25, (side, side, 3)).astype(np.float32) for side in (5, 15, 40, 100)]
        made.append(sum(cv2.resize(octave, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for octave in octaves))
    return np.stack(made)


def write_pictures(folder: Path, count: int) -> None:
    """A folder a letter of JPEGs, no two alike."""
    form = Form("plain", (DRAWN_SIDE, DRAWN_SIDE, 3), letters.CLASSES)
    drawn, labels = letters.draw(DRAWN, form)
    for name in letters.CLASSES:
        (folder / name).mkdir(parents=True)
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores) as pool:
        parts = [np.arange(start, count, cores) for start in range(cores)]
        list(pool.map(_write, repeat(folder), repeat(drawn), repeat(labels), parts))


def _write(folder: Path, drawn: np.ndarray, labels: np.ndarray, numbers: np.ndarray) -> None:
    grounds = textures()
    for number in numbers:
        rng = np.random.default_rng([2, number])
        which = number % len(labels)
        letter = cv2.resize(drawn[which], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        ground = np.roll(grounds[rng.integers(TEXTURES)], rng.integers(SIDE, size=2), axis=(0, 1))
        picture = (letter + ground).clip(0, 255).astype(np.uint8)
        name = letters.CLASSES[labels[which]]
        cv2.imwrite(str(folder / name / f"{number:06}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 90])


# --- What is measured -----------------------------------------------------------------------------------------------


def of_ingest(count: int) -> list[Row]:
    with workspace(dataset="folder", **PLAIN) as folder:
        write_pictures(folder / "data/incoming", count)
        seconds, worked, megabytes = cost(folder, "pipeline.ingest")
    return [
        Row("ingest: seconds", seconds, f"{seconds:.1f} s for {count:,} JPEGs of {SIDE} pixels"),
        Row("ingest: pictures a second", count / seconds, f"{count / seconds:,.0f}", f"at least {PICTURES_A_SECOND}"),
        Row("ingest: seconds of a processor", worked, f"{worked:.1f} s"),
        Row("ingest: peak memory", megabytes, f"{megabytes:,.0f} MB", f"at most {INGEST_MB:,} MB"),
    ]


def of_letters() -> Iterator[Row]:
    with workspace() as folder:
        yield from _of_run("26 letters, 32×32", *run(folder, "letters", "colour"), f"at most {RUN_SECONDS} s")
    with workspace(**PLAIN, **{"ingest.name": "letters62"}) as folder:
        images, labels = letters.draw(EACH, Form("plain", (IMAGE, IMAGE, 3), CLASSES))
        np.savez(folder / "data/incoming/letters.npz", images=images, labels=np.array(CLASSES)[labels])
        yield from _of_run("62 letters, 64×64", *run(folder, "npz", "colour"))


def _of_run(what: str, spent: Cost, accuracy: float, bar: str = "") -> list[Row]:
    return [
        Row(f"{what}: test accuracy", accuracy, f"{accuracy:.2%}", f"at least {ACCURACY:.0%}"),
        Row(f"{what}: whole run", spent.seconds, f"{spent.seconds:.0f} s", bar),
        Row(f"{what}: seconds of a processor", spent.worked, f"{spent.worked:.0f} s"),
    ]


def of_idx(source: Path) -> list[Row]:
    """IDX files in grey by the recipe `default`, and by Keras' example."""
    settings = {"images.kind": "plain", "ingest.local_dir": str(source.resolve())}
    with workspace(dataset="idx", **settings) as folder:
        spent, accuracy = run(folder, "idx", "default")
        fitted = files.read_json(folder / places.TIMING)["train_seconds"]
        peer = keras_example(catalogue.load(params_file.load(folder / places.PARAMS)), seed=7)
    return [
        Row(f"{source.name}, default: test accuracy", accuracy, f"{accuracy:.2%}"),
        Row(f"{source.name}, default: model.fit", fitted, f"{fitted:.0f} s of {spent.seconds:.0f} s"),
        Row(f"{source.name}, Keras' example: test accuracy", peer["accuracy"], f"{peer['accuracy']:.2%}"),
        Row(f"{source.name}, Keras' example: model.fit", peer["train_seconds"], f"{peer['train_seconds']:.0f} s"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["ingest", "letters"], help="measure that alone")
    parser.add_argument("--pictures", type=int, default=20_000, help="that ingest reads")
    parser.add_argument("--idx", type=Path, metavar="FOLDER", help="IDX files, measured alone")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    arguments = parser.parse_args()
    parts: dict[str, Callable[[], Iterable[Row]]] = {
        "ingest": lambda: of_ingest(arguments.pictures),
        "letters": of_letters,
    }
    load = os.getloadavg()[0]
    if arguments.idx:
        parts = {"idx": lambda: of_idx(arguments.idx)}
    rows = []
    for row in (row for name, part in parts.items() if arguments.only in (None, name) for row in part()):
        print(f"{row.what}: {row.measured}", file=sys.stderr)  # at once: the whole takes minutes
        rows.append(row)
    if arguments.json:
        print(json.dumps({"load": load, **{row.what: round(row.number, 4) for row in rows}}))
        return
    print(f"{os.cpu_count()} cores, load {load:.1f} at the start\n")
    show(["what", "measured", "bar"], *([row.what, row.measured, row.bar] for row in rows))


if __name__ == "__main__":
    with one_line():
        main()
