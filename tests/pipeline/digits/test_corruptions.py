import numpy as np
import pytest
from sklearn.datasets import load_digits

from pipeline.digits import corruptions, features
from pipeline.digits.framing import to_mnist

DIGITS = np.stack([to_mnist(image) for image in load_digits().images[:200]])

# What each corruption moves, and which way: the column of features.py and the sign of its mean's change.
MOVES = {
    "scale": ("box_height", -1),
    "blur": ("contrast", -1),
    "noise": ("border_ink", 1),
    "impulse": ("border_ink", 1),
    "brightness": ("mean", 1),
    "contrast": ("contrast", -1),
    "fog": ("border_ink", 1),
    "dotted_line": ("border_ink", 1),
    "zigzag": ("border_ink", 1),
    "spatter": ("ink_share", 1),
    "thick": ("stroke_width", 1),
    "thin": ("mean", -1),
    "inverted": ("border_ink", 1),
}


@pytest.mark.parametrize("name", corruptions.CORRUPTIONS)
def test_each_keeps_the_shape_and_changes_every_image(name: str):
    corrupt = corruptions.CORRUPTIONS[name]
    changed = corrupt(DIGITS, np.random.default_rng(1), 1.0)
    assert changed.shape == DIGITS.shape and changed.dtype == np.uint8
    assert (changed != DIGITS).any(axis=(1, 2)).all()
    assert np.array_equal(changed, corrupt(DIGITS, np.random.default_rng(1), 1.0))


@pytest.mark.parametrize(("name", "column", "sign"), [(name, *moved) for name, moved in MOVES.items()])
def test_each_does_what_its_name_says(name: str, column: str, sign: int):
    before = features.describe(DIGITS)[column].mean()
    after = features.describe(corruptions.CORRUPTIONS[name](DIGITS, np.random.default_rng(2), 1.0))[column].mean()
    assert sign * (after - before) > 0.05 * abs(before)


@pytest.mark.parametrize(("name", "column"), [("rotate", "slant"), ("shear", "slant"), ("shift", "centroid_x")])
def test_what_goes_either_way_widens_or_moves_a_column(name: str, column: str):
    before = features.describe(DIGITS)[column]
    after = features.describe(corruptions.CORRUPTIONS[name](DIGITS, np.random.default_rng(3), 1.0))[column]
    assert after.std() > 1.3 * before.std() or abs(after.mean() - before.mean()) > 2 * before.std()


@pytest.mark.parametrize("name", ["rotate", "shift", "blur", "noise", "fog", "thick"])
def test_more_strength_changes_more(name: str):
    def change(strength: float) -> float:
        changed = corruptions.CORRUPTIONS[name](DIGITS, np.random.default_rng(4), strength)
        return float(np.abs(changed.astype(int) - DIGITS).mean())

    assert change(0.3) < change(0.6) < change(1.0)
