"""Is what some images have in common found, on small images and in the same memory on large ones?"""

import numpy as np
import pytest

from pipeline.data import patterns


def noisy(count: int, side: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 256, (count, side, side, 3)).astype(np.uint8)


@pytest.mark.parametrize(("side", "mark"), [(16, 3), (64, 3), (256, 12), (400, 16)])
def test_a_mark_at_one_place_is_found_whatever_the_images_size(side: int, mark: int):
    group, others = noisy(12, side, 1), noisy(40, side, 2)
    at = slice(side // 3, side // 3 + mark)
    group[:5, at, at] = 0
    (found,) = patterns.find(group, others, inked=False)
    assert found.bearers.tolist() == [0, 1, 2, 3, 4] and found.chance < -8
    assert found.shared[at, at].all() and not found.ink[at, at].any()
    assert patterns.contents(others).shape[1] <= patterns.MOST_PLACES**2


def test_bare_paper_is_no_pattern_of_ink():
    group, others = noisy(6, 16, 1)[..., 0], noisy(40, 16, 2)[..., 0]
    group[:, 4:9, 4:9] = 0
    assert patterns.find(group, others) == []
