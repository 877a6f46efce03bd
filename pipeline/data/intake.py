"""May this batch of new labelled images in? Accepted whole into data/batches, or refused, with a copy kept.

A batch is read as ingest reads a data set, put through the same validation, compared with the workspace's train split
by Evidently, and its labels are held against the champion's answers and its own digits, alone and with the batches
before. What is refused is copied to data/quarantine; the batch itself stays where it is.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pipeline.base import clock, files, places
from pipeline.base import form as form_file
from pipeline.base.errors import BadInput, TemporaryFault
from pipeline.base.form import DIGITS, Form
from pipeline.base.params import Batches, Params, Validate
from pipeline.base.stored import Images
from pipeline.data import (
    batches,
    checks,
    comparison,
    descriptions,
    handed_in,
    poison,
    quarantine,
    second_opinion,
    splits,
)
from pipeline.data.batches import Doubt, Filed, Finding
from pipeline.data.checks import Check
from pipeline.data.quarantine import UNDECIDED, Decided
from pipeline.data.second_opinion import Answer
from pipeline.data.splits import Split

NOISE = 3.0  # standard deviations by which a small batch's class shares may lie outside the bands for a whole data set
ABSENT = 0.01  # a class may be absent from a batch so small that this is more likely than once in a hundred
OF_TEST = {"no_leakage"}  # the checks of the test split that say something of the batch
FAR = 1.0  # standard deviations of the train split: a distance of more is no more telling
KNOWN_IMAGES = 5000  # of the train split, to hold a doubted image beside


class Known(BadInput):
    """The batch was accepted before."""

    def __init__(self, path: Path, known: Filed) -> None:
        what = f"{path} is known: {{}} as {known.batch} on {known.at} by {known.by}"
        if known.event == "removed":
            super().__init__(f"{what.format('removed')}: {known.reason}; its line in {places.REMOVED} keeps it out")
        else:
            super().__init__(what.format("accepted"))
        self.batch = known.batch


class Reference(NamedTuple):
    """What the workspace has, to compare a batch with."""

    train: pd.DataFrame
    """described, a sample of a large one"""
    test: pd.DataFrame
    images: Split
    """some of train's that came with the data set: one batch of somebody's does not vouch for the next"""
    in_train: int
    """images in all"""
    form: Form = DIGITS


def add(
    path: Path,
    params: Params,
    answer: Answer | None,
    by: str,
    *,
    dry_run: bool = False,
    decided: Decided = UNDECIDED,
    source: str = "",
) -> Filed:
    """Read, judge and file a batch.

    ``answer`` is the champion, if there is one; ``decided`` what a person said of doubted labels; ``source`` where the
    batch came from if not from ``path``. With ``dry_run`` nothing is written. :class:`BadInput` if there is nothing at
    ``path`` that looks like a batch, nothing of it is left once what was dropped is gone, the workspace has no data to
    compare it with, or (:class:`Known`) it was accepted before; nothing is then kept of it. :class:`TemporaryFault` if
    it could not be read for want of a disk.
    """
    compared_with = reference(params.named)
    form = compared_with.form
    kind = handed_in.kind(path, form.classes)
    facts: dict[str, Any] = {"at": clock.now(), "by": by, "source": source or str(path.absolute())}
    facts |= {"dataset": params.named, "form": form, "batch": path.absolute().stem}
    refuse = _only_told if dry_run else quarantine.put
    copied = None
    try:
        handed_in.look_over(path, params.batches)
        copied = path
        whole = decided.applied(handed_in.read(path, kind, params.batches, form, params.images))
    except TemporaryFault:
        raise
    except BadInput as error:
        findings = tuple(Finding(key="unreadable", message=line) for line in str(error).splitlines())
        return refuse(copied, Filed(event="quarantined", findings=findings, **facts), params.batches)
    if not len(whole.labels):
        raise BadInput(f"nothing is left of the batch {facts['source']}: every image of it was dropped; keep some")
    facts["digest"] = splits.digest(splits.content_hashes(whole.images), whole.labels)
    _refuse_known(path, facts["digest"], params.named)
    findings, numbers = judge(whole, compared_with, answer, params, decided.kept)
    facts |= {"batch": _named(facts["digest"]), **numbers}
    with batches.locked():
        _refuse_known(path, facts["digest"], params.named)
        earlier = [batches.relabelled(one, form) for one in batches.of_dataset(params.named)[0]]
        findings += _of_labels(whole, compared_with, numbers["doubts"], earlier, by, params.batches)
        if not findings:
            return _accept(whole, facts, decided.kept, params.batches, dry_run)
    index = [doubt.index for doubt in numbers["doubts"]]
    doubted = Split(whole.images[index], whole.labels[index])
    return refuse(path, Filed(event="quarantined", findings=findings, **facts), params.batches, doubted)


def _accept(whole: Split, facts: dict[str, Any], kept: frozenset[str], rules: Batches, dry_run: bool) -> Filed:
    """File the batch, a part of it held out for the gate."""
    batch = batches.separate(facts["batch"], whole, rules.held_out)
    counts = {"train": len(batch.train.labels), "recent": len(batch.recent.labels)}
    filed = Filed(event="accepted", counts=counts, kept=tuple(sorted(kept)), **facts)
    if not dry_run:
        batches.accept(batch, filed)
    return filed


def _only_told(_path: Path | None, filed: Filed, _limits: Batches, _doubted: Split | None = None) -> Filed:
    return filed


def _refuse_known(path: Path, digest: str, dataset: str) -> None:
    """:class:`Known` if the data set has, or had, that batch; another one's may be handed in to this one too."""
    for known in (*batches.filed(), *batches.removed()):
        if known.digest == digest and known.dataset in ("", dataset):
            raise Known(path, known)


def _named(digest: str) -> str:
    """A name for the batch that none has, of the same images for another data set either."""
    name = f"{datetime.now(UTC):%Y%m%d}-{digest[:12]}"
    return f"{name}-{datetime.now(UTC):%H%M%S%f}" if (places.BATCHES / name).exists() else name


def reference(dataset: str) -> Reference:
    """What lies in this workspace, or in the scheduled retrainings' where only they run."""
    for workspace in (Path(), places.RETRAIN):
        if (workspace / places.FEATURES).is_dir():
            manifest = workspace / places.MANIFEST
            facts: dict[str, Any] = files.read_json(manifest) if manifest.is_file() else {"dataset": dataset}
            if facts["dataset"] != dataset:
                raise BadInput(f"data/ holds {facts['dataset']}, and params.yaml says {dataset}: `digits run` first")
            images = splits.load(workspace / places.RAW / "train")
            own = len(images.labels) - facts.get("of_batches", 0)
            some = slice(None, own, max(own // KNOWN_IMAGES, 1))
            train, test = descriptions.sample("train", workspace), descriptions.load("test", workspace)
            known = Split(images.images[some], images.labels[some])
            return Reference(train, test, known, len(images.labels), form_file.load(workspace / places.RAW))
    raise BadInput("there is no data yet to compare a batch with: `digits run` first")


def judge(
    whole: Split, reference: Reference, answer: Answer | None, params: Params, kept: frozenset[str] = frozenset()
) -> tuple[tuple[Finding, ...], dict[str, Any]]:
    """What speaks against the images, and the numbers beside: :class:`Filed`'s ``class_counts``, ``suspected_labels``,
    ``doubts`` and ``drift``. The doubts about images that a person ``kept`` are none."""
    form, classes = reference.form, len(reference.form.classes)
    table = descriptions.describe(whole, form.kind)
    rules = _rules(params.validate_, params.batches, len(whole.labels), classes)
    with tempfile.TemporaryDirectory() as docs:
        checked = checks.validate(table, reference.test, rules, Path(docs), form).checks
    findings = [_of_batch(check) for check in checked if check.stops and not _forgiven(check, whole, reference)]
    noise = 1 / np.sqrt(len(whole.labels))  # of the mean of so many, in standard deviations
    rules_of_drift = params.drift.model_copy(update={"max_distance": params.batches.max_distance + float(noise)})
    then, now = comparison.labelled(reference.train), comparison.labelled(table)
    compared, _ = comparison.compare(then, now, rules_of_drift)
    if compared.drifted_share > params.batches.max_drifted_share:
        findings.append(_drifted(compared, params.batches.max_drifted_share, list(now.columns)))
    doubts = tuple(doubt for doubt in _doubts(whole, reference, answer) if doubt.image not in kept) if answer else ()
    told = compared.as_json()
    return tuple(findings), {
        "class_counts": np.bincount(whole.labels, minlength=classes).tolist(),
        "suspected_labels": sum(doubt.clear for doubt in doubts) / len(table) if answer else None,
        "doubts": doubts,
        "drift": {key: told[key] for key in ("verdict", "drifted_share", "columns")},
    }


def against(whole: Split, compared_with: Reference, answer: Answer | None, params: Params) -> tuple[Finding, ...]:
    """What speaks against images that are in no file, were they the first batch."""
    found, numbers = judge(whole, compared_with, answer, params)
    return found + _of_labels(whole, compared_with, numbers["doubts"], (), "", params.batches)


def _doubts(whole: Split, reference: Reference, answer: Answer) -> list[Doubt]:
    return as_doubts(second_opinion.confirmed(whole, reference.images, answer), whole.images)


def as_doubts(found: pd.DataFrame, images: Images) -> list[Doubt]:
    """The rows of :func:`pipeline.data.second_opinion.confirmed`, as they are kept."""
    names = splits.names(images[found["index"].to_numpy()])
    columns = (found["index"], found["label"], found["suggested"], found["clear"], names)
    return [
        Doubt(index=int(index), image=str(name), label=int(label), suggested=int(suggested), clear=bool(clear))
        for index, label, suggested, clear, name in zip(*columns, strict=True)
    ]


def _of_labels(
    whole: Split, reference: Reference, doubts: Sequence[Doubt], earlier: Sequence[Filed], by: str, rules: Batches
) -> tuple[Finding, ...]:
    """What the doubted labels say of the batch, alone and with those of the batches before."""
    doubted: dict[int, list[np.ndarray]] = {}
    for doubt in doubts:
        doubted.setdefault(doubt.label, []).append(whole.images[doubt.index])
    for one in earlier if doubts else ():
        for doubt, image in zip(one.doubts, batches.images_of(one, one.doubts), strict=True):
            doubted.setdefault(doubt.label, []).append(image)
    undoubted = np.delete(whole.images, [doubt.index for doubt in doubts], axis=0)
    others = np.concatenate([undoubted, reference.images.images])
    names = reference.form.classes
    counted = poison.count(doubts, len(whole.labels), by, earlier, rules, names)
    by_label = {label: np.stack(images) for label, images in doubted.items()}
    return (*counted, *poison.one_pattern(by_label, others, reference.form))


def _of_batch(check: Check) -> Finding:
    split = "batch" if check.split == "train" else check.split
    return Finding(key=check.key, message=replace(check, split=split).message)


def _drifted(compared: comparison.Compared, allowed: float, order: list[str]) -> Finding:
    far = ", ".join(column.name for column in _telling(compared, order)[:3])
    message = (
        f"batch: drift: {compared.drifted_share:.0%} of the columns differ from the train split's, most of all "
        f"{far}; allowed {allowed:.0%}: look at them, or raise batches.max_drifted_share"
    )
    return Finding(key="drift", message=message)


def _telling(compared: comparison.Compared, order: list[str]) -> list[comparison.Column]:
    """The columns, the furthest first; what lies further than FAR is far, and stands in its ``order``. Of a column that
    hardly varies in train, such as border_ink, a distance is huge for little, and says least to a person."""
    return sorted(compared.columns, key=lambda column: (-min(column.distance, FAR), order.index(column.name)))


def _rules(rules: Validate, batches: Batches, count: int, classes: int) -> Validate:
    """The validation of a data set, with bands for the class shares as wide as the noise of ``count`` images asks."""
    even = 1 / classes
    noise = NOISE * float(np.sqrt(even * (1 - even) / count))
    low, high = rules.class_balance
    return rules.model_copy(
        update={
            "min_train": batches.min_images,
            "min_test": 1,
            "class_balance": (max(low - noise / even, 0.0), min(high + noise / even, 1 / even)),
            "max_share_difference": min(rules.max_share_difference + noise, 1.0),
        }
    )


def _forgiven(check: Check, whole: Split, reference: Reference) -> bool:
    """Classes that are missing by mere chance, and what was found of the test split, which is not the batch's fault."""
    ours = check.split != "test" or check.key in OF_TEST
    return not ours or (check.key == "every_class" and _absent_by_chance(whole, reference))


def _absent_by_chance(whole: Split, reference: Reference) -> bool:
    """Whether so small a batch may well lack each class that it lacks, as rare as that is among the train split."""
    classes = len(reference.form.classes)
    shares = np.bincount(reference.train["label"], minlength=classes) / len(reference.train)
    lacking = np.bincount(whole.labels, minlength=classes) == 0
    return bool(((1 - shares[lacking]) ** len(whole.labels) > ABSENT / classes).all())
