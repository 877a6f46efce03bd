"""May this batch of new labelled digits in? Accepted whole into data/batches, or moved whole to data/quarantine.

A batch is read as ingest reads a data set, put through the same validation, compared with the workspace's train split
by Evidently, and its labels are held against the champion's answers.
"""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from pipeline.base import clock, files, places
from pipeline.base.errors import BadInput
from pipeline.base.params import Batches, Ingest, Params, Validate
from pipeline.data import batches, checks, comparison, descriptions, suspected_labels
from pipeline.data.batches import Filed, Finding
from pipeline.data.checks import Check
from pipeline.data.datasets import decoders
from pipeline.data.splits import Split
from pipeline.digits.image import CLASSES

NOISE = 3.0  # standard deviations by which a small batch's class shares may lie outside the bands for a whole data set
ABSENT = 0.01  # a class may be absent from a batch so small that this is more likely than once in a hundred
OF_TEST = {"no_leakage"}  # the checks of the test split that say something of the batch

Answer = Callable[[np.ndarray], np.ndarray]
"""images uint8 (N, 28, 28) → probabilities float32 (N, 10)"""


class Known(BadInput):
    """The batch was accepted before."""

    def __init__(self, path: Path, known: Filed) -> None:
        super().__init__(f"{path} is known: accepted as {known.batch} on {known.at} by {known.by}")
        self.batch = known.batch


def add(path: Path, params: Params, answer: Answer | None, by: str) -> Filed:
    """Read, judge and file a batch.

    ``answer`` is the champion, if there is one. :class:`BadInput` if there is nothing at ``path`` that looks like a
    batch, the workspace has no data to compare it with, or (:class:`Known`) it was accepted before; nothing is then
    moved.
    """
    kind = _kind(path)
    reference, test = _reference()
    places.BATCHES_LOCK.parent.mkdir(exist_ok=True)
    with FileLock(places.BATCHES_LOCK):
        facts: dict[str, Any] = {"at": clock.now(), "by": by, "source": path.name}
        try:
            whole = read(path, kind)
        except BadInput as error:
            findings = tuple(Finding(key="unreadable", message=line) for line in str(error).splitlines())
            return _quarantine(path, Filed(event="quarantined", batch=path.stem, findings=findings, **facts))
        facts["digest"] = batches.digest(whole)
        for known in batches.filed():
            if known.digest == facts["digest"]:
                raise Known(path, known)
        findings, numbers = judge(whole, reference, test, answer, params)
        facts |= {"batch": f"{datetime.now(UTC):%Y%m%d}-{facts['digest'][:12]}", "findings": findings, **numbers}
        if findings:
            return _quarantine(path, Filed(event="quarantined", **facts))
        batch = batches.separate(facts["batch"], whole, params.batches.held_out)
        counts = {"train": len(batch.train.labels), "recent": len(batch.recent.labels)}
        filed = Filed(event="accepted", counts=counts, **facts)
        batches.accept(batch, filed)
        return filed


def _reference() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The described train and test splits of this workspace, or of the scheduled retrainings' where only they run."""
    for workspace in (Path(), places.RETRAIN):
        if (workspace / places.FEATURES).is_dir():
            return descriptions.load("train", workspace), descriptions.load("test", workspace)
    raise BadInput("there is no data yet to compare a batch with: `digits run` first")


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
    loaded = decoders.DECODERS[kind](ingest)
    return Split(*(np.concatenate(pair) for pair in zip(loaded.train, loaded.test, strict=True)))


def judge(
    whole: Split, reference: pd.DataFrame, test: pd.DataFrame, answer: Answer | None, params: Params
) -> tuple[tuple[Finding, ...], dict[str, Any]]:
    """What speaks against the batch, and the numbers beside: :class:`Filed`'s ``class_counts``, ``suspected_labels``
    and ``drift``. ``reference`` and ``test`` are described splits."""
    table = descriptions.describe(whole)
    rules = _rules(params.validate_, params.batches, len(whole.labels))
    with tempfile.TemporaryDirectory() as docs:
        checked = checks.validate(table, test, rules, Path(docs)).checks
    findings = [_of_batch(check) for check in checked if check.stops and not _forgiven(check, whole)]
    noise = 1 / np.sqrt(len(whole.labels))  # of the mean of so many, in standard deviations
    rules_of_drift = params.drift.model_copy(update={"max_distance": params.batches.max_distance + float(noise)})
    compared, _ = comparison.compare(comparison.labelled(reference), comparison.labelled(table), rules_of_drift)
    if compared.drifted_share > params.batches.max_drifted_share:
        findings.append(_drifted(compared, params.batches.max_drifted_share))
    suspected = len(suspected_labels.find(whole.labels, answer(whole.images))) / len(table) if answer else None
    if suspected is not None and suspected > params.batches.max_suspected_labels:
        message = (
            f"batch: labels: the champion is sure that {suspected:.1%} of them are wrong, allowed "
            f"{params.batches.max_suspected_labels:.1%}: correct them, or raise batches.max_suspected_labels"
        )
        findings.append(Finding(key="suspected_labels", message=message))
    told = compared.as_json()
    return tuple(findings), {
        "class_counts": np.bincount(whole.labels, minlength=CLASSES).tolist(),
        "suspected_labels": suspected,
        "drift": {key: told[key] for key in ("verdict", "drifted_share", "columns")},
    }


def _of_batch(check: Check) -> Finding:
    split = "batch" if check.split == "train" else check.split
    return Finding(key=check.key, message=replace(check, split=split).message)


def _drifted(compared: comparison.Compared, allowed: float) -> Finding:
    far = ", ".join(column.name for column in compared.columns[:3])
    message = (
        f"batch: drift: {compared.drifted_share:.0%} of the columns differ from the train split's, most of all "
        f"{far}; allowed {allowed:.0%}: look at them, or raise batches.max_drifted_share"
    )
    return Finding(key="drift", message=message)


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


def _forgiven(check: Check, whole: Split) -> bool:
    """A class that is missing by mere chance, and what was found of the test split, which is not the batch's fault."""
    by_chance = CLASSES * (1 - 1 / CLASSES) ** len(whole.labels) > ABSENT
    ours = check.split != "test" or check.key in OF_TEST
    return not ours or (check.key == "every_class" and by_chance)


def _quarantine(path: Path, filed: Filed) -> Filed:
    """Move the batch whole to data/quarantine/NAME, beside a report of what was found."""
    place = places.QUARANTINE / f"{filed.batch}-{datetime.now(UTC):%H%M%S%f}"
    place.mkdir(parents=True)
    try:
        shutil.move(path, place / path.name)  # a rename where it can be; else a copy whose source goes last
    except OSError as error:
        shutil.rmtree(place)
        reason = filed.findings[0].message
        raise BadInput(f"{path} is refused ({reason}), and cannot be moved away: {error}") from None
    filed = filed.model_copy(update={"place": str(place)})
    files.write_json(place / places.QUARANTINE_REPORT, filed.as_json())
    return filed
