"""Is every image trained on once an epoch, and is a batch a mixture, however the images lie?"""

from pathlib import Path

import numpy as np
import pytest

from pipeline.base.stored import InFile
from pipeline.data.splits import Split
from pipeline.learning import shuffling

COUNT, CLASSES = 20_100, 10
LABELS = (np.arange(COUNT) * CLASSES // COUNT).astype(np.uint8)  # in the order of the classes, as folders are read


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InFile:
    """On the disk, of 4×2 pixels: the first four of them an image's own number."""
    monkeypatch.setattr(shuffling, "RUN", 16)
    monkeypatch.setattr(shuffling, "AT_ONCE", 8 * 2000)  # bytes of 2,000 images
    numbers = np.repeat(np.arange(COUNT, dtype="<u4"), 2)
    (tmp_path / "images").write_bytes(numbers.tobytes())
    return InFile(tmp_path / "images", (COUNT, 4, 2), 0)


def test_each_image_comes_once_in_an_order_of_the_seed_and_the_epoch(images: InFile):
    order = shuffling.shuffled(images, np.random.default_rng([1, 2]))
    assert np.array_equal(np.sort(order), np.arange(COUNT))
    assert np.array_equal(order, shuffling.shuffled(images, np.random.default_rng([1, 2])))
    assert not np.array_equal(order, shuffling.shuffled(images, np.random.default_rng([1, 3])))


def test_every_batch_has_the_classes_as_the_whole_has_them(images: InFile):
    order = shuffling.shuffled(images, np.random.default_rng(0))
    for start in range(0, COUNT - 1000, 1000):
        shares = np.bincount(LABELS[order[start : start + 1000]], minlength=CLASSES) / 1000
        assert shares.min() > 0.02 and shares.max() < 0.25


@pytest.mark.parametrize("by_runs", [True, False])
def test_what_is_taken_is_what_was_asked_for(images: InFile, by_runs: bool):
    reader, order = shuffling.Reader(images, by_runs), shuffling.shuffled(images, np.random.default_rng(0))
    for start in range(0, COUNT, 777):
        places = order[start : start + 777]
        taken = reader.take(places)
        assert np.array_equal(taken.reshape(-1, 8).view("<u4")[:, 0], places)


def test_few_images_are_in_memory_and_shuffled_as_they_always_were(images: InFile, monkeypatch: pytest.MonkeyPatch):
    brought = shuffling.brought(Split(images, LABELS))
    assert isinstance(brought.images, np.ndarray)
    order = shuffling.shuffled(brought.images, np.random.default_rng(5))
    assert np.array_equal(order, np.random.default_rng(5).permutation(COUNT))
    monkeypatch.setattr(shuffling, "IN_MEMORY", images.nbytes - 1)
    assert shuffling.brought(Split(images, LABELS)).images is images
