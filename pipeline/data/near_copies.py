"""Which images are nearly the same as others? What differs by a grey level here and there is the same image again.

Nearly is a Euclidean distance of at most NEAR_LEVELS on each pixel, 100 in all for 28×28. It was chosen by measurement:
two different images of MNIST's train and test lie 211 apart or more (half of the test images 1,105 or more from their
nearest neighbour), of the embedded digits 332, and one that was changed by one level all over, less than 30.

Candidates are found by the means of 4×4 blocks, which lie no further apart than the images' distance over the root of a
block's pixels, in a k-d tree: exact, and a second for 10,000 images against 60,000.
"""

import math

import numpy as np
from scipy.spatial import cKDTree

NEAR_LEVELS = 100 / 28  # grey levels on each value of an image, root mean square
BLOCKS = 4  # down and across


def find(images: np.ndarray, others: np.ndarray, since: tuple[np.ndarray, np.ndarray] | None = None) -> np.ndarray:
    """Which of the ``images`` uint8 (N, *shape) are nearly the same as one of the ``others``: bool (N,).

    With ``since``, when each of the images and of the others came, only others that were there before count.
    """
    found = np.zeros(len(images), bool)
    if not len(images) or not len(others):
        return found
    nearest = NEAR_LEVELS * math.sqrt(math.prod(images.shape[1:]))
    height, width = (side // BLOCKS for side in images.shape[1:3])
    apart = nearest / math.sqrt(height * width * math.prod(images.shape[3:]))
    near = cKDTree(_means(others)).query_ball_point(_means(images), apart)
    for place in np.flatnonzero([bool(candidates) for candidates in near]):
        candidates = np.asarray(near[place])
        if since is not None:
            candidates = candidates[since[1][candidates] < since[0][place]]
        differences = others[candidates].astype(np.int32) - images[place].astype(np.int32)
        found[place] = bool((np.square(differences).sum(axis=tuple(range(1, images.ndim))) <= nearest**2).any())
    return found


def _means(images: np.ndarray) -> np.ndarray:
    """The mean of each block, all colours alike; what is left of the sides is left out: float32 (N, 16)."""
    height, width = (side // BLOCKS for side in images.shape[1:3])
    rows, columns = BLOCKS * height, BLOCKS * width
    parts = []
    for start in range(0, len(images), 4096):
        blocks = images[start : start + 4096, :rows, :columns]
        blocks = blocks.reshape(len(blocks), BLOCKS, height, BLOCKS, width, math.prod(images.shape[3:]))
        parts.append(blocks.mean(axis=(2, 4, 5), dtype=np.float32).reshape(len(blocks), BLOCKS**2))
    means: np.ndarray = np.concatenate(parts)
    return means
