"""Which images are nearly the same as others? What differs by a grey level here and there is the same image again.

Nearly is a Euclidean distance of at most NEAR_LEVELS on each pixel, 100 in all for 28×28. It was chosen by measurement:
two different images of MNIST's train and test lie 211 apart or more (half of the test images 1,105 or more from their
nearest neighbour), of the embedded digits 332, and one that was changed by one level all over, less than 30.

Candidates are found by the means of 7×7 blocks, seen along the directions in which they vary most: there, images lie no
further apart than their distance over the root of a block's pixels. In a k-d tree, and so that none is missed.
"""

import math
from collections.abc import Iterator

import cv2
import numpy as np
from scipy.spatial import cKDTree

from pipeline.base.stored import Images
from pipeline.data.splits import CHUNK

NEAR_LEVELS = 100 / 28  # grey levels on each value of an image, root mean square
BLOCKS = 7  # down and across
DIRECTIONS = 12
HAIR = 1.001  # times the distance, so that no rounding loses what lies on the edge; the pixels decide


def find(images: Images, others: Images, since: tuple[np.ndarray, np.ndarray] | None = None) -> np.ndarray:
    """Which of the ``images`` uint8 (N, *shape) are nearly the same as one of the ``others``: bool (N,).

    With ``since``, when each of the images and of the others came, only others that were there before count.
    """
    found = np.zeros(len(images), bool)
    if not len(images) or not len(others):
        return found
    if len(others) <= len(images):  # the tree is of the fewer, and the many pass by
        for row, near in Among(others).near(images):
            found[row] |= since is None or bool((since[1][near] < since[0][row]).any())
        return found
    for row, near in Among(images).near(others):
        found[near] |= since is None or since[1][row] < since[0][near]
    return found


class Among:
    """Images that others are held against."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self.nearest = NEAR_LEVELS * math.sqrt(math.prod(images.shape[1:]))
        height, width, colours = _block(images.shape[1:])
        self.apart = HAIR * self.nearest / math.sqrt(height * width * colours)
        means = _means(images)
        self.middle = means.sum(axis=0) / max(len(images), 1)
        around = means - self.middle
        self.directions = np.linalg.eigh(around.T @ around)[1][:, -DIRECTIONS:]  # the largest last
        self.tree = cKDTree(self._seen(means))

    def _seen(self, means: np.ndarray) -> np.ndarray:
        seen: np.ndarray = (means - self.middle) @ self.directions
        return seen

    def has(self, asked: Images) -> np.ndarray:
        """Which of the images uint8 (N, *shape) are nearly the same as one of these: bool (N,)."""
        found = np.zeros(len(asked), bool)
        found[[row for row, _ in self.near(asked)]] = True
        return found

    def near(self, asked: Images) -> Iterator[tuple[int, np.ndarray]]:
        """Of each image asked about, uint8 (N, *shape), that is nearly the same as some: its place, and theirs."""
        for start in range(0, len(asked) if len(self.images) else 0, CHUNK):
            images = asked[start : start + CHUNK]
            seen = self._seen(_means(images))
            nearest, _ = self.tree.query(seen, distance_upper_bound=self.apart)  # few are near enough to look at
            some = np.flatnonzero(np.isfinite(nearest))
            for row, candidates in zip(some.tolist(), self.tree.query_ball_point(seen[some], self.apart), strict=True):
                places = np.asarray(candidates)
                differences = self.images[places].astype(np.int32) - images[row].astype(np.int32)
                squares = np.square(differences).sum(axis=tuple(range(1, images.ndim)))
                if (near := places[squares <= self.nearest**2]).size:
                    yield start + row, near


def _block(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The height and width of a block of images of that shape, and their colours."""
    return max(shape[0] // BLOCKS, 1), max(shape[1] // BLOCKS, 1), math.prod(shape[2:])


def _means(images: Images) -> np.ndarray:
    """The mean of each block, all colours alike; what is left of the sides is left out: float32 (N, blocks)."""
    height, width, colours = _block(images.shape[1:])
    down, across = min(BLOCKS, images.shape[1]), min(BLOCKS, images.shape[2])
    means = np.empty((len(images), down * across), np.float32)
    for start in range(0, len(images), CHUNK):
        inner = images[start : start + CHUNK][:, : down * height, : across * width]
        grey = inner.mean(axis=3, dtype=np.float32) if colours > 1 else inner.astype(np.float32)
        column = np.ascontiguousarray(grey).reshape(-1, across * width)  # of images: resized in one go
        size = across, len(inner) * down
        means[start : start + CHUNK] = cv2.resize(column, size, interpolation=cv2.INTER_AREA).reshape(len(inner), -1)
    return means
