"""Do a batch's labels look as if somebody had made them wrong on purpose?

Wrong labels are counted in absolute numbers, in all, label by label and pair by pair, because a share of the whole
batch hides what is aimed at one class; and they are summed over the batches of one source, and over all, because what
is too much in one batch can be brought in in ten. Doubted images of one label that bear one pattern are found by how
unlikely that is: four are enough where hardly others of that label are doubted, and beside many it takes more of them
(beside 3,000 images that do not bear it: four and 3 others, five and 17, six and 43, eight and 133). Fewer than BEARERS
are never found.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from pipeline.base.form import DIGITS, TEN, Form
from pipeline.base.params import Batches
from pipeline.base.words import counted
from pipeline.data import patterns
from pipeline.data.batches import Doubt, Filed, Finding
from pipeline.data.patterns import Pattern

CHANCE = 0.001  # how often as many as that may come by chance
ONE_PATTERN = -25.0  # natural logarithm of the chance below which a pattern is one
BEARERS = 4


def allowed(share: float, images: int) -> int:
    """How many of so many images are no more than ``share`` of them and chance would bring."""
    from scipy.stats import poisson  # a second of import, and who looks for nothing planted needs none

    return int(poisson.ppf(1 - CHANCE, share * images))


def count(
    doubts: Sequence[Doubt],
    images: int,
    by: str,
    earlier: Sequence[Filed],
    rules: Batches,
    names: Sequence[str] = TEN,
) -> list[Finding]:
    """What is too much of the batch alone; if nothing is, of it with the earlier ones of ``by``, or with all."""
    of_source = [one for one in earlier if one.by == by]
    for what, others in (
        ("batch", []),
        (f"batch: with the {counted(len(of_source), 'earlier one')} by {by}", of_source),
        (f"batch: with the {counted(len(earlier), 'earlier one')}", list(earlier)),
    ):
        every = [*doubts, *(doubt for one in others for doubt in one.doubts)]
        total = images + sum(sum(one.counts.values()) for one in others)
        if findings := list(_too_many([doubt for doubt in every if doubt.clear], total, what, rules, names)):
            return findings
    return []


def _too_many(
    clear: Sequence[Doubt], images: int, what: str, rules: Batches, names: Sequence[str]
) -> Iterable[Finding]:
    limits = {
        "suspected_labels": (rules.max_suspected_labels, Counter("all" for _ in clear)),
        "suspected_of_label": (rules.max_suspected_of_label, Counter(f"label {names[doubt.label]}" for doubt in clear)),
        "suspected_of_pair": (
            rules.max_suspected_of_label / 2,
            Counter(f"{names[doubt.suggested]} labelled {names[doubt.label]}" for doubt in clear),
        ),
    }
    for key, (share, counts) in limits.items():
        most = allowed(share, images)
        for name, number in counts.most_common(1):
            if number > most:
                told = "" if name == "all" else f" ({name})"
                message = (
                    f"{what}: labels: {number:,} of {images:,} are clearly wrong{told}, allowed {most:,}: look at them "
                    "(`digits batches suspects`), then keep or drop them one by one"
                )
                yield Finding(key=key, message=message)


def one_pattern(doubted: dict[int, np.ndarray], others: np.ndarray, form: Form = DIGITS) -> list[Finding]:
    """The labels whose doubted images bear one pattern that the ``others`` do not: ``doubted`` by label, and both uint8
    (N, *shape), of that form."""
    findings = []
    for label, found in planted(doubted, others, form.inked):
        shared = np.asarray(found.shared.reshape(*found.shared.shape[:2], -1).any(axis=2))
        rows, columns = (np.flatnonzero(shared.any(axis=axis)) for axis in (1, 0))
        where = f"rows {rows[0]} to {rows[-1]}, columns {columns[0]} to {columns[-1]}" if len(rows) else "one place"
        message = (
            f"batch: labels: {len(found.bearers)} images labelled {form.classes[label]} that show others bear one "
            f"pattern ({where}): a trigger may be planted in them; look at them (`digits batches suspects`)"
        )
        findings.append(Finding(key="one_pattern", message=message))
    return findings


def planted(doubted: dict[int, np.ndarray], others: np.ndarray, inked: bool = True) -> Iterator[tuple[int, Pattern]]:
    """The patterns that bring so many images of a label together as chance does not, and which label's each is."""
    for label, images in doubted.items():
        for found in patterns.find(images, others, BEARERS, inked=inked):
            if found.chance < ONE_PATTERN:
                yield label, found
