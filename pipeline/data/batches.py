"""Which labelled batches were accepted? Folders below data/batches, each whole from the moment it is there.

A share of each is held out, decided by the hash of each image: the gate judges on these recent images beside the test
split. DVC versions what was accepted.
"""

import hashlib
import shutil
import sys
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from pipeline.base import files, places, processes
from pipeline.data import splits
from pipeline.data.splits import Split


class Batch(NamedTuple):
    name: str
    train: Split
    recent: Split
    """the held-out share"""


class Finding(BaseModel):
    """What speaks against a batch."""

    model_config = ConfigDict(frozen=True)

    key: str
    """what code knows it by"""
    message: str
    """one line for people: what, where, what to do"""


class Filed(BaseModel):
    """What became of a batch that was handed in, and why; it lies beside the batch."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    event: Literal["accepted", "quarantined"]
    batch: str
    at: str
    by: str
    source: str
    findings: tuple[Finding, ...] = ()
    digest: str = ""
    """of the labelled images"""
    counts: dict[str, int] = {}
    class_counts: tuple[int, ...] = ()
    suspected_labels: float | None = None
    """the share of labels that the champion is sure are wrong; None without a champion"""
    drift: dict[str, Any] = {}
    place: str = ""
    """where a quarantined batch lies"""

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_unset=True)


def separate(name: str, whole: Split, share: float) -> Batch:
    """Hold ``share`` of a batch out, by the hash of each image."""
    out = splits.held_out(splits.content_hashes(whole.images), share, "recent")
    return Batch(name, Split(whole.images[~out], whole.labels[~out]), Split(whole.images[out], whole.labels[out]))


def digest(whole: Split) -> str:
    """Of the labelled images, whatever their order and the file they came in."""
    hashes = splits.content_hashes(whole.images)
    lines = sorted(f"{image:016x}{label}" for image, label in zip(hashes, whole.labels, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def accept(batch: Batch, filed: Filed) -> None:
    """Write the batch beside its place, then rename it there whole, then let DVC version it."""
    places.BATCHES.mkdir(parents=True, exist_ok=True)
    for unfinished in places.BATCHES.glob(".*.part"):
        shutil.rmtree(unfinished)
    part = places.BATCHES / f".{batch.name}.part"
    splits.save(part / "train", batch.train)
    splits.save(part / "recent", batch.recent)
    files.write_json(part / places.BATCH_FACTS, filed.as_json())
    part.replace(places.BATCHES / batch.name)
    version(places.BATCHES / batch.name)


def version(folder: Path) -> None:
    """`dvc add`: the batch's content goes into DVC's cache, and a small .dvc file beside it names it for git."""
    try:
        processes.call(processes.dvc("add", "--quiet", str(folder)))
    except processes.Failed as error:
        print(f"warning: {folder} is accepted, but is not versioned: {error}", file=sys.stderr)


def filed() -> list[Filed]:
    """What is kept beside every accepted batch, oldest first."""
    found = [Filed.model_validate(files.read_json(path)) for path in places.BATCHES.glob(f"[!.]*/{places.BATCH_FACTS}")]
    return sorted(found, key=lambda one: (one.at, one.batch))


def accepted() -> list[Batch]:
    """Every accepted batch, oldest first."""
    found = []
    for one in filed():
        folder = places.BATCHES / one.batch
        found.append(Batch(one.batch, splits.load(folder / "train"), splits.load(folder / "recent")))
    return found
