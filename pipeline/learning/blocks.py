"""In which order does training pass over images, and how, if they are more than memory is to hold?

Few are in memory, and all of them are shuffled. Of many, pieces are shuffled, and then the images within some pieces
at a time: what is next to one another in the files does not stay so, and what is read at once is read once.
"""

import functools

import numpy as np

from pipeline.base.stored import Images, Stored
from pipeline.data import splits
from pipeline.data.splits import Split

IN_MEMORY = 500_000_000  # bytes of images; a fixed number, so that the order is no matter of the machine
TOGETHER = 4  # pieces of a shard's size


def brought(split: Split) -> Split:
    """The split in memory, or if it is large, as it lies on the disk."""
    if isinstance(split.images, Stored) and split.images.nbytes > IN_MEMORY:
        return split
    return Split(*map(np.asarray, split))


def shuffled(images: Images, rng: np.random.Generator) -> np.ndarray:
    """The places of all images, each once: int64 (N,)."""
    if not isinstance(images, Stored):
        return rng.permutation(len(images))
    size = splits.shard_size(images.shape[1:])
    starts = rng.permutation(np.arange(0, len(images), size)).tolist()
    order = []
    for at in range(0, len(starts), TOGETHER):
        ranges = [np.arange(start, min(start + size, len(images))) for start in starts[at : at + TOGETHER]]
        order.append(rng.permutation(np.concatenate(ranges)))
    return np.concatenate(order)


class Reader:
    """Takes images by their places; of those on the disk it keeps the last pieces: the next batch is from them too."""

    def __init__(self, images: Images) -> None:
        self.images, self.size = images, splits.shard_size(images.shape[1:])
        self._piece = functools.lru_cache(maxsize=2 * TOGETHER)(self._read)

    def take(self, places: np.ndarray) -> np.ndarray:
        """uint8 (M, *shape)"""
        if not isinstance(self.images, Stored):
            return self.images[places]
        taken = np.empty((len(places), *self.images.shape[1:]), np.uint8)
        of = places // self.size
        for number in np.unique(of).tolist():
            here = of == number
            taken[here] = self._piece(number)[places[here] - number * self.size]
        return taken

    def _read(self, number: int) -> np.ndarray:
        return np.asarray(self.images[number * self.size : (number + 1) * self.size])
