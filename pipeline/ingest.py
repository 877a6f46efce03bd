"""Which labelled digits does this run work on? Leaves data/raw/{train,test,recent} and data/raw/manifest.json.

The data set's train and test, and of each accepted batch what is to be trained on (with train) and what is held out
(as recent).

Everything is fetched, verified and decoded before the first byte is written, and the new data/raw takes the old one's
place whole: a failure leaves the earlier one untouched.
"""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base import files, form, places
from pipeline.base import params as params_file
from pipeline.base.errors import one_line
from pipeline.base.words import counted
from pipeline.data import batches, near_copies, splits
from pipeline.data.batches import Batch
from pipeline.data.datasets import catalogue
from pipeline.data.datasets.decoders import Loaded
from pipeline.data.splits import Split


def with_batches(loaded: Loaded, accepted: list[Batch]) -> tuple[Loaded, Split]:
    """The data set with the batches' images added to train, and what was held out of them: without what, or nearly
    what, was known when it came, from the data set or an earlier batch, as somebody may have trained on it."""
    nothing = Split(loaded.test.images[:0], loaded.test.labels[:0])
    train = splits.joined([nothing, *(batch.train for batch in accepted)])
    recent = splits.joined([nothing, *(batch.recent for batch in accepted)])
    order = np.arange(len(accepted))
    came = (
        np.repeat(order, [len(b.recent.labels) for b in accepted]),
        np.repeat(order, [len(b.train.labels) for b in accepted]),
    )
    known = near_copies.find(recent.images, train.images, since=came)
    for split in (loaded.train, loaded.test):
        known |= near_copies.find(recent.images, split.images)
    if len(train.labels):
        loaded = loaded._replace(train=splits.joined([loaded.train, train]))
    return loaded, recent.chosen(~known)


def manifest(
    loaded: Loaded, counts: dict[str, int], accepted: list[Batch], others: list[str], raw: Path
) -> dict[str, Any]:
    """What was read, from where, how much of it, and the digests of what lies in ``raw``; the same for the same data,
    on every machine. ``others`` are the batches of other data sets. ``of_batches`` of train's images, the last, are of
    batches."""
    return {
        "dataset": loaded.name,
        "source": loaded.source,
        "batches": [batch.name for batch in accepted],
        **({"of_batches": sum(len(batch.train.labels) for batch in accepted)} if accepted else {}),
        **({"other_batches": others} if others else {}),
        **loaded.form.as_json(),
        "counts": counts,
        "files": dict(sorted(loaded.files.items())),
        "digests": {name: splits.digests(raw / name) for name in counts},
    }


def save(
    loaded: Loaded, accepted: list[Batch], others: list[str] | None = None, raw: Path = places.RAW
) -> dict[str, int]:
    """Write all beside ``raw``, then swap: ``raw`` holds the old data or the new. Returns the counts."""
    loaded, recent = with_batches(loaded, accepted)
    every = {"train": loaded.train, "test": loaded.test, "recent": recent}
    counts = {name: len(split.labels) for name, split in every.items()}
    with files.swapped(raw) as part:
        for name, split in every.items():
            splits.save(part / name, split, before=raw / name)
        files.write_json(part / places.MANIFEST.name, manifest(loaded, counts, accepted, others or [], part))
        form.save(loaded.form, part)
    return counts


def main() -> None:
    loaded = catalogue.load(params_file.load())
    ours, others = batches.of_dataset(loaded.name)
    accepted = batches.load(ours, loaded.form)
    counts = save(loaded, accepted, others)
    added = (
        f"; {counted(len(accepted), 'batch', 'batches')}, {counts['recent']:,} of their images held out"
        if accepted
        else ""
    )
    print(
        f"ingest: {loaded.name} from {loaded.source}: {counts['train']:,} train, {counts['test']:,} test images{added}"
    )


if __name__ == "__main__":
    with one_line():
        main()
