"""How long would a billion images take, on how many workers, at what price, and what holds them up?

    MNIST_DIR=… python -m benchmarks.scale --workers 1 2 4 --json > measured.json
    python -m benchmarks.scale_plan measured.json                  from what that measured
    python -m benchmarks.scale_plan measured.json --images 1e8     of another number

Work by shards is scheduled as Dask does it: whoever is free takes the next shard. A shard takes the seconds of a
processor that were measured, and no less than its bytes take through the shared folder; the scheduler hands out one
after the other. The rest is one process. Beside it stand the runs with 1, 2 and 4 workers, simulated and as they were:
where others use the machine too, a run takes longer than that.
"""

import argparse
import heapq
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.own_images import Cost
from benchmarks.scale import BY_SHARDS, in_test
from benchmarks.table import show
from pipeline.base import cluster, files
from pipeline.base.errors import BadInput, one_line
from pipeline.data.splits import SHARD_IMAGES

IMAGE_BYTES, ROW_BYTES = 784, 190  # of a 28×28 image; of its columns that validate has in memory
HAND_OUT = 0.001  # seconds for a task, https://distributed.dask.org/en/stable/limitations.html
ALONE = ("ingest", "validate", "drift", "train", "evaluate")  # stages that are one process
TIMES = {"describe": 1, "preprocess": 2}  # that a shard goes through the folder: read, and written too
WORKERS = (1, 10, 100, 1000)


class Assumed(NamedTuple):
    """What is not measured here."""

    folder_mb: float
    """a second, through the folder that all workers share"""
    price: float
    """of a core for an hour"""


def scheduled(shards: int, seconds: float, workers: int, cores: int, folder_seconds: float) -> float:
    """How long so many shards take. Each takes ``seconds`` of a core, of which there are so many for all workers, and
    ``folder_seconds`` of the folder, which serves one at a time."""
    slower = max(workers / cores, 1)
    free = [0.0] * workers
    handed_out = folder = 0.0
    for _ in range(shards):
        at = heapq.heappop(free)
        handed_out = max(handed_out + HAND_OUT, at)
        folder = max(folder, handed_out) + folder_seconds
        heapq.heappush(free, max(handed_out + seconds * slower, folder))
    return max(free)


def read(path: Path) -> tuple[int, dict[str, Cost]]:
    """The largest run that was measured: of how many images, and what each stage cost; :class:`BadInput` if the file
    is not what `benchmarks.scale --json` prints."""
    try:
        found = files.read_json(path)
        largest = max(found, key=int)
        return int(largest), {stage: Cost(**one) for stage, one in found[largest].items()}
    except (OSError, ValueError, TypeError, AttributeError):
        raise BadInput(f"{path} is not what `python -m benchmarks.scale --json` prints: run that first") from None


def rows(
    images: int, workers: int, of: int, spent: dict[str, Cost], assumed: Assumed
) -> Iterator[tuple[str, float, int]]:
    """Each stage, its seconds and the cores that are paid for. ``spent`` is what ``of`` images cost."""
    for stage in ALONE:
        if stage in spent:
            growth = in_test(images) / in_test(of) if stage == "evaluate" else 1 if stage == "drift" else images / of
            yield stage, min(spent[stage].seconds, spent[stage].worked) * growth, 1
    folder = IMAGE_BYTES * SHARD_IMAGES / 1e6 / assumed.folder_mb
    shards = math.ceil(images / SHARD_IMAGES)
    for stage, times in TIMES.items():
        if stage in spent:
            seconds = spent[stage].worked * SHARD_IMAGES / of
            yield stage, scheduled(shards, seconds, workers, workers, folder * times), workers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", type=Path)
    parser.add_argument("--images", type=float, default=1e9)
    parser.add_argument("--folder-mb", type=float, default=1000, help="a second through the shared folder")
    parser.add_argument("--price", type=float, default=0.04, help="of a core for an hour")
    arguments = parser.parse_args()
    of, spent = read(arguments.measured)
    assumed, images = Assumed(arguments.folder_mb, arguments.price), round(arguments.images)
    print(f"{images:,} images, by what {of:,} cost; {assumed.folder_mb:,.0f} MB/s, {assumed.price} a core and hour")
    held, lying = images * ROW_BYTES / 1e9, images * IMAGE_BYTES / 1e9
    print(f"the images are {lying:,.0f} GB, of which DVC keeps as many again; validate has {held:,.0f} GB in memory\n")
    plans = {workers: list(rows(images, workers, of, spent, assumed)) for workers in WORKERS}
    table = []
    for at, (stage, *_) in enumerate(plans[1]):
        table.append((stage, *(f"{plan[at][1] / 3600:,.2f}" for plan in plans.values())))
    hours = {workers: sum(seconds for _, seconds, _ in plan) / 3600 for workers, plan in plans.items()}
    table.append(("all", *(f"{one:,.2f}" for one in hours.values())))
    paid = [sum(seconds * cores for _, seconds, cores in plan) / 3600 * assumed.price for plan in plans.values()]
    table.append(("price", *(f"{one:,.2f}" for one in paid)))
    table.append(("longest", *(max(plan, key=lambda row: row[1])[0] for plan in plans.values())))
    show(("hours", *(f"{workers:,} workers" for workers in WORKERS)), *table)
    if checked := list(_checked(of, spent)):
        print()
        show(("of this machine", "simulated", "measured"), *checked)


def _checked(of: int, spent: dict[str, Cost]) -> Iterator[tuple[str, str, str]]:
    """The runs that were made with so many workers; what one worker took beyond its shards, as to start, is added."""
    shards = math.ceil(of / SHARD_IMAGES)
    for stage in BY_SHARDS:
        one = spent.get(f"{stage}, workers: 1")
        for workers in (1, 2, 4):
            run = spent.get(f"{stage}, workers: {workers}")
            if one and run:
                took = scheduled(shards, one.seconds / shards, workers, cluster.cores(), 0)
                yield f"{stage}, workers: {workers}", f"{took:.1f} s", f"{run.seconds:.1f} s"


if __name__ == "__main__":
    with one_line():
        main()
