"""Do some images bear one pattern, at one place, that others do not?

A trigger (Gu, Dolan-Gavitt and Garg 2017, BadNets, arXiv 1708.06733; Chen et al. 2017, arXiv 1712.05526) is the same
pixels in every image that bears it, and hands do not draw the same pixels twice. So the pixels themselves are compared,
a small window at a time.
"""

import math
from typing import NamedTuple

import numpy as np

WINDOW = 3  # pixels a side
MOST_PLACES = 64  # of windows in a row: on larger images they lie further apart, and a pattern there is larger too
LEVELS = 16  # grey levels told apart
ALIKE = 16  # grey levels: pixels that differ by less are the same
AGREED = 0.75  # of the bearers have that pixel
OTHERS = 3000  # images are enough to say how common a window is


class Pattern(NamedTuple):
    """What some images of a group have in common."""

    bearers: np.ndarray
    """which of the group: integer (M,)"""
    chance: float
    """natural logarithm of the probability that so many of the group bear it, were they drawn from all"""
    ink: np.ndarray
    """uint8 (*shape,)"""
    shared: np.ndarray
    """the values that the bearers have in common, and that are not the others': bool (*shape,)"""


def contents(images: np.ndarray, inked: bool = True) -> np.ndarray:
    """The content of each window of each image as a number: int64 (N, windows); 0 is bare paper, where images are
    ``inked``. Of colours the mean is looked at."""
    apart = math.ceil(max(images.shape[1:3]) / MOST_PLACES)
    height, width = (side - WINDOW + 1 for side in images.shape[1:3])
    found = np.full((len(images), math.ceil(height / apart), math.ceil(width / apart)), 0 if inked else 1, np.int64)
    for row in range(WINDOW):
        for column in range(WINDOW):
            levels = images[:, row : row + height : apart, column : column + width : apart]
            found *= LEVELS
            found += (levels if levels.ndim == 3 else levels.mean(axis=3).astype(np.uint8)) // (256 // LEVELS)
    return found.reshape(len(images), -1)


def find(group: np.ndarray, others: np.ndarray, least: int = 2, most: int = 1, inked: bool = True) -> list[Pattern]:
    """The patterns that set at least ``least`` images of a group most apart from others: uint8 (N, *shape) both. At
    most ``most``, the clearest first; the bearers of one are left out for the next.

    For each window that several of the group have alike, the hypergeometric probability that just as many of the group
    would have it by chance.
    """
    from scipy.stats import hypergeom

    others = others[:: max(1, len(others) // OTHERS)]
    ours, theirs = contents(group, inked), np.sort(contents(others, inked), axis=0)
    left, found = np.arange(len(group)), list[Pattern]()
    while len(left) >= least and len(found) < most:
        table = _shared_windows(ours[left], theirs, least)
        if not len(table):
            break
        chances = hypergeom.logpmf(table[:, 2], len(left) + len(theirs), table[:, 3], len(left))
        best = int(chances.argmin())
        bearing = ours[left, table[best, 0]] == table[best, 1]
        ink, shared = in_common(group[left[bearing]], others)
        found.append(Pattern(left[bearing], float(chances[best]), ink, shared))
        left = left[~bearing]
    return found


def _shared_windows(ours: np.ndarray, theirs: np.ndarray, least: int) -> np.ndarray:
    """A row for each content of a window that at least ``least`` of ours have, and more often than ``theirs``, which
    are sorted: place, content, how many of ours bear it, how many of all."""
    rows = [np.empty((0, 4), np.int64)]
    for place in range(ours.shape[1]):
        values, counts = np.unique(ours[:, place], return_counts=True)
        values, counts = values[(counts >= least) & (values > 0)], counts[(counts >= least) & (values > 0)]
        column = theirs[:, place]
        elsewhere = np.searchsorted(column, values, "right") - np.searchsorted(column, values, "left")
        more = counts * len(theirs) > elsewhere * len(ours)
        table = np.stack([np.full(len(values), place), values, counts, counts + elsewhere], axis=1)
        rows.append(table[more])
    return np.concatenate(rows)


def in_common(bearers: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bearers' median image, and which of its pixels most of them have and the others have not."""
    ink = np.median(bearers, axis=0)
    agreed = (np.abs(bearers - ink) < ALIKE).mean(axis=0) >= AGREED
    usual = (np.abs(others - ink) < ALIKE).mean(axis=0) >= AGREED
    return ink.astype(np.uint8), agreed & ~usual
