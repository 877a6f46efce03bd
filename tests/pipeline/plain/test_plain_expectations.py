"""Are pictures without levels, or with nothing on them, found; and no others?"""

from pathlib import Path

import numpy as np
import pytest
from own_images import scene
from small_mnist import PARAMS

from pipeline.base.form import Form
from pipeline.data import checks, descriptions
from pipeline.data.splits import Split

RULES = PARAMS.validate_.model_copy(update={"min_train": 1, "min_test": 1})
FORM = Form("plain", (16, 16, 3), ("a", "b"))


def failed(images: np.ndarray, folder: Path) -> set[str]:
    """The keys of the critical checks of train that did not pass."""
    half = len(images) // 2
    described = [
        descriptions.describe(Split(some, (np.arange(len(some)) % 2).astype(np.uint8)), FORM.kind)
        for some in (images[:half], images[half:])
    ]
    return {check.key for check in checks.validate(*described, RULES, folder, FORM).checks if check.stops}


@pytest.fixture
def pictures() -> np.ndarray:
    return np.stack([scene(seed, 16, 16) for seed in range(40)])


def test_good_pictures_pass_dark_and_inverted_ones_too(pictures: np.ndarray, tmp_path: Path):
    assert failed(pictures, tmp_path) == set()
    assert failed(255 - pictures, tmp_path) == set()
    assert failed(pictures // 3, tmp_path) == set()


def test_levels_from_0_to_1_are_found(pictures: np.ndarray, tmp_path: Path):
    assert "levels_reach_up" in failed((pictures > 127).astype(np.uint8), tmp_path)


def test_a_blank_picture_is_found(pictures: np.ndarray, tmp_path: Path):
    pictures[3] = 77
    assert failed(pictures, tmp_path) == {"no_blank"}
