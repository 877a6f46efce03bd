"""Which labelled digits does this run work on? Leaves data/raw/{train,test} and data/raw/manifest.json.

Everything is fetched, verified and decoded before the first byte is written, and the new data/raw takes the old one's
place whole: a failure leaves the earlier one untouched.
"""

import shutil
from pathlib import Path
from typing import Any

from pipeline import datasets, files, splits
from pipeline import params as params_file
from pipeline.datasets import Loaded
from pipeline.errors import one_line

MANIFEST = splits.RAW / "manifest.json"


def manifest(loaded: Loaded) -> dict[str, Any]:
    """What was read, from where, how much of it, and its digests; the same for the same data, on every machine."""
    both = {"train": loaded.train, "test": loaded.test}
    return {
        "dataset": loaded.name,
        "source": loaded.source,
        "counts": {name: len(split.labels) for name, split in both.items()},
        "files": dict(sorted(loaded.files.items())),
        "digests": {
            name: {field: files.sha256_array(getattr(split, field)) for field in split._fields}
            for name, split in both.items()
        },
    }


def save(loaded: Loaded, raw: Path = splits.RAW) -> None:
    """Write ``loaded`` and its manifest beside ``raw``, then swap: ``raw`` holds the old data set or the new."""
    part, old = raw.with_name(f"{raw.name}.part"), raw.with_name(f"{raw.name}.old")
    _settle(raw, part, old)
    try:
        splits.save(part / "train", loaded.train)
        splits.save(part / "test", loaded.test)
        files.write_json(part / MANIFEST.name, manifest(loaded))
        if raw.exists():
            raw.replace(old)
        part.replace(raw)
    finally:
        _settle(raw, part, old)


def _settle(raw: Path, part: Path, old: Path) -> None:
    """Drop what an unfinished swap left; if it ended between the two renames, the old data set comes back."""
    if old.exists() and not raw.exists():
        old.replace(raw)
    shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def main() -> None:
    loaded = datasets.load(params_file.load())
    save(loaded)
    print(
        f"ingest: {loaded.name} from {loaded.source}: "
        f"{len(loaded.train.labels):,} train, {len(loaded.test.labels):,} test images"
    )


if __name__ == "__main__":
    with one_line():
        main()
