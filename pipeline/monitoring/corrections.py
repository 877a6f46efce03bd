"""How does what people corrected in use become a labelled batch?

A correction is one person's word, and anybody who reaches the page can give it. So one person contributes no more than
a share of train; where people contradict each other about an image, nobody is believed; and where the champion is sure
of another digit and the images it learnt from say the same, a second person has to agree, or one of the house
(`digits batches decide corrections`). Agreement outvotes the champion no more often than chance would.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from pipeline.base import files, places
from pipeline.base.errors import BadInput
from pipeline.base.form import Form
from pipeline.base.params import Batches, Params
from pipeline.base.words import counted
from pipeline.data import intake, poison, quarantine, second_opinion, splits
from pipeline.data.batches import Doubt, Filed
from pipeline.data.second_opinion import Answer
from pipeline.data.splits import Split
from pipeline.monitoring import live
from pipeline.registry import versions

DROPPED = "dropped"  # stands for the batch of those that a person dropped
NAME = "corrections"


class Waiting(NamedTuple):
    """The corrections that are in no batch yet, oldest first."""

    ids: list[str]
    people: list[str]
    corrected: Split
    form: Form
    """of the images, and what their labels are indexes of"""
    none: np.ndarray
    """images of which somebody says that they show none of the classes"""


class Shown(NamedTuple):
    """A doubted correction on the page that a person decides by."""

    id: str
    name: str
    """of the class that it is corrected to"""
    image: str
    """hexadecimal hash of its content"""


class Sifted(NamedTuple):
    """Which of the waiting corrections may be learnt from: indices."""

    good: list[int]
    doubted: list[Doubt]
    contradicted: int
    over_share: int

    @property
    def left_out(self) -> str:
        """What is left out and why, for people; empty if nothing is."""
        reasons = [
            (len(self.doubted), "doubted, see `digits batches suspects corrections`"),
            (self.contradicted, "contradicted by another"),
            (self.over_share, "beyond one person's share (batches.max_share_of_person)"),
        ]
        return "; ".join(f"{count:,} {reason}" for count, reason in reasons if count)


def add(params: Params, answer: Answer | None, by: str, dry_run: bool = False) -> Filed:
    """:func:`pipeline.data.intake.add` for the corrections that may be learnt from.

    :class:`BadInput` if those are too few. ``answer`` is the champion, if there is one. None of them is held out: they
    were chosen by where the champion erred, and a judge who saw those alone would be for anybody else.
    """
    waiting = read(params)
    sifted = sift(waiting, params, answer)
    if len(sifted.good) < params.batches.min_images:
        waits = counted(len(sifted.good), "correction waits", "corrections wait")
        too_few = f"{waits}, a batch needs {params.batches.min_images}: correct more first"
        raise BadInput(f"{too_few} ({sifted.left_out})" if sifted.left_out else too_few)
    ids = [waiting.ids[index] for index in sifted.good]
    corrected = Split(*(array[sifted.good] for array in waiting.corrected))
    path = places.CORRECTIONS / f"corrections-{datetime.now(UTC):%Y%m%d%H%M%S}.npz"
    names = np.array(waiting.form.classes)[corrected.labels]
    with files.atomic(path) as part:
        np.savez_compressed(part, images=corrected.images, labels=names)
    batch = ""
    try:
        # No champion: it was asked above, and of corrections it is wrong by their nature.
        filed = intake.add(path, _all_to_train(params), None, by, dry_run=dry_run, source=NAME)
        batch = filed.batch
    except intake.Known as known:  # an earlier call was cut off after the batch was accepted
        batch = known.batch
        raise
    finally:
        path.unlink(missing_ok=True)  # an accepted batch holds its images itself, of a refused one there is a copy
        if batch and not dry_run:
            with live.store() as store:
                live.file_under(store, ids, names.tolist(), batch)
                _file_none(store, waiting)
    return filed


def _file_none(store: sqlite3.Connection, waiting: Waiting) -> None:
    """Let no word that an image shows none of the classes take the room of those that wait, unless it contradicts one
    of these."""
    ids, images = live.none_of_them(store, waiting.form)
    named = set(splits.names(waiting.corrected.images).tolist())
    settled = [one for one, name in zip(ids, splits.names(images).tolist(), strict=True) if name not in named]
    live.file_under(store, settled, [live.NONE] * len(settled), DROPPED)


def read(params: Params) -> Waiting:
    form = intake.reference(params.named).form
    model = None if form.of_digits else versions.model_name(params.named)  # digits are digits, whoever answered
    with live.store() as store:
        ids, corrected = live.corrections(store, model, form)
        return Waiting(ids, live.people(store, ids), corrected, form, live.none_of_them(store, form)[1])


def sift(waiting: Waiting, params: Params, answer: Answer | None) -> Sifted:
    """Which corrections may be learnt from, and why the others not."""
    reference = intake.reference(params.named)
    names = splits.names(waiting.corrected.images).tolist()
    labels, people = waiting.corrected.labels.tolist(), waiting.people
    said: dict[str, set[int | None]] = defaultdict(set)
    for name in splits.names(waiting.none).tolist():
        said[name].add(None)
    for name, label in zip(names, labels, strict=True):
        said[name].add(label)
    contradicted = {index for index, name in enumerate(names) if len(said[name]) > 1}
    doubts = doubted(waiting.corrected, reference.images, answer, reference.form.inked) if answer and names else []
    upheld = _upheld(doubts, names, people, params.batches, len(names))
    left_out = [doubt for doubt in doubts if doubt.index not in upheld]
    good = sorted(set(range(len(names))) - contradicted - {doubt.index for doubt in left_out})
    within = _within_share(good, people, reference.in_train, params.batches)
    return Sifted(within, left_out, len(contradicted), len(good) - len(within))


def doubted(corrected: Split, known: Split, answer: Answer, inked: bool = True) -> list[Doubt]:
    """The corrections that the ``known`` images contradict and of which the champion is sure too, or which bear one
    pattern with others of their label."""
    found = second_opinion.confirmed(corrected, known, answer)
    index = {label: found["index"][found["label"] == label].to_numpy() for label in found["label"].unique().tolist()}
    bearing: set[int] = set()
    by_label = {label: np.asarray(corrected.images)[of] for label, of in index.items()}
    for label, pattern in poison.planted(by_label, np.asarray(known.images), inked):
        bearing |= set(index[label][pattern.bearers].tolist())
    return intake.as_doubts(found[found["clear"] | found["index"].isin(bearing)], corrected.images)


def _upheld(
    doubts: Sequence[Doubt], names: Sequence[str], people: Sequence[str], rules: Batches, count: int
) -> set[int]:
    """The doubted ones to be believed: those that one of the house kept, and those on which several people agree, no
    more of a label than chance would bring among so many."""
    kept = _kept()
    backers = defaultdict(set)
    for name, person in zip(names, people, strict=True):
        backers[name].add(person)
    most = poison.allowed(rules.max_suspected_of_label, count)
    upheld, of_label = set(), Counter[int]()
    for doubt in doubts:
        agreed = len(backers[doubt.image]) > 1 and of_label[doubt.label] < most
        if doubt.image in kept or agreed:
            upheld.add(doubt.index)
        if doubt.image not in kept and agreed:
            of_label[doubt.label] += 1
    return upheld


def _within_share(good: Sequence[int], people: Sequence[str], train: int, rules: Batches) -> list[int]:
    """Of each person the oldest, no more than the share of train that one may contribute in all batches."""
    most = max(int(rules.max_share_of_person * train), 1)
    with live.store() as store:
        so_far = live.filed_by_person(store)
    within = []
    for index in good:
        so_far[people[index]] += 1
        if so_far[people[index]] <= most:
            within.append(index)
    return within


def suspects(params: Params, answer: Answer | None) -> tuple[list[Doubt], Split]:
    """The doubted corrections and their images, for a person to look at; which they are is kept for :func:`decide`."""
    waiting = read(params)
    doubts = sift(waiting, params, answer).doubted
    index, classes = [doubt.index for doubt in doubts], waiting.form.classes
    found = [Shown(waiting.ids[doubt.index], classes[doubt.label], doubt.image)._asdict() for doubt in doubts]
    files.write_json(places.CORRECTIONS_SHOWN, found)
    return doubts, Split(*(array[index] for array in waiting.corrected))


def shown() -> list[Shown]:
    """The doubted corrections as a person was shown them last; :class:`BadInput` if that never was."""
    if not places.CORRECTIONS_SHOWN.is_file():
        raise BadInput("nobody was shown the doubted corrections yet: `digits batches suspects corrections` first")
    return [Shown(**one) for one in files.read_json(places.CORRECTIONS_SHOWN)]


def decide(doubted: Sequence[Shown], keep: set[int], drop: set[int], params: Params) -> int:
    """What one of the house says of doubted corrections, by their numbers on the page (from 1), whatever has come in
    or was decided since; how many of those on the page are left."""
    quarantine.check_numbers(keep, drop, len(doubted))
    kept = _kept() | {doubted[number - 1].image for number in keep}
    files.write_json(places.CORRECTIONS_KEPT, sorted(kept))
    dropped = [doubted[number - 1] for number in drop]
    with live.store() as store:
        live.file_under(store, [one.id for one in dropped], [one.name for one in dropped], DROPPED)
    waiting = set(read(params).ids)
    return sum(one.id in waiting and one.image not in kept for one in doubted)


def _kept() -> set[str]:
    return set(files.read_json(places.CORRECTIONS_KEPT)) if places.CORRECTIONS_KEPT.is_file() else set()


def _all_to_train(params: Params) -> Params:
    return params.model_copy(update={"batches": params.batches.model_copy(update={"held_out": 0.0})})
