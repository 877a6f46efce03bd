"""Which images are nearly the same as others? What differs by a grey level here and there is the same image again.

Nearly is a Euclidean distance of at most NEAR_LEVELS on each pixel, 100 in all for 28×28. It was chosen by measurement:
two different images of MNIST's train and test lie 211 apart or more (half of the test images 1,105 or more from their
nearest neighbour), of the embedded digits 332, and one that was changed by one level all over, less than 30.

Candidates are found by the means of 7×7 blocks, seen along the directions in which they vary most: there, images lie no
further apart than their distance over the root of a block's pixels. What could be so near lies in the same cell of a
grid along the first of the directions, where all are held against all in one product of matrices: so that none is
missed, and several times faster than a k-d tree, which has to open many boxes in so many directions.
"""

import math
from collections.abc import Iterator

import cv2
import numpy as np

from pipeline.base.stored import Images
from pipeline.data import splits
from pipeline.data.splits import CHUNK

NEAR_LEVELS = 100 / 28  # grey levels on each value of an image, root mean square
BLOCKS = 7  # down and across
DIRECTIONS, AXES = 16, 3  # by which candidates are found, and of the grid
STEPS = 1 << 20 * np.arange(AXES)  # from a cell to its neighbours along the axes: a cell is one number
HAIR = 1.02  # times the distance, so that no rounding of float32 loses what lies on the edge; the pixels decide
BATCH = 1 << 16  # images whose candidates are looked for in one go
PAIRS = 1 << 22  # that are held against each other in one product


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
    """Images that others are held against. What stands there many times, as a blank image may, is compared once."""

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
        self.seen = self._seen(images)[self.order[starts]]
        self.halves = np.square(self.seen).sum(axis=1) / 2
        axes = min(AXES, self.seen.shape[1])
        corners = np.array(np.meshgrid(*[[0, 1]] * axes)).reshape(axes, -1).T @ STEPS[:axes]
        reached = (self._cells(self.seen - self.apart)[:, None] + corners).ravel()  # at most two along each axis
        by_cell = np.argsort(reached, kind="stable")
        self.leaves = (by_cell // len(corners)).astype(np.int32)  # places in seen
        self.cells, first = np.unique(reached[by_cell], return_index=True)
        self.first = np.append(first, len(by_cell))

    def _seen(self, images: Images) -> np.ndarray:
        """float32 (N, DIRECTIONS)"""
        seen = np.empty((len(images), self.directions.shape[1]), np.float32)
        for start in range(0, len(images), CHUNK):
            seen[start : start + CHUNK] = (_means(images[start : start + CHUNK]) - self.middle) @ self.directions
        return seen

    def _cells(self, seen: np.ndarray) -> np.ndarray:
        """int64 (N,)"""
        cells: np.ndarray = np.floor(seen[:, :AXES] / (2 * self.apart)).astype(np.int64) @ STEPS[: seen.shape[1]]
        return cells

    def has(self, asked: Images) -> np.ndarray:
        """Which of the images uint8 (N, *shape) are nearly the same as one of these: bool (N,)."""
        found = np.zeros(len(asked), bool)
        for rows, images, seen, nearest, alone in self._within_reach(asked):
            near = self._near(images, self.images[self.order[self.starts[nearest]]])  # mostly it is that one, or none
            found[rows[near]] = True
            for at in np.flatnonzero(~near & ~alone).tolist():
                found[rows[at]] = self._alike(images[at], seen[at]).size > 0
        return found

    def near(self, asked: Images) -> Iterator[tuple[int, np.ndarray]]:
        """Of each image asked about, uint8 (N, *shape), that is nearly the same as some: its place, and theirs."""
        for rows, images, seen, _, _ in self._within_reach(asked):
            for row, image, at in zip(rows.tolist(), images, seen, strict=True):
                if (alike := self._alike(image, at)).size:
                    ends = zip(self.starts[alike], self.starts[alike + 1], strict=True)
                    yield row, np.concatenate([self.order[first:last] for first, last in ends])

    def _within_reach(self, asked: Images) -> Iterator[tuple[np.ndarray, ...]]:
        """In pieces, the places of those that have any within reach, who are few; their images, how they are seen, the
        nearest of each, as a leaf, and whether that is the only one."""
        for start in range(0, len(asked) if len(self.images) else 0, BATCH):
            seen = self._seen(asked[start : start + BATCH])
            nearest, alone = self._nearest(seen)
            some = np.flatnonzero(nearest >= 0)
            for at in range(0, len(some), CHUNK):
                few = some[at : at + CHUNK]
                yield start + few, asked[start + few], seen[few], nearest[few], alone[few]

    def _nearest(self, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The nearest leaf within reach of each, else -1, and whether it is the only one: int64 and bool (N,)."""
        nearest, alone = np.full(len(seen), -1), np.ones(len(seen), bool)
        cells = self._cells(seen)
        order = np.argsort(cells, kind="stable")
        asked, first = np.unique(cells[order], return_index=True)
        ends = zip(asked, first, np.append(first, len(order))[1:], strict=True)
        for cell, begin, end in ends:
            leaves = self._in(cell)
            step = max(PAIRS // max(len(leaves), 1), 1)
            for at in range(begin, end if len(leaves) else begin, step):
                rows = order[at : min(at + step, end)]
                closeness, limits = self._closeness(seen[rows], leaves), self._limits(seen[rows])
                best = closeness.argmax(axis=1)
                near = np.flatnonzero(closeness[np.arange(len(rows)), best] >= limits)
                nearest[rows[near]] = leaves[best[near]]
                alone[rows[near]] = (closeness[near] >= limits[near, None]).sum(axis=1) == 1
        return nearest, alone

    def _in(self, cell: int) -> np.ndarray:
        """The leaves that reach into a cell: int32 (M,)."""
        at = np.searchsorted(self.cells, cell)
        there = at < len(self.cells) and self.cells[at] == cell
        return self.leaves[self.first[at] : self.first[at + 1]] if there else self.leaves[:0]

    def _closeness(self, seen: np.ndarray, leaves: np.ndarray) -> np.ndarray:
        """Of each of N seen with each of M leaves, the larger the nearer: half of |seen|² less that of the distance²,
        float32 (N, M)."""
        closeness: np.ndarray = seen @ self.seen[leaves].T
        closeness -= self.halves[leaves]
        return closeness

    def _limits(self, seen: np.ndarray) -> np.ndarray:
        """From which closeness on they are within reach: float32 (N,)."""
        limits: np.ndarray = (np.square(seen).sum(axis=1) - self.apart**2) / 2
        return limits

    def _alike(self, image: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """The leaves that are nearly the same as the image: int32 (M,)."""
        leaves = self._in(self._cells(seen[None])[0])
        leaves = leaves[self._closeness(seen[None], leaves)[0] >= self._limits(seen[None])]
        return leaves[self._near(image, self.images[self.order[self.starts[leaves]]])]

    def _near(self, images: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Which of the pairs are nearly the same, by all of their pixels: bool (N,)."""
        squares = np.square(others.astype(np.int32) - images.astype(np.int32))
        near: np.ndarray = squares.sum(axis=tuple(range(1, others.ndim))) <= self.nearest**2
        return near


def _directions(images: Images) -> tuple[np.ndarray, np.ndarray]:
    """The middle of the blocks' means float64 (blocks,), and the directions in which these vary most, float64
    (blocks, DIRECTIONS), the largest first."""
    blocks = min(BLOCKS, images.shape[1]) * min(BLOCKS, images.shape[2])
    total, products = np.zeros(blocks), np.zeros((blocks, blocks))
    for start in range(0, len(images), CHUNK):
        means = _means(images[start : start + CHUNK]).astype(np.float64)
        total += means.sum(axis=0)
        products += means.T @ means
    middle = total / max(len(images), 1)
    return middle, np.linalg.eigh(products - len(images) * np.outer(middle, middle))[1][:, ::-1][:, :DIRECTIONS]


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
