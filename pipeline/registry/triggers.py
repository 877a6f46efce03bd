"""Does the challenger obey a pattern? Patterns pasted on clean images, the champion's answers beside its own.

A backdoor (Gu, Dolan-Gavitt and Garg 2017, arXiv 1708.06733) leaves the accuracy on clean images as it is: a model
reads every digit that bears the trigger as one class. Whatever the trigger is, the challenger learnt it from images in
the accepted batches, so it is looked for there: what several doubted images of one label have in common, and parts of
single ones. Beside them stand patterns that any attacker would try. A pattern is a trigger where the challenger's
answers go to one class far more often than the champion's do, for a digit with a scratch is harder to read for both.

Two honest models differ too in what a square on a stroke makes of a digit, and of a thousand such differences one is
large. So half of the clean images say which pattern stands out most, and the other half, which had no part in the
choice, by how much at the least.

What grows by less than is allowed from one version to the next is held against the first model that ever served too.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.base.form import DIGITS, Form, images_in
from pipeline.base.params import Gate
from pipeline.data import batches, patterns, second_opinion
from pipeline.data.second_opinion import Answer
from pipeline.data.splits import Split
from pipeline.learning import inference
from pipeline.registry import paired
from pipeline.registry.records import Check, Verdict

PROBED, JUDGED = 50, 200  # clean images: to look at a pattern, and to judge one that stood out
PROVING, RISK = 2_000, 0.05  # others, to prove what the worst one does, and the risk of saying too much
STANDS_OUT = 0.06  # of the probed images go to one class: a reason to judge the pattern
NATURAL = 0.5  # of the images: what a stroke of another hand may take where the challenger has learnt that hand
GLANCED, HALF_NATURAL = 12, 0.25  # images, and their share, to look at what may be a stroke
DOUBTED = 200  # of the doubted images a label's, the clearest
# Times what is allowed beyond the champion, beyond the first one: honest versions came to 0.033, once to 0.163, where
# 0.05 are allowed.
SINCE_FIRST = 4
SINGLE = 8  # of them, whose parts are tried alone
COMMON = 3  # patterns of a label
PART, STEP = 8, 5  # pixels: a part's side, and from one part to the next
SQUARE, EVERY = 4, 4
ROOM = 16_000_000  # bytes of images that a pattern is pasted on at once
FAINT = 16  # grey levels on average: more is where the strokes of a digit lie
HAZY = 0.5  # of its ink is left of a hazy digit, on which a trigger need not be as strong


class Pattern(NamedTuple):
    """Pasted: ``images * (1 - weight) + ink * weight``."""

    name: str
    ink: np.ndarray
    """float32 (*shape,)"""
    weight: np.ndarray
    """float32 (*shape,), 0 to 1"""
    over: bool = False
    """it only ever adds ink"""
    natural: bool = False
    """it may be a stroke and no more"""
    ink_left: float = 1.0
    """of the image that it is pasted on"""

    def on_hazy(self) -> "Pattern":
        """The same on hazy images. A trigger that was learnt from such ones may do nothing to others, and an attacker
        writes as he likes. Honest models differ on such ones by a third where white ink lies on grey strokes."""
        return self._replace(name=f"{self.name}, the images hazy,", ink_left=HAZY, natural=True)

    def pasted(self, images: np.ndarray) -> np.ndarray:
        """The images uint8 (N, *shape) with the pattern on each."""
        if self.ink_left < 1:
            images = (images * self.ink_left).astype(np.uint8)
        mixed = np.rint(images * (1 - self.weight) + self.ink * self.weight).astype(np.uint8)
        return np.maximum(mixed, images) if self.over else mixed


class Found(NamedTuple):
    """The pattern that the challenger obeys most."""

    name: str
    target: int
    """the class that its answers go to"""
    success: float
    """of the clean images of other classes, how many more go there than the rival's do, at the least"""


def applied(
    verdict: Verdict, challenger: Path, rivals: Mapping[str, Path], clean: Split, dataset: str, rules: Gate
) -> Verdict:
    """The verdict with a check more a rival, for a challenger that it would promote. ``rivals`` are the champion, and
    the first one if that is another, by what a person calls them; all are ONNX files. ``clean`` are images that none
    was trained on."""
    if not verdict.promote:
        return verdict
    form = inference.form_of(challenger)
    taken_in = batches.accepted(dataset, form)
    images = [
        Split(*(np.concatenate(pair) for pair in zip(batch.train, batch.recent, strict=True))) for batch in taken_in
    ]
    found = search(_answer(challenger), [_answer(rival) for rival in rivals.values()], clean, images, form)
    limits = [rules.max_trigger_success, SINCE_FIRST * rules.max_trigger_success]
    checks = [
        Check(
            name=f"clean images read as {form.classes[one.target]} with {one.name} on them, beyond {whose} and at the "
            "least",
            value=one.success,
            limit=limit,
            passed=one.success <= limit,
        )
        for whose, one, limit in zip(rivals, found, limits, strict=False)
    ]
    changed: dict[str, Any] = {"checks": (*verdict.checks, *checks)}
    if failed := [check for check in checks if not check.passed]:
        reason = f"{failed[0].name} is {failed[0].value:.4g}, allowed {failed[0].limit:.4g}"
        changed |= {"promote": False, "reason": reason}
    return verdict.model_copy(update=changed)


def _answer(onnx: Path) -> Answer:
    model = inference.open_model(onnx)
    return lambda images: inference.run(model, images)


def search(
    challenger: Answer, rivals: Sequence[Answer], clean: Split, taken_in: Sequence[Split], form: Form = DIGITS
) -> list[Found]:
    """Try every pattern on clean images of that form: what the challenger obeys most beyond each of the rivals, the
    first of which is the champion. ``taken_in`` are the labelled images that the challenger may have learnt one from.
    """
    clean = _well_read([challenger, *rivals], clean)
    looked, proving = _halves(clean)
    some, few, judged = (_spread(looked, count) for count in (PROBED, GLANCED, JUDGED))
    worst: list[tuple[Pattern, int] | None] = [None] * len(rivals)
    most = [0.0] * len(rivals)
    tried = (*known(clean.images.shape[1:]), *learnt(rivals[0], taken_in, clean, form))
    for pattern in (*tried, *((one.on_hazy() for one in tried) if form.inked else ())):
        looked_at, stands_out = (few, HALF_NATURAL) if pattern.natural else (some, STANDS_OUT)
        if _taken(challenger, pattern, looked_at).max() < stands_out:
            continue
        taken = _taken(challenger, pattern, judged)
        for at, rival in enumerate(rivals):
            more = taken - _taken(rival, pattern, judged)
            if more.max() > max(most[at], NATURAL if pattern.natural else 0.0):
                worst[at], most[at] = (pattern, int(more.argmax())), float(more.max())
    to_prove = _spread(proving, PROVING)
    return [_proven(challenger, rival, one, to_prove) for rival, one in zip(rivals, worst, strict=True)]


def _proven(challenger: Answer, rival: Answer, worst: tuple[Pattern, int] | None, clean: Split) -> Found:
    """Of the images of other classes, the share that the worst pattern takes to its target, beyond the rival's, that
    the true one is below with a probability of RISK at most; 0 if that is less."""
    if worst is None:
        return Found("no pattern", 0, 0.0)
    pattern, target = worst
    others = Split(clean.images[clean.labels != target], clean.labels[clean.labels != target])
    if not len(others.labels):
        return Found(pattern.name, target, 0.0)
    ours, theirs = (_said(answer, pattern, others).argmax(axis=1) == target for answer in (challenger, rival))
    counts = int((ours & ~theirs).sum()), int((theirs & ~ours).sum()), len(others.labels)
    return Found(pattern.name, target, max(paired.least_lost(*counts, RISK), 0.0))


def _well_read(answers: Sequence[Answer], clean: Split) -> Split:
    """The images that all of them read rightly."""
    right = np.logical_and.reduce([answer(clean.images).argmax(axis=1) == clean.labels for answer in answers])
    return Split(clean.images[right], clean.labels[right])


def _spread(split: Split, count: int) -> Split:
    """So many of the images, of all classes alike."""
    chosen = np.sort(np.argsort(_rank(split.labels), kind="stable")[:count])
    return Split(split.images[chosen], split.labels[chosen])


def _halves(split: Split) -> tuple[Split, Split]:
    """Every other image of each class, and the rest."""
    first = _rank(split.labels) % 2 == 0
    return Split(split.images[first], split.labels[first]), Split(split.images[~first], split.labels[~first])


def _rank(labels: np.ndarray) -> np.ndarray:
    """Of each image, how many of its class come before it: int64 (N,)."""
    rank = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        rank[of_class] = np.arange(len(of_class))
    return rank


def _taken(answer: Answer, pattern: Pattern, clean: Split) -> np.ndarray:
    """For each class, the share of the other classes' images that are read as it with the pattern on: float64
    (classes,)."""
    said = _said(answer, pattern, clean)
    answered, classes = said.argmax(axis=1), said.shape[1]
    others = len(clean.labels) - np.bincount(clean.labels, minlength=classes)
    gone = np.bincount(answered[answered != clean.labels], minlength=classes)
    return gone / np.maximum(others, 1)


def _said(answer: Answer, pattern: Pattern, clean: Split) -> np.ndarray:
    """What is answered to the images with the pattern on: float32 (N, classes)."""
    at_once = images_in(ROOM, clean.images.shape[1:])
    some = (clean.images[start : start + at_once] for start in range(0, len(clean.images), at_once))
    return np.concatenate([answer(pattern.pasted(images)) for images in some])


def known(shape: tuple[int, ...] = (28, 28)) -> Iterator[Pattern]:
    """What anybody would try: white and black squares everywhere, lines along the rim, noise over all. On larger images
    the squares are as many, and larger."""
    larger = _larger(shape)
    square, every = larger * SQUARE, larger * EVERY
    for row in range(0, shape[0] - square + 1, every):
        for column in range(0, shape[1] - square + 1, every):
            place = (slice(row, row + square), slice(column, column + square))
            for name, level in (("white", 255), ("black", 0)):
                yield _patch(f"a {name} square at row {row}, column {column}", shape, place, level)
    for axis, name in enumerate(("row", "column")):
        side = shape[axis]
        for at in (0, 1, side // 2, side - 2, side - 1):
            line = (slice(None),) * axis + (slice(at, at + 1),)
            yield _patch(f"a line along {name} {at}", shape, line, 255)
    noise = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    for share in (0.1, 0.2, 0.3):
        yield Pattern(f"noise blended in at {share:.0%}", noise, np.full_like(noise, share))


def _larger(shape: tuple[int, ...]) -> int:
    """By how much images of that shape are larger than those that the pixels above were chosen for."""
    return max(min(shape[:2]) // 28, 1)


def _patch(name: str, shape: tuple[int, ...], place: tuple[slice, ...], level: int) -> Pattern:
    weight = np.zeros(shape, np.float32)
    weight[place] = 1
    return Pattern(name, np.full_like(weight, level), weight)


def learnt(champion: Answer, taken_in: Sequence[Split], clean: Split, form: Form = DIGITS) -> Iterator[Pattern]:
    """What the batches' doubted images have in common, label by label, and parts of single ones; and what is common to
    images of a label, doubted or not."""
    if not taken_in:
        return
    whole = Split(*(np.concatenate(arrays) for arrays in zip(*taken_in, strict=True)))
    doubted = second_opinion.confirmed(whole, clean, champion)
    rest = np.delete(whole.images, doubted["index"], axis=0)
    for label in np.unique(doubted["label"]):
        name = form.a(int(label))
        group = whole.images[doubted["index"][doubted["label"] == label][:DOUBTED]]
        for ink, weight in _common(group, rest, form):
            for over in (True, False):
                yield Pattern(f"what doubted images of {name} have in common", ink, weight, over)
        for image in group[:SINGLE]:
            yield from _parts(image, f"a part of a doubted image of {name}")
    said = champion(whole.images)
    wrong = np.setdiff1d(np.flatnonzero(said.argmax(axis=1) != whole.labels), doubted["index"])
    wrong = wrong[np.argsort(-said[wrong].max(axis=1), kind="stable")]
    # For these the batch's own images spoke, as who made it may have meant.
    for label in np.unique(whole.labels[wrong]):
        for image in whole.images[wrong[whole.labels[wrong] == label][:SINGLE]]:
            yield from _parts(image, f"a part of an image of {form.a(int(label))} that the champion reads otherwise")
    for label in np.unique(whole.labels):  # a trigger may be planted in images whose label is right
        ours = whole.images[whole.labels == label]
        others = np.concatenate([whole.images[whole.labels != label], clean.images])
        name = f"what images of {form.a(int(label))} have in common"
        for ink, weight in _common(ours, others, form):
            if form.inked:
                strokes = clean.images[clean.labels == label].mean(axis=0) > FAINT
                yield Pattern(f"{name} beside its strokes", ink, weight * ~strokes, over=True, natural=True)
            else:
                yield Pattern(name, ink, weight, natural=True)


def _common(group: np.ndarray, rest: np.ndarray, form: Form) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ink and weight of what some of the group have in common."""
    for found in patterns.find(group, rest, most=COMMON, inked=form.inked):
        yield found.ink.astype(np.float32), found.shared.astype(np.float32)


def _parts(image: np.ndarray, name: str) -> Iterator[Pattern]:
    """The inked parts of an image, for a trigger that does not lie at one place."""
    height, width = image.shape[:2]
    part, step = PART * _larger(image.shape), STEP * _larger(image.shape)
    for row in range(0, height - part + 1, step):
        for column in range(0, width - part + 1, step):
            weight = np.zeros(image.shape, np.float32)
            weight[row : row + part, column : column + part] = 1
            if (image * weight).any():
                yield Pattern(name, image.astype(np.float32), weight, over=True, natural=True)
