from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import BadInput
from pipeline.data import splits
from pipeline.data.splits import Split


def random_images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28), dtype=np.uint8)


def test_what_is_saved_is_loaded_memory_mapped(tmp_path: Path):
    split = Split(random_images(5), np.arange(5, dtype=np.uint8))
    splits.save(tmp_path, split)
    loaded = splits.load(tmp_path)
    assert isinstance(loaded.images, np.memmap)
    np.testing.assert_array_equal(loaded.images, split.images)
    np.testing.assert_array_equal(loaded.labels, split.labels)


def test_a_missing_or_broken_array_is_one_line(tmp_path: Path):
    with pytest.raises(BadInput, match=r"there is no .*images.npy: run `dvc repro`"):
        splits.load(tmp_path)
    (tmp_path / "images.npy").write_bytes(b"\x93NUMPY broken")
    with pytest.raises(BadInput, match=r"images.npy is not a whole .npy file"):
        splits.load(tmp_path)


def test_a_hash_is_of_the_content_alone():
    images = random_images(50)
    hashes = splits.content_hashes(images)
    assert len(set(hashes)) == 50
    np.testing.assert_array_equal(splits.content_hashes(images[::-1]), hashes[::-1])
    changed = images.copy()
    changed[7, 3, 3] ^= 1
    assert (splits.content_hashes(changed) != hashes).nonzero()[0].tolist() == [7]


def test_hashes_are_the_same_for_ever():
    """A change here moves samples between splits: champions would be judged on what they trained on."""
    hashes = splits.content_hashes(np.arange(3 * 784, dtype=np.uint32).astype(np.uint8).reshape(3, 28, 28))
    assert [int(h) for h in hashes] == [9378575848756098101, 3933649267057140846, 6039429377946355123]
    held_out = splits.held_out(np.arange(40, dtype=np.uint64), 0.25, "val")
    assert held_out.nonzero()[0].tolist() == [2, 3, 6, 10, 12, 13, 20, 24, 26]


@given(st.floats(0.02, 0.98), st.sampled_from(["test", "val", "batch"]))
def test_about_the_share_asked_for_is_held_out(share: float, purpose: str):
    hashes = np.random.default_rng(1).integers(0, 2**64, 20_000, dtype=np.uint64)
    assert splits.held_out(hashes, share, purpose).mean() == pytest.approx(share, abs=0.02)


@given(st.floats(0, 0.5), st.floats(0.5, 1))
def test_a_larger_share_holds_out_the_same_samples_and_more(small: float, large: float):
    hashes = splits.content_hashes(random_images(200))
    assert not (splits.held_out(hashes, small, "val") & ~splits.held_out(hashes, large, "val")).any()


def test_two_purposes_are_drawn_independently():
    hashes = np.random.default_rng(2).integers(0, 2**64, 50_000, dtype=np.uint64)
    both = splits.held_out(hashes, 0.2, "test") & splits.held_out(hashes, 0.1, "val")
    assert both.mean() == pytest.approx(0.02, abs=0.003)
