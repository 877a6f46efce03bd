"""May this batch of new labelled digits in? Accepted whole into data/batches, or moved whole to data/quarantine.

A batch is read as ingest reads a data set, put through the same validation, compared with the workspace's train split
by Evidently, and its labels are held against the champion's answers. A tenth of it is held out, decided by the hash of
each image: the gate judges on these recent images beside the test split. DVC versions what was accepted.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock

from pipeline.base import files
from pipeline.base.errors import BadInput
from pipeline.base.params import Batches, Ingest, Params, Validate
from pipeline.data import checks, comparison, splits
from pipeline.data.datasets import decoders
from pipeline.data.splits import ACCEPTED, CLASSES, FACTS, Split
from pipeline.learning import evaluation
from pipeline.monitoring import live

QUARANTINE = Path("data/quarantine")
CORRECTIONS = Path("data/corrections")
LOCK = Path(".cache/batches.lock")
REPORT = "report.json"
NOISE = 3.0  # standard deviations by which a small batch's class shares may lie outside the bands for a whole data set
ABSENT = 0.01  # a class may be absent from a batch so small that this is more likely than once in a hundred


class Known(BadInput):
    """The batch was accepted before."""

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        super().__init__(f"{path} is known: accepted as {facts['batch']} on {facts['at']} by {facts['by']}")
        self.batch: str = facts["batch"]


class Batch(NamedTuple):
    name: str
    train: Split
    recent: Split
    """the held-out tenth"""


def add(path: Path, params: Params, answer: evaluation.Answer | None, by: str) -> dict[str, Any]:
    """Read, judge and file a batch; the event ``{"event": "accepted" or "quarantined", "batch", "findings", …}``.

    ``answer`` is the champion, if there is one. :class:`BadInput` if there is nothing at ``path`` that looks like a
    batch, the workspace has no data to compare it with, or (:class:`Known`) it was accepted before; nothing is then
    moved.
    """
    kind = _kind(path)
    reference = Split(*splits.load(splits.RAW / "train"))
    LOCK.parent.mkdir(exist_ok=True)
    with FileLock(LOCK):
        try:
            whole = read(path, kind)
        except BadInput as error:
            return _quarantine(path, path.stem, {"findings": str(error).splitlines()}, by)
        digest = _digest(whole)
        for known in _facts():
            if known["digest"] == digest:
                raise Known(path, known)
        report = judge(whole, reference, splits.load(splits.RAW / "test"), answer, params)
        name = f"{datetime.now(UTC):%Y%m%d}-{digest[:12]}"
        if report["findings"]:
            return _quarantine(path, name, {**report, "digest": digest}, by)
        batch = separate(name, whole, params.batches.held_out)
        counts = {"train": len(batch.train.labels), "recent": len(batch.recent.labels)}
        return _accept(batch, {**report, "counts": counts, "digest": digest, "source": path.name}, by)


def add_corrections(params: Params, by: str) -> dict[str, Any]:
    """:func:`add` for what people corrected in use and is in no batch yet; :class:`BadInput` if that is too little.

    The champion is not asked about the labels: where it was wrong it is sure to suspect them.
    """
    with live.store() as store:
        ids, corrected = live.corrections(store)
    if len(ids) < params.batches.min_images:
        raise BadInput(f"{len(ids)} corrections wait, a batch needs {params.batches.min_images}: correct more first")
    path = CORRECTIONS / f"corrections-{datetime.now(UTC):%Y%m%d%H%M%S}.npz"
    with files.atomic(path) as part:
        np.savez_compressed(part, images=corrected.images, labels=corrected.labels)
    batch = ""
    try:
        event = add(path, params, None, by)
        batch = event["batch"]
    except Known as known:  # an earlier call was cut off after the batch was accepted
        batch = known.batch
        raise
    finally:
        path.unlink(missing_ok=True)  # an accepted batch holds its images itself, a quarantined one was moved
        if batch:
            with live.store() as store:
                live.file_under(store, ids, corrected.labels, batch)
    return event


def _kind(path: Path) -> str:
    """What the batch at ``path`` looks like: npz, csv, idx or folder; :class:`BadInput` if like none of them."""
    if not path.exists():
        raise BadInput(f"there is nothing at {path}: name a file or folder with labelled digits")
    if Path.cwd().is_relative_to(path.resolve()):
        raise BadInput(f"{path} holds the workspace itself: name a file or folder with labelled digits")
    if path.is_file():
        holds = {path.suffix.lower().lstrip(".")} & {"npz", "csv"}
    else:
        holds = {kind for kind in ("npz", "csv") if any(path.glob(f"*.{kind}"))}
        holds |= {"idx"} if any(path.glob("*-idx?-ubyte*")) else set()
        holds |= {"folder"} if any((path / str(digit)).is_dir() for digit in range(CLASSES)) else set()
    if len(holds) != 1:
        raise BadInput(
            f"{path} is no batch of digits: give an npz or csv file, or a folder of IDX files or of pictures by digit "
            "(see docs/add-data.md)"
        )
    return holds.pop()


def read(path: Path, kind: str) -> Split:
    """The batch of that kind; :class:`BadInput` names what is wrong with it."""
    ingest = Ingest(local_dir=str(path), test_share=0.0, timeout_seconds=1.0, attempts=1)
    loaded = decoders.DATASETS[kind](ingest)
    return Split(*(np.concatenate(pair) for pair in zip(loaded.train, loaded.test, strict=True)))


def separate(name: str, whole: Split, share: float) -> Batch:
    """Hold ``share`` of a batch out, by the hash of each image."""
    out = splits.held_out(splits.content_hashes(whole.images), share, "recent")
    return Batch(name, Split(whole.images[~out], whole.labels[~out]), Split(whole.images[out], whole.labels[out]))


def judge(
    whole: Split, reference: Split, test: Split, answer: evaluation.Answer | None, params: Params
) -> dict[str, Any]:
    """What speaks against the batch: a line each in ``findings``, with the numbers beside."""
    rules = _rules(params.validate_, params.batches, len(whole.labels))
    with tempfile.TemporaryDirectory() as docs:
        checked = checks.validate(whole, test, rules, Path(docs))
    failed = [check for check in checked["checks"] if not check["passed"] and check["severity"] == "critical"]
    findings = [check["message"].replace("train: ", "batch: ") for check in failed if not _forgiven(check, whole)]
    noise = 1 / np.sqrt(len(whole.labels))  # of the mean of so many, in standard deviations
    rules_of_drift = params.drift.model_copy(update={"max_distance": params.batches.max_distance + float(noise)})
    compared, _ = comparison.compare(comparison.rows(reference), comparison.rows(whole), rules_of_drift)
    if compared["drifted_share"] > params.batches.max_drifted_share:
        far = ", ".join(column["name"] for column in compared["columns"][:3])
        findings.append(
            f"batch: drift: {compared['drifted_share']:.0%} of the columns differ from the train split's, most of all "
            f"{far}; allowed {params.batches.max_drifted_share:.0%}: look at them, or raise batches.max_drifted_share"
        )
    suspected = _suspected(whole, answer)
    if suspected is not None and suspected > params.batches.max_suspected_labels:
        findings.append(
            f"batch: labels: the champion is sure that {suspected:.1%} of them are wrong, allowed "
            f"{params.batches.max_suspected_labels:.1%}: correct them, or raise batches.max_suspected_labels"
        )
    return {
        "findings": findings,
        "class_counts": np.bincount(whole.labels, minlength=CLASSES).tolist(),
        "suspected_labels": suspected,
        "drift": {key: compared[key] for key in ("verdict", "drifted_share", "columns")},
    }


def _rules(rules: Validate, batches: Batches, count: int) -> Validate:
    """The validation of a data set, with bands for the class shares as wide as the noise of ``count`` images asks."""
    noise = NOISE * float(np.sqrt(0.1 * 0.9 / count))
    low, high = rules.class_share
    return rules.model_copy(
        update={
            "min_train": batches.min_images,
            "min_test": 1,
            "class_share": (max(low - noise, 0.0), min(high + noise, 1.0)),
            "max_share_difference": min(rules.max_share_difference + noise, 1.0),
        }
    )


def _forgiven(check: dict[str, Any], whole: Split) -> bool:
    """A class that is missing by mere chance, and what was found of the test split, which is not the batch's fault."""
    by_chance = CLASSES * (1 - 1 / CLASSES) ** len(whole.labels) > ABSENT
    ours = check["split"] != "test" or "leakage" in check["name"]
    return not ours or (check["name"] == "every class is present" and by_chance)


def _suspected(whole: Split, answer: evaluation.Answer | None) -> float | None:
    """The share of labels that confident learning suspects; None without a champion."""
    if answer is None:
        return None
    return len(evaluation.suspected_labels(whole.labels, answer(whole.images))) / len(whole.labels)


def accepted() -> list[Batch]:
    """Every accepted batch, oldest first."""
    found = []
    for facts in _facts():
        folder = ACCEPTED / facts["batch"]
        found.append(Batch(facts["batch"], splits.load(folder / "train"), splits.load(folder / "recent")))
    return found


def _facts() -> list[dict[str, Any]]:
    facts = [files.read_json(path) for path in sorted(ACCEPTED.glob(f"*/{FACTS}"))]
    return sorted(facts, key=lambda one: one["at"])


def _digest(whole: Split) -> str:
    """Of the labelled images, whatever their order and the file they came in."""
    hashes = splits.content_hashes(whole.images)
    lines = sorted(f"{image:016x}{label}" for image, label in zip(hashes, whole.labels, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _accept(batch: Batch, facts: dict[str, Any], by: str) -> dict[str, Any]:
    """Write the batch beside its place, then rename it there whole, then let DVC version it."""
    event = {"event": "accepted", "batch": batch.name, "at": _now(), "by": by, **facts}
    ACCEPTED.mkdir(parents=True, exist_ok=True)
    for unfinished in ACCEPTED.glob(".*.part"):
        shutil.rmtree(unfinished)
    part = ACCEPTED / f".{batch.name}.part"
    splits.save(part / "train", batch.train)
    splits.save(part / "recent", batch.recent)
    files.write_json(part / FACTS, event)
    part.replace(ACCEPTED / batch.name)
    _version(ACCEPTED / batch.name)
    return event


def _version(folder: Path) -> None:
    """`dvc add`: the batch's content goes into DVC's cache, and a small .dvc file beside it names it for git."""
    command = [sys.executable, "-m", "dvc", "add", "--quiet", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        print(f"warning: {folder} is accepted, but `dvc add` failed: {said[-1] if said else ''}", file=sys.stderr)


def _quarantine(path: Path, name: str, facts: dict[str, Any], by: str) -> dict[str, Any]:
    """Move the batch whole to data/quarantine/NAME, beside a report of what was found."""
    event = {"event": "quarantined", "batch": name, "at": _now(), "by": by, "source": path.name, **facts}
    place = QUARANTINE / f"{name}-{datetime.now(UTC):%H%M%S%f}"
    place.mkdir(parents=True)
    try:
        shutil.move(path, place / path.name)  # a rename where it can be; else a copy whose source goes last
    except OSError as error:
        shutil.rmtree(place)
        raise BadInput(f"{path} is refused ({event['findings'][0]}), and cannot be moved away: {error}") from None
    files.write_json(place / REPORT, event)
    return {**event, "place": str(place)}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
