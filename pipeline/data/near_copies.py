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
from pipeline.data import splits
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
        among = Among(others)
        if since is None:
            return among.has(images)
        for row, near in among.near(images):
            found[row] |= bool((since[1][near] < since[0][row]).any())
        return found
    for row, near in Among(images).near(others):
        found[near] |= since is None or since[1][row] < since[0][near]
    return found


class Among:
    """Images that others are held against. What stands there many times, as a blank image may, is in the tree once."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self.nearest = NEAR_LEVELS * math.sqrt(math.prod(images.shape[1:]))
        height, width, colours = _block(images.shape[1:])
        self.apart = HAIR * self.nearest / math.sqrt(height * width * colours)
        hashes = splits.content_hashes(images)
        self.order = np.argsort(hashes, kind="stable")  # places, equal images one behind the other
        starts = np.flatnonzero(np.diff(hashes[self.order], prepend=~hashes[self.order[:1]]))
        self.starts = np.append(starts, len(images))
        self.middle, self.directions = _directions(images)
        seen = np.empty((len(images), self.directions.shape[1]))
        for start in range(0, len(images), CHUNK):
            seen[start : start + CHUNK] = self._seen(images[start : start + CHUNK])
        self.tree = cKDTree(seen[self.order[starts]])

    def _seen(self, images: np.ndarray) -> np.ndarray:
        seen: np.ndarray = (_means(images) - self.middle) @ self.directions
        return seen

    def has(self, asked: Images) -> np.ndarray:
        """Which of the images uint8 (N, *shape) are nearly the same as one of these: bool (N,)."""
        found = np.zeros(len(asked), bool)
        for start, images, seen, some, nearest in self._within_reach(asked):
            near = self._near(images[some], self.images[self.order[self.starts[nearest]]])  # mostly it is that one
            found[start + some[near]] = True
            for row in some[~near].tolist():
                found[start + row] = self._alike(images[row], seen[row]).size > 0
        return found

    def near(self, asked: Images) -> Iterator[tuple[int, np.ndarray]]:
        """Of each image asked about, uint8 (N, *shape), that is nearly the same as some: its place, and theirs."""
        for start, images, seen, some, _ in self._within_reach(asked):
            for row in some.tolist():
                if (alike := self._alike(images[row], seen[row])).size:
                    ends = zip(self.starts[alike], self.starts[alike + 1], strict=True)
                    yield start + row, np.concatenate([self.order[first:last] for first, last in ends])

    def _within_reach(self, asked: Images) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """In pieces, where one starts, its images and how they are seen; the rows of those that have any within reach,
        who are few, and the nearest of each, as a leaf of the tree."""
        for start in range(0, len(asked) if len(self.images) else 0, CHUNK):
            images = asked[start : start + CHUNK]
            distances, nearest = self.tree.query(seen := self._seen(images), distance_upper_bound=self.apart)
            some = np.flatnonzero(np.isfinite(distances))
            yield start, images, seen, some, nearest[some]

    def _alike(self, image: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """The leaves of the tree that are nearly the same as the image: int64 (M,)."""
        leaves = np.asarray(self.tree.query_ball_point(seen, self.apart), np.int64)
        return leaves[self._near(image, self.images[self.order[self.starts[leaves]]])]

    def _near(self, images: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Which of the pairs are nearly the same, by all of their pixels: bool (N,)."""
        squares = np.square(others.astype(np.int32) - images.astype(np.int32))
        near: np.ndarray = squares.sum(axis=tuple(range(1, others.ndim))) <= self.nearest**2
        return near


def _directions(images: Images) -> tuple[np.ndarray, np.ndarray]:
    """The middle of the blocks' means float64 (blocks,), and the directions in which these vary most, float64
    (blocks, DIRECTIONS), the largest last."""
    blocks = min(BLOCKS, images.shape[1]) * min(BLOCKS, images.shape[2])
    total, products = np.zeros(blocks), np.zeros((blocks, blocks))
    for start in range(0, len(images), CHUNK):
        means = _means(images[start : start + CHUNK]).astype(np.float64)
        total += means.sum(axis=0)
        products += means.T @ means
    middle = total / max(len(images), 1)
    return middle, np.linalg.eigh(products - len(images) * np.outer(middle, middle))[1][:, -DIRECTIONS:]


def _block(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The height and width of a block of images of that shape, and their colours."""
    return max(shape[0] // BLOCKS, 1), max(shape[1] // BLOCKS, 1), math.prod(shape[2:])


def _means(images: np.ndarray) -> np.ndarray:
    """The mean of each block, all colours alike; what is left of the sides is left out: float32 (N, blocks)."""
    height, width, colours = _block(images.shape[1:])
    down, across = min(BLOCKS, images.shape[1]), min(BLOCKS, images.shape[2])
    inner = images[:, : down * height, : across * width]
    grey = inner.mean(axis=3, dtype=np.float32) if colours > 1 else inner.astype(np.float32)
    column = np.ascontiguousarray(grey).reshape(-1, across * width)  # of images: resized in one go
    means = cv2.resize(column, (across, len(inner) * down), interpolation=cv2.INTER_AREA)
    return np.asarray(means, np.float32).reshape(len(inner), down * across)
