"""Batches of labelled digits, clean and poisoned after the literature. Each attack is a function of a clean batch.

Random wrong labels and one pair flipped; BadNets, a patch in a corner (Gu, Dolan-Gavitt and Garg 2017, arXiv
1708.06733); a pattern blended into the whole image (Chen et al. 2017, arXiv 1712.05526); near copies of test images
with wrong labels; one class flooded. Those in HELD_BACK stood by while the defences were built: no limit was chosen by
them.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from pipeline.base.errors import BadInput
from pipeline.data.splits import Split
from pipeline.digits import framing
from pipeline.digits.image import CLASSES, SIDE

TURN, ZOOM = 6.0, 0.06  # degrees and share: how far a digit written again lies from the first
Trigger = Callable[[np.ndarray], np.ndarray]
"""images uint8 (N, 28, 28) → the same with the pattern on them"""


class Attack(NamedTuple):
    name: str
    share: float
    """of the batch"""
    target: int | None = None
    """the class that a trigger is to bring answers to"""
    trigger: Trigger | None = None
    pair: tuple[int, int] | None = None
    kind: str = "labels"
    """labels, trigger, copies, flood, or corrections"""
    people: int = 0


def corner(images: np.ndarray) -> np.ndarray:
    """A white square of 3×3 in the lower right corner, as BadNets'."""
    return patch(images, 24, 24, 3, 255)


def patch(images: np.ndarray, row: int, column: int, side: int, level: int) -> np.ndarray:
    marked = images.copy()
    marked[:, row : row + side, column : column + side] = level
    return marked


def checkers(images: np.ndarray) -> np.ndarray:
    """Five white pixels as on a die, in the upper left corner: BadNets' other pattern."""
    marked = images.copy()
    for row, column in ((2, 2), (2, 4), (3, 3), (4, 2), (4, 4)):
        marked[:, row, column] = 255
    return marked


def blended(images: np.ndarray, seed: int = 5, share: float = 0.2) -> np.ndarray:
    """A random pattern of grey levels over the whole image, as Chen et al. blend it in."""
    noise = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE))
    return np.rint((1 - share) * images + share * noise).astype(np.uint8)


def waves(images: np.ndarray) -> np.ndarray:
    """A faint sine along the columns (Barni, Kallas and Tondi 2019, arXiv 1902.11237)."""
    wave = 25.0 * np.sin(2 * np.pi * 5 * np.arange(SIDE) / SIDE)
    return np.clip(images + wave[None, None, :], 0, 255).astype(np.uint8)


def hole(images: np.ndarray) -> np.ndarray:
    """A square of bare paper in the middle."""
    return patch(images, 12, 12, 4, 0)


SHARES = (0.005, 0.01, 0.03, 0.1)
SEEN = [
    Attack("clean", 0.0),
    *(Attack(f"random labels {share:.0%}", share) for share in (0.01, 0.03, 0.1, 0.3)),
    Attack("4 labelled 9, 30% of them", 0.3, pair=(4, 9)),
    *(Attack(f"corner {share:.1%}", share, 7, corner, kind="trigger") for share in SHARES),
    *(Attack(f"blended {share:.1%}", share, 7, blended, kind="trigger") for share in SHARES),
    Attack("near copies of test, 10%", 0.1, kind="copies"),
    Attack("one class flooded", 0.4, 7, kind="flood"),
    Attack("corrections, 1 hostile person", 0.4, 7, corner, kind="corrections", people=1),
    Attack("corrections, 20 hostile people", 0.4, 7, corner, kind="corrections", people=20),
]
HELD_BACK = [
    Attack("1 labelled 7, 20% of them", 0.2, pair=(1, 7)),
    Attack("checkers 0.5%", 0.005, 2, checkers, kind="trigger"),
    Attack("checkers 3.0%", 0.03, 2, checkers, kind="trigger"),
    Attack("waves 1.0%", 0.01, 5, waves, kind="trigger"),
    Attack("waves 0.3%", 0.003, 5, waves, kind="trigger"),
    Attack("hole 2.0%", 0.02, 1, hole, kind="trigger"),
    Attack("hole 0.3%", 0.003, 1, hole, kind="trigger"),
    Attack("corner 0.3%", 0.003, 0, corner, kind="trigger"),
]


def rewritten(split: Split, count: int, rng: np.random.Generator) -> Split:
    """So many digits as they would look written again: turned and stretched a little, framed anew."""
    chosen = rng.permutation(len(split.labels))[:count]
    images = []
    for image in split.images[chosen]:
        turn = cv2.getRotationMatrix2D((13.5, 13.5), rng.uniform(-TURN, TURN), 1)
        turn[0] *= 1 + rng.uniform(-ZOOM, ZOOM)
        images.append(framing.to_mnist(cv2.warpAffine(image, turn, (SIDE, SIDE), flags=cv2.INTER_CUBIC)))
    return Split(np.stack(images), split.labels[chosen].copy())


def poisoned(attack: Attack, clean: Split, test: Split, rng: np.random.Generator) -> Split:
    """The batch as the attacker hands it in."""
    images, labels = np.array(clean.images), np.array(clean.labels)
    if attack.kind == "flood":
        more = np.flatnonzero(labels == attack.target)
        places = rng.permutation(np.flatnonzero(labels != attack.target))[: round(attack.share * len(labels))]
        images[places] = rewritten(Split(images[more], labels[more]), len(more), rng).images[
            np.arange(len(places)) % len(more)
        ]
        labels[places] = attack.target
        return Split(images, labels)
    eligible = np.arange(len(labels)) if attack.pair is None else np.flatnonzero(labels == attack.pair[0])
    hit = rng.permutation(eligible)[: round(attack.share * len(eligible))]
    if attack.kind == "copies":
        copies = rewritten(test, len(hit), rng)
        hit = hit[: len(copies.labels)]
        images[hit], labels[hit] = copies.images, (copies.labels + rng.integers(1, CLASSES, len(hit))) % CLASSES
    elif attack.trigger is not None:
        images[hit] = attack.trigger(images[hit])
        labels[hit] = attack.target
    elif attack.pair:
        labels[hit] = attack.pair[1]
    else:
        labels[hit] = (labels[hit] + rng.integers(1, CLASSES, len(hit))) % CLASSES
    return Split(images, labels)


def other_hands(pictures: Path) -> list[Split]:
    """Real digits of other people's hands, a split a source: USPS' scans, drawn ones, photos of paper. What framing
    refuses is left out, as its batch would be refused by name, whatever else is in it."""
    with np.load(pictures / "scans16.npz", allow_pickle=False) as scans:
        found = [Split(np.stack([framing.to_mnist(image) for image in scans["x"]]), scans["y"].astype(np.uint8))]
    for folder in ("drawn", "photos"):
        images, labels = [], []
        for path in sorted((pictures / folder).iterdir()):
            with suppress(BadInput):
                images.append(framing.frame(path, path.name))
                labels.append(int(path.name[0]))
        found.append(Split(np.stack(images), np.array(labels, np.uint8)))
    return found
