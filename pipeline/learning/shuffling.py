"""In which order does training pass over images, and how, if they are more than memory is to hold?

Few are in memory, and all of them are shuffled. Of many, short runs from all over the files are brought together, and
the images within them shuffled: files may well be in the order of the classes.
"""

import functools

import numpy as np

from pipeline.base.form import images_in
from pipeline.base.stored import Images, Stored
from pipeline.data.splits import Split

IN_MEMORY = 500_000_000  # bytes of images; a fixed number, so that the order is no matter of the machine
RUN = 512  # images that lie one behind the other, and are read at once
AT_ONCE = 200_000_000  # bytes of images that are shuffled at a time


def brought(split: Split) -> Split:
    """The split in memory, or if it is large, as it lies on the disk."""
    if isinstance(split.images, Stored) and split.images.nbytes > IN_MEMORY:
        return split
    return Split(*map(np.asarray, split))


def shuffled(images: Images, rng: np.random.Generator) -> np.ndarray:
    """The places of all images, each once: int64 (N,)."""
    if not isinstance(images, Stored):
        return rng.permutation(len(images))
    starts, runs = rng.permutation(np.arange(0, len(images), RUN)), _runs(images)
    order = []
    for at in range(0, len(starts), runs):
        places = (starts[at : at + runs, None] + np.arange(RUN)).ravel()
        order.append(rng.permutation(places[places < len(images)]))
    return np.concatenate(order)


def _runs(images: Images) -> int:
    """How many runs are shuffled at a time."""
    return max(images_in(AT_ONCE, images.shape[1:]) // RUN, 1)


class Reader:
    """Takes images by their places. Of those on the disk it keeps the last runs if the places are :func:`shuffled`, as
    the next batch is from them too."""

    def __init__(self, images: Images, by_runs: bool = True) -> None:
        self.images, self.by_runs = images, by_runs
        self._run = functools.lru_cache(maxsize=_runs(images) + 1)(self._read)

    def take(self, places: np.ndarray) -> np.ndarray:
        """uint8 (M, *shape)"""
        if not isinstance(self.images, Stored) or not self.by_runs:
            return self.images[places]
        return np.stack([self._run(int(place) // RUN)[place % RUN] for place in places])

    def _read(self, number: int) -> np.ndarray:
        return self.images[number * RUN : (number + 1) * RUN]
