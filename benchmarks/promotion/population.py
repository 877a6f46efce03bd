"""Models whose true accuracy is known, and their mistakes on one test set.

A share of all images, HARD, is hard: on each of them a model of the usual quality errs with a probability of its own,
drawn from Beta(0.1, 0.7), so that models agree on most of what they get wrong, as real ones do. On average that is one
error in 200. A worse model errs more on every hard image, a better one less. Whether a model errs on an image is its
own draw, which is what its seed decides.

Arrays have a row for each simulated run: everything is done for all runs at once.
"""

from typing import NamedTuple

import numpy as np

HARD = 0.04
DIFFICULTY = (0.1, 0.7)
USUAL = HARD * DIFFICULTY[0] / sum(DIFFICULTY)
"""the error rate of a model of the usual quality: 0.005"""


class HeldOut(NamedTuple):
    """A test set for each run."""

    images: int
    difficulty: np.ndarray
    """of each hard image, for a model of the usual quality: float32 (runs, most); 0 where a run has fewer"""
    there: np.ndarray
    """bool (runs, most)"""


def held_out(rng: np.random.Generator, runs: int, images: int) -> HeldOut:
    hard = rng.binomial(images, HARD, runs)
    there = np.arange(hard.max())[None] < hard[:, None]
    return HeldOut(images, (rng.beta(*DIFFICULTY, there.shape) * there).astype(np.float32), there)


def grown(rng: np.random.Generator, sets: HeldOut, images: int) -> HeldOut:
    """With so many more images."""
    more = held_out(rng, len(sets.there), images)
    difficulty = np.concatenate([sets.difficulty, more.difficulty], axis=1)
    return HeldOut(sets.images + images, difficulty, np.concatenate([sets.there, more.there], axis=1))


def chances(sets: HeldOut, worse: np.ndarray) -> np.ndarray:
    """How likely a model that is ``worse`` by so much, float (runs,), errs on each hard image: float32 (runs, most)."""
    up, down = (np.maximum(way * worse, 0).astype(np.float32)[:, None] for way in (1, -1))
    likely = sets.difficulty * (1 - up / (HARD - USUAL)) + up / (HARD - USUAL) if up.any() else sets.difficulty
    return likely * (1 - down / USUAL) * sets.there if down.any() else likely * sets.there


def mistakes(rng: np.random.Generator, sets: HeldOut, worse: np.ndarray) -> np.ndarray:
    """On which hard images a new model errs: bool (runs, most)."""
    return rng.random(sets.there.shape, np.float32) < chances(sets, worse)


def accuracy(sets: HeldOut, wrong: np.ndarray) -> np.ndarray:
    """As measured on the test set: float (runs,)."""
    measured: np.ndarray = 1 - wrong.sum(axis=1) / sets.images
    return measured
