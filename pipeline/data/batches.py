"""Which labelled batches were accepted? Folders below data/batches, each whole from the moment it is there.

A share of each is held out, decided by the hash of each image: the gate judges on these recent images beside the test
split. DVC versions what was accepted. A batch belongs to the data set that it was accepted on.
"""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from pipeline.base import clock, files, places, processes
from pipeline.base.errors import BadInput
from pipeline.base.form import Form
from pipeline.base.words import counted
from pipeline.data import splits
from pipeline.data.splits import Split

PARTS = ("train", "recent")  # of a batch, as its folder has them


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


class Doubt(BaseModel):
    """A label that the champion and the image's neighbours doubt."""

    model_config = ConfigDict(frozen=True)

    index: int
    """in the batch as it was handed in"""
    image: str
    """hexadecimal hash of its content"""
    label: int
    suggested: int
    clear: bool
    """the champion is sure"""


class Filed(BaseModel):
    """What became of a batch that was handed in, and why; it lies beside the batch."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    event: Literal["accepted", "quarantined", "removed"]
    batch: str
    at: str
    by: str
    source: str
    """the whole path that it was handed in by"""
    dataset: str = ""
    """the data set that it belongs to; releases before did not say"""
    form: Form | None = None
    """what its images are, and what its labels are indexes of; releases before did not say"""
    accepted_at: str = ""
    """of one that was removed, whose ``at`` and ``by`` are the removal's; releases before did not say"""
    accepted_by: str = ""
    reason: str = ""
    """why it was removed"""
    findings: tuple[Finding, ...] = ()
    digest: str = ""
    """of the labelled images"""
    counts: dict[str, int] = {}
    class_counts: tuple[int, ...] = ()
    suspected_labels: float | None = None
    """the share of labels that the champion is sure are wrong, and a second opinion too; None without a champion"""
    doubts: tuple[Doubt, ...] = ()
    kept: tuple[str, ...] = ()
    """images whose doubted label a person upheld"""
    drift: dict[str, Any] = {}
    place: str = ""
    """where a quarantined batch lies"""

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_unset=True)


def separate(name: str, whole: Split, share: float) -> Batch:
    """Hold ``share`` of a batch out, by the hash of each image."""
    out = splits.held_out(splits.content_hashes(whole.images), share, "recent")
    return Batch(name, Split(whole.images[~out], whole.labels[~out]), Split(whole.images[out], whole.labels[out]))


def accept(batch: Batch, filed: Filed) -> None:
    """Write the batch beside data/batches, then rename it there whole, then let DVC version it."""
    places.BATCHES.mkdir(parents=True, exist_ok=True)
    for unfinished in (*places.BATCHES.parent.glob(".batch-*.part"), *places.BATCHES.glob(".*.part")):
        shutil.rmtree(unfinished)  # of a kill; earlier releases wrote within data/batches, which ingest depends on
    part = places.BATCHES.parent / f".batch-{batch.name}.part"
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


def locked() -> FileLock:
    """Whoever changes data/batches holds it."""
    places.BATCHES_LOCK.parent.mkdir(exist_ok=True)
    return FileLock(places.BATCHES_LOCK)


def filed() -> list[Filed]:
    """What is kept beside every accepted batch of whatever data set, oldest first; without those that are removed."""
    gone = {one.batch for one in removed()}
    found = [
        Filed.model_validate(files.read_json(path))
        for path in places.BATCHES.glob(f"*/{places.BATCH_FACTS}")
        if not path.parent.name.startswith(".")  # unfinished: pathlib's * matches dot files
    ]
    return sorted((one for one in found if one.batch not in gone), key=lambda one: (one.at, one.batch))


def of_dataset(dataset: str) -> tuple[list[Filed], list[str]]:
    """The accepted batches of a data set, oldest first, and the names of those of others.

    A batch of an earlier release does not say whose it is. It counts as the data set's whose manifest last named it:
    as long as a workspace stays on one data set, nothing changes, and where it goes to another, the batch does not come
    along.
    """
    before = files.read_json(places.MANIFEST) if places.MANIFEST.is_file() else {"dataset": dataset}
    apart = before.get("other_batches", []) if before["dataset"] == dataset else before.get("batches", [])
    every = filed()
    ours = [one for one in every if (one.dataset or ("" if one.batch in apart else dataset)) == dataset]
    return ours, [one.batch for one in every if one not in ours]


def images_of(filed: Filed, doubts: Sequence[Doubt]) -> np.ndarray:
    """The doubted images of an accepted batch, in that order: uint8 (N, *shape)."""
    if not doubts:
        return np.empty(0, np.uint8)
    images = np.concatenate([splits.load(places.BATCHES / filed.batch / part).images for part in PARTS])
    at = {name: place for place, name in enumerate(splits.names(images).tolist())}
    return images[[at[doubt.image] for doubt in doubts]]


def load(filed: Sequence[Filed], form: Form) -> list[Batch]:
    """The images of accepted batches, labelled by indexes of the classes of ``form``, whatever classes there were when
    they came; :class:`BadInput` names a batch whose images or classes are none of that form's."""
    return [
        Batch(one.batch, *(_as_of(splits.load(places.BATCHES / one.batch / part), one, form) for part in PARTS))
        for one in filed
    ]


def _as_of(split: Split, filed: Filed, form: Form) -> Split:
    was = filed.form or form
    shape = split.images.shape[1:]
    if (was.kind, shape) != (form.kind, form.shape):
        its, ours = (f"{one.pixels} of kind {one.kind}" for one in (replace(was, shape=shape), form))
        raise BadInput(
            f"batch {filed.batch}: its images are {its}, and those of the data set {ours}: set images in params.yaml "
            f"back, or `digits batches remove {filed.batch}` and add it anew"
        )
    return split._replace(labels=_moved(split.labels, filed, form).astype(form.labels))


def _moved(labels: Sequence[int] | np.ndarray, filed: Filed, form: Form) -> np.ndarray:
    """Labels of a batch as indexes of the classes of ``form``."""
    was = (filed.form or form).classes
    there = {name: index for index, name in enumerate(form.classes)}
    moved = np.array([there.get(name, -1) for name in was], np.int64)[np.asarray(labels, np.int64)]
    if (moved < 0).any():
        lost = [was[label] for label in np.asarray(labels)[moved < 0]]
        raise BadInput(
            f"batch {filed.batch}: {lost[0]} ({counted(lost.count(lost[0]), 'image')}) is no class of the data set any "
            f"more: bring it back, or `digits batches remove {filed.batch}`"
        )
    return moved


def relabelled(filed: Filed, form: Form) -> Filed:
    """What is kept beside a batch, its doubts by indexes of the classes of ``form``; :class:`BadInput` as from
    :func:`load`."""
    columns = ([doubt.label for doubt in filed.doubts], [doubt.suggested for doubt in filed.doubts])
    labels, suggested = (_moved(column, filed, form).tolist() for column in columns)
    doubts = (
        doubt.model_copy(update={"label": label, "suggested": other})
        for doubt, label, other in zip(filed.doubts, labels, suggested, strict=True)
    )
    return filed.model_copy(update={"form": form, "doubts": tuple(doubts)})


def accepted(dataset: str, form: Form) -> list[Batch]:
    """Every accepted batch of a data set, oldest first, as :func:`load` gives them."""
    return load(of_dataset(dataset)[0], form)


def removed() -> list[Filed]:
    """The batches that were taken out again, oldest first."""
    return [Filed.model_validate(line) for line in files.read_json_lines(places.REMOVED)]


def remove(name: str, reason: str, by: str) -> Filed:
    """Take an accepted batch out: the next retraining no longer knows it. It moves to data/quarantine, and a line of
    data/batches/removed.jsonl keeps who, when and why; :class:`BadInput` if there is no such batch.

    The line comes first, and counts from then on: what a kill leaves undone, the same command does.
    """
    with locked():
        there = {one.batch: one for one in filed()}
        gone = {one.batch: one for one in removed()}
        if name not in there and not (name in gone and (places.BATCHES / name).is_dir()):
            raise BadInput(f"there is no accepted batch {name}: `digits batches` lists them")
        if name in there:
            accepted = there[name]
            facts = {"event": "removed", "at": clock.now(), "by": by, "reason": reason, "place": str(_removed_to(name))}
            facts |= {"accepted_at": accepted.at, "accepted_by": accepted.by}
            files.append_json_line(places.REMOVED, accepted.model_copy(update=facts).as_json() | facts)
        record = {one.batch: one for one in removed()}[name]
        place = Path(record.place)
        place.parent.mkdir(parents=True, exist_ok=True)
        forget(places.BATCHES / name)
        (places.BATCHES / name).replace(place)
        files.write_json(place / places.QUARANTINE_REPORT, record.as_json())
        return record


def _removed_to(name: str) -> Path:
    return places.QUARANTINE / f"{name}-removed-{clock.now().replace(':', '').replace('+0000', '')}"


def forget(folder: Path) -> None:
    """`dvc remove`: the batch's .dvc file goes, and its line in .gitignore."""
    tracked = folder.with_name(f"{folder.name}.dvc")
    if tracked.is_file():
        try:
            processes.call(processes.dvc("remove", "--quiet", str(tracked)))
        except processes.Failed as error:
            print(f"warning: {folder} is removed, but {tracked} is still there: {error}", file=sys.stderr)
